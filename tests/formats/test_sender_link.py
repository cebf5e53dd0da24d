"""The sending end of the link, by what it says and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.link import HEARTBEAT_NS, PATIENCE_NS
from pcap_zmq.formats.sender_link import SenderLink, State
from pcap_zmq.formats.wire import Message, MessageType, Reply, ReplyType, StreamId
from pcap_zmq.packet import EncodedBatch
from tests.support.properties import bounded, thorough

STREAM = StreamId(b"s" * 16, 1)
OTHER = StreamId(b"o" * 16, 1)
QUEUE = 10_000
WINDOW = 1 << 20
COST = wire.cost_of(100)


class Case:
    """A sender link and its counters; the test adds to `now_ns`."""

    def __init__(self, queue_bytes: int = QUEUE, name: str = "gateway") -> None:
        self.now_ns = 1_000
        self.counters = SenderCounters()
        self.link = SenderLink(
            STREAM, name, 101, queue_bytes, self.counters, self.totals
        )

    def totals(self) -> bytes:
        return wire.encode_totals(self.counters, self.link.held_packets)

    def offer(self, count: int = 1, length: int = 100) -> bool:
        return self.link.offer(
            EncodedBatch(101, count, Codec.NONE, length, bytes(length))
        )

    def says(self) -> list[Message]:
        """All that it has to say now."""
        messages: list[Message] = []
        while (message := self.link.outgoing(self.now_ns)) is not None:
            messages.append(message)
            assert len(messages) < 1000
        return messages

    def types(self) -> list[MessageType]:
        return [message.type for message in self.says()]

    def sequences(self) -> list[int]:
        """The batches that it sends now."""
        return [m.sequence for m in self.says() if m.type is MessageType.BATCH]

    def hears(
        self,
        reply_type: ReplyType,
        written: int,
        next_: int,
        window: int = WINDOW,
        stream: StreamId = STREAM,
    ) -> None:
        reply = Reply(reply_type, stream, written, next_, window, 1)
        self.link.receive(reply, self.now_ns)

    def come_up(self, window: int = WINDOW) -> None:
        self.link.connected(self.now_ns)
        self.says()
        self.hears(ReplyType.WELCOME, 0, 1, window)


@pytest.fixture
def case() -> Case:
    return Case()


# What is no help.


def test_nothing_is_said_without_a_connection(case: Case) -> None:
    case.offer()
    assert case.says() == []
    assert case.link.due() is None


def test_a_reply_for_another_stream_is_passed_over(case: Case) -> None:
    case.come_up()
    case.offer()
    case.says()
    case.hears(ReplyType.ACK, 1, 2, stream=OTHER)
    assert case.link.held_packets == 1


def test_an_acknowledgement_of_what_was_never_offered_is_passed_over(
    case: Case,
) -> None:
    case.come_up()
    case.offer()
    case.says()
    case.hears(ReplyType.ACK, 2, 3)
    assert case.link.held_packets == 1


def test_an_acknowledgement_of_what_was_not_sent_is_passed_over(case: Case) -> None:
    case.come_up(window=1)
    for _ in range(3):
        case.offer()
    assert case.sequences() == [1]
    case.hears(ReplyType.ACK, 2, 3)
    assert case.link.held_packets == 3


def test_a_welcome_to_what_was_not_sent_does_not_make_it_sent(case: Case) -> None:
    case.come_up(window=1)
    for _ in range(3):
        case.offer()
    assert case.sequences() == [1]
    case.hears(ReplyType.WELCOME, 0, 4)
    case.hears(ReplyType.ACK, 1, 2)
    assert case.sequences() == [2, 3]


def test_a_farewell_that_was_not_asked_for_ends_nothing(case: Case) -> None:
    case.come_up()
    case.hears(ReplyType.FAREWELL, 0, 1)
    assert case.link.state is State.UP


def test_an_acknowledgement_before_the_welcome_opens_no_window(case: Case) -> None:
    case.link.connected(case.now_ns)
    case.offer()
    case.says()
    case.hears(ReplyType.ACK, 0, 1)
    assert case.link.state is State.GREETING
    assert case.sequences() == []


def test_a_batch_beyond_the_queue_is_not_taken(case: Case) -> None:
    taken = sum(case.offer() for _ in range(100))
    assert taken == QUEUE // COST
    assert case.link.held_bytes == taken * COST


def test_an_empty_queue_takes_a_batch_larger_than_itself(case: Case) -> None:
    assert case.offer(length=2 * QUEUE)
    assert not case.offer()


# Greeting.


def test_a_connection_begins_with_a_hello(case: Case) -> None:
    case.link.connected(case.now_ns)
    hello = case.says()
    assert [message.type for message in hello] == [MessageType.HELLO]
    assert (hello[0].stream, hello[0].sequence) == (STREAM, 1)
    assert (hello[0].linktype, hello[0].payload) == (101, b"gateway")


def test_a_hello_is_said_once(case: Case) -> None:
    case.link.connected(case.now_ns)
    case.says()
    case.now_ns += PATIENCE_NS - 1
    assert case.says() == []


def test_a_hello_that_nobody_answers_is_said_again(case: Case) -> None:
    case.link.connected(case.now_ns)
    case.says()
    assert case.link.due() == case.now_ns + PATIENCE_NS
    case.now_ns += PATIENCE_NS
    assert case.types() == [MessageType.HELLO]


def test_greetings_that_nobody_answers_are_counted(case: Case) -> None:
    case.link.connected(case.now_ns)
    for _ in range(3):
        case.says()
        case.now_ns += PATIENCE_NS
    assert case.link.unanswered == 3
    case.hears(ReplyType.WELCOME, 0, 1)
    assert case.link.unanswered == 0


def test_a_hello_is_due_at_once(case: Case) -> None:
    case.link.connected(case.now_ns)
    due = case.link.due()
    assert due is not None
    assert due <= case.now_ns


def test_a_long_name_is_cut_to_what_a_hello_carries() -> None:
    case = Case(name="ü" * 200)
    case.link.connected(case.now_ns)
    assert len(case.says()[0].payload) == wire.NAME_MAX


def test_a_hello_names_the_first_batch_that_is_not_acknowledged(case: Case) -> None:
    case.come_up()
    for _ in range(3):
        case.offer()
    case.says()
    case.hears(ReplyType.ACK, 2, 4)
    case.link.disconnected()
    case.link.connected(case.now_ns)
    assert case.says()[0].sequence == 3


# Sending.


def test_batches_are_numbered_from_one(case: Case) -> None:
    case.come_up()
    for _ in range(3):
        case.offer()
    assert case.sequences() == [1, 2, 3]


def test_a_batch_is_sent_once(case: Case) -> None:
    case.come_up()
    case.offer()
    assert case.sequences() == [1]
    assert case.sequences() == []


def test_the_last_batch_begins_in_the_window_and_may_end_beyond_it(
    case: Case,
) -> None:
    case.come_up(window=2 * COST + 1)
    for _ in range(5):
        case.offer()
    assert case.sequences() == [1, 2, 3]


def test_a_window_of_nothing_stops_the_sender_and_not_its_heartbeats(
    case: Case,
) -> None:
    case.come_up(window=0)
    case.offer()
    case.now_ns += HEARTBEAT_NS
    assert case.types() == [MessageType.HEARTBEAT]


def test_what_is_acknowledged_makes_room_in_window_and_queue(case: Case) -> None:
    case.come_up(window=1)
    for _ in range(3):
        case.offer()
    assert case.sequences() == [1]
    case.hears(ReplyType.ACK, 1, 2, window=1)
    assert case.link.held_bytes == 2 * COST
    assert case.sequences() == [2]


def test_an_acknowledgement_stands_for_all_batches_before_it(case: Case) -> None:
    case.come_up()
    for count in (1, 2, 3):
        case.offer(count)
    case.says()
    case.hears(ReplyType.ACK, 2, 4)
    assert case.counters.acknowledged == 3
    assert case.link.held_packets == 3


def test_an_old_acknowledgement_takes_nothing_back(case: Case) -> None:
    case.come_up()
    for _ in range(2):
        case.offer()
    case.says()
    case.hears(ReplyType.ACK, 2, 3)
    case.hears(ReplyType.ACK, 1, 3)
    assert case.counters.acknowledged == 2


def test_every_message_carries_the_counters_of_its_moment(case: Case) -> None:
    case.come_up()
    case.counters.missed = 77
    case.offer()
    (message,) = case.says()
    assert wire.decode_totals(message.totals).missed == 77


def test_a_new_window_is_said_at_once(case: Case) -> None:
    case.come_up()
    case.says()
    case.hears(ReplyType.ACK, 0, 1, window=5_000)
    (message,) = case.says()
    assert (message.type, message.window) == (MessageType.HEARTBEAT, 5_000)


def test_silence_is_broken_by_a_heartbeat(case: Case) -> None:
    case.come_up()
    case.says()
    assert case.link.due() == case.now_ns + HEARTBEAT_NS
    case.now_ns += HEARTBEAT_NS
    assert case.types() == [MessageType.HEARTBEAT]


def test_a_clock_that_stands_still_makes_no_heartbeats(case: Case) -> None:
    case.come_up()
    case.says()
    assert case.says() == []


# Going back.


def test_a_new_connection_sends_again_what_the_receiver_wants(case: Case) -> None:
    case.come_up()
    for _ in range(4):
        case.offer()
    case.says()
    case.link.disconnected()
    case.link.connected(case.now_ns)
    case.says()
    case.hears(ReplyType.WELCOME, 1, 3)
    assert case.sequences() == [3, 4]


def test_what_a_receiver_has_but_has_not_written_still_fills_the_window(
    case: Case,
) -> None:
    case.come_up()
    for _ in range(4):
        case.offer()
    case.says()
    case.link.disconnected()
    case.link.connected(case.now_ns)
    case.says()
    case.hears(ReplyType.WELCOME, 0, 3, window=2 * COST)
    assert case.sequences() == []


def test_a_receiver_that_lost_its_memory_gets_all_that_is_held(case: Case) -> None:
    case.come_up()
    for _ in range(4):
        case.offer()
    case.says()
    case.hears(ReplyType.ACK, 1, 5)
    case.link.disconnected()
    case.link.connected(case.now_ns)
    case.says()
    case.hears(ReplyType.WELCOME, 1, 2)
    assert case.sequences() == [2, 3, 4]


def test_a_welcome_to_what_is_gone_starts_at_the_first_that_is_held(
    case: Case,
) -> None:
    case.come_up()
    for _ in range(3):
        case.offer()
    case.says()
    case.hears(ReplyType.ACK, 2, 4)
    case.hears(ReplyType.WELCOME, 0, 1)
    assert case.sequences() == [3]


def test_an_acknowledgement_that_crosses_a_step_back_counts(case: Case) -> None:
    case.come_up()
    for _ in range(4):
        case.offer()
    case.says()
    case.hears(ReplyType.WELCOME, 0, 1, window=2 * COST)
    case.hears(ReplyType.ACK, 2, 5, window=2 * COST)
    assert case.sequences() == [3, 4]


def test_a_receiver_that_has_more_than_the_last_one_had_is_believed(
    case: Case,
) -> None:
    """Two receivers take turns at one address: the first has written what the second
    had not even got when the sender came back."""
    case.come_up()
    for _ in range(4):
        case.offer()
    assert case.sequences() == [1, 2, 3, 4]
    case.link.disconnected()
    case.link.connected(case.now_ns)
    case.says()
    case.hears(ReplyType.WELCOME, 0, 1, window=1)
    assert case.sequences() == [1]
    case.link.disconnected()
    case.link.connected(case.now_ns)
    case.says()
    case.hears(ReplyType.WELCOME, 4, 5)
    assert case.link.state is State.UP
    assert case.link.held_packets == 0


def test_a_receiver_that_went_silent_is_greeted_again(case: Case) -> None:
    case.come_up()
    case.says()
    case.now_ns += PATIENCE_NS
    assert case.types() == [MessageType.HELLO]


def test_a_receiver_that_is_heard_is_not_greeted_again(case: Case) -> None:
    case.come_up()
    for _ in range(20):
        case.now_ns += PATIENCE_NS - 1
        case.hears(ReplyType.ACK, 0, 1)
        assert MessageType.HELLO not in case.types()


def test_nothing_is_said_after_the_connection_broke(case: Case) -> None:
    case.come_up()
    case.link.disconnected()
    case.offer()
    case.now_ns += PATIENCE_NS
    assert case.says() == []


# Leaving.


def test_a_departing_sender_waits_for_what_it_holds(case: Case) -> None:
    case.come_up()
    case.offer()
    case.link.depart()
    assert case.types() == [MessageType.BATCH, MessageType.HEARTBEAT]
    case.hears(ReplyType.ACK, 1, 2)
    assert case.types() == [MessageType.GOODBYE]
    assert case.link.state is State.LEAVING


def test_a_departing_sender_calls_once_for_its_last_acknowledgement(case: Case) -> None:
    """The receiver would wait with it for others' otherwise."""
    case.come_up()
    case.offer()
    assert case.types() == [MessageType.BATCH]
    case.link.depart()
    assert case.types() == [MessageType.HEARTBEAT]
    case.now_ns += HEARTBEAT_NS - 1
    assert case.types() == []


