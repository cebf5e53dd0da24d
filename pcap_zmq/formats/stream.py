"""What a receiver knows of one run of one sender, and where its packets are.

Specification: docs/wire.md, docs/ledger.md.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from link_ffi import Lane, Share, Shares, totals_of
from pcap_zmq.counters import Reason
from pcap_zmq.formats import wire
from pcap_zmq.formats.clock_offset import ClockOffset
from pcap_zmq.formats.ledger import Tally
from pcap_zmq.formats.wire import ReplyType, StreamId


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end of a connection, as far as that can be known."""

    name: str = ""
    """The name that is bound to its key; empty without keys."""
    key: str = ""
    """Its public key, Z85; empty without keys."""
    address: str = ""
    is_operator: bool = False
    """May look at every line of the ledger, and send no packets."""


ANYBODY = Identity()


@dataclass(slots=True)
class Stream:
    """What a receiver knows of one run of one sender."""

    id: StreamId
    """As its sender calls it."""
    key: StreamId
    """As we do: where senders have keys, no two of them can mean the same."""
    lane: Lane
    """Its numbers, its packets and its batches."""
    name: str
    peer: bytes
    """The connection that it is on: ZeroMQ's routing id."""
    linktype: int
    identity: Identity = ANYBODY
    since_ns: int = 0
    rate: int = 0
    rated_ns: int = 0
    rated_logged: int = 0
    has_left: bool = False
    has_died: bool = False
    """Started again without a goodbye."""
    is_relay: bool = False
    """What it held when it went its senders, or its disk, hold still: so it is no loss
    but comes again."""
    owes: ReplyType | None = None
    """What is to be said as soon as possible; an acknowledgement may wait: the lane
    knows."""
    spoke_ns: int = 0
    is_refused: bool = False
    """A batch was not taken, and the sender has yet to be told."""
    resume_wanted: bool = False
    """A batch was missing, and the sender has been told so."""
    repeated: int = 0
    malformed: int = 0
    """Messages and batches on its connections that no format explains."""
    dropped: Counter[Reason] = field(default_factory=Counter)
    clock: ClockOffset = field(default_factory=ClockOffset)
    late: int = 0
    """Of its packets, those that came too late to be put in order."""
    owner: bytes = b""
    """Who has put this stream into our memory: a key's name, or a connection."""

    @property
    def totals(self) -> bytes:
        """The counters that its sender sent last."""
        return totals_of(self.lane)

    @property
    def elsewhere(self) -> int:
        """Packets that the sender found acknowledged otherwise than by this stream."""
        return self.lane.said_before - self.lane.acknowledged_before

    @property
    def is_here(self) -> bool:
        """Connected as far as is known, so that it has a share of the queue."""
        return bool(self.lane.is_here)

    def tally(self, held_here: int) -> Tally:
        """held_here: packets of this stream that are found in the receiver now."""
        said = wire.decode_totals(self.totals)
        lane = self.lane
        held_there = said.held - (lane.packets_received - lane.acknowledged)
        dropped = Counter({reason: n for reason, n in said.dropped.items() if n})
        dropped.update(self.dropped)
        tally = Tally(
            logged=said.logged,
            delivered=lane.packets_written,
            held_by_sender=held_there,
            held_by_receiver=held_here,
            missed=said.missed,
            missed_tail=said.missed_tail,
            elsewhere=self.elsewhere,
            dropped=dropped,
        )
        if self.elsewhere < 0:
            # A sender's predecessor died before it heard that these were delivered.
            tally.dropped[Reason.SENDER_GONE] += self.elsewhere
            tally.elsewhere = 0
        if self.is_relay and self.has_left:
            tally.held_by_sender = 0 if self.has_died else said.spooled
            tally.logged -= held_there - tally.held_by_sender
        elif self.has_died:
            tally.dropped[Reason.SENDER_GONE] += held_there
            tally.held_by_sender = 0
        elif self.has_left:
            # What it held when it said goodbye it has given up, or keeps on its disk.
            given_up = held_there - said.spooled
            tally.held_by_sender -= given_up
            tally.dropped[Reason.SHUTDOWN] += given_up
        return tally

    def count_written(self, packets: int) -> int:
        """Of its packets, so many more are in the output."""
        self.lane.packets_written += packets
        return packets

    def count_dropped(self, reason: Reason, packets: int) -> int:
        """Of its packets, so many will never be in the output."""
        self.dropped[reason] += packets
        return packets

    def is_free(self) -> bool:
        """No batch of it is held here."""
        return self.lane.batches_settled == self.lane.batches_count

    def is_settled(self) -> bool:
        """Nothing of it is held here, not even a batch of no packets."""
        settled = self.lane.packets_written + self.dropped.total()
        return self.is_free() and self.lane.packets_received == settled


