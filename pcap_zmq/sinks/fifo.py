"""Batches out to a named pipe whose reader comes, is slow, leaves and comes back.

Specification: fifo(7), pipe(7), pcap-savefile(5).

Theory of operation.

    state     entered when                         on the way out
    ABSENT    there is no reader (ENXIO)           a reader has opened it
    GREETING  the file header is in the pipe       it has been read out
    OPEN      records may follow                   the reader has left (POLLERR, EPIPE)

The header is written alone, and records follow once it has been read: a reader that
sets up its buffer after reading the header (Suricata 8.0 does) would lose what it had
read along with it. As soon as a reader has opened the FIFO, a fresh one takes its place
in the directory, so that the next reader cannot get at this one's pipe and the torn
record in it.

When a reader leaves, what it left in the pipe is still there to be measured (FIONREAD).
Whatever it had not read whole is written again for the next reader: nothing is lost in
between, nothing is given twice, and no record is ever torn.
"""

import contextlib
import enum
import errno
import fcntl
import logging
import os
import select
import stat
import sys
import termios
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcap_ffi import count_records, whole_records
from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats import savefile
from pcap_zmq.packet import Batch, Instant, Octets
from pcap_zmq.poll import BROKEN, WRITABLE, Watch

logger = logging.getLogger(__name__)

PIPE_BYTES = 1 << 20
"""What an unprivileged process may set by default: fs.pipe-max-size."""

LOOK_NS = 50 * NS_PER_MS
"""How often to look for a reader: nothing tells of one that waits in open(2)."""

SIP_NS = NS_PER_MS
"""How often to look whether the header was read, and for room after some was found."""


class State(enum.Enum):
    """Where the reader is."""

    ABSENT = "no reader"
    GREETING = "the header waits to be read"
    OPEN = "records flow"


@dataclass(frozen=True, slots=True)
class _Given:
    """Whole records that may still be in the pipe."""

    start: int
    """Octets that this reader was given before them."""
    records: memoryview
    receipt: Any


@dataclass(frozen=True, slots=True)
class _Left:
    """Whole records that an earlier reader left unread."""

    records: Octets
    count: int
    receipt: Any


