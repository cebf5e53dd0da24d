"""Invariant: whatever any number of senders say, on whatever connections, the
receiver's link raises nothing; gives each stream's batches out once and in order; takes
a message where, and only where, its stream said hello last on that connection, be it by
itself or for whoever takes what is plain without asking; takes nobody for somebody of
another name; holds no more than twice its queue and a batch, and
remembers no more than that is worth; calls written only what is; speaks what can be
read; is never due without having something to say or to look at; has in its ledger
every packet that it took; and once all is written has all its room again.

Input: 1 octet, the queue; then steps, each 1 octet and what it takes.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from link_ffi import BATCHES_MIN
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import WireError
from pcap_zmq.formats import wire
from pcap_zmq.formats.ledger import State, decode_state, encode_state
from pcap_zmq.formats.link import HEARTBEAT_NS, PATIENCE_NS, SILENCE_NS
from pcap_zmq.formats.receiver_link import HARD_LIMIT, ReceiverLink
from pcap_zmq.formats.stream import ANYBODY, Identity, Stream
from pcap_zmq.formats.wire import (
    SEQUENCE_MAX,
    Clocks,
    Message,
    MessageType,
    Reply,
    ReplyType,
    StreamId,
)
from pcap_zmq.packet import EncodedBatch, Instant
from tests.fuzz.octets import Front
from tests.support import express
from tests.support.receipts import batch_of, stream_of

QUEUES = (1, 1_000, 4_000, 1 << 16, 1 << 20)
LONG = "n" * 100
PEERS = {
    b"\0aaaa": ANYBODY,
    b"\0bbbb": ANYBODY,
    b"\0cccc": Identity(name=LONG + "c", key="c"),
    b"\0dddd": Identity(name=LONG + "d", key="d"),
    b"\0eeee": Identity(name=LONG + "d", key="d"),
}
SENDERS = (bytes(16), bytes([1] * 16), bytes([2] * 16))
STARTS_NS = (1, 2, (1 << 64) - 1)
WAITS_NS = (1, 1_000_000, HEARTBEAT_NS, PATIENCE_NS, SILENCE_NS)
NEAR = 4
WALL_NS = 1_700_000_000_000_000_000

Who = tuple[str, StreamId]
"""A stream as its sender calls it, and the name that goes with that sender's key."""


