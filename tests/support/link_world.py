"""A simulated network of sender links and one receiver link, for tests of both.

Connections deliver in order and lose nothing until they break; then each direction
loses an end of what was under way, and what it did not lose may still come late, after
the next connection is there. Plain batches pass the receiver's link by, as they do from
a socket. Nobody but the test moves anything or lets time pass.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.sender_link import SenderLink, State
from pcap_zmq.formats.wire import Message, Reply, StreamId
from pcap_zmq.packet import EncodedBatch, Instant
from tests.support import express
from tests.support.receipts import batch_of, stream_of

RAW = 101
MS = 1_000_000
SECOND = 1_000 * MS


@dataclass
class Connection:
    """Two directions, each first in, first out."""

    peer: bytes
    to_receiver: deque[Message] = field(default_factory=deque)
    to_sender: deque[Reply] = field(default_factory=deque)
    is_up: bool = True


@dataclass
class Sender:
    """A sender link with what a test has to know of it."""

    id: StreamId
    queue_bytes: int
    link: SenderLink
    counters: SenderCounters
    connections: list[Connection] = field(default_factory=list)
    accepted: list[EncodedBatch] = field(default_factory=list)
    largest_cost: int = 0
    has_departed: bool = False
    is_dead: bool = False

    @property
    def connection(self) -> Connection | None:
        """The one that is up, if any."""
        last = self.connections[-1] if self.connections else None
        return last if last is not None and last.is_up else None

    @property
    def accepted_packets(self) -> int:
        return sum(batch.count for batch in self.accepted)


@dataclass(frozen=True)
class Written:
    """A batch in the output, and which life of the receiver wrote it."""

    life: int
    stream: StreamId
    sequence: int
    payload: bytes


class World:
    """Senders, connections, and a receiver that may be started again."""

    def __init__(self, queue_bytes: int) -> None:
        self.now_ns = 0
        self.queue_bytes = queue_bytes
        self.senders: list[Sender] = []
        self.output: list[Written] = []
        self.life = 0
        self._peers = 0
        self._by_peer: dict[bytes, Connection] = {}
        self._start_receiver()

    # Senders.

    def add_sender(self, queue_bytes: int, sender: bytes | None = None) -> Sender:
        """A new sender; or another run of the sender with this id."""
        number = len(self.senders) + 1
        stream = StreamId(sender or number.to_bytes(16, "big"), number)
        counters = SenderCounters()
        link = SenderLink(
            stream,
            f"sender {number}",
            RAW,
            queue_bytes,
            counters,
            lambda: wire.encode_totals(counters, link.held_packets),
        )
        self.senders.append(Sender(stream, queue_bytes, link, counters))
        return self.senders[-1]

    def offer(self, sender: Sender, length: int, count: int = 1) -> bool:
        """A batch whose payload tells whose it is and which."""
        number = len(sender.accepted) + 1
        payload = sender.id.sender + number.to_bytes(8, "big")
        payload += bytes(max(0, length - len(payload)))
        batch = EncodedBatch(RAW, count, Codec.NONE, len(payload), payload)
        sender.counters.received += count
        if not sender.link.offer(batch):
            sender.counters.dropped[Reason.SEND_QUEUE_FULL] += count
            return False
        sender.accepted.append(batch)
        sender.largest_cost = max(sender.largest_cost, wire.cost_of(len(payload)))
        return True

    def depart(self, sender: Sender) -> None:
        sender.has_departed = True
        sender.link.depart()

    def kill(self, sender: Sender, kept_up: int = 0) -> None:
        """Its process ends, and what it held goes with it."""
        sender.is_dead = True
        self.break_connection(sender, kept_up=kept_up)

    # Connections.

    def connect(self, sender: Sender) -> None:
        if sender.connection is None and not sender.is_dead:
            self._peers += 1
            connection = Connection(b"\0" + self._peers.to_bytes(4, "big"))
            self._by_peer[connection.peer] = connection
            earlier = sender.connections[-1:]
            sender.connections.append(connection)
            sender.link.connected(self.now_ns)
            for broken in earlier:
                self.deliver_to_sender(sender, broken, len(broken.to_sender))

    def break_connection(
        self, sender: Sender, *, kept_up: int = 0, kept_down: int = 0
    ) -> None:
        """Only the first so many of what is under way will still arrive."""
        connection = sender.connection
        if connection is not None:
            connection.is_up = False
            _keep(connection.to_receiver, kept_up)
            _keep(connection.to_sender, kept_down)
            sender.link.disconnected()

    def pump_sender(self, sender: Sender) -> None:
        """The sender says all that it has to say."""
        while (message := sender.link.outgoing(self.now_ns)) is not None:
            connection = sender.connection
            if connection is None:
                sender.link.disconnected()
            else:
                connection.to_receiver.append(message)

    def pump_receiver(self) -> None:
        """The receiver says all that it has to say; to a broken connection it finds
        that nobody is there."""
        for peer, reply in self.receiver.outgoing(self.now_ns):
            connection = self._by_peer[peer]
            if connection.is_up:
                connection.to_sender.append(reply)
            else:
                self.receiver.lost(peer)

    def deliver_to_receiver(self, connection: Connection, limit: int) -> None:
        for _ in range(min(limit, len(connection.to_receiver))):
            message = connection.to_receiver.popleft()
            batch = self._take(connection, message)
            if batch is not None:
                self.waiting.append(batch)

    def _take(self, connection: Connection, message: Message) -> EncodedBatch | None:
        peer, link = connection.peer, self.receiver
        batch = express.take(link, peer, message, self.now_ns)
        if batch is None:
            batch = link.receive(peer, message, self.now_ns)
            if batch is not None:
                link.open(peer, -1)
        return batch

    def deliver_to_sender(
        self, sender: Sender, connection: Connection, limit: int
    ) -> None:
        """Only of the sender's last connection: see above."""
        for _ in range(min(limit, len(connection.to_sender))):
            sender.link.receive(connection.to_sender.popleft(), self.now_ns)

    # The receiver.

    def write(self, limit: int) -> None:
        """So many of the batches that wait come into the output."""
        for _ in range(min(limit, len(self.waiting))):
            batch = self.waiting.popleft()
            stream, number = batch_of(batch)
            self.output.append(
                Written(self.life, stream.key, number, bytes(batch.payload))
            )
            self.receiver_counters.count_written(batch.receipt, batch.count)
            self.receiver.written(batch.receipt, self.now_ns)

    def restart_receiver(self, kept_down: int = 0) -> None:
        """Whatever it had not written is gone, and so is every connection."""
        for sender in self.senders:
            self.break_connection(sender, kept_down=kept_down)
        for connection in self._by_peer.values():
            connection.to_receiver.clear()
        self._start_receiver()

    def _start_receiver(self) -> None:
        self.life += 1
        self.receiver_counters = ReceiverCounters()
        self.receiver = ReceiverLink(
            self.life, self.queue_bytes, self.receiver_counters
        )
        self.waiting: deque[EncodedBatch] = deque()

    @property
    def waiting_cost(self) -> int:
        """What the receiver holds, as windows count it."""
        return sum(wire.cost_of(len(batch.payload)) for batch in self.waiting)

    # All together.

    def turn(self, *, writes: int = 1_000_000) -> None:
        """One round in which everybody does all that can be done."""
        for sender in self.senders:
            self.pump_sender(sender)
            for connection in sender.connections:
                self.deliver_to_receiver(connection, 1_000_000)
        self.write(writes)
        self.pump_receiver()
        for sender in self.senders:
            for connection in sender.connections[-1:]:
                self.deliver_to_sender(sender, connection, 1_000_000)

    def run_for(self, duration_ns: int, *, writes: int = 1_000_000) -> None:
        """Rounds, a tenth of a second apart; less once all is settled."""
        end_ns = self.now_ns + duration_ns
        while self.now_ns < end_ns and not self.is_settled():
            self.turn(writes=writes)
            self.now_ns += 100 * MS

    def is_settled(self) -> bool:
        """All is acknowledged, and who wanted to leave has left."""
        return all(
            sender.is_dead
            or (
                not sender.link.held_packets
                and (sender.link.state is State.GONE or not sender.has_departed)
            )
            for sender in self.senders
        )

    # What must always be true.

    def check(self) -> None:
        """Every promise of the link that can be looked at from outside."""
        self._check_output()
        self._check_ledger()
        for sender in self.senders:
            assert sender.link.held_bytes <= max(
                sender.queue_bytes, sender.largest_cost
            )
            assert (
                sender.counters.acknowledged + sender.link.held_packets
                == sender.accepted_packets
            )
        streams = {stream_of(batch).key for batch in self.waiting}
        largest = {
            stream: max(
                wire.cost_of(len(batch.payload))
                for batch in self.waiting
                if stream_of(batch).key == stream
            )
            for stream in streams
        }
        assert self.waiting_cost <= self.queue_bytes + sum(largest.values())

    def ledger(self) -> list[Line]:
        """The receiver's, now."""
        held: Counter[StreamId] = Counter()
        for batch in self.waiting:
            held[stream_of(batch).key] += batch.count
        return self.receiver.lines(held, Instant(self.now_ns, self.now_ns))

    def _check_ledger(self) -> None:
        """Every packet that a sender told of is somewhere, at every moment."""
        for line in self.ledger():
            assert line.tally.unaccounted == 0, line
            assert line.tally.held_by_sender >= 0, line
            assert min(line.tally.dropped.values(), default=0) >= 0, line

    def _check_output(self) -> None:
        """In each life of the receiver a stream goes on where it was: no batch is
        missing, and none comes twice; and what was acknowledged is there."""
        last: dict[StreamId, int] = defaultdict(int)
        lives: dict[StreamId, int] = {}
        accepted = {sender.id: sender.accepted for sender in self.senders}
        for written in self.output:
            stream, sequence = written.stream, written.sequence
            if lives.get(stream) == written.life:
                assert sequence == last[stream] + 1
            else:
                # Only another receiver may repeat.
                assert sequence <= last[stream] + 1
            lives[stream] = written.life
            last[stream] = sequence
            assert written.payload == accepted[stream][sequence - 1].payload
        highest: dict[StreamId, int] = defaultdict(int)
        for written in self.output:
            highest[written.stream] = max(highest[written.stream], written.sequence)
        for sender in self.senders:
            in_output = sender.accepted[: highest[sender.id]]
            assert sender.counters.acknowledged <= sum(b.count for b in in_output)


def _keep(queue: deque[Message] | deque[Reply], count: int) -> None:
    while len(queue) > count:
        queue.pop()
