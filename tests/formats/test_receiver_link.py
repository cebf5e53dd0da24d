"""The receiving end of the link: what it takes, owes, and shares out."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.link import ACK_NS, HEARTBEAT_NS, SILENCE_NS
from pcap_zmq.formats.receiver_link import (
    STREAMS_MAX,
    STREAMS_OF_ONE_MAX,
    ReceiverLink,
)
from pcap_zmq.formats.stream import Identity
from pcap_zmq.formats.wire import Message, MessageType, Reply, ReplyType, StreamId
from pcap_zmq.packet import EncodedBatch, Instant
from tests.support.link_world import MS, SECOND, World
from tests.support.properties import bounded, thorough
from tests.support.receipts import stream_of

QUEUE = 64_000
A, B = StreamId(b"a" * 16, 1), StreamId(b"b" * 16, 1)
PEER_A, PEER_B = b"peer a", b"peer b"
OPEN_A, OPEN_B = b"\0aaaa", b"\0bbbb"
"""As ZeroMQ makes them."""


class Desk:
    """A receiver link and its counters; the test adds to `now_ns`."""

    def __init__(self, queue_bytes: int = QUEUE) -> None:
        self.now_ns = 1_000
        self.counters = ReceiverCounters()
        self.link = ReceiverLink(7, queue_bytes, self.counters)

    def hears(
        self,
        kind: MessageType,
        sequence: int = 1,
        *,
        stream: StreamId = A,
        peer: bytes = PEER_A,
        window: int = 0,
        payload: bytes = b"",
    ) -> EncodedBatch | None:
        message = Message(
            kind, stream, sequence, window=window, count=1, payload=payload
        )
        return self.link.receive(peer, message, self.now_ns)

    def greets(
        self, stream: StreamId = A, peer: bytes = PEER_A, sequence: int = 1
    ) -> list[Reply]:
        self.hears(MessageType.HELLO, sequence, stream=stream, peer=peer)
        return self.says()

    def batch(
        self, sequence: int, length: int = 1_000, window: int = QUEUE // 2
    ) -> EncodedBatch | None:
        return self.hears(
            MessageType.BATCH, sequence, window=window, payload=bytes(length)
        )

    def passes_by(self, stream: StreamId) -> None:
        """Says hello on a connection of its own, and is gone."""
        self.hears(MessageType.HELLO, stream=stream, peer=stream.sender)
        self.link.lost(stream.sender)

    def says(self) -> list[Reply]:
        return [reply for _, reply in self.link.outgoing(self.now_ns)]

    def says_later(self) -> list[Reply]:
        """When no acknowledgement may wait any longer."""
        self.now_ns += ACK_NS
        return self.says()

    def writes(self, batch: EncodedBatch | None) -> None:
        assert batch is not None
        self.link.written(batch.receipt, self.now_ns)


# What is not taken.


def test_a_batch_without_a_hello_is_passed_over() -> None:
    desk = Desk()
    assert desk.batch(1) is None
    assert desk.counters.uncalled_messages == 1
    assert desk.says() == []


def test_a_batch_of_another_stream_on_the_same_connection_is_passed_over() -> None:
    desk = Desk()
    desk.greets(A)
    assert desk.hears(MessageType.BATCH, 1, stream=B) is None
    assert desk.counters.uncalled_messages == 1


def test_a_batch_from_before_the_last_connection_is_passed_over() -> None:
    desk = Desk()
    desk.greets(A, PEER_A)
    desk.greets(A, PEER_B)
    assert desk.hears(MessageType.BATCH, 1, peer=PEER_A) is None
    assert desk.hears(MessageType.BATCH, 1, peer=PEER_B) is not None


def test_a_sender_that_never_hears_an_acknowledgement_is_not_remembered_for_ever() -> (
    None
):
    desk = Desk()
    desk.greets()
    for sequence in range(1, 2_000):
        desk.writes(desk.batch(sequence, length=0))
    (stream,) = desk.link.streams.values()
    assert stream.lane.batches_count < 500


def test_streams_with_one_id_and_different_names_are_different_ones() -> None:
    """However long their names are, and however alike."""
    desk = Desk()
    for name in ("n" * 200 + "a", "n" * 200 + "b"):
        hello = Message(MessageType.HELLO, A, 1)
        desk.link.receive(name.encode(), hello, desk.now_ns, Identity(name=name))
    assert len(desk.link.streams) == 2


def test_a_stream_that_moves_on_leaves_its_old_connection_to_who_is_there_now() -> None:
    desk = Desk()
    desk.greets(A, PEER_A)
    desk.greets(B, PEER_A)
    desk.greets(A, PEER_B)
    assert desk.hears(MessageType.BATCH, 1, stream=B, peer=PEER_A) is not None


def test_a_batch_that_came_before_is_counted_and_acknowledged_again() -> None:
    desk = Desk()
    desk.greets()
    desk.writes(desk.batch(1))
    desk.says_later()
    assert desk.batch(1) is None
    assert desk.counters.repeated == 1
    assert [(r.type, r.written) for r in desk.says()] == [(ReplyType.ACK, 1)]


def test_a_batch_after_a_gap_makes_the_sender_go_back_once() -> None:
    desk = Desk()
    desk.greets()
    assert [desk.batch(sequence) for sequence in (2, 3, 4)] == [None] * 3
    assert [(r.type, r.next) for r in desk.says()] == [(ReplyType.WELCOME, 1)]
    assert desk.batch(5) is None
    assert desk.says() == []
    assert desk.batch(1) is not None


def test_a_gap_after_another_connection_is_told_again() -> None:
    desk = Desk()
    desk.greets()
    desk.batch(2)
    desk.says()
    desk.greets(A, PEER_B)
    desk.hears(MessageType.BATCH, 2, peer=PEER_B)
    assert [reply.type for reply in desk.says()] == [ReplyType.WELCOME]


def test_a_batch_beyond_the_window_is_not_taken() -> None:
    desk = Desk()
    (welcome,) = desk.greets()
    taken = [desk.batch(sequence) for sequence in range(1, 100)]
    held = sum(wire.cost_of(len(b.payload)) for b in taken if b is not None)
    assert welcome.window <= held < welcome.window + wire.cost_of(1_000)


def test_a_sender_whose_last_batch_was_refused_is_told_to_go_back() -> None:
    desk = Desk()
    desk.greets()
    sequence = 1
    while desk.batch(sequence) is not None:
        sequence += 1
    replies = [(reply.type, reply.next) for reply in desk.says()]
    assert replies == [(ReplyType.WELCOME, sequence)]


def test_a_receipt_of_a_stream_that_is_forgotten_is_no_harm() -> None:
    """A reader may turn out to have left unread what was counted as written."""
    desk = Desk()
    desk.greets()
    batch = desk.batch(1)
    assert batch is not None
    desk.link.lost(PEER_A)
    desk.writes(batch)
    desk.counters.count_written(batch.receipt, batch.count)
    for number in range(STREAMS_MAX + 1):
        desk.passes_by(StreamId(number.to_bytes(16, "big"), 1))
    assert A not in desk.link.streams
    desk.counters.count_written(batch.receipt, -batch.count)
    desk.counters.count_dropped(batch.receipt, Reason.MALFORMED, batch.count)
    desk.writes(batch)
    assert list(batch.receipt.batches()) == []
    assert list(batch.receipt.left(1)) == [(None, 1)]
    everybody = desk.link.streams.values()
    assert not any(stream.lane.packets_written for stream in everybody)
    assert not any(stream.dropped for stream in everybody)
    assert not any(reply.written for reply in desk.says_later())


# What is owed.


def test_a_hello_is_welcomed_with_a_window_and_the_batch_wanted_next() -> None:
    desk = Desk()
    (welcome,) = desk.greets(sequence=42)
    assert welcome == Reply(
        ReplyType.WELCOME,
        A,
        written=41,
        next=42,
        window=welcome.window,
        receiver_started_ns=7,
    )
    assert 0 < welcome.window <= QUEUE


def test_a_batch_is_acknowledged_when_it_is_written_and_not_before() -> None:
    desk = Desk()
    desk.greets()
    batch = desk.batch(1)
    assert desk.says() == []
    desk.writes(batch)
    replies = [(r.type, r.written, r.next) for r in desk.says_later()]
    assert replies == [(ReplyType.ACK, 1, 2)]


def test_one_acknowledgement_stands_for_all_that_was_written() -> None:
    desk = Desk()
    desk.greets()
    for batch in [desk.batch(sequence) for sequence in (1, 2, 3)]:
        desk.writes(batch)
    assert [reply.written for reply in desk.says_later()] == [3]


def test_an_acknowledgement_waits_for_company() -> None:
    desk = Desk()
    desk.greets()
    desk.writes(desk.batch(1, length=10))
    written_ns = desk.now_ns
    desk.now_ns += ACK_NS - 1
    desk.writes(desk.batch(2, length=10))
    assert desk.says() == []
    assert desk.link.due() == written_ns + ACK_NS
    assert desk.link.owes_replies()
    desk.now_ns += 1
    assert [reply.written for reply in desk.says()] == [2]
    assert not desk.link.owes_replies()
    assert desk.link.due() > desk.now_ns


def test_a_quarter_of_a_window_is_acknowledged_at_once() -> None:
    desk = Desk()
    (welcome,) = desk.greets()
    sequence = cost = 0
    while cost < welcome.window // 4:
        assert desk.says() == []
        sequence += 1
        desk.writes(desk.batch(sequence))
        cost += wire.cost_of(1_000)
    assert desk.link.due() <= desk.now_ns
    assert [reply.written for reply in desk.says()] == [sequence]
    desk.writes(desk.batch(sequence + 1))
    assert desk.says() == []


def test_who_is_owed_an_acknowledgement_at_once_does_not_wait_for_others() -> None:
    desk = Desk()
    desk.greets(A, PEER_A)
    desk.greets(B, PEER_B)
    desk.says()
    desk.writes(desk.batch(1, length=10))
    desk.writes(
        desk.hears(MessageType.BATCH, stream=B, peer=PEER_B, payload=bytes(QUEUE // 16))
    )
    assert [reply.stream for reply in desk.says()] == [B]
    assert [reply.stream for reply in desk.says_later()] == [A]


def test_a_sender_with_nothing_more_to_say_is_acknowledged_at_once() -> None:
    desk = Desk()
    desk.greets()
    batch = desk.batch(1)
    desk.hears(MessageType.HEARTBEAT, 2)
    assert desk.says() == []
    desk.writes(batch)
    assert [reply.written for reply in desk.says()] == [1]


def test_a_heartbeat_calls_for_what_is_owed() -> None:
    desk = Desk()
    desk.greets()
    desk.writes(desk.batch(1))
    assert desk.says() == []
    desk.hears(MessageType.HEARTBEAT, 2)
    assert [reply.written for reply in desk.says()] == [1]


def test_a_heartbeat_to_which_nothing_is_owed_is_not_answered() -> None:
    desk = Desk()
    desk.greets()
    desk.hears(MessageType.HEARTBEAT)
    assert desk.says() == []


def test_a_sender_that_goes_on_after_a_heartbeat_is_not_hasty_any_more() -> None:
    desk = Desk()
    desk.greets()
    desk.hears(MessageType.HEARTBEAT)
    desk.writes(desk.batch(1))
    assert desk.says() == []
    assert [reply.written for reply in desk.says_later()] == [1]


def test_at_the_end_no_acknowledgement_waits() -> None:
    desk = Desk()
    desk.greets()
    desk.writes(desk.batch(1))
    assert desk.says() == []
    replies = list(desk.link.outgoing(desk.now_ns, is_urgent=True))
    assert [reply.written for _, reply in replies] == [1]
    assert desk.says_later() == []


def test_whatever_is_said_stands_for_an_acknowledgement() -> None:
    desk = Desk()
    desk.greets()
    desk.writes(desk.batch(1))
    desk.batch(3)
    replies = [(reply.type, reply.written) for reply in desk.says()]
    assert replies == [(ReplyType.WELCOME, 1)]
    assert desk.says_later() == []


# Who may be taken from without a look.


def test_nobody_is_open_before_the_first_batch_was_judged() -> None:
    desk = Desk()
    desk.greets(A, OPEN_A)
    lane = desk.link.streams[A].lane
    assert not lane.is_open
    desk.link.open(OPEN_A, 5)
    assert lane.is_open


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda desk: desk.link.lost(OPEN_A), id="connection lost"),
        pytest.param(lambda desk: desk.greets(A, OPEN_B), id="moved on"),
        pytest.param(lambda desk: desk.greets(B, OPEN_A), id="another on its place"),
        pytest.param(
            lambda desk: desk.greets(StreamId(b"a" * 16, 2), OPEN_B), id="another run"
        ),
        pytest.param(
            lambda desk: desk.hears(MessageType.GOODBYE, peer=OPEN_A), id="goodbye"
        ),
        pytest.param(
            lambda desk: desk.hears(MessageType.BATCH, 3, peer=OPEN_A), id="a gap"
        ),
    ],
)
def test_what_changes_who_speaks_ends_it(end: Callable[[Desk], object]) -> None:
    desk = Desk()
    desk.greets(A, OPEN_A)
    desk.link.open(OPEN_A, 5)
    lane = desk.link.streams[A].lane
    end(desk)
    assert not lane.is_open


def test_who_has_said_goodbye_is_not_opened_by_a_late_batch() -> None:
    desk = Desk()
    desk.greets(A, OPEN_A)
    desk.hears(MessageType.GOODBYE, peer=OPEN_A)
    assert desk.hears(MessageType.BATCH, 1, peer=OPEN_A) is not None
    desk.link.open(OPEN_A, 5)
    assert not desk.link.streams[A].lane.is_open


def test_a_name_that_zeromq_did_not_make_is_never_open() -> None:
    desk = Desk()
    desk.greets(A, PEER_A)
    desk.link.open(PEER_A, 5)
    assert not desk.link.streams[A].lane.is_open


def test_a_returning_sender_is_told_what_it_need_not_repeat() -> None:
    desk = Desk()
    desk.greets()
    batches = [desk.batch(sequence) for sequence in (1, 2, 3)]
    desk.writes(batches[0])
    (welcome,) = desk.greets(A, PEER_B)
    assert (welcome.written, welcome.next) == (1, 4)


def test_a_sender_that_another_receiver_served_goes_on_where_it_is() -> None:
    desk = Desk()
    desk.greets()
    desk.writes(desk.batch(1))
    (welcome,) = desk.greets(sequence=10)
    assert (welcome.written, welcome.next) == (9, 10)


def test_a_quiet_sender_gets_a_heartbeat() -> None:
    desk = Desk()
    desk.greets()
    desk.now_ns += HEARTBEAT_NS
    assert [reply.type for reply in desk.says()] == [ReplyType.ACK]
    assert desk.says() == []


def test_the_next_look_around_is_due_after_a_heartbeat() -> None:
    desk = Desk()
    desk.now_ns = HEARTBEAT_NS
    desk.greets()
    assert desk.link.due() == desk.now_ns + HEARTBEAT_NS


def test_something_owed_is_due_at_once() -> None:
    desk = Desk()
    desk.hears(MessageType.HELLO)
    assert desk.link.due() <= desk.now_ns


def test_a_goodbye_is_answered_and_then_all_is_quiet() -> None:
    desk = Desk()
    desk.greets()
    desk.hears(MessageType.GOODBYE)
    assert [reply.type for reply in desk.says()] == [ReplyType.FAREWELL]
    desk.now_ns += HEARTBEAT_NS
    assert desk.says() == []


def test_a_name_of_any_octets_is_a_name() -> None:
    desk = Desk()
    desk.hears(MessageType.HELLO, payload=b"gate\xffway")
    assert desk.link.streams[A].name == "gate\N{REPLACEMENT CHARACTER}way"


def test_a_name_cannot_forge_lines_of_a_log() -> None:
    desk = Desk()
    desk.hears(MessageType.HELLO, payload=b"gate\nway\x1b[31m")
    assert desk.link.streams[A].name == "gate?way?[31m"


def test_a_name_is_no_longer_than_the_specification_allows() -> None:
    desk = Desk()
    desk.hears(MessageType.HELLO, payload=b"n" * 100_000)
    assert len(desk.link.streams[A].name) == wire.NAME_MAX


# Who has left.


def test_nobody_has_left_before_anybody_came() -> None:
    assert Desk().link.all_left_ns() is None


def test_a_sender_has_left_when_its_farewell_is_said_and_all_is_written() -> None:
    desk = Desk()
    desk.greets()
    batch = desk.batch(1)
    desk.hears(MessageType.GOODBYE)
    assert desk.link.all_left_ns() is None
    desk.writes(batch)
    assert desk.link.all_left_ns() is None
    desk.says()
    assert desk.link.all_left_ns() is not None


def test_a_sender_that_is_still_here_keeps_all_from_having_left() -> None:
    desk = Desk()
    desk.greets(A, PEER_A)
    desk.greets(B, PEER_B)
    desk.hears(MessageType.GOODBYE)
    desk.says()
    assert desk.link.all_left_ns() is None


def test_a_sender_that_returns_has_not_left() -> None:
    desk = Desk()
    desk.greets()
    desk.hears(MessageType.GOODBYE)
    desk.says()
    desk.greets()
    assert desk.link.all_left_ns() is None


def test_an_earlier_run_of_a_sender_has_left() -> None:
    desk = Desk()
    desk.greets(StreamId(b"a" * 16, 1), PEER_A)
    desk.greets(StreamId(b"a" * 16, 2), PEER_B)
    desk.hears(MessageType.GOODBYE, stream=StreamId(b"a" * 16, 2), peer=PEER_B)
    desk.says()
    assert desk.link.all_left_ns() is not None


# Windows.


def test_a_lost_connection_gives_its_window_to_the_others() -> None:
    desk = Desk()
    desk.greets(A, PEER_A)
    desk.greets(B, PEER_B)
    before = desk.link.streams[A].lane.window
    desk.link.lost(PEER_B)
    desk.says()
    assert desk.link.streams[A].lane.window > before


def test_the_loss_of_an_unknown_connection_is_no_harm() -> None:
    desk = Desk()
    desk.link.lost(b"who?")
    assert desk.says() == []


def test_a_silent_sender_gives_its_window_to_the_others_and_its_place_is_kept() -> None:
    world = World(QUEUE)
    loud, silent = (world.add_sender(QUEUE) for _ in range(2))
    world.connect(loud)
    world.connect(silent)
    world.offer(silent, 100)
    _turns(world, 5)
    shared = loud.link.window
    end_ns = world.now_ns + SILENCE_NS + 2 * SECOND
    while world.now_ns < end_ns:
        world.now_ns += SECOND // 2
        world.pump_sender(loud)
        for connection in loud.connections:
            world.deliver_to_receiver(connection, 100)
            world.pump_receiver()
            world.deliver_to_sender(loud, connection, 100)
    assert loud.link.window > shared
    assert world.receiver.streams[silent.id].lane.next == 2


def test_a_batch_that_comes_after_a_long_silence_is_not_stuck() -> None:
    """The way up stood still while the way down did not, until the receiver took the
    window back; then two batches came at once, and there was room for one."""
    world = World(QUEUE)
    sender = world.add_sender(QUEUE)
    world.connect(sender)
    _turns(world, 3)
    world.offer(sender, 1_000)
    world.turn(writes=0)
    world.offer(sender, 1_000)
    connection = sender.connections[-1]
    for _ in range(SILENCE_NS // SECOND + 1):
        world.now_ns += SECOND
        world.pump_sender(sender)
        world.pump_receiver()
        world.deliver_to_sender(sender, connection, 100)
    world.deliver_to_receiver(connection, 100)
    world.run_for(30 * SECOND)
    assert sender.link.held_packets == 0


def test_a_batch_sent_by_a_window_that_came_and_went_is_not_stuck() -> None:
    """The share grew and shrank within one journey of the replies, and the sender used
    the larger window while the receiver already took it for the smaller one."""
    world = World(QUEUE)
    sender, *others = [world.add_sender(QUEUE) for _ in range(4)]
    for other in (sender, *others):
        world.connect(other)
    _turns(world, 5)
    (connection,) = sender.connections
    world.depart(others[0])
    newcomer = world.add_sender(QUEUE)
    for moving in (others[0], newcomer):
        world.connect(moving)
        world.pump_sender(moving)
        world.deliver_to_receiver(moving.connections[-1], 10)
        world.pump_receiver()
    world.now_ns += SECOND
    world.pump_sender(sender)
    world.deliver_to_receiver(connection, 10)
    for _ in range(7):
        world.offer(sender, 1_000)
    world.deliver_to_sender(sender, connection, 1)
    world.pump_sender(sender)
    world.deliver_to_receiver(connection, 10)
    world.run_for(30 * SECOND)
    assert sender.link.held_packets == 0


def test_runs_that_end_one_after_the_other_do_not_fill_the_memory() -> None:
    """A sender that starts again and again while the reader of the output stands still
    leaves batches behind; they take the room of those that would come."""
    world = World(QUEUE)
    runs = 20
    for _ in range(runs):
        sender = world.add_sender(QUEUE, b"crashing sender!")
        world.connect(sender)
        _turns(world, 2, writes=0)
        while world.offer(sender, 1_000):
            pass
        _turns(world, 3, writes=0)
        world.kill(sender)
    assert world.waiting_cost <= QUEUE + runs * wire.cost_of(1_000)


def test_a_window_grows_to_its_share_when_what_others_left_is_written() -> None:
    world = World(QUEUE)
    first = world.add_sender(QUEUE, b"crashing sender!")
    world.connect(first)
    _turns(world, 2)
    while world.offer(first, 1_000):
        pass
    _turns(world, 3, writes=0)
    world.kill(first)
    second, third = (world.add_sender(QUEUE) for _ in range(2))
    world.connect(second)
    world.connect(third)
    _turns(world, 3, writes=0)
    _turns(world, 20)
    assert second.link.window == third.link.window == QUEUE // 4


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
@bounded
def test_windows_never_add_up_to_more_than_the_queue(
    moves: list[tuple[int, bool]],
) -> None:
    world = World(QUEUE)
    senders = [world.add_sender(QUEUE) for _ in range(6)]
    for which, comes in moves:
        if comes:
            world.connect(senders[which])
        else:
            world.break_connection(senders[which])
        world.turn()
        streams = world.receiver.streams.values()
        windows = [stream.lane.window for stream in streams]
        # One batch at a time is always allowed, so no window is less than 1.
        assert sum(windows) <= QUEUE + len(windows)


def test_a_thousand_senders_come_to_equal_windows_within_the_queue() -> None:
    queue = 64 << 20
    world = World(queue)
    senders = [world.add_sender(QUEUE) for _ in range(1_000)]
    for at in range(0, len(senders), 100):
        for sender in senders[at : at + 100]:
            world.connect(sender)
        world.turn()
        windows = [stream.lane.window for stream in world.receiver.streams.values()]
        assert sum(windows) <= queue + len(windows)
    _turns(world, 20)
    assert {sender.link.window for sender in senders} == {queue >> 10}


def test_all_of_a_thousand_senders_are_served() -> None:
    world = World(1 << 20)
    senders = [world.add_sender(QUEUE) for _ in range(1_000)]
    for sender in senders:
        world.connect(sender)
        for _ in range(3):
            world.offer(sender, 500)
        world.depart(sender)
    for _ in range(30):
        world.turn(writes=500)
        world.now_ns += 100 * MS
    assert world.is_settled()
    assert len(world.output) == 3_000
    assert world.receiver.all_left_ns() is not None


# Memory.


def test_the_longest_unheard_stream_is_forgotten_first() -> None:
    desk = Desk()
    for number in range(STREAMS_MAX + 10):
        desk.now_ns += 1
        stream = StreamId(number.to_bytes(16, "big"), 1)
        desk.passes_by(stream)
    assert len(desk.link.streams) == STREAMS_MAX
    assert {reply.stream for reply in desk.says()} <= set(desk.link.streams)
    assert StreamId(bytes(16), 1) not in desk.link.streams
    assert stream in desk.link.streams


def test_an_earlier_run_with_an_empty_batch_to_write_is_not_forgotten() -> None:
    """It has room of the queue, which nobody would give back."""
    desk = Desk()
    for run in range(1, 200):
        stream = StreamId(b"a" * 16, run)
        desk.greets(stream)
        batch = Message(MessageType.BATCH, stream, 1, payload=bytes(QUEUE // 4))
        held = desk.link.receive(PEER_A, batch, desk.now_ns)
        desk.greets(StreamId(b"a" * 16, run + 1))
        desk.now_ns += HEARTBEAT_NS
        desk.says()
        desk.writes(held)
    desk.greets(B, PEER_B)
    assert desk.hears(MessageType.BATCH, 1, stream=B, peer=PEER_B) is not None


def test_a_stream_that_is_heard_again_is_not_the_longest_unheard() -> None:
    desk = Desk()
    desk.greets(A, PEER_A)
    for number in range(STREAMS_MAX + 10):
        desk.now_ns += 1
        stream = StreamId(number.to_bytes(16, "big"), 1)
        desk.passes_by(stream)
        if number == STREAMS_MAX // 2:
            desk.hears(MessageType.HEARTBEAT)
            desk.link.lost(PEER_A)
    assert A in desk.link.streams
    assert len(desk.link.streams) == STREAMS_MAX


def test_an_earlier_run_is_forgotten_without_the_later_one() -> None:
    desk = Desk()
    desk.greets(StreamId(b"a" * 16, 1), PEER_A)
    desk.greets(StreamId(b"a" * 16, 2), PEER_B)
    for number in range(STREAMS_MAX):
        desk.now_ns += 1
        stream = StreamId(number.to_bytes(16, "big"), 1)
        desk.passes_by(stream)
    assert StreamId(b"a" * 16, 1) not in desk.link.streams
    assert StreamId(b"a" * 16, 2) in desk.link.streams


def test_nobody_crowds_another_out_of_our_memory() -> None:
    """One who is listed says hello with id after id; another one's link is down."""
    desk = Desk()
    good, bad = Identity(name="good", key="a"), Identity(name="bad", key="b")
    message = Message(MessageType.HELLO, A, 1, count=0)
    desk.link.receive(PEER_A, message, desk.now_ns, good)
    desk.link.lost(PEER_A)
    for number in range(STREAMS_MAX + 10):
        stream = StreamId(number.to_bytes(16, "big"), 1)
        message = Message(MessageType.HELLO, stream, 1)
        desk.link.receive(b"bad", message, desk.now_ns, bad)
    lines = desk.link.lines({}, Instant(desk.now_ns, desk.now_ns))
    names = [line.name for line in lines]
    assert names.count("good") == 1
    assert names.count("bad") == STREAMS_OF_ONE_MAX


