"""When packets are due, and what is told of how late they went."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.formats.savefile import encode_packet
from pcap_zmq.packet import Packet
from replay_ffi import Lateness, Schedule
from tests.support.records import NS_PER_S, TIME_MAX_NS

START_NS = 7 * NS_PER_S
T_NS = 1_700_000_000 * NS_PER_S


def records(*times_ns: int, octets: int = 4) -> bytes:
    """One packet for each time."""
    return b"".join(
        encode_packet(Packet(time_ns, octets, bytes(octets))) for time_ns in times_ns
    )


def moments(schedule: Schedule, octets: bytes) -> list[int]:
    """When each packet is due, after a start at START_NS."""
    now_ns: int | None = START_NS
    found = []
    while now_ns is not None:
        taken = schedule.take(octets, now_ns)
        found += [now_ns - START_NS] * taken.count
        octets = octets[taken.length :]
        now_ns = taken.next_ns
    return found


def observed(*delays_ns: int, late_ns: int = 1_000_000) -> Lateness:
    """What is told of packets that were so much too late."""
    schedule = Schedule.at_times(late_ns=late_ns)
    for number, delay_ns in enumerate(delays_ns):
        due_ns = START_NS + number
        schedule.begin(due_ns, T_NS)
        schedule.take(records(T_NS), due_ns + delay_ns)
    return schedule.lateness


@pytest.mark.parametrize("pace", [0, -1.0, math.inf, math.nan])
def test_no_pace_that_goes_nowhere_is_taken(pace: float) -> None:
    with pytest.raises(ValueError, match="speed has to be above 0"):
        Schedule.at_times(pace)
    with pytest.raises(ValueError, match="pps has to be above 0"):
        Schedule.packets_per_second(pace)
    with pytest.raises(ValueError, match="mbps has to be above 0"):
        Schedule.megabits_per_second(pace)


def test_of_no_packets_nothing_is_due_and_nothing_begins() -> None:
    schedule = Schedule.at_times()
    taken = schedule.take(b"", START_NS)
    assert (taken.length, taken.count, taken.next_ns) == (0, 0, None)
    assert schedule.start_ns is None
    assert schedule.lateness.packets == 0
    assert schedule.lateness.p99_ns == 0


def test_what_goes_back_in_time_is_due_with_the_packet_before_it() -> None:
    times = (T_NS, T_NS + 500, T_NS - NS_PER_S, T_NS + 400, T_NS + 600)
    assert moments(Schedule.at_times(), records(*times)) == [0, 500, 500, 500, 600]


def test_nobody_is_late_for_going_back_in_time() -> None:
    schedule = Schedule.at_times()
    moments(schedule, records(T_NS, T_NS + 5 * NS_PER_S, T_NS))
    assert (schedule.lateness.packets, schedule.lateness.max_ns) == (3, 0)


@pytest.mark.parametrize(
    ("speed", "expected"),
    [(1.0, [0, 900, 3_000]), (2.0, [0, 450, 1_500]), (0.25, [0, 3_600, 12_000])],
)
def test_packets_are_as_far_apart_as_the_speed_says(
    speed: float, expected: list[int]
) -> None:
    octets = records(T_NS, T_NS + 900, T_NS + 3_000)
    assert moments(Schedule.at_times(speed), octets) == expected


def test_no_rounding_adds_up() -> None:
    gap_ns, count = 1_001, 10_000
    octets = records(*(T_NS + number * gap_ns for number in range(count)))
    last_ns = moments(Schedule.at_times(3.0), octets)[-1]
    assert last_ns == round((count - 1) * gap_ns / 3)


def test_so_many_packets_a_second_are_at_equal_distances() -> None:
    octets = records(*[T_NS] * 8)
    assert moments(Schedule.packets_per_second(3), octets)[:4] == [
        0, 333_333_333, 666_666_667, NS_PER_S,
    ]  # fmt: skip


def test_so_many_bits_a_second_are_those_of_the_packets() -> None:
    octets = records(T_NS, T_NS, octets=1_000) + records(T_NS, T_NS)
    # 8000 bits at a megabit a second are 8 ms.
    expected = [0, 8_000_000, 16_000_000, 16_032_000]
    assert moments(Schedule.megabits_per_second(1), octets) == expected


def test_at_top_speed_everything_is_due_and_nothing_late() -> None:
    schedule = Schedule.top_speed()
    octets = records(T_NS, T_NS + NS_PER_S, octets=9)
    schedule.take(octets, START_NS)
    taken = schedule.take(octets, START_NS + NS_PER_S)
    assert (taken.length, taken.count, taken.octets) == (len(octets), 2, 18)
    assert (schedule.packets, schedule.octets) == (4, 36)
    assert schedule.lateness.packets == 0


def test_only_what_is_due_is_taken_and_the_next_moment_told() -> None:
    schedule = Schedule.at_times()
    octets = records(T_NS, T_NS + 10, T_NS + 20)
    taken = schedule.take(octets, START_NS)
    assert (taken.count, taken.next_ns) == (1, START_NS + 10)
    rest = octets[taken.length :]
    assert schedule.take(rest, START_NS + 9).count == 0
    assert schedule.take(rest, START_NS + 25).count == 2
    assert schedule.lateness.max_ns == 15


def test_a_schedule_begins_with_its_first_packet_or_as_it_is_told() -> None:
    own, told = Schedule.at_times(), Schedule.at_times()
    own.take(records(T_NS), START_NS)
    assert own.start_ns == START_NS
    told.begin(START_NS, T_NS - 300)
    assert told.take(records(T_NS), START_NS).next_ns == START_NS + 300


def test_after_a_shift_nobody_is_late_for_it() -> None:
    schedule = Schedule.at_times()
    octets = records(T_NS, T_NS + 10)
    rest = octets[schedule.take(octets, START_NS).length :]
    schedule.shift(NS_PER_S)
    assert schedule.take(rest, START_NS + 10).next_ns == START_NS + NS_PER_S + 10


def test_percentiles_never_flatter_and_are_near() -> None:
    found = observed(*range(0, 100_000, 1_000))
    assert 49_000 <= found.p50_ns <= 49_000 * 17 / 16
    assert 98_000 <= found.p99_ns <= 98_000 * 17 / 16
    assert (found.max_ns, found.mean_ns, found.packets) == (99_000, 49_500, 100)


def test_packets_beyond_the_bound_are_counted() -> None:
    assert observed(0, 499, 500, 501, 1 << 40, late_ns=500).late == 2


@given(st.lists(st.integers(0, 1 << 61), min_size=1, max_size=50))
def test_each_delay_is_in_the_bucket_whose_bound_is_told(delays: list[int]) -> None:
    found = observed(*delays)
    assert sum(count for _, count in found.buckets) == len(delays)
    bounds = [bound for bound, count in found.buckets for _ in range(count)]
    for delay, bound in zip(sorted(delays), bounds, strict=True):
        assert delay <= bound <= delay * 17 / 16
    assert found.max_ns == max(delays)


@given(
    st.lists(st.integers(0, TIME_MAX_NS), min_size=1, max_size=20),
    st.sampled_from(["at_times", "packets_per_second", "megabits_per_second"]),
    st.floats(1e-12, 1e12),
)
def test_moments_never_go_back_whatever_the_times(
    times: list[int], kind: str, pace: float
) -> None:
    schedule: Schedule = getattr(Schedule, kind)(pace)
    found = moments(schedule, records(*times))
    assert found == sorted(found)
    assert len(found) == len(times)


def test_a_pace_may_be_made_faster_before_it_begins() -> None:
    schedule = Schedule.at_times()
    schedule.hasten(4.0)
    octets = records(T_NS, T_NS + 1_000, T_NS + 9_000)
    assert moments(schedule, octets) == [0, 250, 2_250]


def test_delays_add_up_without_a_histogram() -> None:
    schedule = Schedule.at_times()
    schedule.begin(START_NS, T_NS)
    schedule.take(records(T_NS, T_NS + 5), START_NS + 20)
    assert schedule.delays == (2, 20 + 15)
