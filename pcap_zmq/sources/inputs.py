"""Finds the capture files that paths name: files, patterns, folders, archives' members.

Nothing is unpacked onto the disk: an archive is read once, from its beginning to its
end, whatever it is compressed by.
"""

import glob
import io
import os
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from pcap_zmq.errors import (
    ConfigError,
    FormatError,
    InputError,
    InputPermissionError,
    SavefileError,
)
from pcap_zmq.formats.compressed import MAGIC_MAX, Undo, kind_of
from pcap_zmq.sources.capture_file import Octets

CHUNK = 1 << 20
"""Octets that are read at once."""

LONG_HEADER_MAX = 1 << 20
"""Octets of one that holds long names (pax, GNU)."""

STDIN = Path("-")

_LONG_HEADERS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
    | {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_TAR_MAGIC_AT = 257
_TAR_MAGIC = b"ustar"


@dataclass(frozen=True, slots=True)
class Member:
    """One capture file, or one in an archive, while it is there to be read. octets: as
    they lie there, compressed or not. name: of an archive's member ARCHIVE:MEMBER."""

    name: str
    source: str
    source_size: int
    source_mtime_ns: int
    file_size: int
    octets: Octets


@dataclass(slots=True)
class Passed:
    """How many octets of files were read, as they lie there, of how many."""

    octets: int = 0
    total: int = 0


def find(paths: Sequence[str]) -> list[Path]:
    """The files that they name, each once, in the order of the paths; those of a folder
    or a pattern by name, and hidden ones only where they are named; "-" is standard
    input. Raises InputError for a path that names nothing."""
    found: dict[Path, None] = {}
    for name in paths:
        try:
            files = _named(name)
        except OSError as error:
            raise explained(name, error) from error
        if not files:
            raise InputError(f"{name} names no file")
        found.update(dict.fromkeys(files))
    return list(found)


def _named(name: str) -> list[Path]:
    path = Path(name)
    if path == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise ConfigError("standard input is a terminal: pipe a savefile into it")
        return [path]
    if path.is_dir():
        return _files_below(path)
    if path.exists() or path.is_symlink():
        return [path]
    # Not Path.glob: the pattern may be absolute.
    names = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    return [Path(each) for each in names if Path(each).is_file()]


def explained(name: object, error: OSError) -> InputError:
    """What an operator is told."""
    if isinstance(error, PermissionError):
        return InputPermissionError(f"{name} may not be read: {error.strerror}")
    return InputError(f"{name} cannot be read: {error.strerror}")


def _files_below(folder: Path) -> list[Path]:
    names = (
        Path(where) / name
        for where, _, files in os.walk(folder)
        for name in files
        if not name.startswith(".")
    )
    return sorted(name for name in names if name.is_file())


def size_of(path: Path) -> int:
    """Octets of what there is to read; 0 where nobody knows."""
    try:
        return 0 if path == STDIN else path.stat().st_size
    except OSError:
        return 0


@contextmanager
def members(path: Path, passed: Passed | None = None) -> Iterator[Iterator[Member]]:
    """The file, or what is in it where it is an archive (tar, compressed or not), each
    until the next is asked for. passed: counts what is read. Raises InputError and
    InputPermissionError."""
    try:
        with _open(path) as file:
            yield _members_of(path, file, passed or Passed())
    except OSError as error:
        raise explained(path, error) from error


def _open(path: Path) -> BinaryIO:
    if path == STDIN:
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    return path.open("rb", buffering=0)


def _members_of(path: Path, file: BinaryIO, passed: Passed) -> Iterator[Member]:
    status = os.fstat(file.fileno())
    begun = _Begun(_Counted(file, passed))
    kind = kind_of(begun.peek(MAGIC_MAX))
    inside: Octets = begun
    if kind is not None:
        undone = _Begun(Undone(begun, Undo(kind)))
        try:
            is_archive = _is_archive(undone)
        except FormatError:
            is_archive = False
        if not is_archive and not file.seekable():
            # What was read of a pipe is gone: as it is when that is undone.
            begun = undone
        elif not is_archive:
            # From its beginning again, as it lies there.
            passed.octets -= os.lseek(file.fileno(), 0, os.SEEK_CUR)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            begun = _Begun(_Counted(file, passed))
        inside = undone
    else:
        is_archive = _is_archive(begun)
    name = "standard input" if path == STDIN else str(path)
    source = name, status.st_size, status.st_mtime_ns
    if is_archive:
        yield from _archived(source, inside)
    else:
        yield Member(name, *source, status.st_size, begun)


def _is_archive(octets: "_Begun") -> bool:
    beginning = octets.peek(_TAR_MAGIC_AT + len(_TAR_MAGIC))
    return beginning[_TAR_MAGIC_AT:] == _TAR_MAGIC


def _archived(source: tuple[str, int, int], octets: Octets) -> Iterator[Member]:
    try:
        with tarfile.open(
            fileobj=_Reader(octets), mode="r|", tarinfo=_Header
        ) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    name = f"{source[0]}:{member.name}"
                    yield Member(name, *source, member.size, content)
    except (tarfile.TarError, FormatError, EOFError, ValueError) as error:
        raise SavefileError(f"{source[0]}: the archive breaks: {error}") from error


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


class Undone:
    """What becomes of compressed octets. Raises FormatError where they break, or end in
    the middle."""

    def __init__(self, octets: Octets, undo: Undo) -> None:
        self._octets = octets
        self._undo = undo
        self._pieces: Iterator[bytes] = iter(())

    def read(self, size: int, /) -> bytes:
        """A piece, of any size; b"": the end."""
        while True:
            for piece in self._pieces:
                if piece:
                    return piece
            chunk = self._octets.read(CHUNK)
            if not chunk:
                if not self._undo.is_whole:
                    raise FormatError(f"the {self._undo.name} data end in the middle")
                return b""
            self._pieces = self._undo.feed(chunk)


class _Counted:
    """Says how far a file was read."""

    def __init__(self, octets: Octets, passed: Passed) -> None:
        self._octets = octets
        self._passed = passed

    def read(self, size: int, /) -> bytes:
        octets = self._octets.read(size)
        self._passed.octets += len(octets)
        return octets


class _Begun:
    """A stream whose first octets can be looked at before they are read."""

    def __init__(self, octets: Octets) -> None:
        self._octets = octets
        self._beginning = b""

    def peek(self, size: int) -> bytes:
        while len(self._beginning) < size:
            chunk = self._octets.read(max(size, 1 << 16))
            if not chunk:
                break
            self._beginning += chunk
        return self._beginning[:size]

    def read(self, size: int, /) -> bytes:
        if self._beginning:
            given, self._beginning = self._beginning[:size], self._beginning[size:]
            return given
        return self._octets.read(size)


class _Reader(io.RawIOBase):
    """A stream as tarfile wants one: as many octets as it asks for, until the end."""

    def __init__(self, octets: Octets) -> None:
        self._octets = octets
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        parts, wanted = [], size
        while wanted:
            if not self._rest:
                self._rest = self._octets.read(CHUNK)
                if not self._rest:
                    break
            part, self._rest = self._rest[:wanted], self._rest[wanted:]
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)