def test_a_stream_with_batches_to_write_is_not_forgotten() -> None:
    desk = Desk()
    desk.greets(A)
    batch = desk.batch(1)
    for number in range(STREAMS_MAX + 10):
        desk.now_ns += 1
        stream = StreamId(number.to_bytes(16, "big"), 1)
        desk.hears(MessageType.HELLO, stream=stream, peer=PEER_A)
    desk.writes(batch)
    assert desk.link.streams[A].lane.written == 1


def test_streams_that_are_here_are_not_forgotten_however_many() -> None:
    desk = Desk()
    for number in range(STREAMS_MAX + 10):
        name = number.to_bytes(16, "big")
        desk.hears(MessageType.HELLO, stream=StreamId(name, 1), peer=name)
    assert len(desk.link.streams) == STREAMS_MAX + 10


# Whatever a peer says.

U64 = st.integers(0, (1 << 64) - 1)
STRANGERS = st.builds(
    StreamId, st.sampled_from([b"x" * 16, b"y" * 16, b"z" * 16]), st.integers(0, 2)
)
MESSAGES = st.builds(
    Message,
    type=st.sampled_from(MessageType),
    # Ours too: only a hello can take a stream over, and a stranger that says one with
    # another's name is outside of what the link can tell.
    stream=STRANGERS | st.just(A),
    sequence=st.integers(1, 5) | st.integers(1, wire.SEQUENCE_MAX),
    window=st.integers(0, QUEUE) | U64,
    linktype=st.integers(0, (1 << 32) - 1),
    count=st.integers(0, (1 << 32) - 1),
    codec=st.integers(0, 255),
    raw_length=st.integers(0, (1 << 32) - 1),
    totals=st.binary(min_size=128, max_size=128),
    payload=st.binary(max_size=50),
).filter(lambda message: message.stream != A or message.type is not MessageType.HELLO)
HOSTILE = st.tuples(
    st.sampled_from([b"1", b"2", b"3"]),
    MESSAGES,
    st.sampled_from([0, 0, 0, SECOND, SILENCE_NS]),
)


@given(st.lists(HOSTILE, max_size=40), st.data())
@thorough
def test_no_message_of_a_stranger_harms_another_stream(
    hostile: list[tuple[bytes, Message, int]], data: st.DataObject
) -> None:
    desk = Desk()
    desk.greets(A, PEER_A)
    wanted = 1
    for peer, message, wait_ns in hostile:
        desk.now_ns += wait_ns
        batch = desk.link.receive(peer, message, desk.now_ns)
        assert batch is None or stream_of(batch).id != A
        if batch is not None and data.draw(st.booleans()):
            desk.writes(batch)
        if data.draw(st.booleans()):
            # One at a time is taken whatever the others do.
            desk.writes(desk.batch(wanted, window=desk.link.streams[A].lane.window))
            wanted += 1
        for reply in desk.says():
            wire.encode_reply(reply)
    assert desk.link.streams[A].lane.written == wanted - 1


def _turns(world: World, count: int, *, writes: int = 1_000_000) -> None:
    for _ in range(count):
        world.turn(writes=writes)
        world.now_ns += 100 * MS
