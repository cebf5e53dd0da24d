"""Packets out to many savefiles at once, which are there only when they are whole.

Until then they lie in a folder of their own, under numbers. Any number of them is
written with few open files and little memory. Specification: formats/savefile.py.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pcap_ffi import to_microseconds
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats.codec import Compress
from pcap_zmq.formats.file_format import WRITE_MAX
from pcap_zmq.formats.savefile import encode_file_header
from pcap_zmq.packet import Batch, Octets

OPEN_MAX = 64
"""Files that are open at a time."""

PENDING_MAX = 16 << 20
"""Octets of all files together that are not written yet."""

_PIECE_MAX, _PIECE_MIN = 1 << 20, 4 << 10


class Written(NamedTuple):
    """A file that is there now."""

    which: int
    path: Path
    packets: int
    octets: int


@dataclass(slots=True, eq=False)
class _Part:
    path: Path
    pending: list[Octets] = field(default_factory=list)
    pending_octets: int = 0
    packets: int = 0
    octets: int = 0


class CaptureParts:
    """folder: for what is not whole; it is there, and nobody else's. compress: what
    makes a frame of a compressed file; None: as it is. nanoseconds: of packet times,
    else microseconds. pending_max: octets of all together that wait to be written; each
    file has a few KiB in any case.

    All that writes raises OutputError and OutputPermissionError.
    """

    def __init__(
        self,
        folder: Path,
        compress: Compress | None,
        *,
        nanoseconds: bool,
        pending_max: int = PENDING_MAX,
    ) -> None:
        self._folder = folder
        self._compress = compress
        self._nanoseconds = nanoseconds
        self._pending_max = pending_max
        self._parts: dict[tuple[int, int], _Part] = {}
        self._open: OrderedDict[_Part, int] = OrderedDict()

    def add(self, which: int, batch: Batch) -> None:
        """To the file for this number and the batch's link type."""
        key = which, batch.linktype
        part = self._parts.get(key)
        if part is None:
            part = self._begin(key)
        records = batch.records
        if not self._nanoseconds:
            records = bytearray(records)
            to_microseconds(records)
        part.packets += batch.count
        part.octets += len(records)
        self._put(part, records)

    def ensure(self, which: int, linktype: int) -> None:
        """A file with no packets, where there is none for this number."""
        if not any(each == which for each, _ in self._parts):
            self._begin((which, linktype))

    def commit(
        self, name: Callable[[int, int | None], Path], *, overwrite: bool
    ) -> Iterator[Written]:
        """Makes them be there: all that can be, in the order of their numbers. name: of
        a file; with the link type, where there are several for a number."""
        for (which, linktype), part in sorted(self._parts.items()):
            several = sum(each == which for each, _ in self._parts) > 1
            path = name(which, linktype if several else None)
            self._flush(part)
            self._close(part)
            give_name(part.path, path, overwrite=overwrite)
            yield Written(which, path, part.packets, part.octets)

    def close(self) -> None:
        """What is not there by now never will be."""
        for part in list(self._open):
            self._close(part)
        for part in self._parts.values():
            part.path.unlink(missing_ok=True)
        self._parts.clear()

    def _begin(self, key: tuple[int, int]) -> _Part:
        # A process may have several of these in one folder, one after the other.
        path = self._folder / f"{os.getpid()}-{key[0]}-{key[1]}"
        part = self._parts[key] = _Part(path)
        header = encode_file_header(key[1], nanoseconds=self._nanoseconds)
        self._put(part, header)
        return part

    def _put(self, part: _Part, octets: Octets) -> None:
        share = self._pending_max // len(self._parts)
        piece = max(_PIECE_MIN, min(_PIECE_MAX, share))
        if part.pending_octets + len(octets) < piece:
            # A copy: who holds a part of a batch holds all of it.
            part.pending.append(bytes(octets))
            part.pending_octets += len(octets)
            return
        self._flush(part)
        self._write(part, octets)

    def _flush(self, part: _Part) -> None:
        if part.pending:
            octets = b"".join(part.pending)
            part.pending, part.pending_octets = [], 0
            self._write(part, octets)

    def _write(self, part: _Part, octets: Octets) -> None:
        view = memoryview(octets)
        if self._compress is not None:
            view = memoryview(self._compress(octets))
        try:
            fd = self._descriptor(part)
            while view:
                view = view[os.write(fd, view[:WRITE_MAX]) :]
        except OSError as error:
            raise explained(self._folder.parent, error) from error

    def _descriptor(self, part: _Part) -> int:
        fd = self._open.get(part)
        if fd is None:
            if len(self._open) >= OPEN_MAX:
                os.close(self._open.popitem(last=False)[1])
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            fd = self._open[part] = os.open(part.path, flags, 0o600)
        else:
            self._open.move_to_end(part)
        return fd

    def _close(self, part: _Part) -> None:
        fd = self._open.pop(part, None)
        if fd is not None:
            os.close(fd)


def give_name(part: Path, path: Path, *, overwrite: bool) -> None:
    """Makes a whole file be there; its folder, too. Raises ConfigError where something
    is there that nobody said to replace, OutputError and OutputPermissionError."""
    make_folder(path.parent)
    try:
        if overwrite:
            part.replace(path)
        else:
            # Here, since it is loaded for nothing else.
            import linux_ffi

            linux_ffi.rename_fresh(str(part), str(path))
    except FileExistsError as error:
        raise ConfigError(
            f"{path} is there already; say --overwrite to replace it"
        ) from error
    except OSError as error:
        raise explained(path, error) from error


def make_folder(path: Path) -> None:
    """Where there is none. Raises OutputError and OutputPermissionError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explained(path, error) from error


def explained(path: Path, error: OSError) -> OutputError:
    """What the system says of an output, as one line."""
    if isinstance(error, PermissionError):
        return OutputPermissionError(f"{path} may not be written: {error.strerror}")
    return OutputError(f"{path} cannot be written: {error.strerror}")
