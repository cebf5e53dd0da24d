"""The checkpoint of a dispatcher: a file that always says where it stands.

Specification: docs/dispatch.md, "The checkpoint". What changes is appended and on the
disk before anything goes on; how far the file that is being played has come is written
over itself, which needs no room, and survives this process at once, the machine when
the kernel has written it back.
"""

import errno
import fcntl
import logging
import mmap
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pcap_zmq.disk.moving import Moving
from pcap_zmq.errors import (
    ConfigError,
    FormatError,
    OutputError,
    OutputPermissionError,
)
from pcap_zmq.formats import checkpoint as formats
from pcap_zmq.formats.checkpoint import Line, Link, Memory, Play, Slot
from pcap_zmq.packet import Instant, Octets
from pcap_zmq.units import NS_PER_S

logger = logging.getLogger(__name__)

RETRY_NS = NS_PER_S
"""How often to look whether a full disk has room again."""

COMPACT_BYTES = 1 << 20
"""Appended to at least so much, and to twice what it takes, it is written anew."""

KEPT_ITEMS = 100_000
"""Files that are over and still listed."""


class Checkpoint:
    """path: None remembers nothing beyond this process. resume: goes on with what an
    earlier one left; without, nothing may be there, or nothing that is unfinished.

    Raises ConfigError where another has it, or where it says nothing that is known;
    OutputError and OutputPermissionError where it cannot be written.
    """

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        self.memory = Memory()
        self._path = path
        self._fd = -1
        self._page: mmap.mmap | None = None
        self._moving: Moving | None = None
        self._end = self._compact_end = 0
        self._generation = 0
        self._noted: tuple[int, int] | None = None
        self._batches = self._packets = 0
        self._pending: list[bytes] = []
        self._due_ns: int | None = None
        self._has_told = False
        if path is not None:
            self._open(path, resume)

    def remember(self, *lines: Line) -> None:
        """To be saved. What is remembered counts from here on."""
        for line in lines:
            self.memory.take(line)
            if isinstance(line, Play) and not line.is_over:
                self._keep_slot(line)
            if self._path is not None:
                self._pending.append(formats.encode_line(line))

    def count_batch(self, packets: int) -> None:
        """A receiver has acknowledged one more; `note` tells of it."""
        self._batches += 1
        self._packets += packets

    def begin_link(self, link: Link) -> None:
        """Packets go to a receiver as this stream; those of another one are over."""
        if link == self.memory.link:
            return
        self._batches = self._packets = 0
        self._put_slot(replace(self.memory.slot, batches=0, packets=0))
        self.remember(link)

    def note(self, play: Play, arrived: int) -> None:
        """So many packets of it have arrived. At once: a kill may come next."""
        if play.arrived != arrived:
            play.arrived, play.octets = arrived, 0
        if self._fd < 0 or self._noted == (play.serial, arrived):
            return
        other = self.memory.plays.get(self._noted[0]) if self._noted else None
        if other is not None and other.serial != play.serial:
            # The slots have room for one: what they said of this goes into a line.
            self._pending.append(formats.encode_line(other))
            self._append_pending()
        self._noted = play.serial, arrived
        self._put_slot(Slot(play.serial, arrived, self._batches, self._packets))

    def move(
        self, play: Play, start: int, pipe: int, octets: Octets, at: int
    ) -> int | None:
        """The octets of a batch from `at` on into a pipe, as write(2) has it, so that
        how many went is known even if this process is killed meanwhile; all before its
        `start` must be noted. None: nothing is remembered, or nothing of the kind works
        here. Raises OSError."""
        if self._moving is None:
            return None
        try:
            return self._moving.move(play.serial, start, pipe, octets, at)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.EPERM}:
                raise
            # Whoever confines us has no use for splice(2).
            self._forget_moving()
            return None

    def moved(self, at: int) -> None:
        """Of what was moved last the pipe has so many octets, or its reader had."""
        if self._moving is not None:
            self._moving.set_at(at)

    def save(self, now: Instant) -> bool:
        """Whether all that is remembered is on the disk: nothing new shall begin
        before. False: it has no room, and is asked again."""
        if not self._pending:
            return True
        if self._path is None or self._fd < 0:
            self._pending.clear()
            return True
        if self._due_ns is not None and now.mono_ns < self._due_ns:
            return False
        try:
            if self._end > max(COMPACT_BYTES, 2 * self._compact_end):
                self._write_anew(self._path)
            else:
                self._append(b"".join(self._pending))
        except OSError as error:
            self._due_ns = now.mono_ns + RETRY_NS
            self._tell(error)
            return False
        self._pending.clear()
        self._due_ns = None
        if self._has_told:
            self._has_told = False
            logger.info("%s is written again", self._path)
        return True

    def due(self) -> int | None:
        """When to try again."""
        return self._due_ns

    def close(self) -> None:
        """What is known goes to the disk, if it can."""
        if self._fd < 0:
            return
        self._append_pending()
        self._forget_moving()
        with suppress(OSError):
            os.fdatasync(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _open(self, path: Path, resume: bool) -> None:
        try:
            octets = self._read(path)
            if octets is not None and resume:
                self.memory = formats.decode(octets)
                self._batches = self.memory.slot.batches
                self._packets = self.memory.slot.packets
            elif octets and not _is_over(formats.decode(octets)):
                raise ConfigError(
                    f"--checkpoint {path} is of a dispatch that did not come to its "
                    "end: go on with it (--resume), or remove it"
                )
            self._write_anew(path)
        except FormatError as error:
            self.close()
            raise ConfigError(
                f"--checkpoint {path}: {error}; name another file, or remove this one"
            ) from error
        except PermissionError as error:
            self.close()
            raise OutputPermissionError(
                f"--checkpoint {path} may not be written: {error.strerror}"
            ) from error
        except OSError as error:
            self.close()
            raise OutputError(
                f"--checkpoint {path} cannot be written: {error.strerror}"
            ) from error
        except BaseException:
            self.close()
            raise

    def _read(self, path: Path) -> bytes | None:
        """None: there is none."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        self._lock(self._fd)
        with os.fdopen(os.dup(self._fd), "rb") as file:
            return file.read()

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"--checkpoint {self._path} is in use by another dispatch; give each "
                "one of its own"
            ) from error

    def _write_anew(self, path: Path) -> None:
        """All that is remembered in as few lines as it takes, under the name at once.
        The lock is never given up in between."""
        _forget_old(self.memory)
        part = path.with_name(f".{path.name}.part")
        # What an end in between has left; and nobody else's shall become ours.
        part.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(part, flags, 0o600)
        try:
            self._lock(fd)
            lines = map(formats.encode_line, self.memory.lines())
            end = _write_all(
                fd, formats.encode_head(self.memory.slot) + b"".join(lines), 0
            )
            os.fsync(fd)
            page = mmap.mmap(fd, formats.LINES_AT)
            part.replace(path)
        except BaseException:
            os.close(fd)
            with suppress(OSError):
                part.unlink()
            raise
        self._forget_moving()
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._noted = fd, None
        self._page, self._moving = page, Moving(page, formats.MOVING_AT)
        self._end = self._compact_end = end
        self._pending.clear()
        _sync_folder(path)

    def _put_slot(self, slot: Slot) -> None:
        self.memory.slot = slot
        if self._fd < 0:
            return
        self._generation += 1
        at = formats.SLOT_OFFSETS[self._generation % formats.SLOTS]
        try:
            os.pwrite(self._fd, formats.encode_slot(self._generation, slot), at)
        except OSError as error:
            self._tell(error)

    def _keep_slot(self, play: Play) -> None:
        """What a slot says of it shall not be older than its line."""
        if self._noted is not None and self._noted[0] == play.serial:
            self.note(play, play.arrived)

    def _append_pending(self) -> None:
        try:
            self._append(b"".join(self._pending))
        except OSError as error:
            self._tell(error)
        else:
            self._pending.clear()

    def _append(self, octets: bytes) -> None:
        try:
            end = _write_all(self._fd, octets, self._end)
        except OSError:
            # Half a line would be the end of all that comes after it.
            os.ftruncate(self._fd, self._end)
            raise
        os.fdatasync(self._fd)
        self._end = end

    def _forget_moving(self) -> None:
        if self._moving is not None and self._page is not None:
            self._moving.close()
            self._page.close()
            self._moving = self._page = None

    def _tell(self, error: OSError) -> None:
        if self._has_told:
            return
        self._has_told = True
        logger.warning(
            "%s cannot be written: %s; no other file begins until it can",
            self._path,
            error.strerror,
        )


def _is_over(memory: Memory) -> bool:
    return not memory.plays and all(i.where.is_over for i in memory.items.values())


def _forget_old(memory: Memory) -> None:
    """The oldest of those that are over."""
    over = [item for item in memory.items.values() if item.where.is_over]
    for item in over[: max(0, len(over) - KEPT_ITEMS)]:
        del memory.items[item.number]


def _write_all(fd: int, octets: bytes, at: int) -> int:
    rest = memoryview(octets)
    while rest:
        written = os.pwrite(fd, rest, at)
        if not written:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest, at = rest[written:], at + written
    return at


def _sync_folder(path: Path) -> None:
    """The name is on the disk, too."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
