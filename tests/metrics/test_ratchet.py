"""Counters that never fall."""

from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.metrics.family import Family, Kind, Metric, Ratchet, single
from tests.metrics.snapshots import numbers

COUNTER = Metric("packets_total", Kind.COUNTER, "Packets.", ("sender",))
GAUGE = Metric("held_packets", Kind.GAUGE, "Packets.")


def held(ratchet: Ratchet, **counts: int) -> dict[tuple[str, ...], float]:
    samples = tuple(((sender,), count) for sender, count in counts.items())
    return numbers(ratchet.hold([Family(COUNTER, samples)]))["packets_total"]


def test_a_counter_that_falls_stands_still_until_it_is_made_up_for() -> None:
    ratchet = Ratchet()
    assert held(ratchet, a=10, b=1) == {("a",): 10, ("b",): 1}
    assert held(ratchet, a=4, b=2) == {("a",): 10, ("b",): 2}
    assert held(ratchet, a=9, b=2) == {("a",): 10, ("b",): 2}
    assert held(ratchet, a=11, b=2) == {("a",): 11, ("b",): 2}


def test_a_series_that_went_away_starts_anew() -> None:
    """Else everybody who ever was would be remembered."""
    ratchet = Ratchet()
    held(ratchet, a=10)
    held(ratchet)
    assert held(ratchet, a=4) == {("a",): 4}


def test_a_gauge_may_fall() -> None:
    ratchet = Ratchet()
    ratchet.hold([single(GAUGE, 10)])
    assert numbers(ratchet.hold([single(GAUGE, 4)]))["held_packets"] == {(): 4}


@given(st.lists(st.integers(0, 100)))
def test_what_is_shown_is_the_highest_so_far(counts: list[int]) -> None:
    ratchet = Ratchet()
    shown = [held(ratchet, a=count)["a",] for count in counts]
    assert shown == [max(counts[: at + 1]) for at in range(len(counts))]