def test_a_departing_sender_does_not_call_before_all_is_sent(case: Case) -> None:
    case.come_up(window=1)
    case.offer()
    case.offer()
    case.link.depart()
    assert case.types() == [MessageType.BATCH]
    case.hears(ReplyType.ACK, 1, 2, 1)
    assert case.types() == [MessageType.BATCH, MessageType.HEARTBEAT]


def test_a_departing_sender_with_nothing_to_wait_for_does_not_call(case: Case) -> None:
    case.come_up()
    case.link.depart()
    assert case.types() == [MessageType.GOODBYE]


def test_a_departing_sender_calls_again_on_another_connection(case: Case) -> None:
    """What it had said may have gone with the last one."""
    case.come_up()
    case.offer()
    case.link.depart()
    case.says()
    case.link.disconnected()
    case.link.connected(case.now_ns)
    assert case.types() == [MessageType.HELLO]
    case.hears(ReplyType.WELCOME, 0, 1)
    assert case.types() == [MessageType.BATCH, MessageType.HEARTBEAT]


def test_a_sender_whose_queue_is_half_full_calls_for_an_acknowledgement() -> None:
    case = Case(queue_bytes=4 * wire.MESSAGE_COST)
    case.come_up()
    case.offer(length=0)
    assert case.types() == [MessageType.BATCH]
    case.offer(length=0)
    assert case.types() == [MessageType.BATCH, MessageType.HEARTBEAT]


