"""Many files that are read in turns, with few descriptors: what is not open is opened
again where it was left.
"""

import os
import resource
from collections import OrderedDict
from pathlib import Path
from stat import S_ISREG

from pcap_zmq.captures.inputs import explained
from pcap_zmq.errors import InputError

OPEN_MAX = 400
"""Descriptors at a time, and no more than half of what the process may have in all."""

# Whoever opens a FIFO so does not wait for its writer.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Descriptors:
    """Those that are open; the one that was not used for longest is closed first."""

    def __init__(self, most: int = OPEN_MAX) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = most if soft < 0 else max(1, min(most, soft // 2))
        self._open: OrderedDict[Path, int] = OrderedDict()

    def of(self, path: Path) -> int:
        """Valid until the next call. Raises OSError."""
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        if len(self._open) >= self._most:
            os.close(self._open.popitem(last=False)[1])
        fd = self._open[path] = os.open(path, FLAGS)
        return fd

    def close(self, path: Path) -> None:
        """Twice is harmless."""
        fd = self._open.pop(path, None)
        if fd is not None:
            os.close(fd)

    def close_all(self) -> None:
        """Twice is harmless."""
        while self._open:
            os.close(self._open.popitem()[1])


class SharedFile:
    """The octets of one such file; an `Octets`. Raises InputError where it cannot be
    read, or is not the same file any more."""

    def __init__(self, path: Path, descriptors: Descriptors) -> None:
        self.path = path
        self._descriptors = descriptors
        self._identity: tuple[int, int] | None = None
        self.at = 0
        """Octets that were read."""

    def read(self, size: int, /) -> bytes:
        """The next ones, so many at most; b"": the end."""
        try:
            fd = self._descriptors.of(self.path)
            status = os.fstat(fd)
            identity = status.st_dev, status.st_ino
            if not S_ISREG(status.st_mode):
                raise InputError(f"{self.path} is no regular file any more")
            if self._identity not in (None, identity):
                raise InputError(f"{self.path} was replaced while it was being read")
            self._identity = identity
            octets = os.pread(fd, size, self.at)
        except OSError as error:
            raise explained(self.path, error) from error
        self.at += len(octets)
        return octets

    def close(self) -> None:
        """Twice is harmless."""
        self._descriptors.close(self.path)
