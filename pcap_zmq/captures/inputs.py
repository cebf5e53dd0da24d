"""Finds the capture files that paths name: files, patterns, folders, archives' members.

Nothing is unpacked onto the disk: an archive is read once, from its beginning to its
end, whatever it is compressed by.
"""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pcap_ffi import Capture, CaptureError
from pcap_zmq.captures.archive import BEGINNING, CHUNK, Archived, archived, is_archive
from pcap_zmq.captures.capture_file import Octets
from pcap_zmq.errors import (
    ConfigError,
    FormatError,
    InputError,
    InputPermissionError,
)
from pcap_zmq.formats.compressed import MAGIC_MAX, Undo, kind_of

STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class Member:
    """One capture file, or one in an archive, while it is there to be read. octets: as
    they lie there, compressed or not. name: of an archive's member ARCHIVE:MEMBER.
    archived: what the archive says of it."""

    name: str
    source: str
    source_size: int
    source_mtime_ns: int
    file_size: int
    octets: Octets
    archived: Archived | None = None


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


def find_captures(paths: Sequence[str]) -> list[Path]:
    """The same without what is in folders and no capture file, nor anything that one
    could be in."""
    named = {path for name in paths if not Path(name).is_dir() for path in find([name])}
    return [path for path in find(paths) if path in named or may_be_capture(path)]


def may_be_capture(path: Path) -> bool:
    """By its first octets: also what is compressed, or an archive; and what cannot be
    read, of which whoever reads it has more to say."""
    try:
        with path.open("rb", buffering=0) as file:
            beginning = file.read(BEGINNING)
    except OSError:
        return True
    if kind_of(beginning) is not None or is_archive(beginning):
        return True
    try:
        Capture().read(beginning, None)
    except CaptureError:
        return False
    return True


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


def unnameable(name: object) -> InputError:
    """What an operator is told where a name comes from elsewhere, with a NUL in it."""
    return InputError(f"{name} cannot be read: no file can have that name")


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
def members(
    path: Path, passed: Passed | None = None, *, links: bool = False
) -> Iterator[Iterator[Member]]:
    """The file, or what is in it where it is an archive (tar, compressed or not), each
    until the next is asked for. passed: counts what is read. links: whether those in
    archives, too. Raises InputError and InputPermissionError."""
    try:
        with _open(path) as file:
            yield _members_of(path, file, passed or Passed(), links=links)
    except OSError as error:
        raise explained(path, error) from error


def _open(path: Path) -> BinaryIO:
    if path == STDIN:
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    try:
        return path.open("rb", buffering=0)
    except ValueError as error:
        raise unnameable(path) from error


def _members_of(
    path: Path, file: BinaryIO, passed: Passed, *, links: bool
) -> Iterator[Member]:
    status = os.fstat(file.fileno())
    begun = _Begun(_Counted(file, passed))
    kind = kind_of(begun.peek(MAGIC_MAX))
    inside: Octets = begun
    if kind is not None:
        undone = _Begun(Undone(begun, Undo(kind)))
        try:
            is_tar = is_archive(undone.peek(BEGINNING))
        except FormatError:
            is_tar = False
        if not is_tar and not file.seekable():
            # What was read of a pipe is gone: as it is when that is undone.
            begun = undone
        elif not is_tar:
            # From its beginning again, as it lies there.
            passed.octets -= os.lseek(file.fileno(), 0, os.SEEK_CUR)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            begun = _Begun(_Counted(file, passed))
        inside = undone
    else:
        is_tar = is_archive(begun.peek(BEGINNING))
    name = "standard input" if path == STDIN else str(path)
    source = name, status.st_size, status.st_mtime_ns
    if is_tar:
        for member in archived(name, inside):
            if links or not member.link_to:
                yield Member(
                    f"{name}:{member.name}", *source, member.size, member, member
                )
    else:
        yield Member(name, *source, status.st_size, begun)


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