def test_a_farewell_ends_it(case: Case) -> None:
    case.come_up()
    case.link.depart()
    case.says()
    case.hears(ReplyType.FAREWELL, 0, 1)
    assert case.link.state is State.GONE
    assert case.link.due() is None


def test_a_sender_that_is_gone_stays_gone(case: Case) -> None:
    case.come_up()
    case.link.depart()
    case.says()
    case.hears(ReplyType.FAREWELL, 0, 1)
    case.link.disconnected()
    case.link.connected(case.now_ns)
    assert case.link.state is State.GONE
    assert case.says() == []


def test_a_goodbye_is_said_again_on_a_new_connection(case: Case) -> None:
    case.come_up()
    case.link.depart()
    case.says()
    case.link.disconnected()
    case.link.connected(case.now_ns)
    assert case.types() == [MessageType.HELLO]
    case.hears(ReplyType.WELCOME, 0, 1)
    assert case.types() == [MessageType.GOODBYE]


def test_a_receiver_that_knows_of_no_goodbye_is_greeted_again(case: Case) -> None:
    """It passes over a goodbye of a stream that has said no hello to it."""
    case.come_up()
    case.link.depart()
    case.says()
    case.now_ns += PATIENCE_NS
    assert case.types() == [MessageType.HELLO]


