"""Octets of a batch on their way into a pipe: how many went, known whatever happens.

Theory of operation. A process can be killed between a write and any note of it, even
while the write goes on, and nobody could tell then what a pipe's reader got. So the
octets are laid into a file of memory, and the kernel moves them from there (splice(2)),
writing how far it came into the first page of the checkpoint itself, within the call.

    serial   of the play; 0: what follows counts for nothing
    start    packets of it before this batch
    at       octets of the batch that the pipe has taken

It counts where `start` is what is noted to have arrived: when more has, it is old. Each
batch has memory of its own, since the pipe holds its pages, not copies.
"""

import mmap
import os
import struct

import linux_ffi
from pcap_zmq.packet import Octets

STRUCT = struct.Struct("=QQq")
_SERIAL, _START, _AT = struct.Struct("=Q"), struct.Struct("=Q"), struct.Struct("=q")


class Moving:
    """page: of a file, mapped, stays the caller's. place: of the 24 octets in it, by
    eights."""

    def __init__(self, page: mmap.mmap, place: int) -> None:
        self._view = memoryview(page)[place : place + STRUCT.size]
        self._at = self._view[_SERIAL.size + _START.size :]
        self._memory = -1
        self._batch = (0, 0)

    def move(self, serial: int, start: int, pipe: int, octets: Octets, at: int) -> int:
        """Those of a batch from `at` on into a pipe that does not wait: how many went.
        Raises OSError as write(2) does."""
        if self._batch != (serial, start):
            self._lay(serial, start, octets)
        self.set_at(at)
        return linux_ffi.move(self._memory, pipe, self._at, len(octets))

    def set_at(self, at: int) -> None:
        """So many are in the pipe, or were read: fewer, where a reader died."""
        _AT.pack_into(self._at, 0, at)

    def close(self) -> None:
        """Twice is harmless."""
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1
        self._batch = (0, 0)
        self._at.release()
        self._view.release()

    def _lay(self, serial: int, start: int, octets: Octets) -> None:
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1
        self._memory = os.memfd_create("pcap-zmq batch", os.MFD_CLOEXEC)
        rest = memoryview(octets)
        while rest:
            rest = rest[os.write(self._memory, rest) :]
        # In this order: a kill may come in between.
        _SERIAL.pack_into(self._view, 0, 0)
        self.set_at(0)
        _START.pack_into(self._view, _SERIAL.size, start)
        _SERIAL.pack_into(self._view, 0, serial)
        self._batch = (serial, start)
