"""Reads the members of a tar archive in one pass, from its beginning to its end.

Specification: tar(5); what Python's tarfile takes: ustar, pax, GNU.
"""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Self, cast

from pcap_zmq.captures.capture_file import Octets
from pcap_zmq.errors import FormatError, SavefileError

CHUNK = 1 << 20
"""Octets that are read at once."""

TAR_CHUNK = 1 << 18
"""Octets that go through tarfile at once."""

LONG_HEADER_MAX = 1 << 20
"""Octets of one that holds long names (pax, GNU)."""

HEADERS_MAX = 4 << 20
"""Octets of all that is before a member: the map of its holes, too."""

GLOBAL_MAX = 64
"""What an archive may say of all its members (pax)."""

SPARSE_MAX = 1 << 36
"""Octets of a file that was stored without its holes: they cost nothing there."""

_DIGITS_MAX = 300
"""In a row: tarfile looks for a number again from each of them."""

_DIGITS = bytes(ord("0") if chr(n).isdecimal() else 0 for n in range(256))

TIME_MAX_S = 1 << 34

_LONG_HEADERS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
    | {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_NONSENSE = (
    *(tarfile.TarError, FormatError, EOFError, ValueError),
    # Of headers without end, and of halves of them.
    *(RecursionError, IndexError, OverflowError),
)
"""What tarfile raises where it makes none."""

_MAGIC_AT = 257
_MAGIC = b"ustar"

BEGINNING = _MAGIC_AT + len(_MAGIC)
"""Octets that tell an archive from what is none."""


def is_archive(beginning: bytes) -> bool:
    """Of a file's first octets, `BEGINNING` of them."""
    return beginning[_MAGIC_AT:] == _MAGIC


@dataclass(slots=True)
class Archived:
    """A member, while it is there to be read. Or a link, without octets: link_to says
    where to; of a hard link that is a member before it."""

    name: str
    size: int
    modified_s: float
    link_to: str
    is_hard_link: bool
    _octets: Octets

    def read(self, size: int, /) -> bytes:
        """Up to so many octets; b"": the end. Where the archive ends before that, up to
        there; then raises SavefileError."""
        return b"" if self.link_to else self._octets.read(size)


def archived(name: str, octets: Octets) -> Iterator[Archived]:
    """Its files and links, each until the next is asked for. name: of the archive, for
    people. Raises SavefileError where it breaks."""
    reader = _Reader(octets)
    try:
        with _Archive.open(
            fileobj=reader, mode="r|", tarinfo=_Header, bufsize=TAR_CHUNK
        ) as archive:
            while (member := archive.next()) is not None:
                # It remembers all of them, and there may be millions.
                archive.members.clear()  # type: ignore[attr-defined]  # undocumented
                is_link = member.issym() or member.islnk()
                if is_link or member.isfile():
                    yield Archived(
                        member.name,
                        member.size,
                        _time(member.mtime),
                        member.linkname if is_link else "",
                        member.islnk(),
                        _Content(name, archive, member, reader),
                    )
        if reader.failure is not None:
            raise reader.failure
    except _NONSENSE as error:
        raise _broken(name, reader.failure or error) from error


def _time(mtime: float) -> float:
    """The epoch instead of what no file system can keep; pax may say nan."""
    return float(mtime) if 0 <= mtime < TIME_MAX_S else 0.0


def _broken(archive: str, error: object) -> SavefileError:
    return SavefileError(f"{archive}: the archive breaks: {error}")


class _Content:
    """A member's octets."""

    def __init__(
        self,
        name: str,
        archive: tarfile.TarFile,
        member: tarfile.TarInfo,
        reader: "_Reader",
    ) -> None:
        self._name = name
        self._archive = archive
        self._member = member
        self._reader = reader
        self._at = 0
        self._file: IO[bytes] | None = None

    def read(self, size: int, /) -> bytes:
        member, stream = self._member, self._archive.fileobj
        left = member.size - self._at
        if not left or stream is None:
            return b""
        try:
            if member.issparse():
                return self._sparse(size)
            # Not by extractfile: what it has read when it breaks is lost.
            stream.seek(member.offset_data + self._at)
            octets: bytes = stream.read(min(size, left))
        except _NONSENSE as error:
            raise self._broken(error) from error
        self._at += len(octets)
        if not octets:
            raise self._broken("it ends in the middle of a member")
        return octets

    def _sparse(self, size: int) -> bytes:
        """Of one that was stored without its holes."""
        if self._member.size > SPARSE_MAX:
            raise ValueError(f"holes make {self._member.size} octets of it")
        if self._file is None:
            self._file = self._archive.extractfile(self._member)
        return self._file.read(size) if self._file is not None else b""

    def _broken(self, error: object) -> SavefileError:
        return _broken(self._name, self._reader.failure or error)


class _Archive(tarfile.TarFile):
    """Lets what is before a member be so long only, whatever it is compressed by."""

    def next(self) -> tarfile.TarInfo | None:
        stream = self.fileobj
        self.fileobj = cast("IO[bytes]", _Before(cast("IO[bytes]", stream)))
        try:
            found = super().next()
        finally:
            self.fileobj = stream
        if len(self.pax_headers) > GLOBAL_MAX:
            # tarfile goes through them again for each member.
            raise ValueError(f"it says more than {GLOBAL_MAX} things of all members")
        return found


class _Before:
    """The octets before a member, counted."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.tell = stream.tell
        self._stream = stream
        self._left = HEADERS_MAX

    def seek(self, place: int) -> None:
        """Past what nobody has read. tarfile's own would not see that it ends."""
        while (left := place - self.tell()) != 0:
            if left < 0 or not self._stream.read(min(left, TAR_CHUNK)):
                raise ValueError("it ends in the middle of a member")

    def read(self, size: int) -> bytes:
        octets = self._stream.read(size)
        self._left -= len(octets)
        if self._left < 0:
            raise ValueError(f"headers of more than {HEADERS_MAX >> 20} MiB")
        if size > tarfile.BLOCKSIZE and b"0" * _DIGITS_MAX in octets.translate(_DIGITS):
            raise ValueError("a header with a number that is none")
        return octets


class _Header(tarfile.TarInfo):
    """Refuses those that are longer than names are: tarfile reads them whole; and half
    ones, which it takes for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if 0 < len(buf) < tarfile.BLOCKSIZE:
            raise ValueError("it ends in the middle of a header")
        header = super().frombuf(buf, encoding, errors)
        if header.type in _LONG_HEADERS and header.size > LONG_HEADER_MAX:
            raise ValueError(f"a header of {header.size} octets")
        return header


class _Reader(io.RawIOBase):
    """A stream as tarfile wants one: as many octets as it asks for, until the end, or
    until it breaks: what came before shall not be lost."""

    def __init__(self, octets: Octets) -> None:
        self.failure: FormatError | None = None
        self._octets = octets
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        parts, wanted = [], size
        while wanted and (self._rest or self._has_more()):
            parts.append(self._rest[:wanted])
            self._rest = self._rest[wanted:]
            wanted -= len(parts[-1])
        return b"".join(parts)

    def _has_more(self) -> bool:
        if self.failure is None:
            try:
                self._rest = memoryview(self._octets.read(CHUNK))
                return bool(self._rest)
            except FormatError as error:
                self.failure = error
        return False