class FifoSink:
    """One pcap stream per reader. linktype: None takes the first batch's.

    Makes the FIFO with mode 0600 where there is none. Raises OutputError and
    OutputPermissionError where it cannot be had.
    """

    def __init__(
        self,
        path: Path,
        *,
        linktype: int | None,
        nanoseconds: bool,
        counters: ReceiverCounters,
    ) -> None:
        self.state = State.ABSENT
        # Not the link to it: whoever opens it by its own name shall find the next one.
        self._path = path.resolve()
        self._linktype = linktype
        self._nanoseconds = nanoseconds
        self._counters = counters
        self._fd = -1
        self._poll = select.poll()
        self._capacity = 0
        # Octets given to this reader so far, from the file header on.
        self._given = 0
        # Given whole and perhaps still in the pipe.
        self._recent: deque[_Given] = deque()
        # What an earlier reader left unread: goes out before anything new.
        self._again: deque[_Left] = deque()
        self._again_at = 0
        # The batch on offer: how far it has been given, and from where to this reader.
        self._offered: Octets = b""
        self._offered_at = self._offered_base = 0
        self._due_ns: int | None = 0
        self._sip_ns = SIP_NS
        self._is_full = False
        self._is_finishing = False
        self._arrived: list[Any] = []
        self._ensure_fifo()

    @property
    def held(self) -> Sequence[_Left]:
        """What a reader that died had not read out of the pipe: it was written, and is
        to be written again."""
        return tuple(self._again)

    def serve(self, now: Instant) -> None:
        """Looks for a reader, or whether it is still there."""
        if self._due_ns is not None and now.mono_ns >= self._due_ns:
            self._due_ns = None
        if self.state is State.ABSENT and self._due_ns is None:
            self._look_for_reader(now)
        if self.state is not State.ABSENT and self._has_reader_left():
            self._forget_reader()
        if self.state is State.GREETING and self._due_ns is None:
            if self._unread() == 0:
                self.state = State.OPEN
            else:
                # A reader that stands still costs ever less.
                self._sip_ns = min(2 * self._sip_ns, LOOK_NS)
                self._due_ns = now.mono_ns + self._sip_ns
        if self.state is State.OPEN and self._again:
            self._give_again(now)
        if self.state is State.OPEN and self._is_finishing and self._due_ns is None:
            self._sip_ns = min(2 * self._sip_ns, LOOK_NS)
            self._due_ns = now.mono_ns + self._sip_ns

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Room in the pipe where something waits for it; the reader's leaving."""
        if self._fd < 0:
            return
        waits = (wanted or self._again) and self.state is State.OPEN
        if waits and self._is_full and self._due_ns is None:
            yield Watch(self._fd, WRITABLE)
        else:
            yield Watch(self._fd, BROKEN)

    def due(self) -> int | None:
        """When to look again for a reader, for the header's having been read, for
        room."""
        return self._due_ns

    def offer(self, item: Batch, now: Instant) -> bool:
        """True once every octet of it is in the pipe. The same batch is offered until
        then; what was given of it is remembered."""
        if self._linktype is None:
            self._linktype = item.linktype
            self._due_ns = None
            self.serve(now)
        if not item.records:
            self._arrive(item)
            return True
        if self.state is not State.OPEN or self._again:
            return False
        self._offered = item.records
        self._offered_at = self._write(item.records, self._offered_at, now)
        if self._offered_at < len(item.records):
            return False
        self._remember(memoryview(item.records)[self._offered_base :], item.receipt)
        self._offered = b""
        self._offered_at = self._offered_base = 0
        self._counters.count_written(item.receipt, item.count)
        self._counters.written_bytes += len(item.records)
        self._arrive(item)
        return True

    def arrived(self) -> Sequence[Any]:
        """What was taken is in the output."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def finish(self, deadline_ns: int | None) -> None:
        """Nothing more will be offered; what was given is still to be read."""
        self._is_finishing = True

    def is_finished(self) -> bool:
        """Everything has been read out of the pipe: until then a reader that leaves has
        a successor, who gets the rest."""
        if not self._is_finishing or self._again:
            return False
        return self.state is State.ABSENT or self._unread() == 0

    def abandon(self) -> None:
        """Gives up what an earlier reader left, and counts it."""
        for left in self._again:
            self._counters.count_dropped(left.receipt, Reason.NO_READER, left.count)
        self._again.clear()

    def close(self) -> None:
        """Ends the reader's stream: it reads the rest, then the end of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _arrive(self, item: Batch) -> None:
        if item.receipt is not None:
            self._arrived.append(item.receipt)

    # The FIFO in the directory.

    def _ensure_fifo(self) -> None:
        try:
            if not self._path.exists():
                os.mkfifo(self._path, 0o600)
            if not stat.S_ISFIFO(self._path.stat().st_mode):
                raise ConfigError(f"{self._path} is no FIFO")
        except PermissionError as error:
            raise OutputPermissionError(
                f"{self._path} may not be made: {error.strerror}; run as a user who "
                "may (--user)"
            ) from error
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be made: {error.strerror}"
            ) from error
        if not os.access(self._path, os.W_OK):
            raise OutputPermissionError(
                f"{self._path} may not be written; run as a user who may (--user)"
            )

    def _put_fresh_fifo(self) -> None:
        """The next reader shall open another pipe than this one's."""
        mine, fresh = (
            os.fstat(self._fd),
            self._path.with_name(f".{self._path.name}.new"),
        )
        try:
            there = self._path.stat()
            if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
                return
            fresh.unlink(missing_ok=True)
            os.mkfifo(fresh, 0o600)
            if (mine.st_uid, mine.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(fresh, mine.st_uid, mine.st_gid)
            fresh.chmod(stat.S_IMODE(mine.st_mode))
            fresh.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            logger.warning(
                "%s cannot be replaced for the next reader (%s): one that opens it "
                "in the same moment as another leaves may find a torn record; let "
                "this user write to the directory and own the FIFO",
                self._path,
                error.strerror,
            )

    # The reader.

    def _look_for_reader(self, now: Instant) -> None:
        self._due_ns = now.mono_ns + LOOK_NS
        if self._linktype is None:
            return
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENOENT:
                self._ensure_fifo()
            elif error.errno != errno.ENXIO:
                raise OutputError(
                    f"{self._path} cannot be opened: {error.strerror}"
                ) from error
            return
        if not stat.S_ISFIFO(os.fstat(self._fd).st_mode):
            raise OutputError(f"{self._path} is no FIFO any more")
        if self._unread():
            # Somebody else's octets; what a reader makes of them is not ours to say.
            os.close(self._fd)
            self._fd = -1
            return
        self._capacity = _enlarge(self._fd)
        self._poll.register(self._fd, 0)
        self._put_fresh_fifo()
        self._counters.readers += 1
        logger.info("a reader has opened %s", self._path)
        header = savefile.encode_file_header(
            self._linktype, nanoseconds=self._nanoseconds
        )
        try:
            # An empty pipe takes so little whole.
            self._given = os.write(self._fd, header)
        except BrokenPipeError:
            self._given = 0
        self.state = State.GREETING
        self._sip_ns = SIP_NS
        self._is_full = False
        self._due_ns = None

    def _has_reader_left(self) -> bool:
        return any(events & select.POLLERR for _, events in self._poll.poll(0))

    def _unread(self) -> int:
        """Octets in the pipe."""
        answer = fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, sys.byteorder)

    def _forget_reader(self) -> None:
        """Keeps for the next reader what this one has not read whole."""
        read = self._given - self._unread()
        unread: deque[_Left] = deque()
        for given in self._recent:
            records = given.records[_first_unread(given.records, read - given.start) :]
            if records:
                count = count_records(records)
                self._counters.count_written(given.receipt, -count)
                unread.append(_Left(records, count, given.receipt))
        if self._again:
            head = self._again.popleft()
            start = self._given - self._again_at
            first = _first_unread(head.records, read - start)
            rest = memoryview(head.records)[first:]
            count = count_records(rest)
            self._count_again(head, head.count - count)
            if rest:
                unread.append(_Left(rest, count, head.receipt))
        elif self._offered:
            start = self._given - self._offered_at
            first = _first_unread(self._offered, read - start)
            # What lies before the base an earlier reader has read.
            self._offered_base = max(self._offered_base, first)
            self._offered_at = self._offered_base
        unread.extend(self._again)
        self._again = unread
        self._again_at = 0
        self._recent.clear()
        self._poll.unregister(self._fd)
        os.close(self._fd)
        self._fd = -1
        self.state = State.ABSENT
        self._due_ns = None
        logger.info("the reader of %s has left", self._path)

    # Into the pipe.

    def _write(self, records: Octets, at: int, now: Instant) -> int:
        """Gives as much as the pipe takes; returns how far it came."""
        rest = memoryview(records)[at:]
        try:
            written = os.write(self._fd, rest)
        except BlockingIOError:
            self._is_full = True
            return at
        except BrokenPipeError:
            # Nothing was taken. That the reader has left is noticed in the next turn.
            return at
        self._given += written
        self._is_full = written < len(rest)
        if self._is_full:
            # Better a little later and more at once than for every page of room.
            self._due_ns = now.mono_ns + SIP_NS
        return at + written

    def _give_again(self, now: Instant) -> None:
        while self._again:
            head = self._again[0]
            self._again_at = self._write(head.records, self._again_at, now)
            if self._again_at < len(head.records):
                return
            self._again.popleft()
            self._again_at = 0
            self._count_again(head, head.count)
            self._remember(memoryview(head.records), head.receipt)

    def _count_again(self, left: _Left, packets: int) -> None:
        self._counters.replayed += packets
        self._counters.count_written(left.receipt, packets)

    def _remember(self, records: memoryview, receipt: object) -> None:
        """Records given whole are kept as long as they may be unread in the pipe."""
        self._recent.append(_Given(self._given - len(records), records, receipt))
        surely_read = self._given - self._capacity
        while self._recent:
            oldest = self._recent[0]
            if oldest.start + len(oldest.records) > surely_read:
                break
            self._recent.popleft()


def _first_unread(records: Octets, read: int) -> int:
    """Where the first record starts that does not lie whole in the first `read`
    octets."""
    return whole_records(records, max(0, read))


def _enlarge(fd: int) -> int:
    """Makes a pipe as large as it may be, and says how large that is."""
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        return PIPE_BYTES
    with contextlib.suppress(OSError):
        # Above the user's share of pipe pages the kernel says EPERM: pipe(7).
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
