"""Invariant: whatever a receiver says, and whenever connections come and go, the
sender's link raises nothing, holds no more than its queue (or one batch), takes no
reply as an acknowledgement of what it never sent, loses count of no packet, speaks what
can be read, and is never due without having something to say.

Input: 1 octet, the queue; then steps, each 1 octet and what it takes.
"""

import dataclasses

from pcap_zmq.counters import SenderCounters
from pcap_zmq.errors import WireError
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.link import HEARTBEAT_NS, PATIENCE_NS, SILENCE_NS
from pcap_zmq.formats.send_queue import Spool
from pcap_zmq.formats.sender_link import SenderLink
from pcap_zmq.formats.wire import MessageType, Reply, ReplyType, StreamId
from pcap_zmq.packet import EncodedBatch, Instant
from tests.fuzz.octets import Front

RAW = 101
STREAM = StreamId(bytes(range(16)), 1_700_000_000_000_000_000)
OTHER = StreamId(bytes(range(16)), 1_600_000_000_000_000_000)
QUEUES = (0, 1, 1_000, 4_000, 1 << 20)
WAITS_NS = (1, 1_000_000, HEARTBEAT_NS, PATIENCE_NS, SILENCE_NS)
NEAR = 8


class Case:
    """A link, and what has to be known of it to judge it."""

    def __init__(
        self,
        front: Front,
        counters: SenderCounters | None = None,
        spool: Spool | None = None,
    ) -> None:
        self.front = front
        self.now_ns = 10**12
        self.queue_bytes = front.choice(QUEUES)
        self.counters = counters or SenderCounters()
        self.link = SenderLink(
            *(STREAM, "a", RAW, self.queue_bytes, self.counters, self.totals),
            spool,
            clock=lambda: Instant(self.now_ns, self.now_ns),
        )
        self.counts = list[int]()
        """Packets in each batch that was taken, the first batch first."""
        self.largest_cost = 0
        self.sent = 0
        self.is_abandoned = False

    def totals(self) -> bytes:
        link = self.link
        return wire.encode_totals(
            self.counters, link.held_packets, link.shelved_packets
        )

    def step(self) -> None:
        front = self.front
        match front.number() % 9:
            case 0:
                self.offer(front.number(2), front.number())
            case 1 | 2 | 3:
                self.hear()
            case 4:
                self.speak()
            case 5:
                self.link.connected(self.now_ns)
            case 6:
                self.link.disconnected()
            case 7:
                self.now_ns += front.choice(WAITS_NS)
            case _:
                self.leave()
        self.judge()

    def offer(self, length: int, count: int) -> None:
        length %= 2_000
        batch = EncodedBatch(RAW, count, Codec.NONE, length, bytes(length))
        # What gives up everything has come to its end.
        if not self.is_abandoned and self.link.offer(batch):
            self.counts.append(count)
            self.counters.received += count
            self.largest_cost = max(self.largest_cost, wire.cost_of(length))

    def hear(self) -> None:
        """A reply, as octets: what no reader would take never gets there."""
        front = self.front
        reply = Reply(
            type=front.choice(tuple(ReplyType)),
            stream=OTHER if front.number() == 1 else STREAM,
            written=self.place(),
            next=self.place(),
            window=front.number(8) if front.number() & 1 else front.number(2),
            receiver_started_ns=0,
        )
        if reply.type is ReplyType.CLOCK:
            reply = dataclasses.replace(reply, clock_ns=reply.window)
        try:
            read = wire.decode_reply([wire.encode_reply(reply)])
        except WireError:
            return
        self.link.receive(read, self.now_ns)

    def place(self) -> int:
        """The number of a batch: near the last one that was sent, or any."""
        offset = self.front.number()
        if offset == 0xFF:
            return self.front.number(8)
        return max(0, self.sent + offset % (2 * NEAR) - NEAR)

    def speak(self) -> None:
        messages = 0
        while (message := self.link.outgoing(self.now_ns)) is not None:
            messages += 1
            assert messages <= len(self.counts) + 3
            again = wire.decode_message(wire.encode_message(message))
            assert again == message
            if message.type is MessageType.BATCH:
                assert message.sequence <= self.sent + 1
                assert message.count == self.counts[message.sequence - 1]
                self.sent = max(self.sent, message.sequence)
        due_ns = self.link.due()
        assert due_ns is None or due_ns > self.now_ns

    def leave(self) -> None:
        match self.front.number() % 8:
            case 0:
                self.link.leave_now(self.now_ns)
            case 1:
                self.link.abandon()
                self.is_abandoned = True
            case 2:
                self.link.depart()
            case _:
                self.speak()

    def judge(self) -> None:
        link, counters = self.link, self.counters
        offered = sum(self.counts)
        dropped = counters.dropped.total()
        assert counters.acknowledged + link.held_packets + dropped == offered
        assert counters.acknowledged <= sum(self.counts[: self.sent])
        assert 0 <= link.held_bytes <= max(self.queue_bytes, self.largest_cost)
        link.needs_reply()

    def run(self) -> None:
        """All the steps that there are."""
        while not self.front.is_empty:
            self.step()
        self.speak()
        self.judge()


def check(octets: bytes) -> None:
    Case(Front(octets)).run()
