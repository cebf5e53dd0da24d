"""Batches of several senders become one stream by time; what does not is counted."""

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_ffi import Shares
from pcap_ffi import count_records
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.formats.stream import Receipt, Stream
from pcap_zmq.formats.wire import Clocks, Message, MessageType, StreamId
from pcap_zmq.packet import Batch, Instant, Packet
from pcap_zmq.stages.reorder import Reorder
from tests.support.properties import bounded, thorough
from tests.support.shares import gathered, share_of

RAW = 101
MS = 1_000_000
SECOND = 1_000 * MS
HOUR = 3_600 * SECOND
WALL_NS = 1_700_000_000 * SECOND
"""Our clock, when our monotonic one is 0."""
WINDOW_NS = 100 * MS
QUEUE = 8 << 20


@dataclass
class Sender:
    """One that is connected; its clock is ahead of ours."""

    stream: Stream
    peer: bytes
    ahead_ns: int
    sent: int = 0


class Desk:
    """A receiver's link, the stage, and an output that takes all. The test moves time;
    `now_ns` is monotonic."""

    def __init__(
        self,
        window_ns: int = WINDOW_NS,
        limit: int = QUEUE // 2,
        *,
        nanoseconds: bool = True,
    ) -> None:
        self.now_ns = 1_000 * SECOND
        self.counters = ReceiverCounters()
        self.link = ReceiverLink(7, QUEUE, self.counters)
        self.stage = Reorder(
            window_ns, limit, nanoseconds=nanoseconds, counters=self.counters
        )
        self.names = itertools.count(1)
        self.came: dict[bytes, int] = {}
        """When each packet came, by its octets."""
        self.written: list[Packet] = []
        self.waits: list[int] = []

    @property
    def now(self) -> Instant:
        return Instant(self.now_ns, WALL_NS + self.now_ns)

    # Senders.

    def sender(self, ahead_ns: int = 0, *, is_measured: bool = True) -> Sender:
        number = len(self.link.streams) + 1
        stream_id = StreamId(number.to_bytes(16), 1)
        peer = number.to_bytes(5)
        hello = Message(MessageType.HELLO, stream_id, 1, linktype=RAW, payload=b"gw")
        self.link.receive(peer, hello, self.now_ns)
        self.share_out()
        sender = Sender(self.link.streams[stream_id], peer, ahead_ns)
        if is_measured:
            self.measure(sender)
        return sender

    def share_out(self) -> None:
        """Everybody hears of his window and goes by it."""
        for _ in range(2):
            list(self.link.outgoing(self.now_ns))
            for stream in list(self.link.streams.values()):
                goes_by = stream.lane.window
                said = Message(MessageType.HEARTBEAT, stream.id, 1, window=goes_by)
                self.link.receive(stream.peer, said, self.now_ns)
        list(self.link.outgoing(self.now_ns))

    def measure(self, sender: Sender) -> None:
        """Its clock is compared with ours, at once and exactly."""
        sender.stream.clock.said(self.now_ns)
        wall_ns = WALL_NS + self.now_ns + sender.ahead_ns
        sender.stream.clock.compare(Clocks(wall_ns, self.now_ns, 0), self.now_ns)

    def packets(self, sender: Sender, times_ns: Iterable[int]) -> list[Packet]:
        """Captured then, by our clock; stamped by the sender's."""
        return [
            Packet(
                WALL_NS + time_ns + sender.ahead_ns,
                12,
                sender.stream.id.sender[-4:] + next(self.names).to_bytes(8),
            )
            for time_ns in times_ns
        ]

    def batch(self, sender: Sender, times_ns: Iterable[int]) -> Batch:
        """A batch came."""
        packets = self.packets(sender, times_ns)
        records = b"".join(map(encode_packet, packets))
        sender.sent += 1
        message = Message(
            MessageType.BATCH,
            sender.stream.id,
            sender.sent,
            window=sender.stream.lane.window,
            linktype=RAW,
            count=len(packets),
            codec=Codec.NONE,
            raw_length=len(records),
            payload=records,
        )
        taken = self.link.receive(sender.peer, message, self.now_ns)
        assert taken is not None
        self.came |= {packet.data: self.now_ns for packet in packets}
        return Batch(RAW, records, len(packets), taken.receipt)

    def gathered(self, shares: list[tuple[Sender, list[int]]]) -> Batch:
        """Batches of several senders came as one."""
        batches, parts = [], []
        for sender, times_ns in shares:
            batches.append(self.batch(sender, times_ns))
            lane = sender.stream.lane
            parts.append(share_of(lane, sender.sent, len(times_ns)))
        receipt = self.link.receipt_of(gathered(self.link.lanes, parts))
        records = b"".join(bytes(batch.records) for batch in batches)
        return Batch(RAW, records, sum(batch.count for batch in batches), receipt)

    # The stage.

    def send(self, sender: Sender, *times_ns: int) -> None:
        self.feed(self.batch(sender, times_ns))

    def feed(self, batch: Batch) -> None:
        self.write(self.stage.feed(batch, self.now))
        self.check()

    def pass_time(self, passed_ns: int) -> None:
        """As the pipeline does: a turn whenever one is due."""
        until_ns = self.now_ns + passed_ns
        while (due_ns := self.stage.due()) is not None and due_ns <= until_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.write(self.stage.flush(self.now))
            self.check()
        self.now_ns = until_ns

    def end(self) -> None:
        while self.stage.due() is not None:
            self.write(self.stage.drain(self.now))
            self.check()

    def write(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            assert count_records(batch.records) == batch.count
            for packet in iter_packets(batch.records):
                self.written.append(packet)
                self.waits.append(self.now_ns - self.came[packet.data])
            if batch.receipt is not None:
                self.counters.count_written(batch.receipt, batch.count)
                self.link.written(batch.receipt, self.now_ns)

    def check(self) -> None:
        """Whose every packet is is known at every moment."""
        held: Counter[StreamId] = Counter()
        for item in self.stage.held:
            for stream, packets in item.receipt.left(item.count):
                assert stream is not None
                held[stream.key] += packets
        for stream in self.link.streams.values():
            lane = stream.lane
            assert lane.packets_received == lane.packets_written + held[stream.key]
        assert self.counters.received == self.counters.written + held.total()
        assert (self.stage.held_bytes > 0) is (held.total() > 0)
        assert (self.stage.due() is not None) is (held.total() > 0)

    def times(self, ahead_of: dict[bytes, int] | None = None) -> list[int]:
        """When what was written was captured, by our clock."""
        ahead = ahead_of or {
            stream.id.sender[-4:]: 0 for stream in self.link.streams.values()
        }
        return [
            packet.ts_ns - WALL_NS - ahead[bytes(packet.data[:4])]
            for packet in self.written
        ]


@pytest.fixture
def desk() -> Desk:
    return Desk()


# Order.


def test_packets_of_two_senders_come_out_by_their_times(desk: Desk) -> None:
    one, other = desk.sender(), desk.sender()
    start = desk.now_ns
    desk.send(one, start - 40 * MS, start - 20 * MS)
    desk.send(other, start - 50 * MS, start - 30 * MS, start - 10 * MS)
    assert desk.written == []
    desk.pass_time(WINDOW_NS)
    assert desk.times() == [start - late * MS for late in (50, 40, 30, 20, 10)]
    assert desk.counters.late == 0


def test_a_batch_is_acknowledged_once_all_of_it_is_written(desk: Desk) -> None:
    one, other = desk.sender(), desk.sender()
    start = desk.now_ns
    desk.send(one, start - 40 * MS, start + 60 * MS)
    desk.pass_time(50 * MS)
    desk.send(other, start + 30 * MS)
    desk.pass_time(50 * MS)
    # By now the first packets' time is up, and what came before them.
    assert one.stream.lane.written == 1
    desk.end()
    assert other.stream.lane.written == 1


def test_packets_of_one_time_stay_as_they_came(desk: Desk) -> None:
    sender = desk.sender()
    for _ in range(3):
        desk.send(sender, *[desk.now_ns - MS] * 4)
    desk.end()
    names = [packet.data for packet in desk.written]
    assert names == sorted(names)


def test_a_senders_own_disorder_is_mended_and_counted(desk: Desk) -> None:
    sender = desk.sender()
    start = desk.now_ns
    desk.send(sender, start - 3 * MS, start - 5 * MS, start - 4 * MS, start - 2 * MS)
    desk.send(sender, start - 6 * MS)
    desk.end()
    assert desk.times() == [start - late * MS for late in (6, 5, 4, 3, 2)]
    assert desk.counters.disordered == 2
    assert desk.counters.late == 0


def test_the_parts_of_a_gathered_batch_are_put_in_order(desk: Desk) -> None:
    one, other = desk.sender(), desk.sender()
    start = desk.now_ns
    desk.feed(
        desk.gathered(
            [
                (one, [start - 3 * MS, start - 1 * MS]),
                (other, [start - 4 * MS, start - 2 * MS]),
                (one, [start - 5 * MS]),
            ]
        )
    )
    desk.pass_time(WINDOW_NS)
    assert desk.times() == [start - late * MS for late in (5, 4, 3, 2, 1)]
    assert (one.stream.lane.written, other.stream.lane.written) == (2, 1)


def test_microseconds_are_put_in_order_as_well() -> None:
    desk = Desk(nanoseconds=False)
    one, other = desk.sender(is_measured=False), desk.sender(is_measured=False)

    def batch(sender: Sender, microseconds: int) -> Batch:
        packet = Packet(5 * SECOND + microseconds, 4, sender.stream.id.sender[-4:])
        taken = desk.batch(sender, [0])
        return Batch(RAW, encode_packet(packet), 1, taken.receipt)

    given = [
        *desk.stage.feed(batch(one, 900_000), desk.now),
        *desk.stage.feed(batch(other, 200_000), desk.now),
    ]
    while desk.stage.due() is not None:
        given += desk.stage.drain(desk.now)
    assert sum(batch.count for batch in given) == 2


def test_a_long_batch_that_comes_as_it_is_is_not_copied(desk: Desk) -> None:
    sender = desk.sender()
    batch = desk.batch(sender, range(desk.now_ns - 5_000, desk.now_ns))
    desk.stage.feed(batch, desk.now)
    desk.now_ns += WINDOW_NS
    (given,) = desk.stage.flush(desk.now)
    assert given.records is batch.records
    assert given.receipt is batch.receipt


# Time.


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 30),
            st.lists(st.integers(0, 300), max_size=9),
        ),
        max_size=30,
    )
)
@thorough
def test_nothing_waits_longer_than_the_window_and_nothing_in_it_goes_out_of_order(
    steps: list[tuple[int, int, list[int]]],
) -> None:
    """Whatever the packets' times are: an old one, late, is no reason to wait either.
    In order are those that nothing had gone before that was captured after them."""
    desk = Desk()
    senders = [desk.sender() for _ in range(4)]
    for number, passed_ms, ages_ms in steps:
        desk.pass_time(passed_ms * MS)
        ages = sorted(ages_ms, reverse=True)
        desk.send(senders[number], *(desk.now_ns - age * MS for age in ages))
    desk.pass_time(WINDOW_NS)
    assert desk.stage.due() is None
    assert max(desk.waits, default=0) <= WINDOW_NS
    assert len(desk.written) == len(desk.came)
    times = desk.times()
    highest = list(itertools.accumulate(times, max))
    late = sum(time < high for time, high in zip(times, highest, strict=True))
    assert late == desk.counters.late
    assert late == sum(sender.stream.late for sender in senders)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 20), st.integers(0, 60)),
        min_size=1,
        max_size=60,
    )
)
@thorough
def test_what_comes_within_the_window_of_its_capture_is_never_late(
    steps: list[tuple[int, int, int]],
) -> None:
    desk = Desk()
    senders = [desk.sender() for _ in range(4)]
    for number, passed_ms, age_ms in steps:
        desk.pass_time(passed_ms * MS)
        desk.send(senders[number], desk.now_ns - age_ms * MS)
    desk.end()
    assert desk.times() == sorted(desk.times())
    assert desk.counters.late == 0


