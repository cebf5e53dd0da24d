"""What a plan takes, how long all of it is, and by how much a loop moves on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.policy.merge_plan import LONE_GAP_NS, TIME_MAX_NS, Extent, MergePlan
from tests.support.properties import bounded

TIMES = st.integers(0, TIME_MAX_NS)
EXTENTS = st.builds(
    lambda packets, first, last: Extent(
        packets, 60 * packets, 70 * packets, min(first, last), max(first, last)
    ),
    st.integers(2, 1 << 40),
    TIMES,
    TIMES,
)


@pytest.mark.parametrize(
    ("from_ns", "until_ns", "takes_all", "takes_none"),
    [
        (None, None, True, False),
        (10, 21, True, False),
        (11, 21, False, False),
        (10, 20, False, False),
        (20, None, False, False),
        (21, None, False, True),
        (None, 10, False, True),
        (None, 11, False, False),
    ],
)
def test_bounds_are_from_and_before(
    from_ns: int | None, until_ns: int | None, takes_all: bool, takes_none: bool
) -> None:
    plan = MergePlan(from_ns=from_ns, until_ns=until_ns)
    assert plan.takes_all(10, 20) is takes_all
    assert plan.takes_none(10, 20) is takes_none


@pytest.mark.parametrize(
    ("extent", "period_ns"),
    [
        (Extent(1, 60, 60, 5, 5), LONE_GAP_NS),
        (Extent(9, 60, 60, 5, 5), LONE_GAP_NS),
        (Extent(2, 60, 60, 5, 6), 2),
        (Extent(11, 60, 60, 0, 100), 110),
        (Extent(1_000, 60, 60, 0, 10), 11),
    ],
)
def test_a_loop_moves_on_by_the_whole_and_a_mean_gap(
    extent: Extent, period_ns: int
) -> None:
    assert extent.period_ns == period_ns


@given(EXTENTS, st.integers(0, 1 << 70))
@bounded
def test_no_time_is_moved_beyond_what_a_record_holds(extent: Extent, turn: int) -> None:
    moved_ns = extent.moved_ns(turn)
    assert moved_ns >= 0
    assert extent.last_ns + moved_ns <= TIME_MAX_NS
    assert extent.moved_ns(0) == 0
    assert moved_ns % extent.period_ns == 0


@given(EXTENTS, EXTENTS)
@bounded
def test_extents_add_up(one: Extent, other: Extent) -> None:
    both = one.plus(other)
    assert both == other.plus(one)
    assert both.packets == one.packets + other.packets
    assert both.octets == one.octets + other.octets
    assert both.first_ns == min(one.first_ns, other.first_ns)
    assert both.duration_ns == both.last_ns - both.first_ns
    assert one.plus(Extent()) == Extent().plus(one) == one
