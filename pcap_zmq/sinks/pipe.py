"""Batches out to a pipe whose reader is slow, leaves and has a successor.

Specification: pipe(7); what is in it: formats/file_format.py.

Theory of operation.

    state     entered when                         on the way out
    ABSENT    there is no reader                   there is one
    GREETING  the file header is in the pipe       it has been read out
    OPEN      records may follow                   the reader has left (POLLERR, EPIPE)

The header is written alone, and records follow once it has been read: a reader that
sets up its buffer after reading the header (Suricata 8.0 does) would lose what it had
read along with it.

When a reader leaves, what it left in the pipe is still there to be measured (FIONREAD).
Whatever it had not read whole is written again for the next reader: nothing is lost in
between, nothing is given twice, and no record is ever torn. Who finds a reader, and
how, is a subclass's: that of a FIFO comes by itself, that of a child is started.
"""

import contextlib
import enum
import fcntl
import os
import select
import sys
import termios
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.counters import Follower, OutputCounts, Reason
from pcap_zmq.formats.file_format import FileFormat
from pcap_zmq.packet import Batch, Instant, Octets
from pcap_zmq.poll import BROKEN, WRITABLE, Watch

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
    octets: memoryview
    receipt: Any
    section: object


@dataclass(frozen=True, slots=True)
class _Left:
    """Whole records that an earlier reader left unread; or a last word."""

    octets: Octets
    count: int
    receipt: Any
    section: object


