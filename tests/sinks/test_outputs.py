"""Several outputs behind one: who waits, what is dropped, and that it all adds up."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_ffi import FlowSpread
from link_ffi import Lanes
from pcap_zmq.counters import OutputCounters, OutputCounts, Reason, ReceiverCounters
from pcap_zmq.errors import OutputError
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.savefile import encode_packet
from pcap_zmq.formats.stream import Receipt, Stream
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import Batch, Instant, Packet
from pcap_zmq.poll import Watch
from pcap_zmq.sinks.branch import SLOW_NS, TOLD_NS, Branch
from pcap_zmq.sinks.outputs import Copies, Flows, Outputs
from tests.support.properties import bounded
from tests.support.shares import gathered, share_of

RAW = 101
MS = 1_000_000


def record_of(number: int) -> bytes:
    """Of an IPv4 packet; several of each flow."""
    header = bytes.fromhex("450000140000000040110000")
    data = header + bytes([10, 0, 0, number % 31, 10, 0, 1, 1])
    return encode_packet(Packet(number, len(data), data))


RECORD = len(record_of(0))


class PiecemealSink:
    """Takes so many octets as it is told; what it has taken it has for good."""

    def __init__(self, counters: OutputCounts) -> None:
        self.octets = b""
        self.room = 0
        self.error: OutputError | None = None
        self.is_closed = False
        self.skipped = 0
        self._counters = counters
        self._at = 0
        self._arrived: list[Any] = []
        self._is_finishing = False

    @property
    def held(self) -> Sequence[Batch]:
        return ()

    def serve(self, now: Instant) -> None:
        if self.error is not None:
            raise self.error

    def due(self) -> int | None:
        return None

    def watch(self, wanted: bool) -> Iterable[Watch]:
        return ()

    def offer(self, item: Batch, now: Instant) -> bool:
        assert not self._is_finishing
        self.serve(now)
        given = bytes(item.records[self._at : self._at + self.room])
        self.room -= len(given)
        self.octets += given
        self._at += len(given)
        if self._at < len(item.records):
            return False
        self._at = 0
        self._counters.count_written(item.receipt, item.count)
        if item.receipt is not None:
            self._arrived.append(item.receipt)
        return True

    def cut(self) -> int:
        return -(-self._at // RECORD)

    def skip(self, item: Batch) -> None:
        self.skipped += item.count

    def arrived(self) -> Sequence[Any]:
        arrived, self._arrived = self._arrived, []
        return arrived

    def finish(self, deadline_ns: int | None) -> None:
        self._is_finishing = True

    def is_finished(self) -> bool:
        return self._is_finishing

    def abandon(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True

    @property
    def records(self) -> list[bytes]:
        """The whole ones."""
        whole = len(self.octets) // RECORD
        return [self.octets[n * RECORD : (n + 1) * RECORD] for n in range(whole)]


class Desk:
    """Two senders whose batches are gathered, and outputs that drop or wait."""

    def __init__(self, drops: Sequence[bool], *, balances: bool, queue: int) -> None:
        self.counters = ReceiverCounters()
        self.now_ns = SLOW_NS
        self.lanes = Lanes(1 << 40, 1)
        self.streams: dict[int, Stream] = {}
        for number in range(2):
            lane = self.lanes.add(bytes(24), 1)
            lane.reserved = 1 << 40
            key = StreamId(bytes([number] * 16), 1)
            stream = Stream(key, key, lane, f"s{number}", b"", RAW)
            self.streams[lane.slot] = stream
        self.sinks: list[PiecemealSink] = []
        self.branches: list[Branch] = []
        for number, one_drops in enumerate(drops):
            is_copy = not balances and number > 0
            counters = OutputCounters(self.counters, is_copy=is_copy)
            sink = PiecemealSink(counters)
            self.sinks.append(sink)
            self.branches.append(
                Branch(
                    f"output{number}",
                    sink,
                    drops=one_drops,
                    queue_bytes=queue * RECORD,
                    counters=counters,
                )
            )
        spreading = (
            Flows(self.branches, FlowSpread(seed=1))
            if balances
            else Copies(self.branches)
        )
        self.outputs = Outputs(self.branches, spreading)
        self.made = 0
        self.waiting: Batch | None = None
        self.offered: list[Batch] = []
        self.settled = 0

    @property
    def now(self) -> Instant:
        return Instant(self.now_ns, self.now_ns)

    def batch(self, *parts: int) -> Batch:
        """So many packets of one sender, then of the other, and so on."""
        shares = []
        lanes = [stream.lane for stream in self.streams.values()]
        for place, packets in enumerate(parts):
            lane = lanes[place % 2]
            number = lane.next
            self.lanes.take(lane, number, 0, packets)
            shares.append(share_of(lane, number, packets))
        count = sum(parts)
        numbers = range(self.made, self.made + count)
        self.made += count
        self.counters.received += count
        receipt = Receipt(gathered(self.lanes, shares), self.streams)
        return Batch(RAW, b"".join(map(record_of, numbers)), count, receipt)

    def offer(self, *parts: int) -> bool:
        """Another batch, or again the one that was not taken."""
        batch = self.waiting or self.batch(*parts)
        taken = self.outputs.offer(batch, self.now)
        self.waiting = None if taken else batch
        if taken:
            self.offered.append(batch)
        self.settle()
        return taken

    def serve_after(self, *parts: int) -> None:
        """Another batch, and the turn after it."""
        self.offer(*parts)
        self.outputs.serve(self.now)

    def settle(self) -> None:
        for receipt in self.outputs.arrived():
            assert isinstance(receipt, Receipt | Runs)
            for whole in receipt.whole():
                whole.settle(self.now_ns)
                self.settled += 1

    def let(self, number: int, octets: int) -> None:
        """An output's reader reads so much."""
        self.sinks[number].room += octets
        self.outputs.serve(self.now)
        self.settle()

    def pass_ns(self, duration_ns: int) -> None:
        self.now_ns += duration_ns
        self.outputs.serve(self.now)
        self.settle()

    def check(self) -> None:
        """Every packet is somewhere, for each output and for each sender."""
        waiting = self.waiting.count if self.waiting else 0
        held = {stream.name: 0 for stream in self.streams.values()}
        items: list[Any] = [*self.outputs.held]
        items += [self.waiting] if self.waiting else []
        for item in items:
            if item.receipt is None:
                # It tells of a link type.
                assert not item.count
                continue
            for stream, packets in item.receipt.left(item.count):
                assert stream is not None
                held[stream.name] += packets
        for stream in self.streams.values():
            assert (
                stream.lane.packets_received
                == stream.lane.packets_written
                + held[stream.name]
                + stream.dropped.total()
            )
        counters = self.counters
        assert (
            counters.received
            == counters.written + sum(held.values()) + counters.dropped.total()
        )
        for branch in self.branches:
            assert branch.line.unaccounted == 0
            assert branch.held_packets >= 0
        taken = [branch.counters.taken for branch in self.branches]
        sizes = (counters.received - waiting, sum(taken))
        assert set(taken) == {sizes[0]} or sizes[0] == sizes[1]

    def is_whole(self, number: int) -> bool:
        """What an output has written are whole records, in order, each once."""
        records = self.sinks[number].records
        expected = [record_of(n) for n in range(self.made)]
        places = [expected.index(record) for record in records]
        return places == sorted(set(places))


