"""Both ends of the link compare their clocks beside their other work."""

from collections import deque
from collections.abc import Callable

import pytest

from pcap_zmq.counters import ReceiverCounters, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.clock_offset import CLOCK_NS, QUICK_EXCHANGES, QUICK_NS
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.link import HEARTBEAT_NS
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.sender_link import SenderLink, State
from pcap_zmq.formats.wire import (
    Clocks,
    Message,
    MessageType,
    Reply,
    ReplyType,
    StreamId,
)
from pcap_zmq.packet import EncodedBatch, Instant

MS = 1_000_000
SECOND = 1_000 * MS
HOUR = 3_600 * SECOND
WALL_NS = 1_700_000_000 * SECOND
QUEUE = 1 << 22
STREAM = StreamId(b"s" * 16, 1)
PEER = b"\0peer"
WAY_NS = 3 * MS


class Wire:
    """A sender and a receiver, some way apart; the test lets time pass."""

    def __init__(
        self,
        offset_ns: int = 0,
        *,
        sender_tells: bool = True,
        receiver_compares: bool = True,
    ) -> None:
        self.now_ns = 100 * SECOND
        self.offset_ns = offset_ns
        self.counters = SenderCounters()
        self.sender = SenderLink(
            STREAM,
            "gateway",
            101,
            QUEUE,
            self.counters,
            lambda: wire.encode_totals(self.counters, self.sender.held_packets),
            clock=self.sender_now if sender_tells else None,
        )
        self.receiver = ReceiverLink(
            7, QUEUE, ReceiverCounters(), self.now if receiver_compares else None
        )
        self.messages: list[Message] = []
        self.replies: list[Reply] = []
        self._there: deque[tuple[int, Message]] = deque()
        self._back: deque[tuple[int, Reply]] = deque()
        self.sender.connected(self.now_ns)

    def now(self) -> Instant:
        return Instant(self.now_ns, WALL_NS + self.now_ns)

    def sender_now(self) -> Instant:
        return Instant(self.now_ns, WALL_NS + self.now_ns + self.offset_ns)

    def pass_time(self, passed_ns: int, each_turn: Callable[[], object] = int) -> None:
        """In turns of a millisecond."""
        end_ns = self.now_ns + passed_ns
        while self.now_ns < end_ns:
            each_turn()
            self._turn()
            self.now_ns += MS

    def _turn(self) -> None:
        while (message := self.sender.outgoing(self.now_ns)) is not None:
            self.messages.append(message)
            self._there.append((self.now_ns + WAY_NS, message))
        while self._there and self._there[0][0] <= self.now_ns:
            _, message = self._there.popleft()
            batch = self.receiver.receive(PEER, message, self.now_ns)
            if batch is not None:
                self.receiver.written(batch.receipt, self.now_ns)
        for _, reply in self.receiver.outgoing(self.now_ns):
            self.replies.append(reply)
            self._back.append((self.now_ns + WAY_NS, reply))
        while self._back and self._back[0][0] <= self.now_ns:
            self.sender.receive(self._back.popleft()[1], self.now_ns)

    def batch(self) -> None:
        self.sender.offer(EncodedBatch(101, 1, Codec.NONE, 100, bytes(100)))

    def told(self) -> list[Clocks]:
        """What the sender said of its clock."""
        told = (
            wire.decode_clocks(message.payload)
            for message in self.messages
            if message.type is MessageType.HEARTBEAT
        )
        return [clocks for clocks in told if clocks is not None]

    def clock_replies(self) -> list[Reply]:
        return [reply for reply in self.replies if reply.type is ReplyType.CLOCK]

    def offset(self) -> tuple[int, int]:
        """As the receiver knows it, and its error."""
        clock = self.receiver.clock_on(PEER)
        assert clock is not None
        offset_ns, error_ns = clock.offset_ns(self.now()), clock.error_ns(self.now())
        assert offset_ns is not None
        assert error_ns is not None
        return offset_ns, error_ns


@pytest.mark.parametrize("offset_ns", [0, HOUR, -HOUR])
def test_a_clock_is_known_within_a_moment_of_the_welcome(offset_ns: int) -> None:
    wires = Wire(offset_ns)
    wires.pass_time(2 * QUICK_NS)
    found_ns, error_ns = wires.offset()
    assert abs(found_ns - offset_ns) <= error_ns <= 2 * WAY_NS


