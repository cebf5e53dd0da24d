"""Runs of packet records merge by their times: held against sorted()."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import Given, Merge, count_records, new_buffer, sort_records, survey
from pcap_ffi.merge import ALL, KEY_MAX
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.packet import Packet
from tests.support.properties import bounded, thorough

US = 1_000
LARGE = 1 << 20
ETHERNET, RAW = 1, 101


def packet(ts_ns: int, name: int = 0, length: int = 4) -> Packet:
    return Packet(ts_ns, length, name.to_bytes(4) + bytes(length - 4))


def records_of(packets: list[Packet]) -> bytes:
    return b"".join(encode_packet(packet) for packet in packets)


class Case:
    """A merge, the packets that it was fed with their keys, and what it gave."""

    def __init__(self, capacity: int = LARGE, whole: int = LARGE) -> None:
        self.merge = Merge(
            unit_ns=1, capacity=capacity, whole=whole, new_buffer=new_buffer
        )
        self.fed: list[tuple[int, int, Packet]] = []
        self.names = itertools.count()
        self.runs: dict[int, bytes] = {}
        self.packets_of: dict[int, int] = {}

    def add(
        self,
        times: list[int],
        *,
        epoch_ns: int = 0,
        ceiling_ns: int = KEY_MAX,
        length: int = 4,
        linktype: int = RAW,
    ) -> int:
        packets = [packet(time, next(self.names), length) for time in times]
        records = records_of(packets)
        slot, last_ns = self.merge.add(
            records,
            len(packets),
            epoch_ns=epoch_ns,
            ceiling_ns=ceiling_ns,
            newest_ns=times[-1],
            linktype=linktype,
        )
        keys = [min(time - epoch_ns, ceiling_ns) for time in times]
        assert last_ns == keys[-1]
        self.fed += [
            (key, int.from_bytes(packet.data[:4]), packet)
            for key, packet in zip(keys, packets, strict=True)
        ]
        self.runs[slot] = records
        self.packets_of[slot] = len(packets)
        return slot

    def take(self, until_ns: int = ALL) -> list[Packet]:
        """All that may go."""
        packets: list[Packet] = []
        while (given := self.merge.take(until_ns)) is not None:
            packets += self.packets_in(given)
        return packets

    def packets_in(self, given: Given) -> list[Packet]:
        (*_, slot) = given.slots
        records = self.runs[slot] if given.records is None else given.records
        assert count_records(records) == given.packets == sum(given.totals)
        for left, total, slot in zip(
            given.lefts, given.totals, given.slots, strict=True
        ):
            self.packets_of[slot] -= total
            assert self.packets_of[slot] == left
        numbers = iter(given.order)
        in_turns = [0] * len(given.slots)
        for part, packets in zip(numbers, numbers, strict=True):
            in_turns[part] += packets
        assert in_turns == list(given.totals)
        return list(iter_packets(records))

    def expected(self, until_ns: int = ALL) -> list[Packet]:
        """What is to come, in its order: those of one key as they came."""
        going = [entry for entry in self.fed if entry[0] <= until_ns]
        self.fed = [entry for entry in self.fed if entry[0] > until_ns]
        return [packet for _, _, packet in sorted(going, key=lambda entry: entry[:2])]


TIMES = st.lists(st.integers(0, 60), min_size=1, max_size=12).map(sorted)


def test_nothing_comes_of_nothing() -> None:
    case = Case()
    assert case.merge.first_ns is None
    assert case.merge.take(ALL) is None


def test_a_packet_above_the_bound_stays() -> None:
    case = Case()
    case.add([10, 20])
    assert [packet.ts_ns for packet in case.take(10)] == [10]
    assert case.merge.first_ns == 20
    assert case.take(19) == []


@given(st.lists(TIMES, max_size=70), st.integers(0, 60))
@thorough
def test_runs_come_out_sorted_and_those_of_one_time_as_they_came(
    runs: list[list[int]], until_ns: int
) -> None:
    case = Case()
    for times in runs:
        case.add(times)
    assert case.take(until_ns) == case.expected(until_ns)
    assert case.take() == case.expected()


@given(
    st.lists(st.tuples(TIMES, st.integers(-50, 50), st.integers(0, 80)), max_size=20),
    st.integers(60, 300),
    st.sampled_from([1, 100, LARGE]),
)
@thorough
def test_keys_order_packets_however_little_goes_at_once(
    runs: list[tuple[list[int], int, int]], capacity: int, whole: int
) -> None:
    case = Case(capacity, whole)
    for times, epoch_ns, ceiling_ns in runs:
        case.add(times, epoch_ns=epoch_ns, ceiling_ns=ceiling_ns)
    assert case.take() == case.expected()
    assert case.merge.first_ns is None


@given(st.lists(st.tuples(TIMES, st.integers(0, 60)), max_size=40))
@thorough
def test_what_comes_meanwhile_takes_its_place_and_the_late_are_counted(
    steps: list[tuple[list[int], int]],
) -> None:
    case = Case()
    passed, late, told = -1, 0, 0
    for times, until_ns in steps:
        case.add(times)
        expected = case.expected(until_ns)
        for packet in expected:
            late += packet.ts_ns < passed
            passed = max(passed, packet.ts_ns)
        packets: list[Packet] = []
        while (given := case.merge.take(until_ns)) is not None:
            assert given.late == sum(given.lates)
            told += given.late
            packets += case.packets_in(given)
        assert packets == expected
    assert told == late


def test_a_long_run_that_comes_as_it_is_is_not_copied() -> None:
    case = Case(whole=1_000)
    slot = case.add(list(range(100)), length=100)
    case.add([500])
    given = case.merge.take(ALL)
    assert given is not None
    assert given.records is None
    assert (given.slots, given.totals, given.lefts) == ([slot], [100], [0])


def test_a_long_run_that_others_come_between_is_copied() -> None:
    case = Case(whole=1_000)
    case.add(list(range(100)), length=100)
    case.add([50])
    given = case.merge.take(ALL)
    assert given is not None
    assert given.records is not None
    assert case.packets_in(given) == case.expected()


def test_a_packet_longer_than_what_goes_at_once_goes_nevertheless() -> None:
    case = Case(capacity=64)
    case.add([1], length=1_000)
    case.add([2])
    assert case.take() == case.expected()


def test_packets_of_different_link_types_are_in_different_batches() -> None:
    case = Case()
    case.add([1, 3], linktype=RAW)
    case.add([2], linktype=ETHERNET)
    linktypes = []
    while (given := case.merge.take(ALL)) is not None:
        linktypes.append((given.linktype, given.packets))
    assert linktypes == [(RAW, 1), (ETHERNET, 1), (RAW, 1)]


def test_more_runs_than_one_batch_can_name_come_in_several() -> None:
    case = Case()
    for time in range(2_000):
        case.add([5_000 - time, 10_000])
    assert case.take(5_000) == case.expected(5_000)
    assert case.take() == case.expected()


def test_a_clock_that_is_impossible_breaks_nothing() -> None:
    case = Case()
    for epoch_ns in (-(1 << 64), 1 << 64):
        records = records_of([packet(5)])
        case.merge.add(
            records, 1, epoch_ns=epoch_ns, ceiling_ns=7, newest_ns=5, linktype=RAW
        )
    given = case.merge.take(ALL)
    assert given is not None
    assert given.packets == 2


class TestParts:
    """What is longer than memory, and comes a part at a time."""

    def drained(
        self, files: list[list[list[int]]], capacity: int = LARGE, whole: int = LARGE
    ) -> tuple[list[Packet], int]:
        """Files in parts, the next of which is added when it is asked for; what came,
        and how much of it was late."""
        merge = Merge(unit_ns=1, capacity=capacity, whole=whole, new_buffer=new_buffer)
        left = [list(file) for file in files]
        floors = [-1] * len(files)
        names = itertools.count()
        live: dict[int, tuple[int, bytes]] = {}

        def add(rank: int, times: list[int]) -> None:
            records = records_of(
                [packet(time, rank << 16 | next(names)) for time in times]
            )
            newest = max([floors[rank], *times])
            slot = merge.add_part(
                records,
                len(times),
                floor_ns=floors[rank],
                newest_ns=newest,
                linktype=RAW,
                rank=rank,
                has_more=True,
            )
            floors[rank] = newest
            live[slot] = rank, records

        for rank, file in enumerate(left):
            if file:
                # It is not there yet: that is only when it begins.
                floors[rank] = min(file[0])
                add(rank, [])
                floors[rank] = -1
        packets, late = [], 0
        while True:
            found = merge.take(ALL)
            if found is not None:
                late += found.late
                (*_, slot) = found.slots
                records = live[slot][1] if found.records is None else found.records
                assert count_records(records) == found.packets
                packets += list(iter_packets(records))
            asked = merge.asks
            if asked is None:
                if found is None:
                    assert merge.first_ns is None
                    return packets, late
                continue
            assert merge.left(asked) == 0
            merge.drop()
            assert merge.asks is None
            rank, _ = live.pop(asked)
            if left[rank]:
                add(rank, left[rank].pop(0))

    @given(
        st.lists(
            st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=6), max_size=4),
            max_size=5,
        ),
        st.integers(60, 300),
        st.sampled_from([1, 50, LARGE]),
    )
    @bounded
    def test_come_by_time_and_none_goes_before_one_before_it(
        self, files: list[list[list[int]]], capacity: int, whole: int
    ) -> None:
        packets, _ = self.drained(files, capacity, whole)
        keyed = [
            (key, rank, at, time)
            for rank, file in enumerate(files)
            for at, (time, key) in enumerate(
                zip(
                    itertools.chain(*file),
                    itertools.accumulate(itertools.chain(*file), max),
                    strict=True,
                )
            )
        ]
        assert [(packet.ts_ns, packet.data[1]) for packet in packets] == [
            (time, rank) for _, rank, _, time in sorted(keyed)
        ]

    def test_begin_before_it_was_said_and_are_late(self) -> None:
        case = Case()
        case.merge.add_part(
            b"", 0, floor_ns=5, newest_ns=5, linktype=0, rank=0, has_more=True
        )
        case.add([1, 7])
        assert [packet.ts_ns for packet in case.take()] == [1]
        case.merge.drop()
        case.runs[1] = records_of([packet(2)])
        case.packets_of[1] = 1
        slot = case.merge.add_part(
            case.runs[1],
            1,
            floor_ns=-1,
            newest_ns=2,
            linktype=RAW,
            rank=0,
            has_more=False,
        )
        case.runs[slot], case.packets_of[slot] = case.runs[1], 1
        assert [packet.ts_ns for packet in case.take()] == [2, 7]

    def test_that_are_used_up_hold_back_what_has_the_same_time(self) -> None:
        packets, late = self.drained([[[1, 5], [5, 5, 8]], [[5, 6]]])
        assert [(packet.ts_ns, packet.data[1]) for packet in packets] == [
            *[(1, 0), (5, 0), (5, 0), (5, 0)],
            *[(5, 1), (6, 1), (8, 0)],
        ]
        assert late == 0

    def test_cannot_be_dropped_before_they_are_used_up(self) -> None:
        case = Case()
        case.add([1])
        with pytest.raises(ValueError, match="no part is used up"):
            case.merge.drop()


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(0, 40))
@bounded
def test_records_are_surveyed(times: list[int], packets: int) -> None:
    records = records_of([packet(time) for time in times])
    some = times[:packets]
    found = survey(records, packets, 1)
    assert found.packets == len(some)
    assert found.length == len(records_of([packet(time) for time in some]))
    assert found.newest_ns == max(some, default=0)
    newest = list(itertools.accumulate(some, max))
    assert found.disordered == sum(
        time < before for time, before in zip(some[1:], newest, strict=False)
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(4, 90)), max_size=40))
@bounded
def test_records_are_sorted_and_those_of_one_time_stay_as_they_were(
    shapes: list[tuple[int, int]],
) -> None:
    packets = [packet(time, name, length) for name, (time, length) in enumerate(shapes)]
    done = sort_records(records_of(packets), len(packets), 1)
    expected = sorted(packets, key=lambda packet: packet.ts_ns)
    assert list(iter_packets(done)) == expected


def test_microseconds_count_a_thousand_times_as_much() -> None:
    records = records_of([packet(7)])
    assert survey(records, 1, US).newest_ns == 7 * US


@pytest.mark.parametrize("length", [0, 3])
def test_a_survey_of_too_few_records_says_how_many_there_are(length: int) -> None:
    records = records_of([packet(time) for time in range(length)])
    assert survey(records, 10, 1).packets == length