def test_a_sender_that_stalls_holds_nobody_up(desk: Desk) -> None:
    one, stalled = desk.sender(), desk.sender()
    desk.send(stalled, desk.now_ns)
    for _ in range(50):
        desk.pass_time(20 * MS)
        desk.send(one, desk.now_ns - MS)
    assert max(desk.waits) <= WINDOW_NS
    assert len(desk.written) >= 45


def test_what_comes_too_late_is_delivered_and_counted_for_its_sender(
    desk: Desk,
) -> None:
    one, slow = desk.sender(), desk.sender()
    start = desk.now_ns
    desk.send(one, start)
    desk.pass_time(WINDOW_NS)
    desk.send(slow, start - MS, start + MS)
    desk.pass_time(WINDOW_NS)
    assert desk.times() == [start, start - MS, start + MS]
    assert (desk.counters.late, one.stream.late, slow.stream.late) == (1, 0, 1)
    (line,) = (line for line in desk.link.lines({}, desk.now) if line.late)
    assert line.late == 1


# Clocks.


@pytest.mark.parametrize("ahead_ns", [HOUR, -HOUR, 50 * MS, -50 * MS])
def test_a_clock_that_is_wrong_and_known_takes_its_place(ahead_ns: int) -> None:
    desk = Desk()
    right, wrong = desk.sender(), desk.sender(ahead_ns)
    start = desk.now_ns
    for step in range(0, 200, 10):
        desk.send(right, start + step * MS - 8 * MS, start + step * MS - 2 * MS)
        desk.send(wrong, start + step * MS - 6 * MS, start + step * MS - 4 * MS)
        desk.pass_time(10 * MS)
    desk.end()
    ahead = {right.stream.id.sender[-4:]: 0, wrong.stream.id.sender[-4:]: ahead_ns}
    assert desk.times(ahead) == sorted(desk.times(ahead))
    assert desk.counters.late == 0
    assert max(desk.waits) <= WINDOW_NS


