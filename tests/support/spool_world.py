"""One sender with a spool on a real disk, and one receiver, in a simulated network.

The sender is killed by copying its directory, as it is at that moment, and going on
with the copy: nothing that the dying run had in memory is in it. Time and messages move
only when the test says so.
"""

import shutil
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.errors import SpoolError
from pcap_zmq.formats import wire
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.sender_link import SenderLink, State
from pcap_zmq.formats.spool_state import carry_over
from pcap_zmq.formats.wire import Message, Reply, StreamId
from pcap_zmq.packet import EncodedBatch
from pcap_zmq.sinks.spool import FileSpool

RAW = 101
SECOND = 1_000_000_000
MARKER = b"number %08d."


@dataclass
class Connection:
    """Two directions, each first in, first out."""

    peer: bytes
    to_receiver: deque[Message] = field(default_factory=deque)
    to_sender: deque[Reply] = field(default_factory=deque)


@dataclass(frozen=True)
class Written:
    """A batch in the output."""

    life: int
    number: int
    count: int


class SpoolWorld:
    """Batches are numbered from 0; number n has n % 5 + 1 packets."""

    def __init__(
        self,
        directory: Path,
        *,
        queue_bytes: int,
        spool_bytes: int,
        drops_oldest: bool = False,
        receive_bytes: int = 8_000,
    ) -> None:
        self.now_ns = SECOND
        self.given = 0
        self.given_packets = 0
        self.may_repeat = False
        """The sender has begun a new stream with what was on the disk."""
        self.output: list[Written] = []
        self.run = 0
        self.life = 0
        self.connection: Connection | None = None
        self.broken: Connection | None = None
        self._directory = directory
        self._queue_bytes = queue_bytes
        self._spool_bytes = spool_bytes
        self._drops_oldest = drops_oldest
        self._receive_bytes = receive_bytes
        self._peers = 0
        self._opened: list[FileSpool] = []
        self.start_receiver()
        self._start_sender()

    @property
    def spool_directory(self) -> Path:
        """Of the present run."""
        return self._directory / str(self.run)

    @property
    def delivered_packets(self) -> int:
        return sum(written.count for written in self.output)

    # The sender.

    def give(self, length: int) -> bool:
        """The next batch; counted as dropped where it is not taken."""
        payload = (MARKER % self.given).ljust(length, b"x")
        batch = EncodedBatch(RAW, self.given % 5 + 1, 0, len(payload), payload)
        self.given += 1
        self.given_packets += batch.count
        self.counters.received += batch.count
        is_taken = self.link.offer(batch)
        if not is_taken:
            self.counters.dropped[Reason.SPOOL_FULL] += batch.count
        return is_taken

    def kill(self, torn: bytes = b"", kept_up: int = 0) -> None:
        """And starts again. torn: what the disk got of a record that was being
        written."""
        before = self.spool_directory
        self.run += 1
        shutil.copytree(before, self.spool_directory)
        self.disconnect(kept_up=kept_up)
        last = max(self.spool_directory.glob("*.segment"), default=None)
        if last is not None and torn:
            with last.open("ab") as segment:
                segment.write(torn)
        self._start_sender()

    def stop(self) -> None:
        """In good order, with whatever is held; and starts again."""
        self.link.abandon()
        self.spool.close()
        self.disconnect(kept_up=1_000_000)
        self.run += 1
        (self._directory / str(self.run - 1)).rename(self.spool_directory)
        self._start_sender()

    def close(self) -> None:
        """Gives every descriptor of every run back."""
        for spool in self._opened:
            spool.close()

    def _start_sender(self) -> None:
        self.counters = SenderCounters()
        self.spool = FileSpool(
            self.spool_directory,
            size=self._spool_bytes,
            drops_oldest=self._drops_oldest,
            counters=self.counters,
        )
        self._opened.append(self.spool)
        stream = StreamId(b"s" * 16, self.run + 1)
        left = self.spool.left
        if left is not None:
            self.may_repeat |= left.stream is None
            stream = left.stream or stream
            carry_over(self.counters, left)
        elif self.run:
            # A stream of its own: what earlier ones had is settled.
            self.given_packets = 0
            self.output.clear()
        self.link = SenderLink(
            stream,
            "one",
            RAW,
            self._queue_bytes,
            self.counters,
            self._encode_totals,
            self.spool,
        )

    def _encode_totals(self) -> bytes:
        held, shelved = self.link.held_packets, self.link.shelved_packets
        return wire.encode_totals(self.counters, held, shelved)

    # The network.

    def connect(self) -> None:
        if self.connection is None:
            self._peers += 1
            self.connection = Connection(self._peers.to_bytes(4, "big"))
            self.link.connected(self.now_ns)

    def disconnect(self, *, kept_up: int = 0, kept_down: int = 0) -> None:
        """Only the first so many of what is under way will still arrive."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        while len(connection.to_receiver) > kept_up:
            connection.to_receiver.pop()
        while len(connection.to_sender) > kept_down:
            connection.to_sender.pop()
        self.messages_arrive(1_000_000, connection)
        self.replies_arrive(1_000_000, connection)
        self.receiver.lost(connection.peer)
        self.link.disconnected()

    def sender_speaks(self) -> None:
        while (message := self.link.outgoing(self.now_ns)) is not None:
            if self.connection is None:
                self.link.disconnected()
            else:
                self.connection.to_receiver.append(message)

    def receiver_speaks(self) -> None:
        for peer, reply in self.receiver.outgoing(self.now_ns):
            if self.connection is not None and peer == self.connection.peer:
                self.connection.to_sender.append(reply)

    def messages_arrive(self, limit: int, on: Connection | None = None) -> None:
        connection = on or self.connection
        if connection is None:
            return
        for _ in range(min(limit, len(connection.to_receiver))):
            message = connection.to_receiver.popleft()
            batch = self.receiver.receive(connection.peer, message, self.now_ns)
            if batch is not None:
                self.waiting.append(batch)

    def replies_arrive(self, limit: int, on: Connection | None = None) -> None:
        connection = on or self.connection
        if connection is None:
            return
        for _ in range(min(limit, len(connection.to_sender))):
            self.link.receive(connection.to_sender.popleft(), self.now_ns)

    # The receiver.

    def start_receiver(self) -> None:
        """Whatever an earlier one had not written is gone."""
        if self.life:
            self.disconnect()
        self.life += 1
        self.receiver_counters = ReceiverCounters()
        self.receiver = ReceiverLink(
            self.life, self._receive_bytes, self.receiver_counters
        )
        self.waiting: deque[EncodedBatch] = deque()

    def write(self, limit: int) -> None:
        """So many of the batches that wait come into the output."""
        for _ in range(min(limit, len(self.waiting))):
            batch = self.waiting.popleft()
            payload = bytes(batch.payload)
            if batch.count:
                number = int(payload[7:15])
                assert payload.startswith(MARKER % number)
                assert batch.count == number % 5 + 1
                self.output.append(Written(self.life, number, batch.count))
            else:
                assert payload == b""
            self.receiver.written(batch.receipt, self.now_ns)

    def turn(self) -> None:
        """Everybody does all that can be done."""
        self.sender_speaks()
        self.messages_arrive(1_000_000)
        self.write(1_000_000)
        self.receiver_speaks()
        self.replies_arrive(1_000_000)

    def turn_without_replies(self) -> None:
        """But for the one that lets the sender begin."""
        self.sender_speaks()
        self.messages_arrive(1)
        self.receiver_speaks()
        self.replies_arrive(1)
        self.sender_speaks()
        self.messages_arrive(1_000_000)
        self.write(1_000_000)

    def settle(self) -> None:
        """Connected, until all is acknowledged; in bounded time."""
        for _ in range(2_000):
            if not self.link.held_packets:
                self.write(1_000_000)
                return
            try:
                self.connect()
                self.turn()
            except SpoolError:
                self.kill()
            self.now_ns += SECOND // 5
        raise AssertionError(f"{self.link.held_packets} packets held for ever")

    # What must always be true.

    def check(self) -> None:
        counters = self.counters
        assert counters.received == (
            counters.acknowledged
            + self.link.held_packets
            + sum(counters.dropped.values())
        )
        assert min([0, *counters.dropped.values()]) == 0
        assert 0 <= self.link.shelved_packets <= self.link.held_packets
        assert self.spool.used_bytes <= self._spool_bytes + 16_000
        if self.may_repeat:
            return
        assert counters.received == self.given_packets
        for life in {written.life for written in self.output}:
            numbers = [w.number for w in self.output if w.life == life]
            assert numbers == sorted(set(numbers))

    def check_settled(self) -> None:
        """Every packet is in the output, once, or counted as lost."""
        assert self.link.state is not State.GONE
        if self.life == 1 and not self.may_repeat:
            lost = sum(self.counters.dropped.values())
            assert self.delivered_packets == self.given_packets - lost
            assert self.counters.acknowledged == self.delivered_packets