# One after the other.


def test_all_wait_for_one_that_waits() -> None:
    desk = Desk([False, False], balances=False, queue=2)
    desk.sinks[0].room = 100 * RECORD
    assert desk.offer(3)
    assert not desk.offer(1)
    desk.let(1, 2 * RECORD)
    assert not desk.offer(1)
    desk.let(1, RECORD)
    assert desk.offer(1)
    assert desk.settled == 1
    assert len(desk.sinks[0].records) == 4
    desk.check()


def test_what_is_half_written_ends_with_the_record_that_is_begun() -> None:
    desk = Desk([True, False], balances=False, queue=100)
    desk.sinks[1].room = 100 * RECORD
    desk.offer(2, 2, 2)
    desk.let(0, 2 * RECORD + 5)
    desk.pass_ns(SLOW_NS)
    # Nobody waits for the rest of it.
    assert desk.settled == 1
    assert [s.lane.written for s in desk.streams.values()] == [2, 1]
    assert desk.counters.dropped == {Reason.SLOW_OUTPUT: 3}
    assert [s.dropped.total() for s in desk.streams.values()] == [2, 1]
    assert desk.branches[0].held_packets == 3
    desk.check()
    desk.offer(1)
    desk.let(0, 100 * RECORD)
    assert desk.is_whole(0)
    assert len(desk.sinks[0].records) == desk.counters.written == 4
    assert desk.sinks[0].skipped == 3
    assert desk.settled == 2
    desk.check()