@pytest.mark.parametrize("ahead_ns", [HOUR, -HOUR])
@pytest.mark.parametrize("is_measured", [True, False])
def test_the_rest_keeps_its_order_whatever_one_clock_shows(
    ahead_ns: int, is_measured: bool
) -> None:
    """Measured: as right, so that all its packets are of another time than they say."""
    desk = Desk()
    one, other = desk.sender(), desk.sender()
    wrong = desk.sender(is_measured=is_measured)
    wrong.ahead_ns = ahead_ns
    start = desk.now_ns
    for step in range(0, 300, 10):
        desk.send(wrong, start + step * MS - MS)
        desk.send(one, start + step * MS - 8 * MS, start + step * MS - 3 * MS)
        desk.pass_time(7 * MS)
        desk.send(other, start + step * MS - 6 * MS, start + step * MS + MS)
        desk.pass_time(3 * MS)
    desk.end()
    rest = [
        packet.ts_ns
        for packet in desk.written
        if bytes(packet.data[:4]) != wrong.stream.id.sender[-4:]
    ]
    assert rest == sorted(rest)
    assert one.stream.late == other.stream.late == 0
    assert max(desk.waits) <= WINDOW_NS


@pytest.mark.parametrize("ahead_ns", [HOUR, -HOUR])
def test_a_clock_that_is_not_told_is_taken_to_stamp_as_packets_come(
    ahead_ns: int,
) -> None:
    desk = Desk()
    right, unknown = desk.sender(), desk.sender(ahead_ns, is_measured=False)
    desk.pass_time(2 * SECOND)
    start = desk.now_ns
    desk.send(right, start - 20 * MS)
    desk.send(unknown, start - 30 * MS, start - 10 * MS)
    desk.send(right, start + 5 * MS)
    desk.end()
    names = [int.from_bytes(packet.data[4:]) for packet in desk.written]
    # The newest of the unknown one's came just now: so its first came 20 ms before.
    assert names in ([1, 2, 3, 4], [2, 1, 3, 4])
    assert desk.counters.late == 0