class Receipt:
    """Whose packets a batch brings, in their order, and how far they are in the output.
    streams: by the slot of their lane; one that was forgotten is nobody's.

    Where its packets go different ways, their ways are told by its parts, and it is no
    longer asked itself how far they are.
    """

    __slots__ = ("_parts", "_shares", "_streams", "_uncredited")

    def __init__(self, shares: Shares, streams: Mapping[int, Stream]) -> None:
        self._shares = shares
        self._streams = streams
        self._parts: tuple[Part, ...] | None = None
        self._uncredited = 0

    def batches(self) -> Iterator[tuple[Stream, int]]:
        """Whose batches it stands for, and their numbers."""
        for share in self._shares.shares():
            stream = self.stream_of(share)
            if stream is not None:
                yield stream, share.number

    def parts(self) -> "Sequence[Part]":
        """Each stream's packets in it, in their order; some may be none."""
        if self._parts is None:
            shares = self._shares.shares()
            self._parts = tuple(Part(self, share) for share in shares)
            self._uncredited = sum(part.packets for part in self._parts)
        return self._parts

    def runs(self) -> "Iterator[tuple[Part, int]]":
        """Whose its packets are, in their order: of each part so many."""
        for part in self.parts():
            yield part, part.packets

    def left(self, packets: int) -> Iterator[tuple[Stream | None, int]]:
        """Whose the next so many packets are that are not in the output."""
        passed = self._shares.written
        for share in self._shares.shares():
            skipped = min(passed, share.packets)
            passed -= skipped
            found = min(packets, share.packets - skipped)
            packets -= found
            if found:
                yield self.stream_of(share), found

    def count_written(self, packets: int) -> int:
        """So many more, in their order, are in the output; or, below 0, so many of the
        last ones turned out not to be."""
        self._shares.count_written(packets)
        return packets

    def count_dropped(self, reason: Reason, packets: int) -> int:
        """The next so many will never be in the output."""
        for stream, dropped in self.left(packets):
            if stream is not None:
                stream.count_dropped(reason, dropped)
        return packets

    def credit(self, packets: int) -> bool:
        """Of its parts, so many more packets have arrived or never will; whether these
        are all now."""
        self._uncredited -= packets
        return self._uncredited == 0

    def whole(self) -> "Iterable[Receipt]":
        """The batches of which all has arrived when this has: itself."""
        return (self,)

    def settle(self, now_ns: int) -> None:
        """It is in the output, or will never be, and so acknowledgements are owed."""
        self._shares.settle(now_ns)

    def stream_of(self, share: Share) -> Stream | None:
        """Whose it is; None where that stream was forgotten."""
        stream = self._streams.get(share.slot)
        if stream is None or stream.lane.generation != share.generation:
            return None
        return stream


class Part:
    """One stream's packets in a batch, wherever they go."""

    __slots__ = ("_share", "receipt")

    def __init__(self, receipt: Receipt, share: Share) -> None:
        self.receipt = receipt
        self._share = share

    @property
    def stream(self) -> Stream | None:
        """Whose they are; None where it was forgotten, as may happen once all of them
        are settled."""
        return self.receipt.stream_of(self._share)

    @property
    def packets(self) -> int:
        """All of them."""
        return self._share.packets

    @property
    def number(self) -> int:
        """Of the batch, in its stream."""
        return self._share.number

    @property
    def lost(self) -> int:
        """Packets that the sender had missed and dropped when it sent them."""
        return self._share.lost

    def logged(self, packets: int, *, has_last: bool) -> int:
        """How many so many of them in a row were when they were logged. has_last:
        whether the last of them all in their batch is among them."""
        return packets


class Segmented(Part):
    """One packet that was split: all that it became stands for it, and is one packet
    once the last of it is counted. They have to stay together in one batch."""

    __slots__ = ("_segments",)

    def __init__(self, whole: Part, segments: int) -> None:
        super().__init__(whole.receipt, whole._share)
        self._segments = segments

    @property
    def packets(self) -> int:
        """What it became."""
        return self._segments

    def logged(self, packets: int, *, has_last: bool) -> int:
        """Of the packet itself there is one."""
        return int(has_last)