class Case:
    """A link, and what has to be known of it to judge it."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.now_ns = 10**12
        self.queue_bytes = front.choice(QUEUES)
        self.counters = ReceiverCounters()
        self.link = ReceiverLink(7, self.queue_bytes, self.counters, self.now)
        self.waiting = deque[tuple[Who, EncodedBatch]]()
        self.waiting_bytes = 0
        self.wanted = dict[Who, int]()
        """The number that the stream's next batch has to have."""
        self.written = dict[Who, int]()
        """The last batch that a reply may call written."""
        self.moments = dict[bytes, int]()
        """The last that was said on each connection."""
        self.speaker = dict[bytes, Who]()
        self.place = dict[Who, bytes]()
        """Who said hello last on a connection, and on which one a stream did."""

    def now(self) -> Instant:
        return Instant(self.now_ns, WALL_NS)

    def step(self) -> None:
        match self.front.number() % 11:
            case 0 | 1 | 2 | 3:
                self.hear()
            case 4:
                self.settle(self.write, self.front.number() % 4)
            case 5:
                self.lose(self.front.choice(tuple(PEERS)))
            case 6:
                self.speak()
            case 7:
                self.settle(self.drop, self.front.number() % 4)
            case 8:
                self.look()
            case 9:
                self.flood()
            case _:
                self.now_ns += self.front.choice(WAITS_NS)
        # What is held is at most one batch beyond the limit.
        bound = HARD_LIMIT * self.queue_bytes + wire.cost_of(0xFFFF)
        assert self.waiting_bytes <= bound
        assert self.waiting_bytes == self.link.held_bytes
        for peer in PEERS:
            lane = express.lane_of(self.link, peer)
            if lane is not None:
                streams = self.link.streams.values()
                (stream,) = (it for it in streams if it.lane.slot == lane.slot)
                assert self.speaker[peer] == (stream.identity.name, stream.id)
                assert self.place[self.speaker[peer]] == peer
                assert not stream.has_left
                assert not stream.has_died
        self.link.all_left_ns()

    def hear(self) -> None:
        """A message, as octets: what no reader would take never gets there."""
        front = self.front
        peer = front.choice(tuple(PEERS))
        stream = StreamId(front.choice(SENDERS), front.choice(STARTS_NS))
        known = self.known((PEERS[peer].name, stream))
        wanted = known.lane.next if known else 1
        own_window = known.lane.window if known else 0
        near = front.number()
        message_type = front.choice(tuple(MessageType))
        manner = front.number()
        message = Message(
            type=message_type,
            stream=stream,
            sequence=(
                front.number(8)
                if near == 0xFF
                else max(0, wanted + near % (2 * NEAR) - NEAR)
            ),
            window=front.number(8) if manner & 1 else own_window,
            count=front.number(),
            totals=front.take(front.number() % 129).ljust(128, b"\0"),
            payload=bytes(front.number(2)),
        )
        if message_type is MessageType.HEARTBEAT and manner & 4:
            echo_ns = self.moments.get(peer, 0)
            clocks = Clocks(message.window, echo_ns, message.count << (manner >> 3))
            message = replace(message, payload=wire.encode_clocks(clocks))
        try:
            read = wire.decode_message(wire.encode_message(message))
        except WireError:
            return
        self.receive(peer, read, is_express=bool(manner & 2))

    def flood(self) -> None:
        """Many batches of a stream, each written at once, and no word of whether their
        acknowledgements have arrived."""
        peer = self.front.choice(tuple(PEERS))
        who = self.speaker.get(peer)
        for _ in range(self.front.number()):
            if who is None or self.place[who] != peer or self.waiting:
                break
            wanted = self.wanted[who]
            sequence = min(wanted, SEQUENCE_MAX)
            self.receive(peer, Message(MessageType.BATCH, who[1], sequence, count=1))
            self.settle(self.write, 1)

    def known(self, who: Who) -> Stream | None:
        """What the link knows of it."""
        name, stream = who
        streams = self.link.streams.values()
        found = [it for it in streams if it.id == stream and it.identity.name == name]
        assert len(found) <= 1
        return found[0] if found else None

    def receive(
        self, peer: bytes, message: Message, *, is_express: bool = False
    ) -> None:
        who = PEERS[peer].name, message.stream
        is_called = self.speaker.get(peer) == who and self.place[who] == peer
        uncalled, repeated = self.counters.uncalled_messages, self.counters.repeated
        if self.known(who) is None:
            # Never heard of, or forgotten since: it starts where its hello says.
            self.wanted.pop(who, None)
            self.written.pop(who, None)
        batch = None
        if is_express:
            batch = express.take(self.link, peer, message, self.now_ns)
        if batch is None:
            batch = self.link.receive(peer, message, self.now_ns, PEERS[peer])
            if batch is not None:
                self.link.open(peer, 1)
        uncalled = self.counters.uncalled_messages - uncalled
        repeated = self.counters.repeated - repeated
        if message.type is MessageType.HELLO:
            assert batch is None
            assert not uncalled
            self.greet(peer, message, who)
        elif not is_called:
            assert batch is None
            assert uncalled == 1
        elif message.type is MessageType.BATCH:
            self.judge(message, who, batch, uncalled, repeated)
        else:
            assert batch is None
            assert not uncalled

    def greet(self, peer: bytes, message: Message, who: Who) -> None:
        self.speaker[peer] = who
        self.place[who] = peer
        if message.sequence > self.wanted.get(who, 0):
            self.wanted[who] = message.sequence
            self.written[who] = message.sequence - 1
        known = self.known(who)
        assert known is not None
        assert known.name.isprintable()
        assert known.name == PEERS[peer].name or len(known.name) <= wire.NAME_MAX

    def judge(
        self,
        message: Message,
        who: Who,
        batch: EncodedBatch | None,
        uncalled: int,
        repeated: int,
    ) -> None:
        """A batch came from where it should: was it taken when it had to be?"""
        wanted = self.wanted[who]
        assert repeated == (message.count if message.sequence < wanted else 0)
        if batch is not None:
            known = self.known(who)
            assert known is not None
            assert message.sequence == wanted
            assert batch_of(batch) == (known, wanted)
            assert batch.count == message.count
            self.wanted[who] += 1
            self.waiting.append((who, batch))
            self.waiting_bytes += wire.cost_of(len(batch.payload))
            # A window is half of the queue at most.
            worth = self.queue_bytes // 2 // wire.MESSAGE_COST
            assert known.lane.batches_count <= BATCHES_MIN + 4 * worth + 1
        elif message.sequence == wanted:
            # Only for want of room, and then the sender shall hear of it.
            assert uncalled == 1
            assert self.waiting

    def settle(self, how: Callable[[EncodedBatch], None], most: int) -> None:
        """Some of what waits is in the output, or dropped instead."""
        for _ in range(min(most, len(self.waiting))):
            who, batch = self.waiting.popleft()
            self.waiting_bytes -= wire.cost_of(len(batch.payload))
            how(batch)
            _, number = batch_of(batch)
            self.link.written(batch.receipt, self.now_ns)
            self.written[who] = max(self.written[who], number)

    def write(self, batch: EncodedBatch) -> None:
        self.counters.count_written(batch.receipt, batch.count)

    def drop(self, batch: EncodedBatch) -> None:
        self.counters.count_dropped(batch.receipt, Reason.MALFORMED, batch.count)

    def lose(self, peer: bytes) -> None:
        self.link.lost(peer)
        self.speaker.pop(peer, None)

    def speak(self) -> None:
        for peer, reply in list(self.link.outgoing(self.now_ns)):
            self.judge_reply(peer, reply)
        assert self.link.due() > self.now_ns

    def judge_reply(self, peer: bytes, reply: Reply) -> None:
        assert wire.decode_reply([wire.encode_reply(reply)]) == reply
        who = PEERS[peer].name, reply.stream
        assert peer == self.place[who]
        assert reply.written == self.written[who]
        assert reply.next == self.wanted[who]
        if reply.type is ReplyType.CLOCK:
            self.moments[peer] = reply.clock_ns

    def look(self) -> None:
        """At the ledger, as it is answered to whoever asks."""
        held = dict[StreamId, int]()
        for _, batch in self.waiting:
            key = stream_of(batch).key
            held[key] = held.get(key, 0) + batch.count
        lines = self.link.lines(held, Instant(self.now_ns, WALL_NS))
        state = State("", "", "", 0, WALL_NS, lines, {})
        assert decode_state(encode_state(state)) == state
        tally = state.total
        assert tally.held_by_receiver == sum(held.values())
        assert tally.delivered == self.counters.written

    def end(self) -> None:
        """What was taken is written sooner or later, and all room is there again."""
        while self.waiting:
            self.settle(self.write, len(self.waiting))
        link = self.link
        assert all(not stream.lane.held_bytes for stream in link.streams.values())
        newcomer = StreamId(bytes([9] * 16), 1)
        link.receive(b"new", Message(MessageType.HELLO, newcomer, 1), self.now_ns)
        room = HARD_LIMIT * self.queue_bytes - 1
        batch = Message(MessageType.BATCH, newcomer, 1, payload=bytes(room))
        assert link.receive(b"new", batch, self.now_ns) is not None


def check(octets: bytes) -> None:
    front = Front(octets)
    case = Case(front)
    while not front.is_empty:
        case.step()
    case.speak()
    case.look()
    case.end()
