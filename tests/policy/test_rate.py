"""How fast bytes have been passing, told by a clock that the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.policy.rate import SlidingRate
from pcap_zmq.units import NS_PER_S
from tests.support.properties import bounded

SLOT_NS = NS_PER_S // 20
START_NS = 1_000 * NS_PER_S


def test_a_rate_is_nothing_before_anything_passed() -> None:
    assert SlidingRate().bytes_per_s(START_NS) == 0


def test_what_passed_now_counts_at_once() -> None:
    rate = SlidingRate()
    rate.add(1_000, START_NS)
    assert rate.bytes_per_s(START_NS) == 1_000


def test_the_rate_falls_while_nothing_passes() -> None:
    rate = SlidingRate()
    for slot in range(20):
        rate.add(50, START_NS + slot * SLOT_NS)
    rates = [rate.bytes_per_s(START_NS + (19 + n) * SLOT_NS) for n in range(21)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (1_000, 0)


def test_what_passed_is_forgotten_after_the_window_and_not_before() -> None:
    rate = SlidingRate()
    rate.add(1_000, START_NS)
    assert rate.bytes_per_s(START_NS + NS_PER_S - 1) == 1_000
    assert rate.bytes_per_s(START_NS + NS_PER_S) == 0


def test_a_long_silence_forgets_everything() -> None:
    rate = SlidingRate()
    rate.add(1_000, START_NS)
    assert rate.bytes_per_s(START_NS + 1_000_000 * NS_PER_S) == 0


def test_a_clock_that_stands_still_only_adds() -> None:
    rate = SlidingRate()
    for _ in range(100):
        rate.add(10, START_NS)
    assert rate.bytes_per_s(START_NS) == 1_000


def test_a_clock_that_steps_back_changes_nothing() -> None:
    rate = SlidingRate()
    rate.add(1_000, START_NS)
    assert rate.bytes_per_s(START_NS - 10 * NS_PER_S) == 1_000
    rate.add(500, START_NS - 10 * NS_PER_S)
    assert rate.bytes_per_s(START_NS) == 1_500
    assert rate.bytes_per_s(START_NS + NS_PER_S) == 0


@pytest.mark.parametrize("window_ns", [NS_PER_S, 3 * NS_PER_S, NS_PER_S // 4])
def test_a_steady_stream_has_its_rate_whatever_the_window(window_ns: int) -> None:
    rate = SlidingRate(window_ns)
    now_ns = START_NS
    for _ in range(1_000):
        now_ns += NS_PER_S // 100
        rate.add(10_000, now_ns)
    assert rate.bytes_per_s(now_ns) == pytest.approx(1_000_000, rel=0.08)


@given(st.lists(st.tuples(st.integers(0, NS_PER_S), st.integers(0, 1_000)), min_size=1))
@bounded
def test_the_rate_is_that_of_the_last_window_to_within_a_slot(
    steps: list[tuple[int, int]],
) -> None:
    rate = SlidingRate()
    now_ns = START_NS
    passed: list[tuple[int, int]] = []
    for wait_ns, nbytes in steps:
        now_ns += wait_ns
        rate.add(nbytes, now_ns)
        passed.append((now_ns, nbytes))
    at_most = sum(n for at, n in passed if at > now_ns - NS_PER_S)
    at_least = sum(n for at, n in passed if at > now_ns - NS_PER_S + SLOT_NS)
    assert at_least <= rate.bytes_per_s(now_ns) <= at_most
