"""The loop: order, "not now", what is dropped, and the end, with whole fakes."""

import weakref
from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.packet import Instant
from pcap_zmq.pipeline import ITEMS_A_TURN, PARTING, Pipeline, count_packets
from pcap_zmq.ports import Attendant
from tests.support.pipeline_fakes import (
    MS,
    STOP,
    Alarm,
    Flag,
    Item,
    Keeper,
    ListSource,
    ManualClock,
    MoodySink,
    Splitter,
    SteppingPoller,
    Timer,
)
from tests.support.properties import bounded, thorough

LINGER_NS = 50 * MS

TURNS = 1_000
"""More than there are in the linger time."""


class Bench:
    """A pipeline of fakes, ready to run."""

    def __init__(
        self,
        script: Iterable[Item | int],
        sink: MoodySink | None = None,
        *,
        drops: bool = False,
        parts: Iterable[int] = (),
        stage: Splitter | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.started_ns = self.clock.now_ns
        self.stop = Flag()
        self.poller = SteppingPoller(self.clock, self.stop)
        self.source = ListSource(script, self.clock)
        self.stage = stage or Splitter(parts)
        self.sink = sink or MoodySink()
        self.dropped: list[Item] = []
        self.pipeline = Pipeline(
            self.source,
            self.stage,
            self.sink,
            drop=self.dropped.append if drops else None,
            linger_ns=LINGER_NS,
            clock=self.clock,
            poller=self.poller,
        )

    def run(self, attendants: Iterable[Attendant] = ()) -> None:
        self.pipeline.run(self.stop, attendants)

    def run_and_stop_after(self, after_ns: int) -> None:
        self.poller.stop_at_ns = self.started_ns + after_ns
        self.run()

    @property
    def elapsed_ns(self) -> int:
        return self.clock.now_ns - self.started_ns


def items(count: int) -> list[Item]:
    return [Item(number + 1, f"receipt {number}") for number in range(count)]


class Rememberer(ListSource):
    """Makes its items as they are read, and notes whether the last is still held."""

    def __init__(self, count: int, clock: ManualClock) -> None:
        super().__init__([], clock)
        self._left = count
        self._last: Callable[[], Item | None] = lambda: None
        self.were_held: list[bool] = []

    def read(self, now: Instant) -> Item | None:
        self.were_held.append(self._last() is not None)
        if not self._left:
            return None
        self._left -= 1
        item = Item()
        self._last = weakref.ref(item)
        return item

    def is_exhausted(self) -> bool:
        return not self._left


def test_nobody_holds_an_item_that_the_stage_has_used_up() -> None:
    clock, stop, sink = ManualClock(), Flag(), MoodySink()
    source = Rememberer(3 * ITEMS_A_TURN, clock)
    pipeline = Pipeline(
        source,
        Splitter(),
        sink,
        drop=None,
        linger_ns=LINGER_NS,
        clock=clock,
        poller=SteppingPoller(clock, stop),
    )
    pipeline.run(stop)
    assert len(sink.taken) == 3 * ITEMS_A_TURN
    assert not any(source.were_held)


# "Not now", where the source can wait.


def test_an_item_that_waits_is_offered_again_until_it_is_taken() -> None:
    first, second = items(2)
    bench = Bench([first, second], MoodySink([False, False, True]))
    bench.run()
    assert bench.sink.offered == [first, first, first, second]


def test_nothing_more_is_read_while_an_item_waits() -> None:
    bench = Bench(items(5), MoodySink([False] * 10, finishes_after_ns=None))
    bench.run_and_stop_after(3 * MS)
    assert len(bench.source.given) == 1
    assert not any(bench.source.wanted[1:4])
    assert all(bench.sink.wanted[1:4])


def test_a_waiting_item_is_looked_after_by_the_sinks_own_time() -> None:
    bench = Bench(items(1), MoodySink([False] * 3))
    bench.run()
    assert 3 * MS <= bench.elapsed_ns <= 3 * MS + 100


# "Not now", where the source cannot wait.


def test_an_item_that_is_not_taken_is_dropped_and_the_next_one_is_offered() -> None:
    first, second, third = items(3)
    bench = Bench([first, second, third], MoodySink([True, False]), drops=True)
    bench.run()
    assert bench.sink.taken == [first, third]
    assert bench.dropped == [second]


def test_what_is_dropped_is_not_settled() -> None:
    bench = Bench(items(3), MoodySink([True, False]), drops=True)
    bench.run()
    assert bench.source.settled == ["receipt 0", "receipt 2"]


# The way through.


def test_items_arrive_in_order() -> None:
    bench = Bench(items(100))
    bench.run()
    assert bench.sink.taken == bench.source.given == items(100)


def test_a_receipt_goes_back_once_its_item_is_taken() -> None:
    bench = Bench(items(3), MoodySink([False, True, False]))
    bench.run()
    assert bench.source.settled == ["receipt 0", "receipt 1", "receipt 2"]


def test_an_item_without_a_receipt_is_not_settled() -> None:
    bench = Bench([Item(), Item(1, "receipt")])
    bench.run()
    assert bench.source.settled == ["receipt"]


def test_a_receipt_that_is_false_is_one_nevertheless() -> None:
    bench = Bench([Item(1, 0)])
    bench.run()
    assert bench.source.settled == [0]


def test_what_a_stage_drops_is_neither_offered_nor_settled() -> None:
    bench = Bench(items(3), parts=[1, 0, 1])
    bench.run()
    assert bench.source.settled == ["receipt 0", "receipt 2"]


def test_what_a_stage_makes_of_one_item_stays_together() -> None:
    bench = Bench(items(2), MoodySink([True, False, True, True, False]), parts=[3, 2])
    bench.run()
    assert bench.sink.taken == bench.stage.made
    assert len(bench.stage.made) == 5


def test_the_edges_get_their_turn_however_much_comes_in() -> None:
    bench = Bench(items(100))
    bench.run()
    assert bench.source.serves >= 100 // ITEMS_A_TURN
    assert bench.sink.serves >= 100 // ITEMS_A_TURN


def test_what_a_source_has_read_already_is_not_waited_for() -> None:
    """A source that has more than a turn takes has nothing to be woken by."""
    bench = Bench(items(3 * ITEMS_A_TURN))
    bench.source.watch = lambda wanted: ()  # type: ignore[method-assign]
    bench.run()
    assert len(bench.source.settled) == 3 * ITEMS_A_TURN
    assert bench.clock.now_ns - bench.started_ns < MS


def test_attendants_get_a_turn_when_they_are_due() -> None:
    bench = Bench([105 * MS, Item()])
    timer = Timer(10 * MS, bench.clock)
    bench.run([timer])
    assert timer.turns == 10


def test_the_packets_of_items_are_counted() -> None:
    assert count_packets(items(4)) == 1 + 2 + 3 + 4
    assert count_packets([]) == 0


# The end of the source.


def test_a_source_that_runs_dry_ends_it() -> None:
    bench = Bench([])
    bench.run()
    assert bench.sink.deadlines == [None]
    assert bench.source.stops == bench.sink.abandons == 0


def test_the_sink_has_all_the_time_it_needs_when_nobody_is_in_a_hurry() -> None:
    bench = Bench(items(1), MoodySink(finishes_after_ns=100 * LINGER_NS))
    bench.run()
    assert bench.elapsed_ns >= 100 * LINGER_NS
    assert bench.sink.abandons == 0


def test_the_sink_finishes_only_after_it_has_taken_everything() -> None:
    bench = Bench(items(20), MoodySink([False, True] * 10))
    bench.run()
    # The sink itself fails the test when it is offered anything after the finish.
    assert len(bench.sink.taken) == 20


# A signal.


def test_a_signal_stops_the_source_once() -> None:
    bench = Bench([1_000 * MS, Item()], MoodySink(finishes_after_ns=10 * MS))
    bench.run_and_stop_after(5 * MS)
    assert bench.source.stops == 1
    assert bench.source.given == []


def test_what_waits_at_a_signal_still_arrives() -> None:
    bench = Bench(items(1), MoodySink([False] * 20))
    bench.run_and_stop_after(5 * MS)
    assert bench.sink.taken == items(1)
    assert bench.pipeline.held == ()


def test_a_signal_gives_the_sink_the_linger_time() -> None:
    bench = Bench([1_000 * MS, Item()], MoodySink(finishes_after_ns=10 * MS))
    bench.run_and_stop_after(5 * MS)
    (deadline_ns,) = bench.sink.deadlines
    assert deadline_ns is not None
    # The last part of it is for taking leave.
    parting_ns = LINGER_NS - LINGER_NS // PARTING
    assert 0 <= deadline_ns - (bench.started_ns + 5 * MS + parting_ns) <= 100
    assert bench.sink.abandons == 0


def test_a_sink_that_does_not_finish_is_abandoned_when_the_linger_time_is_over() -> (
    None
):
    bench = Bench(items(1), MoodySink(finishes_after_ns=None))
    bench.run_and_stop_after(5 * MS)
    assert bench.sink.abandons == 1
    assert 0 <= bench.elapsed_ns - 5 * MS - LINGER_NS <= 100


def test_what_is_not_taken_within_the_linger_time_stays_to_be_accounted_for() -> None:
    bench = Bench(items(1), MoodySink([False] * 1_000, finishes_after_ns=None))
    bench.run_and_stop_after(5 * MS)
    assert list(bench.pipeline.held) == items(1)
    assert bench.sink.abandons == 1
    assert bench.source.settled == []


def test_a_signal_while_the_sink_finishes_tells_it_to_hurry() -> None:
    bench = Bench([], MoodySink(finishes_after_ns=None))
    bench.run_and_stop_after(5 * MS)
    first, second = bench.sink.deadlines
    assert first is None
    assert second is not None
    assert bench.sink.abandons == 1


def test_a_signal_before_the_first_turn_still_delivers_nothing_new() -> None:
    bench = Bench(items(3))
    bench.stop.set()
    bench.run()
    assert bench.source.given == []
    assert bench.source.stops == 1


def test_a_signal_is_not_waited_for_once_it_has_come() -> None:
    bench = Bench([1_000 * MS, Item()], MoodySink(finishes_after_ns=10 * MS))
    bench.run_and_stop_after(5 * MS)
    assert STOP in bench.poller.watched[0]
    assert STOP not in bench.poller.watched[-1]


def test_a_signal_in_the_middle_of_a_turn_is_noticed_in_the_next_one() -> None:
    """The turn has looked at the flag already; nothing else would end the wait."""
    bench = Bench([1_000 * MS, Item()], MoodySink(finishes_after_ns=10 * MS))
    bench.run([Alarm(bench.started_ns + 5 * MS, bench.stop)])
    assert bench.elapsed_ns < 20 * MS


# Whatever happens when.

SCRIPTS = st.lists(
    st.integers(1, 5).map(Item) | st.sampled_from([1, MS, 20 * MS]), max_size=40
)
ANSWERS = st.lists(st.booleans(), max_size=60)
PARTS = st.lists(st.integers(0, 3), max_size=40)
STOPS = st.none() | st.integers(0, 100 * MS)


# A stage that holds.


def test_what_a_stage_holds_goes_on_when_it_is_due() -> None:
    script: list[Item | int] = [*items(3), 30 * MS, Item(9), 60 * MS, Item(1)]
    keeper = Keeper(20 * MS)
    bench = Bench(script, stage=keeper)
    bench.run()
    assert [item.count for item in bench.sink.taken] == [1, 2, 3, 9, 1]
    waits = [ns - bench.started_ns for ns in keeper.given_ns]
    # The first ones came in the first turn, the last one 30 ms later.
    assert all(20 * MS <= ns <= 21 * MS for ns in waits[:3])
    assert 50 * MS <= waits[3] <= 51 * MS


def test_a_source_that_runs_dry_ends_the_wait() -> None:
    bench = Bench(items(5), stage=Keeper(3_600_000 * MS))
    bench.run()
    assert bench.sink.taken == bench.source.given
    assert bench.elapsed_ns < MS


def test_a_signal_ends_the_wait() -> None:
    bench = Bench([*items(5), 3_600_000 * MS], stage=Keeper(3_600_000 * MS))
    bench.run_and_stop_after(5 * MS)
    assert bench.sink.taken == bench.source.given
    assert bench.elapsed_ns < 6 * MS


def test_what_a_stage_holds_is_asked_for_only_when_it_can_be_offered() -> None:
    sink = MoodySink([False] * 10)
    keeper = Keeper(2 * MS)
    bench = Bench([*items(6), 50 * MS], sink, stage=keeper)
    bench.run()
    assert bench.sink.taken == bench.source.given
    assert keeper.given_ns[2] >= bench.started_ns + 10 * MS


def test_what_a_stage_still_holds_at_the_end_is_there_to_be_accounted_for() -> None:
    sink = MoodySink([True] + [False] * TURNS)
    bench = Bench([*items(5), 10 * MS], sink, stage=Keeper(MS))
    bench.run_and_stop_after(5 * MS)
    taken = count_packets(sink.taken)
    assert taken + count_packets(bench.pipeline.held) == count_packets(
        bench.source.given
    )


def test_acknowledgements_are_not_given_for_what_a_stage_holds() -> None:
    bench = Bench([*items(2), 10 * MS, Item(1)], stage=Keeper(5 * MS))
    seen: list[int] = []

    class Witness(Timer):
        def serve(self, now: Instant) -> None:
            seen.append(len(bench.source.settled))
            super().serve(now)

    bench.run([Witness(MS, bench.clock)])
    assert set(seen) == {0, 2}
    assert bench.source.settled == ["receipt 0", "receipt 1"]


@given(SCRIPTS, ANSWERS, PARTS)
@bounded
def test_waiting_loses_nothing_and_changes_no_order(
    script: list[Item | int], answers: list[bool], parts: list[int]
) -> None:
    bench = Bench(script, MoodySink(answers), parts=parts)
    bench.run()
    assert bench.source.given == [entry for entry in script if isinstance(entry, Item)]
    assert bench.sink.taken == bench.stage.made


@given(SCRIPTS, ANSWERS, PARTS, STOPS, st.booleans(), st.none() | st.just(MS))
@thorough
def test_every_packet_is_taken_or_dropped_or_held(
    script: list[Item | int],
    answers: list[bool],
    parts: list[int],
    stop_after_ns: int | None,
    drops: bool,
    finishes_after_ns: int | None,
) -> None:
    numbered = [
        Item(entry.count, number) if isinstance(entry, Item) else entry
        for number, entry in enumerate(script)
    ]
    sink = MoodySink(answers, finishes_after_ns=finishes_after_ns)
    bench = Bench(numbered, sink, drops=drops, parts=parts)
    # A sink that never finishes is only ever ended by a signal.
    bench.run_and_stop_after(1_000 * MS if stop_after_ns is None else stop_after_ns)
    held = list(bench.pipeline.held)
    assert count_packets(bench.stage.made) == count_packets(
        [*bench.sink.taken, *bench.dropped, *held]
    )
    assert sorted([*bench.sink.taken, *bench.dropped, *held], key=_receipt) == sorted(
        bench.stage.made, key=_receipt
    )
    assert bench.source.settled == [item.receipt for item in bench.sink.taken]
    assert bench.sink.taken == [i for i in bench.stage.made if i in bench.sink.taken]
    assert drops or not bench.dropped


def _receipt(item: Item) -> str:
    return str(item.receipt)
