"""The state file of a spool: where the sender stands, and the lock on the directory.

Specification: docs/spool.md. What is written survives the process at once, and the
machine when the kernel has written it back; nothing here waits for that but `sync`.
"""

import fcntl
import logging
import os
from dataclasses import replace
from pathlib import Path

from pcap_zmq.errors import SpoolError, SpoolFormatError
from pcap_zmq.formats import spool_state
from pcap_zmq.formats.spool_state import STATE_OFFSETS, State

logger = logging.getLogger(__name__)


class StateFile:
    """Opened, it is locked and has all the room that it will ever need. Raises
    SpoolError where another sender has it, OSError where it cannot be had."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._generation = 0
        self._saved: State | None = None
        self._has_told = False
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        try:
            self._lock()
            # A full disk shall not keep us from writing down where we stand.
            os.posix_fallocate(self._fd, 0, spool_state.STATE_FILE_LENGTH)
        except BaseException:
            self.close()
            raise

    def load(self) -> State | None:
        """The newest state that is whole, if any."""
        found: State | None = None
        for offset in STATE_OFFSETS:
            octets = os.pread(self._fd, spool_state.STATE_LENGTH, offset)
            try:
                generation, state = spool_state.decode_state(octets)
            except SpoolFormatError:
                continue
            if generation >= self._generation:
                self._generation, found = generation, state
        return found

    def save(self, state: State) -> None:
        """Writes it down beside the one before."""
        if state == self._saved:
            return
        self._generation += 1
        octets = spool_state.encode_state(state, self._generation)
        self._write(octets, STATE_OFFSETS[self._generation % len(STATE_OFFSETS)])
        self._saved = state

    def note_sent(self, sequence: int, count: int) -> None:
        """Remembers of a batch how many packets it was sent with."""
        octets = spool_state.encode_sent(sequence, count)
        self._write(octets, spool_state.sent_offset(sequence))

    def sent_with(self, sequence: int) -> int | None:
        """What was remembered; None: nothing."""
        offset = spool_state.sent_offset(sequence)
        octets = os.pread(self._fd, spool_state.SENT_LENGTH, offset)
        return spool_state.decode_sent(octets, sequence)

    def sync(self, *, has_ended: bool = False) -> None:
        """What was saved is on the disk when this returns; with the mark that all else
        is there, too, where it is."""
        if has_ended and self._saved is not None:
            self.save(replace(self._saved, has_ended=True))
        os.fdatasync(self._fd)

    @property
    def is_closed(self) -> bool:
        """Whether the lock was given back."""
        return self._fd < 0

    def close(self) -> None:
        """Gives the lock back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpoolError(
                f"--spool {self._path.parent} is in use by another sender; give each "
                "sender a directory of its own"
            ) from error

    def _write(self, octets: bytes, offset: int) -> None:
        try:
            os.pwrite(self._fd, octets, offset)
        except OSError as error:
            if not self._has_told:
                self._has_told = True
                logger.warning(
                    "%s cannot be written: %s; should this sender be killed now, "
                    "packets may be delivered twice",
                    self._path,
                    error.strerror,
                )