def test_the_rest_of_a_record_waits_for_its_reader_while_later_ones_go() -> None:
    desk = Desk([True], balances=False, queue=2)
    desk.offer(2)
    desk.let(0, 1)
    for _ in range(5):
        desk.pass_ns(SLOW_NS)
        desk.offer(1)
    assert desk.settled == 5
    desk.let(0, 2 * RECORD - 1)
    assert desk.sinks[0].records == [record_of(0), record_of(6)]
    desk.check()


def test_what_a_full_queue_has_no_room_for_is_the_oldest() -> None:
    desk = Desk([True], balances=False, queue=3)
    for _ in range(5):
        assert desk.offer(1)
    assert desk.settled == 2
    desk.let(0, 100 * RECORD)
    assert desk.sinks[0].records == [record_of(n) for n in (2, 3, 4)]
    desk.check()


def test_a_batch_larger_than_the_queue_is_given_at_once_or_not_at_all() -> None:
    desk = Desk([True], balances=False, queue=3)
    desk.sinks[0].room = 10 * RECORD
    assert desk.offer(10)
    assert desk.offer(10)
    assert len(desk.sinks[0].records) == 10
    assert desk.counters.dropped == {Reason.SLOW_OUTPUT: 10}


@pytest.mark.parametrize("number", [0, 1])
def test_one_that_fails_drops_what_is_meant_for_it_and_the_others_go_on(
    number: int,
) -> None:
    desk = Desk([True, True], balances=False, queue=100)
    desk.sinks[1 - number].room = 100 * RECORD
    desk.offer(3)
    desk.sinks[number].error = OutputError("the disk is gone")
    desk.offer(2)
    assert desk.sinks[number].is_closed
    assert desk.settled == 2
    assert len(desk.sinks[1 - number].records) == 5
    assert desk.branches[number].line.dropped == {"output_failed": 5}
    assert desk.counters.dropped.total() == (5 if number == 0 else 0)
    desk.check()


def test_the_end_of_the_last_one_is_an_error() -> None:
    desk = Desk([True, True], balances=False, queue=100)
    for sink in desk.sinks:
        sink.error = OutputError("the disk is gone")
    with pytest.raises(OutputError, match="the disk is gone; no output is left"):
        desk.serve_after(2)


def test_the_end_of_one_that_all_wait_for_is_an_error_at_once() -> None:
    desk = Desk([True, False], balances=False, queue=100)
    desk.sinks[1].error = OutputError("the disk is gone")
    with pytest.raises(OutputError, match="the disk is gone"):
        desk.serve_after(2)


def test_flows_of_one_that_has_failed_go_to_the_others() -> None:
    desk = Desk([True, True, True], balances=True, queue=100)
    for sink in desk.sinks:
        sink.room = 1_000 * RECORD
    desk.offer(70)
    before = [{r[28:32] for r in sink.records} for sink in desk.sinks]
    assert all(before)
    desk.sinks[0].error = OutputError("the disk is gone")
    desk.pass_ns(1)
    desk.offer(70)
    after = [{r[28:32] for r in sink.records} for sink in desk.sinks]
    assert desk.counters.written == 140
    # Its own move, and no others.
    assert after[1] | after[2] == before[0] | before[1] | before[2]
    assert before[1] <= after[1]
    assert before[2] <= after[2]
    assert not after[1] & after[2]
    desk.check()