def test_a_hurried_goodbye_is_said_with_batches_held(case: Case) -> None:
    case.come_up()
    case.offer()
    case.says()
    case.link.leave_now(case.now_ns)
    assert case.types() == [MessageType.GOODBYE]


def test_a_hurried_goodbye_without_a_connection_is_not_said(case: Case) -> None:
    case.link.leave_now(case.now_ns)
    assert case.link.state is State.DOWN


def test_a_farewell_acknowledges_what_the_receiver_has(case: Case) -> None:
    case.come_up()
    for count in (1, 2):
        case.offer(count)
    case.says()
    case.link.leave_now(case.now_ns)
    case.says()
    case.hears(ReplyType.FAREWELL, 0, 3)
    assert case.counters.acknowledged == 3


def test_what_is_held_at_the_farewell_is_counted_as_dropped(case: Case) -> None:
    case.come_up(window=1)
    for count in (1, 2):
        case.offer(count)
    case.says()
    case.link.leave_now(case.now_ns)
    case.says()
    case.hears(ReplyType.FAREWELL, 0, 2)
    assert case.counters.acknowledged == 1
    assert case.counters.dropped[Reason.SHUTDOWN] == 2
    assert case.link.held_packets == 0


def test_what_is_abandoned_is_counted_as_dropped(case: Case) -> None:
    for count in (1, 2):
        case.offer(count)
    assert case.link.abandon() == 3
    assert case.counters.dropped[Reason.SHUTDOWN] == 3
    assert (case.link.held_packets, case.link.held_bytes) == (0, 0)