def test_packets_of_another_time_are_put_in_order_among_each_other(
    desk: Desk,
) -> None:
    """Of savefiles, whose senders have just come."""
    one, other = (desk.sender(-9 * HOUR, is_measured=False) for _ in range(2))
    start = desk.now_ns
    desk.send(one, *(start + step * MS for step in range(0, 5_000, 2)))
    desk.pass_time(20 * MS)
    desk.send(other, *(start + step * MS for step in range(1, 5_000, 2)))
    desk.pass_time(WINDOW_NS)
    times = [packet.ts_ns for packet in desk.written]
    assert times == sorted(times)
    assert len(times) == 5_000


def test_our_own_clocks_being_set_moves_no_packet(desk: Desk) -> None:
    one, other = desk.sender(), desk.sender()
    start = desk.now_ns
    desk.send(one, start - 5 * MS)
    ahead = Instant(desk.now_ns, desk.now.wall_ns + HOUR)
    desk.write(desk.stage.feed(desk.batch(other, [start - 6 * MS]), ahead))
    desk.end()
    assert desk.times() == [start - 6 * MS, start - 5 * MS]


# Memory.


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 200), st.integers(0, 5)),
        max_size=40,
    )
)
@bounded
def test_no_more_is_held_than_may_be(steps: list[tuple[int, int, int]]) -> None:
    limit = 20_000
    desk = Desk(limit=limit)
    senders = [desk.sender() for _ in range(3)]
    for number, count, passed_ms in steps:
        desk.pass_time(passed_ms * MS)
        desk.send(senders[number], *range(desk.now_ns - count, desk.now_ns))
        assert desk.stage.held_bytes <= limit
    desk.end()
    assert len(desk.written) == len(desk.came)
    assert max(desk.waits, default=0) <= WINDOW_NS


