"""A file that is being written, under another name until it is complete.

Specification: docs/outputs.md, flock(2), renameat2(2). Its lock says to other processes
that it is not a leftover (leftover.py).
"""

import os
from contextlib import suppress
from pathlib import Path

from pcap_zmq.disk import leftover
from pcap_zmq.formats.file_names import PART, FileNames
from pcap_zmq.packet import Octets

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class PartFile:
    """Will be called as `names` makes it of `stem`, or the next free name. Raises
    OSError, as all of it does where the disk says no."""

    def __init__(self, directory: Path, names: FileNames, stem: str) -> None:
        self.length = 0
        self._names = names
        name = names.name(stem)
        while True:
            self.path = directory / (name + PART)
            if not self.path.with_name(name).exists() and self._open():
                return
            name = names.next_name(name)

    def _open(self) -> bool:
        """False: it is somebody else's, who will rename it."""
        try:
            self._fd = os.open(self.path, _FLAGS, 0o600)
        except FileExistsError:
            return False
        # Another process that starts may take it for a leftover until it is locked.
        with suppress(FileNotFoundError):
            mine = os.fstat(self._fd).st_ino
            if leftover.lock(self._fd) and self.path.stat().st_ino == mine:
                return True
        os.close(self._fd)
        return False

    def write(self, octets: Octets) -> None:
        """All of it or, with OSError, nothing."""
        at = 0
        try:
            while at < len(octets):
                at += os.write(self._fd, memoryview(octets)[at:])
        except OSError:
            if at:
                os.ftruncate(self._fd, self.length)
                os.lseek(self._fd, self.length, os.SEEK_SET)
            raise
        self.length += at

    def complete(self) -> Path:
        """Nothing more is written: gives it its name, and says which. It is closed,
        also where that fails."""
        try:
            return leftover.give_name(self.path, self._names)
        finally:
            os.close(self._fd)

    def discard(self) -> None:
        """As if it had never been."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            os.close(self._fd)