class PipeSink(ABC):
    """One stream of `file_format` per reader. name: of the pipe, for people. linktype:
    None takes the first batch's."""

    def __init__(
        self,
        name: str,
        *,
        linktype: int | None,
        file_format: FileFormat,
        counters: OutputCounts,
    ) -> None:
        self.state = State.ABSENT
        self._name = name
        self._linktype = linktype
        self._format = file_format
        self._counters = counters
        self._fd = -1
        self._poll = select.poll()
        self._capacity = 0
        self._header = b""
        self._header_at = 0
        # Octets given to this reader so far, from the file header on.
        self._given = 0
        # Given whole and perhaps still in the pipe.
        self._recent: deque[_Given] = deque()
        # What an earlier reader left unread: goes out before anything new.
        self._again: deque[_Left] = deque()
        self._again_at = 0
        # The batch on offer: what became of it, how far that has been given, and from
        # where to this reader.
        self._offered: Octets = b""
        self._offered_section: object = None
        self._offered_receipt: Any = None
        self._offered_at = self._offered_base = 0
        self._due_ns: int | None = 0
        self._sip_ns = SIP_NS
        self._is_full = False
        self._is_finishing = False
        self._arrived: list[Any] = []

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
            self._forget_reader(now)
        if self.state is State.GREETING and self._due_ns is None:
            if self._unread() == 0 and self._header_at == len(self._header):
                self.state = State.OPEN
            else:
                self._greet(now)
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
        if not self._offered:
            self._offered = self._format.encode(item, now)
            self._offered_section = self._format.section
            self._offered_receipt = item.receipt
        octets = self._offered
        self._offered_at = self._write(octets, self._offered_at, now, item.receipt)
        if self._offered_at < len(octets):
            self._note_begun(item.receipt, octets, self._offered_at)
            return False
        unread = memoryview(octets)[self._offered_base :]
        self._remember(unread, item.receipt, self._offered_section)
        self._offered = b""
        self._offered_at = self._offered_base = 0
        self._counters.count_written(item.receipt, item.count)
        self._counters.count_bytes(len(octets))
        self._arrive(item)
        return True

    def cut(self) -> int:
        """Of the batch on offer nothing is to be written that is not begun: how many
        packets, its first, still have to be offered, as a batch of their own."""
        begun, end = self._format.cut(self._offered, self._offered_at)
        self._offered = memoryview(self._offered)[:end]
        if not begun:
            self._offered = b""
            self._offered_at = self._offered_base = 0
        return begun

    def skip(self, item: Batch) -> None:
        """It will not be offered: whoever dropped it has counted it."""
        self._format.skip(item)

    def arrived(self) -> Sequence[Any]:
        """What was taken is in the output."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def finish(self, deadline_ns: int | None) -> None:
        """Nothing more will be offered; what was given is still to be read."""
        has_reader = self.state is not State.ABSENT
        if has_reader and not self._is_finishing and not self._offered:
            last = self._format.end()
            if last:
                self._again.append(_Left(last, 0, None, self._format.section))
        self._is_finishing = True
        # Nothing else may be on its way that would make another turn.
        self._due_ns = 0

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

    # The reader.

    @abstractmethod
    def _find_reader(self, now: Instant) -> int | None:
        """The writing end, which does not wait, of an empty pipe that has a reader.
        None: there is none now; `_due_ns` then says when to ask again."""

    @abstractmethod
    def _forgotten(self, now: Instant) -> None:
        """The reader has left, and its pipe is closed."""

    def _look_for_reader(self, now: Instant) -> None:
        if self._linktype is None:
            self._due_ns = now.mono_ns + LOOK_NS
            return
        fd = self._find_reader(now)
        if fd is None:
            return
        self._fd = fd
        self._capacity = _enlarge(fd)
        self._poll.register(fd, 0)
        self._counters.count_reader()
        self._header = self._format.header(self._linktype, self._next_section())
        self._given = 0
        # An empty pipe takes a savefile's whole.
        self._header_at = self._write(self._header, 0, now)
        self.state = State.GREETING
        self._sip_ns = SIP_NS
        self._is_full = False
        self._due_ns = None

    def _next_section(self) -> object:
        """Of what the next reader gets first; None: that has yet to be encoded."""
        if self._again:
            return self._again[0].section
        return self._offered_section if self._offered else None

    def _greet(self, now: Instant) -> None:
        """The rest of a long header, and patience."""
        self._header_at = self._write(self._header, self._header_at, now)
        # A reader that stands still costs ever less.
        self._sip_ns = min(2 * self._sip_ns, LOOK_NS)
        self._due_ns = now.mono_ns + self._sip_ns

    def _has_reader_left(self) -> bool:
        return any(events & select.POLLERR for _, events in self._poll.poll(0))

    def _unread(self) -> int:
        return unread_octets(self._fd)

    def _forget_reader(self, now: Instant) -> None:
        """Keeps for the next reader what this one has not read whole."""
        read = self._given - self._unread()
        left: deque[_Left] = deque()
        for given in self._recent:
            at = read - given.start
            octets = given.octets[self._first_unread(left, given, at) :]
            if octets:
                count = self._format.count(octets)
                self._counters.count_written(given.receipt, -count)
                left.append(_Left(octets, count, given.receipt, given.section))
        for place, waiting in enumerate(self._again):
            # It was being given the first of them.
            at = 0 if place else read - (self._given - self._again_at)
            octets = memoryview(waiting.octets)[self._first_unread(left, waiting, at) :]
            count = self._format.count(octets)
            self._note_begun(waiting.receipt, waiting.octets, 0)
            if count < waiting.count:
                self._count_again(waiting, waiting.count - count)
            if count or (octets and not self._is_finishing):
                left.append(_Left(octets, count, waiting.receipt, waiting.section))
        if self._offered:
            at = read - (self._given - self._offered_at)
            is_declared = not left or left[0].section is self._offered_section
            # What lies before the base an earlier reader has read.
            self._offered_base = self._format.first_unread(
                self._offered, max(self._offered_base, at), is_declared=is_declared
            )
            self._offered_at = self._offered_base
            self._note_begun(self._offered_receipt, self._offered, self._offered_at)
        self._again = left
        self._again_at = 0
        self._recent.clear()
        self._poll.unregister(self._fd)
        os.close(self._fd)
        self._fd = -1
        self.state = State.ABSENT
        self._due_ns = None
        self._forgotten(now)

    def _first_unread(
        self, left: Sequence[_Left], given: _Given | _Left, read: int
    ) -> int:
        """From where on it is kept for the next reader, whose header is that of the
        first that is left."""
        is_declared = not left or left[0].section is given.section
        return self._format.first_unread(given.octets, read, is_declared=is_declared)

    # Into the pipe.

    def _write(
        self, octets: Octets, at: int, now: Instant, receipt: object = None
    ) -> int:
        """Gives as much as the pipe takes; returns how far it came. receipt: of the
        batch that these are, for who wants to know to the octet."""
        rest = memoryview(octets)[at:]
        written = None
        try:
            if isinstance(receipt, Follower):
                written = receipt.give(self._fd, octets, at)
            if written is None:
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
            self._again_at = self._write(head.octets, self._again_at, now)
            if self._again_at < len(head.octets):
                self._note_begun(head.receipt, head.octets, self._again_at)
                return
            self._again.popleft()
            self._again_at = 0
            self._count_again(head, head.count)
            self._remember(memoryview(head.octets), head.receipt, head.section)

    def _count_again(self, left: _Left, packets: int) -> None:
        self._counters.count_replayed(packets)
        self._counters.count_written(left.receipt, packets)

    def _note_begun(self, receipt: object, octets: Octets, at: int) -> None:
        """Of the octets of a batch the pipe has so many."""
        if isinstance(receipt, Follower):
            whole = self._format.whole(octets, at)
            receipt.note_begun(self._format.count(memoryview(octets)[:whole]), at)

    def _remember(self, octets: memoryview, receipt: object, section: object) -> None:
        """What was given whole is kept as long as it may be unread in the pipe."""
        start = self._given - len(octets)
        self._recent.append(_Given(start, octets, receipt, section))
        surely_read = self._given - self._capacity
        while self._recent:
            oldest = self._recent[0]
            if oldest.start + len(oldest.octets) > surely_read:
                break
            self._recent.popleft()


def unread_octets(fd: int) -> int:
    """Octets in a pipe, of either end."""
    answer = fcntl.ioctl(fd, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def _enlarge(fd: int) -> int:
    """Makes a pipe as large as it may be, and says how large that is."""
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        return PIPE_BYTES
    with contextlib.suppress(OSError):
        # Above the user's share of pipe pages the kernel says EPERM: pipe(7).
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