def test_an_announcement_reaches_all_and_is_nobodys() -> None:
    for balances in (True, False):
        desk = Desk([False, False], balances=balances, queue=1)
        assert desk.outputs.offer(Batch(RAW, b"", 0), desk.now)
        assert list(desk.outputs.arrived()) == []


def test_a_batch_of_no_packets_arrives() -> None:
    for balances in (True, False):
        desk = Desk([False, False], balances=balances, queue=1)
        batch = desk.batch(0)
        desk.outputs.offer(batch, desk.now)
        assert list(desk.outputs.arrived()) == [batch.receipt]


def test_batches_of_no_packets_do_not_pile_up_where_nobody_reads() -> None:
    desk = Desk([False, False], balances=True, queue=1)
    for _ in range(100):
        desk.offer(0)
    assert desk.settled == 100
    assert all(len(branch.held) <= 1 for branch in desk.branches)


def test_what_waits_at_the_end_is_dropped_where_nobody_waits_for_it() -> None:
    desk = Desk([False, True], balances=False, queue=100)
    desk.sinks[0].room = 100 * RECORD
    desk.offer(3)
    desk.let(1, RECORD + 1)
    desk.outputs.finish(None)
    assert not desk.outputs.is_finished()
    desk.outputs.abandon()
    desk.settle()
    assert desk.settled == 1
    assert desk.branches[1].line.dropped == {"shutdown": 3}
    desk.check()


def test_what_waits_for_one_that_drops_is_settled_after_a_moment_and_once() -> None:
    desk = Desk([False, True], balances=False, queue=100)
    desk.sinks[0].room = 100 * RECORD
    for _ in range(3):
        desk.offer(3)
    desk.let(1, RECORD + 1)
    assert desk.settled == 0
    due_ns = desk.outputs.due()
    assert due_ns is not None
    assert due_ns <= desk.now_ns + TOLD_NS
    desk.pass_ns(TOLD_NS)
    assert desk.settled == 3
    assert desk.branches[1].held_packets == 9
    # One is written after all; of another that is begun the rest is dropped.
    desk.let(1, 3 * RECORD)
    desk.pass_ns(SLOW_NS)
    desk.let(1, 100 * RECORD)
    assert desk.settled == 3
    assert desk.branches[1].line.held == 0
    desk.check()


def test_each_finishes_once_what_waits_for_it_is_written() -> None:
    desk = Desk([False, False], balances=False, queue=100)
    desk.offer(3)
    desk.outputs.finish(None)
    desk.let(0, 3 * RECORD)
    assert not desk.outputs.is_finished()
    desk.let(1, 3 * RECORD)
    assert desk.outputs.is_finished()


# Whatever happens.

STEPS = st.one_of(
    st.tuples(st.just("offer"), st.lists(st.integers(0, 5), min_size=1, max_size=4)),
    st.tuples(st.just("let"), st.tuples(st.integers(0, 2), st.integers(1, 300))),
    st.tuples(st.just("pass"), st.sampled_from([MS, 300 * MS, SLOW_NS])),
)


@given(
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.booleans(),
    st.integers(1, 12),
    st.lists(STEPS, max_size=40),
)
@bounded
def test_every_packet_is_somewhere_and_no_record_is_torn(
    drops: list[bool], balances: bool, queue: int, steps: list[tuple[str, Any]]
) -> None:
    desk = Desk(drops, balances=balances, queue=queue)
    for what, how in steps:
        if what == "offer":
            desk.offer(*how)
        elif what == "let":
            desk.let(*how)
        else:
            desk.pass_ns(how)
        desk.check()
        for branch in desk.branches:
            if branch.drops:
                assert branch.held_bytes <= queue * RECORD
    # All read on: nothing is held, and every batch is settled.
    if desk.waiting is not None:
        for number in range(3):
            desk.let(number, 1 << 20)
        assert desk.offer()
    for number in range(3):
        desk.let(number, 1 << 20)
    desk.check()
    assert desk.settled == len(desk.offered)
    for number, one_drops in enumerate(drops):
        assert desk.is_whole(number)
        if not one_drops:
            assert desk.branches[number].line.dropped == {}
    for stream in desk.streams.values():
        assert stream.is_free()
        assert stream.lane.written == stream.lane.next - 1
