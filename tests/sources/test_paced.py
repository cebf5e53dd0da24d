"""Packets are given when they are due, whoever is slow and whoever comes late."""

from collections.abc import Iterable
from typing import Any

import pytest

from pcap_zmq.counters import FilesCounters, Skipped
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Batch, Instant, Packet
from pcap_zmq.pipeline import Pipeline
from pcap_zmq.poll import READABLE, Watch
from pcap_zmq.sources.paced import Paced
from pcap_zmq.stages.chain import Through
from pcap_zmq.stages.sift import Sift
from replay_ffi import Schedule, Stamps
from tests.support.pipeline_fakes import READY, Flag, ManualClock, SteppingPoller
from tests.support.records import NS_PER_S, batch_of

MS = 1_000_000
EPOCH_NS = 1_600_000_000 * NS_PER_S
WALL_NS = 1_700_000_000 * NS_PER_S


def batch(*times_ms: float) -> Batch:
    packets = [Packet(EPOCH_NS + round(t * MS), 60, bytes(60)) for t in times_ms]
    return batch_of(packets, receipt="of nobody")


def times(given: Iterable[Batch]) -> list[float]:
    """In milliseconds since the first packet of the capture."""
    return [
        (packet.ts_ns - EPOCH_NS) / MS
        for item in given
        for packet in iter_packets(item.records)
    ]


def at(ms: float) -> Instant:
    mono_ns = NS_PER_S + round(ms * MS)
    return Instant(mono_ns, WALL_NS + mono_ns)


class Files:
    """A source that has its batches ready."""

    failure = None

    def __init__(self, *batches: Batch) -> None:
        self._batches = list(batches)
        self.reads = 0
        self.stops = 0

    def serve(self, now: Instant) -> None: ...

    def due(self) -> int | None:
        return None

    def watch(self, wanted: bool) -> Iterable[Watch]:
        return [Watch(READY, READABLE)] if wanted and self._batches else []

    def read(self, now: Instant) -> Batch | None:
        self.reads += 1
        return self._batches.pop(0) if self._batches else None

    def settle(self, receipt: object, now: Instant) -> None: ...

    def stop(self, now: Instant) -> None:
        self.stops += 1
        self._batches.clear()

    def is_exhausted(self) -> bool:
        return not self._batches

    def close(self) -> None: ...


