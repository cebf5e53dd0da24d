"""The receiving end of the link: takes each batch of each sender once, without socket
or clock.

Specification: docs/wire.md; the theory of operation is in `formats/link.py`.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping

import link_ffi
from link_ffi import Lanes, Shares, Verdict
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.book import Book, key_of
from pcap_zmq.formats.clock_offset import ClockOffset
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.link import ACK_NS, HEARTBEAT_NS, SILENCE_NS
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.stream import ANYBODY, Identity, Receipt, Stream
from pcap_zmq.formats.wire import (
    Message,
    MessageType,
    Reply,
    ReplyType,
    Role,
    StreamId,
)
from pcap_zmq.packet import EncodedBatch, Instant, Octets

HARD_LIMIT = 2
"""Each stream may always have one batch, beyond the queue; all together hold at most so
many times the queue."""

RATE_NS = 1_000_000_000
"""A sender's rate is measured over at least this long."""

_STRENGTH = {
    None: 0,
    ReplyType.ACK: 1,
    ReplyType.CLOCK: 2,
    ReplyType.WELCOME: 3,
    ReplyType.FAREWELL: 3,
}
"""Of what is owed only the strongest is said: it says what the others do, but CLOCK's
moment, which can wait for the next heartbeat."""

STREAMS_OF_ONE_MAX = 16
"""Streams of one key, or of one connection without keys, that are remembered: one for
each sender of a gateway, and one for each run until that is written."""

STREAMS_MAX = 4096
"""Streams that a receiver remembers: beyond, the longest unheard is forgotten."""


def _was_resumed(before: bytes, after: bytes) -> bool:
    """The sender has started again with what its predecessor left in a spool, and does
    not know what was acknowledged last."""
    return wire.gone_in(after) > wire.gone_in(before)