def test_a_sender_that_is_never_quiet_tells_its_clock_all_the_same() -> None:
    wires = Wire(HOUR)
    wires.pass_time(20 * SECOND, wires.batch)
    found_ns, error_ns = wires.offset()
    assert abs(found_ns - HOUR) <= error_ns <= 6 * WAY_NS
    slow = (20 * SECOND - QUICK_EXCHANGES * QUICK_NS) // CLOCK_NS
    assert abs(len(wires.told()) - QUICK_EXCHANGES - slow) <= 2
    assert wires.sender.state is State.UP


def test_a_quiet_sender_says_no_more_than_its_heartbeats() -> None:
    wires = Wire()
    wires.pass_time(10 * SECOND)
    heartbeats = 10 * SECOND // HEARTBEAT_NS
    assert len(wires.told()) <= heartbeats + QUICK_EXCHANGES
    assert len(wires.replies) <= 2 * heartbeats + QUICK_EXCHANGES


def test_an_answer_acknowledges_as_any_reply_does() -> None:
    wires = Wire()
    wires.pass_time(20 * MS)
    wires.batch()
    wires.pass_time(2 * QUICK_NS)
    assert wires.clock_replies()[-1].written == 1
    assert wires.sender.held_packets == 0


def test_an_answer_is_waited_for_only_after_it_was_asked_for() -> None:
    wires = Wire()
    wires.pass_time(2 * WAY_NS)
    assert wires.sender.needs_reply()
    wires.pass_time(QUICK_NS * (QUICK_EXCHANGES + 1))
    assert not wires.sender.needs_reply()


def test_a_sender_gets_its_turn_when_its_clock_is_to_be_told() -> None:
    wires = Wire()
    wires.pass_time(2 * WAY_NS + MS)
    due_ns = wires.sender.due()
    assert due_ns is not None
    assert due_ns - wires.now_ns <= QUICK_NS


def test_a_receiver_of_before_is_told_and_answers_nothing() -> None:
    wires = Wire(receiver_compares=False)
    wires.pass_time(10 * SECOND)
    assert wires.told()
    assert {clocks.echo_ns for clocks in wires.told()} == {0}
    assert wires.clock_replies() == []
    assert wires.sender.state is State.UP


def test_a_sender_of_before_is_not_answered_what_it_does_not_know() -> None:
    wires = Wire(sender_tells=False)
    wires.pass_time(10 * SECOND)
    assert wires.told() == []
    assert wires.clock_replies() == []


def test_a_new_connection_begins_without_what_the_last_one_said() -> None:
    wires = Wire()
    wires.pass_time(SECOND)
    wires.messages.clear()
    wires.sender.disconnected()
    wires.receiver.lost(PEER)
    wires.sender.connected(wires.now_ns)
    wires.pass_time(SECOND)
    assert wires.told()[0].echo_ns == 0
    assert wires.told()[1].echo_ns > 0


def test_another_run_of_the_sender_begins_with_a_clock_that_is_not_known() -> None:
    wires = Wire()
    wires.pass_time(SECOND)
    hello = Message(MessageType.HELLO, StreamId(STREAM.sender, 2), 1, linktype=101)
    wires.receiver.receive(b"\0next", hello, wires.now_ns)
    clock = wires.receiver.clock_on(b"\0next")
    assert clock is not None
    assert clock.epoch_ns is None


def test_a_welcome_that_is_owed_goes_before_an_answer() -> None:
    """The answer comes with the next heartbeat."""
    wires = Wire()
    link, now_ns = wires.receiver, wires.now_ns
    payload = wire.encode_clocks(Clocks(WALL_NS, 0, 0))
    link.receive(PEER, Message(MessageType.HELLO, STREAM, 1, linktype=101), now_ns)
    heartbeat = Message(MessageType.HEARTBEAT, STREAM, 1, payload=payload)
    link.receive(PEER, heartbeat, now_ns)
    assert [reply.type for _, reply in link.outgoing(now_ns)] == [ReplyType.WELCOME]
    link.receive(PEER, heartbeat, now_ns)
    assert [reply.type for _, reply in link.outgoing(now_ns)] == [ReplyType.CLOCK]


def test_the_ledger_shows_the_clock() -> None:
    wires = Wire(-HOUR)
    wires.pass_time(SECOND)
    (line,) = wires.receiver.lines({}, wires.now())
    assert line.clock_offset_ns is not None
    assert line.clock_error_ns is not None
    assert abs(line.clock_offset_ns + HOUR) <= line.clock_error_ns < 10 * MS
    assert line.clock_jumps == 0
    wires.offset_ns = 0
    wires.pass_time(2 * SECOND)
    (line,) = wires.receiver.lines({}, wires.now())
    assert line.clock_jumps == 1
