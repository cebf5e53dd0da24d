"""Packets of a batch that go different ways, and when their batch is settled."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from link_ffi import MESSAGE_COST, Lanes
from pcap_zmq.counters import Reason
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.stream import Part, Receipt, Stream
from pcap_zmq.formats.wire import StreamId
from tests.support.properties import bounded
from tests.support.shares import gathered, share_of

RAW = 101


class Desk:
    """Streams, and receipts of batches that they share."""

    def __init__(self, streams: int) -> None:
        self.lanes = Lanes(1 << 40, 1)
        self.streams: list[Stream] = []
        self.by_slot: dict[int, Stream] = {}
        for number in range(streams):
            lane = self.lanes.add(bytes(24), 1)
            lane.reserved = 1 << 30
            key = StreamId(bytes([number] * 16), 1)
            stream = Stream(key, key, lane, f"s{number}", b"", RAW)
            self.streams.append(stream)
            self.by_slot[lane.slot] = stream

    def receipt(self, *parts: tuple[int, int]) -> Receipt:
        """parts: whose, and how many packets."""
        shares = []
        for who, packets in parts:
            lane = self.streams[who].lane
            number = lane.next
            self.lanes.take(lane, number, 0, packets)
            shares.append(share_of(lane, number, packets))
        return Receipt(gathered(self.lanes, shares), self.by_slot)

    @property
    def written(self) -> list[int]:
        return [stream.lane.packets_written for stream in self.streams]

    @property
    def acknowledged(self) -> list[int]:
        """The last batch of each that is written, as are all before it."""
        return [stream.lane.written for stream in self.streams]

    def arrive(self, receipt: Receipt | Runs) -> int:
        """As the link does it; how many batches were whole by that."""
        whole = list(receipt.whole())
        for one in whole:
            one.settle(1)
        return len(whole)


def names(left: Sequence[tuple[Stream | None, int]]) -> list[tuple[str, int]]:
    return [("" if stream is None else stream.name, n) for stream, n in left]


def test_packets_are_counted_for_whom_they_are_in_their_order() -> None:
    desk = Desk(2)
    first, second = desk.receipt((0, 5)).parts()[0], desk.receipt((1, 4)).parts()[0]
    runs = Runs.of([(first, 2), (second, 3), (first, 3), (second, 1)])
    runs.count_written(4)
    assert desk.written == [2, 2]
    runs.count_written(-3)
    assert desk.written == [1, 0]
    assert names(list(runs.left(4))) == [("s0", 1), ("s1", 3)]
    runs.count_written(8)
    assert desk.written == [5, 4]


def test_what_is_dropped_is_what_comes_next() -> None:
    desk = Desk(2)
    first, second = desk.receipt((0, 5)).parts()[0], desk.receipt((1, 4)).parts()[0]
    runs = Runs.of([(first, 2), (second, 4), (first, 3)])
    runs.count_written(3)
    runs.count_dropped(Reason.NO_READER, 6)
    assert [s.dropped[Reason.NO_READER] for s in desk.streams] == [3, 3]


def test_a_batch_is_settled_once_all_of_its_packets_have_arrived() -> None:
    desk = Desk(1)
    part = desk.receipt((0, 10)).parts()[0]
    ways = [Runs.of([(part, packets)]) for packets in (3, 0, 6, 1)]
    assert [desk.arrive(way) for way in ways] == [0, 0, 0, 1]
    assert desk.acknowledged == [1]


def test_a_gathered_batch_is_settled_as_one() -> None:
    desk = Desk(3)
    receipt = desk.receipt((0, 2), (1, 0), (2, 4))
    first, _, third = receipt.parts()
    assert desk.arrive(Runs.of([(first, 1), (third, 4)])) == 0
    assert desk.acknowledged == [0, 0, 0]
    assert desk.arrive(Runs.of([(first, 1)])) == 1
    assert desk.acknowledged == [1, 1, 1]


def test_a_batch_that_arrives_before_an_earlier_one_is_acknowledged_after_it() -> None:
    desk = Desk(1)
    earlier, later = (desk.receipt((0, 4)).parts()[0] for _ in range(2))
    slow, quick = Runs.of([(earlier, 4)]), Runs.of([(later, 4)])
    desk.arrive(quick)
    assert desk.acknowledged == [0]
    assert desk.streams[0].lane.held_bytes == 2 * MESSAGE_COST
    desk.arrive(slow)
    assert desk.acknowledged == [2]


def test_a_receipt_of_no_packets_is_settled_as_it_is() -> None:
    desk = Desk(2)
    receipt = desk.receipt((0, 0), (1, 0))
    assert [packets for _, packets in receipt.runs()] == [0, 0]
    assert desk.arrive(receipt) == 1
    assert desk.acknowledged == [1, 1]


def test_parts_without_packets_settle_nothing_twice() -> None:
    desk = Desk(1)
    receipt = desk.receipt((0, 3), (0, 0))
    first, empty = receipt.parts()
    assert desk.arrive(Runs.of([(first, 3), (empty, 0)])) == 1


def test_a_stream_that_was_forgotten_is_nobodys() -> None:
    desk = Desk(2)
    receipt = desk.receipt((0, 3), (1, 3))
    runs = Runs.of(receipt.runs())
    runs.count_written(6)
    desk.arrive(runs)
    gone = desk.streams[0]
    del desk.by_slot[gone.lane.slot]
    desk.lanes.remove(gone.lane)
    runs.count_written(-6)
    assert desk.written[1] == 0
    assert names(list(runs.left(4))) == [("", 3), ("s1", 1)]
    assert [stream.name for stream, _ in runs.batches()] == ["s1"]
    runs.count_dropped(Reason.NO_READER, 6)
    assert desk.streams[1].dropped == {Reason.NO_READER: 3}


def test_it_tells_of_whose_batches_it_has_packets() -> None:
    desk = Desk(2)
    parts = [desk.receipt((0, 5), (1, 4)).parts() for _ in range(2)]
    runs = Runs.of([(parts[1][0], 1), (parts[0][1], 1), (parts[1][0], 2)])
    told = [(stream.name, number) for stream, number in runs.batches()]
    assert told == [("s0", 2), ("s1", 1)]


def test_the_order_may_be_octets_of_somebody_elses_making() -> None:
    desk = Desk(2)
    parts = desk.receipt((0, 5), (1, 4)).parts()
    order = memoryview(array("I", [1, 3, 0, 5, 1, 1]).tobytes()).cast("I")
    runs = Runs(parts, order, (5, 4))
    runs.count_written(4)
    assert desk.written == [1, 3]
    assert runs.packets == 9


# In any order whatever.


@dataclass
class Way:
    """One of the ways, and what is known of it."""

    runs: Runs
    whose: list[int]
    written: int = 0


@given(st.data())
@bounded
def test_every_packet_counts_once_and_every_batch_settles_at_its_last(
    data: st.DataObject,
) -> None:
    desk = Desk(3)
    parts_of = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=1)
    receipts = [
        desk.receipt(*parts)
        for parts in data.draw(st.lists(parts_of, min_size=1, max_size=4))
    ]
    # Each packet to one of three ways, all in the order of a shuffle.
    everything = [
        (part, who)
        for receipt in receipts
        for part, packets in receipt.runs()
        for who in [desk.streams.index(stream_of(part))] * packets
    ]
    ordered = data.draw(st.permutations(everything))
    turns = st.lists(st.integers(0, 2), min_size=len(ordered), max_size=len(ordered))
    goes = data.draw(turns)
    ways = [way_of(ordered, goes, number) for number in range(3)]
    for way in ways:
        for move in data.draw(st.lists(st.integers(-9, 9), max_size=6)):
            after = min(max(0, way.written + move), len(way.whose))
            way.runs.count_written(after - way.written)
            way.written = after
            assert desk.written == expected(ways)
            left = Counter[str]()
            for stream, packets in way.runs.left(len(way.whose) - after):
                assert stream is not None
                left[stream.name] += packets
            rest = Counter(f"s{who}" for who in way.whose[after:])
            assert left == rest
    outstanding = {id(receipt): count(receipt) for receipt in receipts}
    for way in data.draw(st.permutations(ways)):
        for part, packets in way.runs.runs():
            outstanding[id(part.receipt)] -= packets
        whole = {id(receipt) for receipt in way.runs.whole()}
        done = {key for key, left_of in outstanding.items() if left_of == 0}
        assert whole == done & {id(p.receipt) for p, n in way.runs.runs() if n}
        for key in whole:
            outstanding[key] = -1
    assert all(n == -1 or not count_of(receipts, k) for k, n in outstanding.items())


def stream_of(part: Part) -> Stream:
    assert part.stream is not None
    return part.stream


def way_of(
    ordered: Sequence[tuple[Part, int]], goes: Sequence[int], number: int
) -> Way:
    mine = [one for one, way in zip(ordered, goes, strict=True) if way == number]
    return Way(Runs.of((part, 1) for part, _ in mine), [who for _, who in mine])


def expected(ways: Sequence[Way]) -> list[int]:
    counted = Counter(who for way in ways for who in way.whose[: way.written])
    return [counted[who] for who in range(3)]


def count(receipt: Receipt) -> int:
    return sum(packets for _, packets in receipt.runs())


def count_of(receipts: Sequence[Receipt], key: int) -> int:
    return next(count(receipt) for receipt in receipts if id(receipt) == key)