def _printable(name: Octets) -> str:
    """A name from elsewhere, fit for a log: no control characters."""
    text = bytes(name[: wire.NAME_MAX]).decode(errors="replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class ReceiverLink:
    """The receiving end: takes each batch of each sender once, in its order.

    clock: tells the very moment, to compare senders' clocks with; None: they are not
    compared."""

    def __init__(
        self,
        started_ns: int,
        queue_bytes: int,
        counters: ReceiverCounters,
        clock: Callable[[], Instant] | None = None,
    ) -> None:
        self.streams: OrderedDict[StreamId, Stream] = OrderedDict()
        """Those that are gone in the order in which they went."""
        self.lanes = Lanes(HARD_LIMIT * queue_bytes, ACK_NS)
        """The streams' numbers, which may change without our being told."""
        self._by_slot: dict[int, Stream] = {}
        self._started_ns = started_ns
        self._queue_bytes = queue_bytes
        self._counters = counters
        self._clock = clock
        self._by_peer: dict[bytes, Stream] = {}
        self._book = Book()
        self._owned: Counter[bytes] = Counter()
        self._talkative: set[StreamId] = set()
        self._is_uneven = False
        self._checked_ns = 0

    @property
    def held_bytes(self) -> int:
        """Taken and not written, as windows count them."""
        return self.lanes.held_bytes

    def receive(
        self,
        peer: bytes,
        message: Message,
        now_ns: int,
        identity: Identity = ANYBODY,
    ) -> EncodedBatch | None:
        """A message came on a connection. Returns the batch where it brought a wanted
        one; its receipt is for `written`. identity: of who sent it: whoever connects by
        the name of a connection that has gone does not speak for its sender."""
        if message.type is MessageType.HELLO:
            self._greet(peer, message, now_ns, identity)
            return None
        stream = self._by_peer.get(peer)
        is_known = stream is not None and stream.identity.key == identity.key
        if stream is None or stream.id != message.stream or not is_known:
            # Sent before the connection broke, and sent again after the hello.
            self._counters.uncalled_messages += 1
            return None
        self._hear(stream, message, now_ns)
        if message.type is MessageType.GOODBYE:
            stream.has_left = True
            self._dismiss(stream)
            self._owe(stream, ReplyType.FAREWELL)
        elif message.type is MessageType.BATCH:
            return self._take(stream, message)
        elif message.type is MessageType.HEARTBEAT:
            stream.lane.is_eager = True
            if stream.lane.is_owed:
                self._owe(stream, ReplyType.ACK)
            if self._clock is not None:
                self._compare_clocks(stream, message, self._clock())
        return None

    def knows(self, peer: bytes) -> bool:
        """Whether a sender has said hello on this connection."""
        return peer in self._by_peer

    def blame(self, peer: bytes) -> None:
        """Something malformed came on this connection."""
        stream = self._by_peer.get(peer)
        if stream is not None:
            stream.malformed += 1

    def clock_on(self, peer: bytes) -> ClockOffset | None:
        """Of the sender that speaks on a connection."""
        stream = self._by_peer.get(peer)
        return stream.clock if stream else None

    def name_on(self, peer: bytes) -> str:
        """Who speaks on a connection, for people."""
        stream = self._by_peer.get(peer)
        return f"sender {stream.name}" if stream else "a sender"

    def receipt_of(self, shares: Shares) -> Receipt:
        """For batches that lanes have taken."""
        return Receipt(shares, self._by_slot)

    def written(self, receipt: Receipt | Runs, now_ns: int) -> None:
        """A batch is in the output."""
        for whole in receipt.whole():
            whole.settle(now_ns)
        self._is_uneven = self.lanes.take_unevenness() or self._is_uneven

    def open(self, peer: bytes, fd: int) -> None:
        """What comes on this connection, if it is plain, needs no look of ours: whoever
        is at its other end was asked. fd: its descriptor."""
        stream = self._by_peer[peer]
        if not (stream.has_left or stream.has_died):
            self.lanes.open(stream.lane, peer, fd, stream.identity.key)

    def lost(self, peer: bytes) -> None:
        """A connection is gone."""
        stream = self._by_peer.pop(peer, None)
        if stream is not None:
            self._dismiss(stream)

    def outgoing(
        self, now_ns: int, *, is_urgent: bool = False
    ) -> Iterable[tuple[bytes, Reply]]:
        """Every reply that is due now, with the connection that it goes to. is_urgent:
        no acknowledgement waits for company any more."""
        if now_ns >= self._checked_ns + HEARTBEAT_NS:
            self._checked_ns = now_ns
            self._look_around(now_ns)
        if self._is_uneven:
            self._is_uneven = False
            self.lanes.share_out(self._queue_bytes)
        talkative, self._talkative = self._talkative, set()
        for stream_id in talkative:
            stream = self.streams.get(stream_id)
            if stream is None or stream.owes is None:
                continue
            yield stream.peer, self._reply(stream, stream.owes, now_ns)
        for slot in self.lanes.owed(now_ns + ACK_NS if is_urgent else now_ns):
            stream = self._by_slot[slot]
            yield stream.peer, self._reply(stream, ReplyType.ACK, now_ns)

    def owes_replies(self) -> bool:
        """Whether there is anything to say, now or soon."""
        return bool(self._talkative) or self.lanes.owes()

    def is_anybody_here(self) -> bool:
        """Whether a sender is connected that has not said goodbye."""
        return any(stream.is_here for stream in self._by_peer.values())

    def due(self) -> int:
        """When to speak or look around next (mono_ns)."""
        if self._talkative:
            return 0
        due, ack_due = self._checked_ns + HEARTBEAT_NS, self.lanes.due()
        return due if ack_due is None else min(due, ack_due)

    def all_left_ns(self) -> int | None:
        """When the last farewell was said (mono_ns), if at least one sender was seen
        and each has said goodbye with all written; else None."""
        streams = self.streams.values()
        if not streams or any(
            stream.owes or not stream.has_left or not stream.is_free()
            for stream in streams
        ):
            return None
        return max(stream.spoke_ns for stream in streams)

    def lines(self, held: Mapping[StreamId, int], now: Instant) -> list[Line]:
        """The ledger. held: packets of each stream, by its key, that are found in this
        receiver now."""
        return self._book.lines(self.streams.values(), held, now)

    def _greet(
        self, peer: bytes, message: Message, now_ns: int, identity: Identity
    ) -> None:
        key = key_of(identity, message.stream)
        acknowledged = wire.acknowledged_in(message.totals)
        stream = self.streams.get(key)
        if stream is None:
            stream = Stream(
                id=message.stream,
                key=key,
                lane=self.lanes.add(
                    wire.encode_stream(message.stream), message.sequence
                ),
                name="",
                peer=peer,
                linktype=message.linktype,
                since_ns=now_ns,
                rated_ns=now_ns,
                rated_logged=wire.logged_in(message.totals),
            )
            self.streams[key] = stream
            self._by_slot[stream.lane.slot] = stream
            link_ffi.start_over(stream.lane, message.sequence, acknowledged)
        elif message.sequence > stream.lane.next or _was_resumed(
            stream.totals, message.totals
        ):
            # Acknowledged by another receiver at the same address, or lost with a
            # predecessor of the sender that used the same spool.
            link_ffi.start_over(stream.lane, message.sequence, acknowledged)
        # Before the oldest are forgotten: it is none of them.
        stream.lane.is_here = True
        self._supersede(stream)
        self._own(stream, identity.name.encode() or peer)
        self._forget_oldest()
        stream.identity = identity
        stream.name = identity.name or _printable(message.payload)
        self._move(stream, peer)
        stream.has_left = False
        stream.is_relay = message.codec == Role.RELAY
        stream.resume_wanted = False
        # A window granted on an earlier connection binds nobody any more.
        stream.lane.window = stream.lane.reserved = 0
        self._hear(stream, message, now_ns)
        self._is_uneven = True
        self._owe(stream, ReplyType.WELCOME)

    def _supersede(self, run: Stream) -> None:
        """An earlier run of the same sender can say no goodbye any more; unless it
        turns out to be alive."""
        superseded = self._book.enter(run)
        earlier = self.streams.get(superseded) if superseded else None
        if earlier is not None:
            earlier.has_died = not earlier.has_left
            earlier.has_left = True
            self._dismiss(earlier)

    def _move(self, stream: Stream, peer: bytes) -> None:
        """The stream is on this connection from now on, and nothing else is."""
        self.lanes.close(stream.lane)
        other = self._by_peer.pop(peer, None)
        if other is not None and other is not stream:
            self._dismiss(other)
        if self._by_peer.get(stream.peer) is stream:
            del self._by_peer[stream.peer]
        stream.peer = peer
        self._by_peer[peer] = stream

    def _hear(self, stream: Stream, message: Message, now_ns: int) -> None:
        if stream.has_died:
            # The other's hello was late, or there are two of them.
            stream.has_died = stream.has_left = False
            self._book.return_to(stream)
        lane = stream.lane
        link_ffi.hear(lane, message.totals, now_ns)
        if message.window == lane.window < lane.reserved:
            lane.reserved = lane.window
            self._is_uneven = True
        if not lane.is_here and not stream.has_left:
            lane.is_here = True
            self._is_uneven = True

    def _take(self, stream: Stream, message: Message) -> EncodedBatch | None:
        length = len(message.payload)
        match self.lanes.take(stream.lane, message.sequence, length, message.count):
            case Verdict.REPEATED:
                self._counters.repeated += message.count
                stream.repeated += message.count
                self._owe(stream, ReplyType.ACK)
            case Verdict.AHEAD if not stream.resume_wanted:
                stream.resume_wanted = True
                self.lanes.close(stream.lane)
                self._owe(stream, ReplyType.WELCOME)
            case Verdict.FULL:
                # Many streams with a batch each, be it in good faith: later, perhaps.
                self._counters.uncalled_messages += 1
                stream.is_refused = True
            case Verdict.BEYOND:
                # Sent by a window that is gone, or by a peer that keeps to none.
                self._counters.uncalled_messages += 1
                self._owe(stream, ReplyType.WELCOME)
            case Verdict.TAKEN:
                stream.resume_wanted = False
                self._counters.received += message.count
                shares = Shares.of(
                    self.lanes, stream.lane, message.sequence, message.count
                )
                return EncodedBatch(
                    linktype=message.linktype,
                    count=message.count,
                    codec=message.codec,
                    raw_length=message.raw_length,
                    payload=message.payload,
                    receipt=self.receipt_of(shares),
                )
        return None

    def _reply(self, stream: Stream, reply_type: ReplyType, now_ns: int) -> Reply:
        stream.owes = None
        stream.spoke_ns = now_ns
        lane = stream.lane
        self.lanes.spoke(lane)
        started_ns, clock_ns = self._started_ns, 0
        if reply_type is ReplyType.CLOCK and self._clock is not None:
            started_ns, clock_ns = 0, self._clock().mono_ns
            stream.clock.said(clock_ns)
        return Reply(
            type=reply_type,
            stream=stream.id,
            written=lane.written,
            next=lane.next,
            window=lane.window,
            receiver_started_ns=started_ns,
            clock_ns=clock_ns,
        )

    def _compare_clocks(self, stream: Stream, message: Message, now: Instant) -> None:
        clocks = wire.decode_clocks(message.payload)
        if clocks is not None:
            stream.clock.compare(clocks, now.mono_ns)
            self._owe(stream, ReplyType.CLOCK)

    def _owe(self, stream: Stream, reply_type: ReplyType) -> None:
        """The strongest reply wins: an ACK says nothing that a WELCOME does not."""
        if _STRENGTH[reply_type] >= _STRENGTH[stream.owes]:
            stream.owes = reply_type
        self._talkative.add(stream.key)

    def _look_around(self, now_ns: int) -> None:
        """Heartbeats for the quiet, and shares of the silent for the others."""
        self._forget_superseded()
        for stream in list(self._by_peer.values()):
            self._rate(stream, now_ns)
            if now_ns >= stream.lane.heard_ns + SILENCE_NS:
                self._dismiss(stream)
            elif stream.is_refused:
                stream.is_refused = False
                self._owe(stream, ReplyType.WELCOME)
            elif stream.has_left:
                continue
            elif now_ns >= stream.spoke_ns + HEARTBEAT_NS:
                self._owe(stream, ReplyType.ACK)

    def _rate(self, stream: Stream, now_ns: int) -> None:
        passed_ns = stream.lane.heard_ns - stream.rated_ns
        if passed_ns >= RATE_NS:
            logged = wire.logged_in(stream.totals)
            stream.rate = (logged - stream.rated_logged) * 1_000_000_000 // passed_ns
            stream.rated_ns, stream.rated_logged = stream.lane.heard_ns, logged

    def _dismiss(self, stream: Stream) -> None:
        lane = stream.lane
        self.lanes.close(lane)
        if lane.is_here:
            self.streams.move_to_end(stream.key)
            lane.is_here = False
            lane.window = lane.reserved = 0
            self._is_uneven = True

    def _own(self, stream: Stream, owner: bytes) -> None:
        """Nobody shall crowd others out of our memory: beyond so many streams one of
        his own is forgotten, the longest known."""
        if stream.owner != owner:
            self._disown(stream)
            self._owned[owner] += 1
            stream.owner = owner
        if self._owned[owner] > STREAMS_OF_ONE_MAX:
            for other in list(self.streams.values()):
                is_free = other.is_settled()
                if other.owner == owner and other is not stream and is_free:
                    self._forget(other)
                    return

    def _disown(self, stream: Stream) -> None:
        self._owned[stream.owner] -= 1
        if self._owned[stream.owner] <= 0:
            del self._owned[stream.owner]

    def _forget_oldest(self) -> None:
        while len(self.streams) > STREAMS_MAX:
            # Nearly always the first: a flood of hellos shall cost what hellos cost.
            forgettable = (
                stream
                for stream in self.streams.values()
                if not stream.is_here and stream.is_free()
            )
            oldest = next(forgettable, None)
            if oldest is None:
                return
            self._forget(oldest)

    def _forget_superseded(self) -> None:
        """The earlier runs of each sender, once nothing of them is held here."""
        for stream in list(self.streams.values()):
            is_connected = self._by_peer.get(stream.peer) is stream
            if is_connected or self._book.is_present(stream):
                continue
            stream.has_died = stream.has_died or not stream.has_left
            stream.has_left = True
            if stream.is_settled():
                self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        del self.streams[stream.key]
        del self._by_slot[stream.lane.slot]
        self._disown(stream)
        if self._by_peer.get(stream.peer) is stream:
            del self._by_peer[stream.peer]
        self._book.close(stream)
        self.lanes.remove(stream.lane)
