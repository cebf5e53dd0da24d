"""A replay that is late says so while it is, and how late all of it was at its end."""

import json
import logging

import pytest

from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.packet import Instant, Packet
from pcap_zmq.tools.replay_lateness import (
    Punctuality,
    Seconds,
    describe_ns,
    rate,
    tell,
)
from replay_ffi import Schedule
from tests.support.records import records_of

START = Instant(NS_PER_S, 0)


def at(seconds: float) -> Instant:
    return Instant(START.mono_ns + round(seconds * NS_PER_S), 0)


def go(schedule: Schedule, due_s: list[float], now_s: float) -> None:
    """Packets that are due then go now."""
    packets = [Packet(round(s * NS_PER_S), 60, bytes(60)) for s in due_s]
    schedule.take(records_of(packets), at(now_s).mono_ns)


def begun() -> Schedule:
    schedule = Schedule.at_times(late_ns=10 * NS_PER_MS)
    schedule.begin(START.mono_ns, 0)
    return schedule


def watched(schedule: Schedule, behind_ns: int = 0) -> Punctuality:
    return Punctuality(schedule, lambda now: behind_ns, START)


def test_nothing_is_said_of_packets_that_go_in_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    schedule = begun()
    punctuality = watched(schedule)
    with caplog.at_level(logging.INFO):
        for second in range(1, 4):
            go(schedule, [second], second + 0.002)
            punctuality.serve(at(second + 0.1))
    assert caplog.messages == []


def test_packets_that_go_late_are_said_until_they_are_in_time_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    schedule = begun()
    punctuality = watched(schedule)
    with caplog.at_level(logging.INFO):
        go(schedule, [0.5, 1.0], 1.25)
        punctuality.serve(at(1.3))
        go(schedule, [2.0], 2.0)
        punctuality.serve(at(2.3))
        go(schedule, [3.0], 3.0)
        punctuality.serve(at(3.3))
    late, in_time = caplog.messages
    assert late.startswith("packets go 500ms late: the output, or this machine, is too")
    assert in_time == "packets go in time again"


def test_an_output_that_takes_nothing_is_late_though_nothing_goes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    punctuality = watched(begun(), behind_ns=7 * NS_PER_S)
    with caplog.at_level(logging.WARNING):
        punctuality.serve(at(0.5))
        assert caplog.messages == []
        punctuality.serve(at(1))
    (said,) = caplog.messages
    assert said.startswith("packets go 7s late")


def test_it_looks_once_a_second() -> None:
    punctuality = watched(begun())
    assert punctuality.due() == at(1).mono_ns
    punctuality.serve(at(1.7))
    assert punctuality.due() == at(2.7).mono_ns


def test_the_histogram_has_every_packet_for_machines_and_by_decades_for_people() -> (
    None
):
    schedule = begun()
    go(schedule, [0.0], 0.0)
    go(schedule, [1.0, 1.0], 1.000_000_9)
    go(schedule, [2.0], 2.000_09)
    go(schedule, [3.0], 3.02)
    told = tell(schedule.lateness)
    assert json.loads(json.dumps(told)) == told
    assert sum(count for _, count in told["histogram"]) == told["packets"] == 5
    assert (told["late"], told["bound_ns"]) == (1, 10 * NS_PER_MS)
    assert told["max_ns"] == 20 * NS_PER_MS
    assert str(told) == (
        f"half {describe_ns(told['p50_ns'])}, 99 % 20ms, most 20ms, "
        "beyond 10ms 1 packets (up to 1us 3, up to 100us 1, up to 100ms 1)"
    )


def test_without_packets_there_is_no_lateness() -> None:
    told = tell(begun().lateness)
    assert (told["packets"], told["histogram"], str(told)) == (0, [], "of none")


def test_what_is_later_than_all_decades_is_told_too() -> None:
    schedule = begun()
    go(schedule, [0.0], 100.0)
    assert str(tell(schedule.lateness)).endswith("(more 1)")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0ns"),
        (999, "999ns"),
        (1_000, "1us"),
        (12_345, "12.3us"),
        (2_200_000, "2.2ms"),
        (90_000_000_000, "90s"),
    ],
)
def test_times_are_told_in_the_unit_that_people_take(
    nanoseconds: int, text: str
) -> None:
    assert describe_ns(nanoseconds) == text


def test_numbers_are_numbers_for_machines() -> None:
    assert json.dumps({"took": Seconds(1.5)}) == '{"took": 1.5}'
    assert str(Seconds(1.5)) == "1.500s"
    told = rate(1_000, 125_000, 2.0)
    assert told == {"packets_per_s": 500.0, "megabits_per_s": 0.5}
    assert str(told) == "500 packets/s 0.50 Mbit/s"