class Output:
    """Takes everything, but when it is told to stand still; remembers when."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.stands_still_ns = (0, 0)
        self.taken: list[tuple[int, Batch]] = []
        self._is_finishing = False

    def serve(self, now: Instant) -> None: ...

    def due(self) -> int | None:
        begin_ns, end_ns = self.stands_still_ns
        return end_ns if begin_ns <= self._clock.now_ns < end_ns else None

    def watch(self, wanted: bool) -> Iterable[Watch]:
        return ()

    def offer(self, item: Batch, now: Instant) -> bool:
        begin_ns, end_ns = self.stands_still_ns
        if begin_ns <= now.mono_ns < end_ns:
            return False
        self.taken.append((now.mono_ns, item))
        return True

    def arrived(self) -> list[object]:
        return [item.receipt for _, item in self.taken if item.receipt is not None]

    def finish(self, deadline_ns: int | None) -> None:
        self._is_finishing = True

    def is_finished(self) -> bool:
        return self._is_finishing

    def abandon(self) -> None: ...

    def close(self) -> None: ...

    def moments(self) -> list[float]:
        """When each packet was taken, in milliseconds since the first was."""
        start_ns = self.taken[0][0]
        return [
            (taken_ns - start_ns) / MS
            for taken_ns, item in self.taken
            for _ in range(item.count)
        ]


class Readers:
    """Whether anybody is there to read, as the test says."""

    def __init__(self, *, are_away: bool = False) -> None:
        self.are_away = are_away
        self.announced: list[int] = []

    def announce(self, linktype: int, now: Instant) -> None:
        self.announced.append(linktype)

    def is_away(self) -> bool:
        return self.are_away


def paced(
    files: Files,
    schedule: Schedule,
    readers: Readers | None = None,
    **options: Any,
) -> Paced:
    sift = Sift("", None, FilesCounters())
    return Paced(files, sift, schedule, readers or Readers(), **options)


def run(
    source: Paced, *, stands_still: tuple[int, int] = (0, 0), stop_at_ms: int = 0
) -> tuple[Output, SteppingPoller]:
    clock, stop = ManualClock(), Flag()
    sink, poller = Output(clock), SteppingPoller(clock, stop)
    start_ns = clock.now_ns
    begin_ms, end_ms = stands_still
    sink.stands_still_ns = start_ns + begin_ms * MS, start_ns + end_ms * MS
    if stop_at_ms:
        poller.stop_at_ns = start_ns + stop_at_ms * MS
    Pipeline(
        source, Through(), sink, drop=None, linger_ns=MS, clock=clock, poller=poller
    ).run(stop)
    return sink, poller


def test_nothing_goes_before_it_is_due() -> None:
    source = paced(Files(batch(0, 2, 5), batch(5, 9)), Schedule.at_times())
    given: list[Batch] = []
    gone = {}
    for ms in range(12):
        while (item := source.read(at(ms))) is not None:
            given.append(item)
        gone[ms] = times(given)
    assert [len(gone[ms]) for ms in range(12)] == [1, 1, 2, 2, 2, 4, 4, 4, 4, 5, 5, 5]
    assert gone[11] == [0, 2, 5, 5, 9]
    assert source.is_exhausted()


def test_the_next_turn_is_wanted_when_the_next_packet_is_due() -> None:
    source = paced(Files(batch(0, 250)), Schedule.at_times())
    assert source.read(at(0)) is not None
    assert source.read(at(0)) is None
    assert source.due() == at(250).mono_ns


def test_a_slow_output_makes_packets_late_which_go_at_once_then() -> None:
    schedule = Schedule.at_times()
    source = paced(Files(batch(*range(0, 100, 10))), schedule)
    sink, _ = run(source, stands_still=(15, 75))
    assert sink.moments() == pytest.approx(
        [0, 10, 75, 75, 75, 75, 75, 75, 80, 90], abs=0.01
    )
    assert schedule.lateness.late == 5  # the first of them was offered in time
    assert schedule.lateness.max_ns == pytest.approx(45 * MS, abs=MS)


def test_an_output_that_stands_still_does_not_keep_the_loop_busy() -> None:
    source = paced(Files(batch(*range(0, 100, 10))), Schedule.at_times())
    _, poller = run(source, stands_still=(15, 75))
    assert poller.turns < 30


def test_the_delay_behind_an_output_that_stands_still_is_known() -> None:
    source = paced(Files(batch(0, 10, 20, 30)), Schedule.at_times())
    for ms, count in ((0, 1), (10, 1)):
        given = [source.read(at(ms)), source.read(at(ms))]
        assert sum(item.count for item in given if item is not None) == count
    assert source.behind_ns(at(15)) == 0
    assert source.behind_ns(at(1_020)) == 1_000 * MS


def test_while_nobody_reads_nothing_is_due_and_then_nothing_comes_in_a_burst() -> None:
    readers, schedule = Readers(), Schedule.at_times()
    source = paced(Files(batch(*range(0, 100, 10))), schedule, readers)
    given: list[tuple[int, Batch]] = []
    for ms in range(0, 200):
        readers.are_away = 35 <= ms < 95
        source.serve(at(ms))
        while (item := source.read(at(ms))) is not None:
            given.append((ms, item))
        assert source.behind_ns(at(ms)) == 0
    assert [ms for ms, _ in given] == [0, 10, 20, 30, 100, 110, 120, 130, 140, 150]
    assert schedule.lateness.late == 0


def test_whoever_comes_late_gets_the_first_packet_when_he_is_there() -> None:
    readers, schedule = Readers(are_away=True), Schedule.at_times()
    source = paced(Files(batch(0, 10)), schedule, readers)
    for ms in (0, 250):
        source.serve(at(ms))
        assert source.read(at(ms)) is None
        assert source.due() is None
    readers.are_away = False
    assert source.read(at(500)) is not None
    assert source.read(at(500)) is None
    assert source.due() == at(510).mono_ns
    assert schedule.lateness.max_ns == 0


def test_an_output_is_told_once_of_what_is_to_come_before_it_has_anybody() -> None:
    readers = Readers(are_away=True)
    source = paced(Files(batch(0), batch(1)), Schedule.at_times(), readers)
    for ms in range(3):
        source.read(at(ms))
    assert readers.announced == [101]


def test_nothing_is_read_before_what_was_read_is_due() -> None:
    files = Files(batch(0, 100), batch(200), batch(300))
    source = paced(files, Schedule.at_times())
    for ms in range(0, 150, 10):
        while source.read(at(ms)) is not None:
            pass
        assert files.reads == (1 if ms < 100 else 2)
        assert list(source.watch(True)) == []


def test_a_stop_ends_it_at_once_and_what_was_not_due_is_counted() -> None:
    files = Files(batch(0, 10, 20, 100_000), batch(200_000))
    source = paced(files, Schedule.at_times())
    sink, _ = run(source, stop_at_ms=50)
    assert sink.moments() == pytest.approx([0, 10, 20], abs=0.01)
    assert (source.unsent, source.held_packets, files.stops) == (1, 0, 1)


def test_who_goes_back_in_time_goes_at_once_and_delays_nobody() -> None:
    source = paced(Files(batch(0, 50, 10, 60)), Schedule.at_times())
    sink, _ = run(source)
    assert sink.moments() == pytest.approx([0, 50, 50, 60], abs=0.01)


@pytest.mark.parametrize("speed", [0.3, 1.0, 2.4, 7.7])
def test_no_delay_is_ever_added_to_the_next(speed: float) -> None:
    """The last is due as exactly as the first."""
    schedule = Schedule.at_times(speed)
    source = paced(Files(batch(*(n / 3 for n in range(1_000)))), schedule)
    sink, _ = run(source)
    moments = sink.moments()
    assert len(moments) == 1_000
    assert -0.001 < moments[-1] - 999 / 3 / speed < 1.01


def test_what_is_due_within_a_millisecond_goes_together() -> None:
    schedule = Schedule.packets_per_second(100_000)
    sink, poller = run(paced(Files(batch(*[0] * 1_000)), schedule))
    moments = sink.moments()
    assert all(-0.001 < ms - n / 100 < 1.01 for n, ms in enumerate(moments))
    assert poller.turns < 40


@pytest.mark.parametrize(
    ("schedule", "expected_ms"),
    [
        (Schedule.packets_per_second(100), [0, 10, 20, 30]),
        # 60 octets are 480 bits.
        (Schedule.megabits_per_second(0.048), [0, 10, 20, 30]),
        (Schedule.top_speed(), [0, 0, 0, 0]),
    ],
)
def test_other_paces_heed_no_times(
    schedule: Schedule, expected_ms: list[float]
) -> None:
    source = paced(Files(batch(0, 7_000, 3_000, 7_001)), schedule)
    sink, _ = run(source)
    assert sink.moments() == pytest.approx(expected_ms, abs=0.01)
    assert times(item for _, item in sink.taken) == [0, 7_000, 3_000, 7_001]


def test_what_is_sifted_out_takes_no_time() -> None:
    counters = FilesCounters()
    packets = [
        Packet(EPOCH_NS + n * MS, 60, bytes([0x45 if n % 2 else 0x60] + [0] * 59))
        for n in range(10)
    ]
    source = Paced(
        Files(batch_of(packets)),
        Sift("ip", None, counters),
        Schedule.packets_per_second(100),
        Readers(),
    )
    sink, _ = run(source)
    assert sink.moments() == pytest.approx([0, 10, 20, 30, 40], abs=0.01)
    assert counters.skipped == {Skipped.FILTER: 5}


def test_where_nothing_passes_the_loop_has_its_turns_all_the_same() -> None:
    files, counters = Files(*[batch(n) for n in range(100)]), FilesCounters()
    schedule = Schedule.at_times()
    source = Paced(files, Sift("icmp", None, counters), schedule, Readers())
    assert source.read(at(0)) is None
    assert 0 < files.reads < 20
    assert list(source.watch(True))
    run(source)
    assert counters.skipped == {Skipped.FILTER: 100}


def test_packets_get_the_times_at_which_they_go() -> None:
    schedule = Schedule.at_times(2.0)
    source = paced(
        Files(batch(0, 10, 30), batch(40)), schedule, stamps=Stamps(schedule)
    )
    given: list[Packet] = []
    for ms in range(30):
        while (item := source.read(at(ms))) is not None:
            assert item.receipt is None
            given += iter_packets(item.records)
    assert [packet.ts_ns - at(0).wall_ns for packet in given] == [
        n * MS for n in (0, 5, 15, 20)
    ]


def test_a_source_without_packets_is_over_at_once() -> None:
    source = paced(Files(), Schedule.at_times())
    assert source.read(at(0)) is None
    assert source.is_exhausted()