def test_nothing_is_said_after_everything_was_abandoned(case: Case) -> None:
    case.come_up()
    case.link.abandon()
    case.hears(ReplyType.WELCOME, 0, 1)
    case.link.connected(case.now_ns)
    assert case.types() == []


def test_nothing_is_sent_of_what_was_abandoned(case: Case) -> None:
    case.come_up()
    case.offer()
    case.link.abandon()
    assert case.sequences() == []


# Whatever a peer says.

U64 = st.integers(0, (1 << 64) - 1)
PLACE = st.integers(0, 12) | U64
REPLIES = st.builds(
    Reply,
    type=st.sampled_from(ReplyType),
    stream=st.sampled_from([STREAM, STREAM, STREAM, OTHER]),
    written=PLACE,
    next=PLACE,
    window=st.integers(0, 5_000) | U64,
    receiver_started_ns=U64,
)
STEPS = st.lists(
    st.one_of(
        REPLIES,
        st.sampled_from(
            ["offer", "speak", "connected", "disconnected", "depart", "wait"]
        ),
    ),
    max_size=40,
)


@given(STEPS)
@thorough
def test_no_reply_acknowledges_what_was_not_sent(steps: list[Reply | str]) -> None:
    it = Case()
    sent: set[int] = set()
    offered = 0
    for step in ["connected", "speak", *steps]:
        match step:
            case "offer":
                offered += it.offer()
            case "speak":
                sent.update(it.sequences())
            case "connected":
                it.link.connected(it.now_ns)
            case "disconnected":
                it.link.disconnected()
            case "depart":
                it.link.depart()
            case "wait":
                it.now_ns += PATIENCE_NS
            case Reply():
                it.link.receive(step, it.now_ns)
        dropped = it.counters.dropped[Reason.SHUTDOWN]
        assert it.counters.acknowledged <= len(sent)
        assert it.counters.acknowledged + it.link.held_packets + dropped == offered
        assert it.link.held_bytes == COST * it.link.held_packets


@given(window=st.integers(0, 5_000), lengths=st.lists(st.integers(0, 2_000)))
@bounded
def test_a_window_is_exceeded_by_less_than_a_batch(
    window: int, lengths: list[int]
) -> None:
    case = Case(queue_bytes=1 << 20)
    case.come_up(window)
    for length in lengths:
        case.offer(length=length)
    sent = [m for m in case.says() if m.type is MessageType.BATCH]
    costs = [wire.cost_of(len(message.payload)) for message in sent]
    assert sum(costs[:-1]) < max(window, 1)


# What an earlier run had sent.


def test_a_stream_goes_on_where_an_earlier_run_was(case: Case) -> None:
    """Of what comes again the receiver had some, and says so."""
    case.link.go_on(OTHER, 7)
    for _ in range(4):
        case.offer()
    case.link.connected(case.now_ns)
    (hello,) = case.says()
    assert (hello.type, hello.stream, hello.sequence) == (MessageType.HELLO, OTHER, 7)
    # 7 is written, 8 is under way there.
    case.hears(ReplyType.WELCOME, 7, 9, stream=OTHER)
    assert case.counters.acknowledged == 1
    assert case.sequences() == [9, 10]
    case.hears(ReplyType.ACK, 10, 11, stream=OTHER)
    assert (case.counters.acknowledged, case.link.held_packets) == (4, 0)


def test_what_the_receiver_has_and_is_still_to_come_is_acknowledged_when_it_does(
    case: Case,
) -> None:
    case.link.go_on(OTHER, 7)
    case.link.connected(case.now_ns)
    case.says()
    case.hears(ReplyType.WELCOME, 9, 10, stream=OTHER)
    case.offer()
    assert case.sequences() == [7]
    case.hears(ReplyType.ACK, 9, 10, stream=OTHER)
    assert (case.counters.acknowledged, case.link.held_packets) == (1, 0)
    case.offer()
    assert case.sequences() == [8]