def test_what_has_to_go_before_its_time_is_the_oldest_and_is_counted() -> None:
    desk = Desk(limit=3 * wire.cost_of(28))
    sender = desk.sender()
    start = desk.now_ns
    for step in range(5):
        desk.send(sender, start - 5 + step)
    assert desk.times() == [start - 5, start - 4]
    assert desk.counters.hurried == 2


def test_a_sender_never_waits_for_its_window_because_of_us(desk: Desk) -> None:
    """Half of it lies here at most."""
    one, other = desk.sender(), desk.sender()
    for _ in desk.link.outgoing(desk.now_ns):
        pass
    window = one.stream.lane.window
    desk.send(other, desk.now_ns)
    for _ in range(200):
        desk.send(one, *range(desk.now_ns - 2_000, desk.now_ns))
        held = sum(
            packets
            for item in desk.stage.held
            for stream, packets in item.receipt.left(item.count)
            if stream is one.stream
        )
        assert held * 28 <= window // 2
    assert desk.counters.hurried > 0


# The end, and what is none of its business.


def test_the_end_gives_all_that_is_held_in_order(desk: Desk) -> None:
    senders = [desk.sender() for _ in range(3)]
    for sender in senders:
        desk.send(sender, *range(desk.now_ns - 100, desk.now_ns))
    desk.end()
    assert len(desk.written) == 300
    assert desk.times() == sorted(desk.times())
    assert desk.stage.held == ()


def test_a_batch_of_no_packets_goes_on_at_once(desk: Desk) -> None:
    sender = desk.sender()
    desk.send(sender, desk.now_ns)
    empty = Batch(RAW, b"", 0, desk.batch(sender, []).receipt)
    assert list(desk.stage.feed(empty, desk.now)) == [empty]


def test_a_batch_of_nobody_goes_on_at_once(desk: Desk) -> None:
    batch = Batch(RAW, encode_packet(Packet(1, 4, b"abcd")), 1)
    assert list(desk.stage.feed(batch, desk.now)) == [batch]


def test_packets_whose_sender_was_forgotten_are_written_nevertheless(
    desk: Desk,
) -> None:
    sender = desk.sender()
    batch = desk.batch(sender, [desk.now_ns])
    shares = Shares.of(desk.link.lanes, sender.stream.lane, 1, 1)
    batch = Batch(RAW, batch.records, 1, Receipt(shares, {}))
    desk.stage.feed(batch, desk.now)
    (held,) = desk.stage.held
    assert list(held.receipt.left(1)) == [(None, 1)]
    given = list(desk.stage.drain(desk.now))
    assert [batch.count for batch in given] == [1]
    assert desk.stage.held_bytes == 0
