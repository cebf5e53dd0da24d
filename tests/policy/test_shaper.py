"""SEND, COMPRESS or DROP, as the rate and the clock of the test go."""

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.policy.rate import SlidingRate
from pcap_zmq.policy.shaper import BURST_S, HYSTERESIS, Shaper, Verdict
from pcap_zmq.units import NS_PER_S
from tests.support.properties import bounded, thorough

START_NS = 1_000 * NS_PER_S
MS = 1_000_000
KIB = 1 << 10
LOW, HIGH = 100_000, 1_000_000


@dataclass
class Passed:
    """What came of a stream of batches."""

    offered: int = 0
    passed: int = 0
    duration_ns: int = 0


def judge_all(
    shaper: Shaper, steps: list[tuple[int, int]], now_ns: int = START_NS
) -> Passed:
    """Each step: how long to wait, and how many bytes come then."""
    result = Passed()
    for wait_ns, nbytes in steps:
        now_ns += wait_ns
        result.duration_ns += wait_ns
        result.offered += nbytes
        if shaper.judge(nbytes, now_ns) is not Verdict.DROP:
            result.passed += nbytes
    return result


def verdicts(shaper: Shaper, rate: int, seconds: int, now_ns: int) -> list[Verdict]:
    """A hundred batches a second at this rate."""
    return [
        shaper.judge(rate // 100, now_ns + n * 10 * MS) for n in range(100 * seconds)
    ]


# The low watermark.


@given(
    st.lists(
        st.tuples(st.integers(0, NS_PER_S), st.integers(0, LOW)),
        min_size=1,
        max_size=60,
    )
)
@bounded
def test_nothing_is_compressed_below_the_low_watermark(
    steps: list[tuple[int, int]],
) -> None:
    shaper, rate = Shaper(LOW, 0), SlidingRate()
    now_ns, was_above = START_NS, False
    for wait_ns, nbytes in steps:
        now_ns += wait_ns
        rate.add(nbytes, now_ns)
        verdict = shaper.judge(nbytes, now_ns)
        per_s = rate.bytes_per_s(now_ns)
        if per_s < HYSTERESIS * LOW or (per_s < LOW and not was_above):
            assert verdict is Verdict.SEND
        if per_s >= LOW:
            assert verdict is Verdict.COMPRESS
        was_above = verdict is Verdict.COMPRESS


def test_everything_is_compressed_above_the_low_watermark() -> None:
    shaper = Shaper(LOW, 0)
    first, later = [
        verdicts(shaper, 2 * LOW, 1, START_NS + second * NS_PER_S)
        for second in range(2)
    ]
    assert first[0] is Verdict.SEND
    assert set(later) == {Verdict.COMPRESS}


def test_a_rate_that_dithers_around_the_low_watermark_does_not_flap() -> None:
    shaper = Shaper(LOW, 0)
    said: list[Verdict] = []
    for second in range(20):
        rate = LOW * 110 // 100 if second % 2 else LOW * 92 // 100
        said += verdicts(shaper, rate, 1, START_NS + second * NS_PER_S)
    changes = sum(before is not after for before, after in itertools.pairwise(said))
    assert changes == 1


def test_compression_ends_well_below_the_low_watermark() -> None:
    shaper = Shaper(LOW, 0)
    verdicts(shaper, 2 * LOW, 2, START_NS)
    later = verdicts(shaper, LOW // 2, 3, START_NS + 2 * NS_PER_S)
    assert later[-1] is Verdict.SEND


def test_compression_ends_after_a_silence() -> None:
    shaper = Shaper(LOW, 0)
    verdicts(shaper, 2 * LOW, 2, START_NS)
    assert shaper.judge(100, START_NS + 10 * NS_PER_S) is Verdict.SEND


def test_a_low_watermark_of_nothing_never_compresses() -> None:
    shaper = Shaper(0, 0)
    assert set(verdicts(shaper, 1 << 40, 2, START_NS)) == {Verdict.SEND}


def test_what_passes_between_the_watermarks_is_compressed() -> None:
    shaper = Shaper(LOW, HIGH)
    verdicts(shaper, HIGH // 2, 1, START_NS)
    later = verdicts(shaper, HIGH // 2, 2, START_NS + NS_PER_S)
    assert set(later) == {Verdict.COMPRESS}


def test_what_passes_above_the_high_watermark_is_compressed() -> None:
    shaper = Shaper(LOW, HIGH)
    said = verdicts(shaper, 4 * HIGH, 3, START_NS)
    assert set(said[100:]) == {Verdict.COMPRESS, Verdict.DROP}


# The high watermark.


def test_nothing_is_dropped_below_the_high_watermark() -> None:
    shaper = Shaper(0, HIGH)
    assert Verdict.DROP not in verdicts(shaper, HIGH * 9 // 10, 10, START_NS)


def test_a_high_watermark_of_nothing_never_drops() -> None:
    shaper = Shaper(LOW, 0)
    assert Verdict.DROP not in verdicts(shaper, 1 << 40, 2, START_NS)


@pytest.mark.parametrize("overload", [1.2, 2, 10, 100])
@pytest.mark.parametrize("length", [20_000, 50_000, 300_000])
def test_of_an_overload_about_the_high_watermark_passes(
    overload: float, length: int
) -> None:
    shaper = Shaper(LOW, HIGH)
    wait_ns = int(length * NS_PER_S / (HIGH * overload))
    warm_up = judge_all(shaper, [(wait_ns, length)] * (2 * NS_PER_S // wait_ns + 1))
    now_ns = START_NS + warm_up.duration_ns
    result = judge_all(shaper, [(wait_ns, length)] * (20 * NS_PER_S // wait_ns), now_ns)
    fair = HIGH * result.duration_ns / NS_PER_S
    slack = HIGH * BURST_S + length
    assert fair - slack <= result.passed <= fair + slack


@given(
    st.lists(
        st.tuples(st.integers(0, NS_PER_S // 4), st.integers(0, HIGH // 2)),
        min_size=1,
        max_size=200,
    )
)
@thorough
def test_over_a_long_stretch_no_more_than_about_the_high_watermark_passes(
    steps: list[tuple[int, int]],
) -> None:
    """Whatever the pattern: what was saved up, and the last batch, come on top."""
    result = judge_all(Shaper(LOW, HIGH), steps)
    largest = max(nbytes for _, nbytes in steps)
    fair = HIGH * result.duration_ns / NS_PER_S
    assert result.passed <= fair + HIGH * BURST_S + largest


@given(
    st.lists(
        st.tuples(st.integers(0, NS_PER_S), st.integers(1, HIGH)),
        min_size=1,
        max_size=60,
    )
)
@bounded
def test_nothing_is_dropped_while_no_second_brings_more_than_the_high_watermark(
    steps: list[tuple[int, int]],
) -> None:
    shaper = Shaper(LOW, HIGH)
    now_ns = START_NS
    came: list[tuple[int, int]] = []
    for wait_ns, nbytes in steps:
        now_ns += wait_ns
        lately = sum(n for at_ns, n in came if at_ns > now_ns - NS_PER_S)
        fitting = min(nbytes, HIGH - lately)
        if fitting > 0:
            came.append((now_ns, fitting))
            assert shaper.judge(fitting, now_ns) is not Verdict.DROP


@given(
    st.lists(
        st.tuples(st.integers(0, NS_PER_S // 4), st.integers(1, HIGH // 2)),
        min_size=1,
        max_size=200,
    )
)
@bounded
def test_no_less_than_about_the_high_watermark_passes_either(
    steps: list[tuple[int, int]],
) -> None:
    """What is dropped had no tokens: so between two drops, and between the first
    batch and the first drop, at least the high watermark's share has passed."""
    shaper = Shaper(LOW, HIGH)
    now_ns, largest = START_NS, max(nbytes for _, nbytes in steps)
    since_ns, passed = START_NS, 0
    has_dropped = False
    for wait_ns, nbytes in steps:
        now_ns += wait_ns
        if shaper.judge(nbytes, now_ns) is not Verdict.DROP:
            passed += nbytes
            continue
        if has_dropped:
            fair = min(HIGH * (now_ns - since_ns) / NS_PER_S, HIGH * BURST_S)
            assert passed >= fair - largest
        has_dropped, since_ns, passed = True, now_ns, 0


@pytest.mark.parametrize("wait_ns", [1, 1_000, 900_000, 50 * MS])
@pytest.mark.parametrize("high", [KIB, 10 * KIB, HIGH])
def test_something_always_passes_however_often_batches_come(
    high: int, wait_ns: int
) -> None:
    shaper = Shaper(0, high)
    batches = min(2_000, 20 * NS_PER_S // wait_ns)
    judge_all(shaper, [(wait_ns, 2 * high)] * batches)
    # A debt of one batch is paid by then, and time comes in very small steps.
    steps = 4_000
    later = START_NS + batches * wait_ns
    result = judge_all(shaper, [(2_500_000_000 // steps, 2 * high)] * steps, later)
    assert result.passed > 0


def test_a_batch_larger_than_a_second_passes_now_and_then() -> None:
    shaper = Shaper(0, KIB)
    result = judge_all(shaper, [(NS_PER_S // 10, 64 * KIB)] * 10_000)
    assert result.passed == pytest.approx(KIB * 1_000, rel=0.15)


def test_a_short_burst_passes_whole() -> None:
    shaper = Shaper(0, HIGH)
    said = [shaper.judge(HIGH // 20, START_NS) for _ in range(20)]
    assert Verdict.DROP not in said


def test_a_calm_after_an_overload_drops_nothing() -> None:
    shaper = Shaper(0, HIGH)
    verdicts(shaper, 10 * HIGH, 3, START_NS)
    calm = verdicts(shaper, HIGH // 2, 2, START_NS + 5 * NS_PER_S)
    assert Verdict.DROP not in calm


# The clock.


def test_a_clock_that_stands_still_lets_no_more_than_a_burst_through() -> None:
    result = judge_all(Shaper(0, HIGH), [(0, 10_000)] * 10_000)
    assert result.passed <= HIGH * BURST_S + 10_000


def test_a_clock_that_steps_back_neither_gives_nor_takes() -> None:
    shaper = Shaper(0, HIGH)
    verdicts(shaper, 10 * HIGH, 3, START_NS)
    back = judge_all(shaper, [(0, 10_000)] * 1_000, START_NS - 100 * NS_PER_S)
    assert back.passed <= HIGH * BURST_S + 10_000
    again = judge_all(shaper, [(MS, 10_000)] * 1_000, START_NS + 3 * NS_PER_S)
    assert again.passed == pytest.approx(HIGH, rel=0.15)


def test_asking_for_the_rate_changes_no_verdict() -> None:
    asked, unasked = Shaper(LOW, HIGH), Shaper(LOW, HIGH)
    for n in range(300):
        now_ns = START_NS + n * 10 * MS
        asked.bytes_per_s(now_ns)
        assert asked.judge(20_000, now_ns) is unasked.judge(20_000, now_ns)


def test_the_rate_is_that_of_what_comes_in_and_not_of_what_passes() -> None:
    shaper = Shaper(LOW, HIGH)
    verdicts(shaper, 10 * HIGH, 2, START_NS)
    rate = shaper.bytes_per_s(START_NS + 2 * NS_PER_S - 10 * MS)
    assert rate == pytest.approx(10 * HIGH, rel=0.06)
