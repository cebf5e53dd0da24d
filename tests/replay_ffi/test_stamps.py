"""Packets get the times at which they go, at the distances that were scheduled."""

import pytest

from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Packet
from replay_ffi import Schedule, Stamps
from tests.support.records import NS_PER_S, records_of

MS = 1_000_000
START_NS = 77 * NS_PER_S
WALL_NS = 1_700_000_000 * NS_PER_S
AHEAD_NS = WALL_NS - START_NS


def records(*times_ms: int) -> bytes:
    return records_of([Packet(n * MS, 60, bytes(60)) for n in times_ms])


def times(stamped: memoryview) -> list[int]:
    """In milliseconds since the start."""
    stamps = [packet.ts_ns - WALL_NS for packet in iter_packets(stamped)]
    assert all(ns % MS == 0 for ns in stamps)
    return [ns // MS for ns in stamps]


def stamp(stamps: Stamps, octets: bytes, after_ms: int) -> list[int]:
    now_ns = START_NS + after_ms * MS
    return times(stamps.stamp(octets, now_ns, now_ns + AHEAD_NS))


def test_what_is_in_time_has_the_time_at_which_it_was_due() -> None:
    schedule = Schedule.at_times(2.0)
    stamps = Stamps(schedule)
    schedule.begin(START_NS, 1_000 * MS)
    assert stamp(stamps, records(1_000, 1_004, 1_010), 6) == [0, 2, 5]
    assert stamp(stamps, records(1_100), 51) == [50]


def test_what_is_late_has_nearly_the_time_at_which_it_goes() -> None:
    schedule = Schedule.at_times()
    stamps = Stamps(schedule, slack_ns=10 * MS)
    schedule.begin(START_NS, 0)
    assert stamp(stamps, records(0, 5, 95, 100), 100) == [90, 90, 95, 100]


def test_times_never_go_back_though_the_packets_do() -> None:
    schedule = Schedule.at_times()
    stamps = Stamps(schedule)
    schedule.begin(START_NS, 0)
    assert stamp(stamps, records(0, 8, 3, 9), 9) == [0, 8, 8, 9]


def test_what_waited_for_an_output_has_the_time_after_that() -> None:
    schedule = Schedule.packets_per_second(1000)
    stamps = Stamps(schedule)
    schedule.begin(START_NS, 0)
    assert stamp(stamps, records(0, 0), 2) == [0, 1]
    schedule.shift(60 * MS)
    assert stamp(stamps, records(0, 0), 64) == [62, 63]


def test_at_top_speed_the_time_is_the_moment_itself() -> None:
    schedule = Schedule.top_speed()
    stamps = Stamps(schedule)
    schedule.begin(START_NS, 0)
    assert stamp(stamps, records(0, 500), 7) == [7, 7]


def test_a_step_of_the_clock_moves_nothing() -> None:
    schedule = Schedule.at_times()
    stamps = Stamps(schedule)
    schedule.begin(START_NS, 0)
    first = stamps.stamp(records(0), START_NS, WALL_NS)
    stepped = stamps.stamp(records(5), START_NS + 5 * MS, WALL_NS - 3600 * NS_PER_S)
    assert times(first) + times(stepped) == [0, 5]


@pytest.mark.parametrize("wall_ns", [-5 * NS_PER_S, (1 << 33) * NS_PER_S])
def test_a_clock_beyond_what_a_record_holds_is_bounded(wall_ns: int) -> None:
    schedule = Schedule.at_times()
    stamps = Stamps(schedule)
    schedule.begin(START_NS, 0)
    (packet,) = iter_packets(stamps.stamp(records(0), START_NS, wall_ns))
    assert packet.ts_ns in {0, ((1 << 32) - 1) * NS_PER_S}


def test_the_records_themselves_stay_as_they_are() -> None:
    schedule = Schedule.at_times()
    stamps = Stamps(schedule)
    schedule.begin(START_NS, 0)
    octets = records(0, 1)
    before = bytes(octets)
    stamps.stamp(octets, START_NS, WALL_NS)
    assert octets == before
