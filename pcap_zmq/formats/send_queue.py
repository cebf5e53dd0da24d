"""The batches that a sender holds: numbered, in order, each until it is acknowledged.

Specification: docs/spool.md for what lies on the disk.

Theory of operation. The head is in memory: batches that have their numbers and are
under way or about to be. Without a spool that is all. With one, batches that the head
has no room for go to the disk, and come back into the head, and get their numbers, when
they are to be sent. As long as the disk holds anything that the head has not taken,
every new batch goes there, behind it.

Before anything is appended to the disk, what the head holds in memory only is written
there. So the disk, where it is not empty, holds everything from the first batch that is
not acknowledged, without a hole but at its end: that is what a number's place rests on
when the next run of the sender reads it. While the link is up and the receiver keeps
up, the disk is empty and nothing is written to it.

A batch has arrived when it is acknowledged, or on the disk: from there it goes on even
if we are killed. Then its receipt is in `arrived`, in the order of the batches: nothing
of the head is behind what is on the disk. What is given up from memory never arrives.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.spool import Place
from pcap_zmq.formats.spool_state import SENT_ENTRIES, Left
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import EncodedBatch


@dataclass(frozen=True, slots=True)
class Record:
    """What lay on the disk for one number. batch: None where only its packet count is
    left, and why."""

    place: Place
    batch: EncodedBatch | None
    lost: int = 0
    reason: Reason = Reason.SENDER_GONE


class Spool(Protocol):
    """First in, first out, on a disk, over restarts; written to by one sender."""

    @property
    def left(self) -> Left | None:
        """What an earlier run left; it is what `take` gives first."""

    @property
    def unread_packets(self) -> int:
        """On the disk and not taken yet."""

    @property
    def has_unread(self) -> bool:
        """Whether `take` may have something."""

    def append(self, batch: EncodedBatch, *, is_taken: bool) -> Place | None:
        """Writes a batch behind all others; None: not now, or no room. is_taken: it is
        in the head as well; allowed while nothing is unread."""

    def next_length(self) -> int | None:
        """Octets of payload that the next `take` gives; None: it gives nothing."""

    def take(self) -> Record | None:
        """The first unread record. It stays on the disk until `save` passes it."""

    def note_sent(self, sequence: int, count: int) -> None:
        """This batch goes out, with so many packets."""

    def sent_with(self, sequence: int) -> int | None:
        """How many packets it was last sent with; None: not known any more."""

    def save(
        self,
        stream: StreamId,
        first: int,
        sent: int,
        place: Place | None,
        totals: bytes,
    ) -> None:
        """Writes down where the sender stands, and gives back what lies before `place`;
        None: before the first unread record."""


@dataclass(slots=True)
class Held:
    """A batch of the head. What died before it could be sent still has a number, and
    goes as a batch of no packets, unless the receiver turns out to have it."""

    sequence: int
    batch: EncodedBatch
    cost: int
    place: Place | None
    """Where it is on the disk; None: only here."""
    lost: int = 0
    reason: Reason = Reason.SENDER_GONE
    is_given_up: bool = False
    """It has gone as a batch of no packets."""
    receipt: object = None
    """Of a batch that has not arrived, where somebody wants to know."""

    @property
    def packets(self) -> int:
        """That it stands for."""
        return self.batch.count + self.lost


FAR = 1 << 40
"""Batches that an earlier run may have sent, for all we know."""


class SendQueue:
    """At most `queue_bytes` in memory, or one batch; the rest in the spool, if any."""

    def __init__(
        self, queue_bytes: int, counters: SenderCounters, spool: Spool | None = None
    ) -> None:
        self.held_bytes = 0
        """In memory, as the link counts costs."""
        self.is_shelving = False
        """Nobody is there to send to: whatever comes goes to the disk at once."""
        self.last = 0
        """The last number that was given."""
        self.sent = 0
        """The last number that was ever sent, by an earlier run too."""
        self.arrived: list[object] = []
        """Receipts of what has arrived, for whoever empties it."""
        self._queue_bytes = queue_bytes
        self._counters = counters
        self._spool = spool
        self._head: deque[Held] = deque()
        self._head_packets = 0
        self._shelved = 0
        """So many of the head, from its first on, are on the disk as well."""
        self._shelved_packets = 0
        if spool is not None and spool.left is not None:
            self.last = spool.left.first - 1
            self.sent = spool.left.sent

    @property
    def held_packets(self) -> int:
        """In memory and on the disk."""
        unread = self._spool.unread_packets if self._spool is not None else 0
        return self._head_packets + unread

    @property
    def shelved_packets(self) -> int:
        """Of those, on the disk."""
        unread = self._spool.unread_packets if self._spool is not None else 0
        return self._shelved_packets + unread

    @property
    def expected(self) -> Iterator[tuple[object, int]]:
        """Receipts of what has not arrived, with the packets of each."""
        return ((h.receipt, h.packets) for h in self._head if h.receipt is not None)

    @property
    def linktype(self) -> int | None:
        """Of the first batch that is held, also on the disk; None: none is known."""
        if not self._head:
            self.load()
        found = (h.batch.linktype for h in self._head if h.batch is not _NOTHING)
        return next(found, None)

    @property
    def first(self) -> int:
        """The number of the first batch that is not acknowledged."""
        return self._head[0].sequence if self._head else self.last + 1

    @property
    def is_empty(self) -> bool:
        """Nothing is held, nor waits on the disk."""
        return not self._head and not self._has_unread

    @property
    def is_half_full(self) -> bool:
        """What is not acknowledged soon may be in the way of what comes."""
        return 2 * self.held_bytes >= self._queue_bytes

    @property
    def is_at_risk(self) -> bool:
        """There is a disk, and something that is not on it."""
        return self._spool is not None and self._shelved < len(self._head)

    @property
    def _has_unread(self) -> bool:
        return self._spool is not None and self._spool.has_unread

    def begin_at(self, first: int) -> None:
        """An earlier run has had an acknowledgement of all batches before this number,
        and may have sent some from there on: these come again. Before any offer."""
        self.last = first - 1
        self.sent = self.last + FAR

    def offer(self, batch: EncodedBatch) -> bool:
        """Takes the batch; False where neither memory nor disk has room for it."""
        cost = wire.cost_of(len(batch.payload))
        is_next = self._has_room(cost) and not self._has_unread
        if is_next and not self.is_shelving:
            self._hold(batch, cost, None)
            return True
        place = self._append(batch, is_taken=is_next)
        if is_next:
            # A disk that takes no more is no reason to drop what memory can hold.
            self._hold(batch, cost, place)
        elif place is not None and batch.receipt is not None:
            self.arrived.append(batch.receipt)
        return is_next or place is not None

    def has_room(self, octets: int) -> bool:
        """Whether memory can hold a batch of so many."""
        return self._has_room(wire.cost_of(octets))

    def load(self) -> bool:
        """Takes one more batch from the disk into the head; False: not now."""
        length = self._spool.next_length() if self._spool is not None else None
        if length is None or not self._has_room(wire.cost_of(length)):
            return False
        return self._load()

    def reach(self, sequence: int) -> None:
        """Takes from the disk up to this number, whether there is room or not: the
        receiver has it."""
        while self.last < sequence and self._load():
            pass

    def look(self, sequence: int) -> Held:
        """The batch of this number, which is held."""
        # Numbers in the head have no gap, so a number tells the place.
        return self._head[sequence - self._head[0].sequence]

    def costs_before(self, sequence: int) -> int:
        """Of what is held with lower numbers."""
        return sum(held.cost for held in self._head if held.sequence < sequence)

    def send(self, sequence: int) -> Held:
        """The batch of this number goes out now."""
        held = self.look(sequence)
        held.is_given_up = held.lost > 0
        self.sent = max(self.sent, sequence)
        if self._spool is not None:
            self._spool.note_sent(sequence, held.batch.count)
        return held

    def acknowledge(self, written: int) -> Iterator[Held]:
        """Lets go of each batch up to this number."""
        while self.first <= written and (self._head or self._load()):
            held = self._head.popleft()
            self.held_bytes -= held.cost
            self._head_packets -= held.packets
            if held.place is not None:
                self._shelved -= 1
                self._shelved_packets -= held.packets
            if held.is_given_up:
                self._counters.dropped[held.reason] += held.lost
            else:
                self._counters.acknowledged += held.packets
            if held.receipt is not None:
                self._note_arrival(held)
            yield held

    def withdraw(self) -> list[EncodedBatch]:
        """Gives back, in their order, the batches that were never sent: their numbers
        are free again. Only without a spool, whose numbers are bound."""
        withdrawn = []
        while self._head and self._head[-1].sequence > self.sent:
            held = self._head.pop()
            self.last -= 1
            self.held_bytes -= held.cost
            self._head_packets -= held.packets
            withdrawn.append(held.batch)
        return withdrawn[::-1]

    def shelve(self) -> bool:
        """Writes to the disk what is in memory only; False where some of it is left."""
        if self._spool is None:
            return False
        while self._shelved < len(self._head):
            held = self._head[self._shelved]
            held.place = self._spool.append(held.batch, is_taken=True)
            if held.place is None:
                return False
            self._shelved += 1
            self._shelved_packets += held.packets
            if held.receipt is not None:
                self._note_arrival(held)
        return True

    def abandon(self) -> int:
        """Gives up what is not on the disk; returns how many packets. Who wants to
        know of a batch is told nothing: it has not arrived."""
        self.shelve()
        dropped = 0
        while len(self._head) > self._shelved:
            held = self._head.pop()
            dropped += held.packets
            self.held_bytes -= held.cost
        self._head_packets -= dropped
        self._counters.dropped[Reason.SHUTDOWN] += dropped
        return dropped

    def save(self, stream: StreamId, totals: Callable[[], bytes]) -> None:
        """Writes down where the sender stands, for the next run."""
        if self._spool is not None:
            place = self._head[0].place if self._head else None
            self._spool.save(stream, self.first, self.sent, place, totals())

    def may_send(self, sequence: int) -> bool:
        """Whether this number is there to be sent, from the disk if need be. A spool
        remembers only so many under way."""
        if self._spool is None:
            return sequence <= self.last
        is_there = sequence <= self.last or self.load()
        return is_there and sequence - self.first < SENT_ENTRIES

    def has_more(self, sequence: int) -> bool:
        """Whether there is this number, or will be, without another offer."""
        return sequence <= self.last or self._has_unread

    def _has_room(self, cost: int) -> bool:
        return not self._head or self.held_bytes + cost <= self._queue_bytes

    def _append(self, batch: EncodedBatch, *, is_taken: bool) -> Place | None:
        if self._spool is None or not self.shelve():
            return None
        return self._spool.append(batch, is_taken=is_taken)

    def _hold(
        self,
        batch: EncodedBatch,
        cost: int,
        place: Place | None,
        lost: int = 0,
        reason: Reason = Reason.SENDER_GONE,
    ) -> Held:
        self.last += 1
        held = Held(self.last, batch, cost, place, lost, reason, receipt=batch.receipt)
        self._head.append(held)
        self.held_bytes += cost
        self._head_packets += held.packets
        if place is not None:
            self._shelved += 1
            self._shelved_packets += held.packets
            if held.receipt is not None:
                self._note_arrival(held)
        return held

    def _note_arrival(self, held: Held) -> None:
        self.arrived.append(held.receipt)
        held.receipt = None

    def _load(self) -> bool:
        spool = self._spool
        record = spool.take() if spool is not None else None
        if spool is None or record is None:
            return False
        if record.batch is not None:
            cost = wire.cost_of(len(record.batch.payload))
            self._hold(record.batch, cost, record.place)
            return True
        held = self._hold(
            _NOTHING, wire.cost_of(0), record.place, record.lost, record.reason
        )
        if held.sequence <= self.sent:
            held.is_given_up = spool.sent_with(held.sequence) == 0
        return True


_NOTHING = EncodedBatch(linktype=0, count=0, codec=0, raw_length=0, payload=b"")
