"""How much is kept of flows, as the rate and the clock of the test go."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_ffi import PARTS, PLACES, place_of
from pcap_zmq.policy.shed import (
    EVERYTHING,
    FOLLOW,
    HYSTERESIS,
    SAVED_S,
    Plan,
    Profile,
    Shedding,
    place_start,
    plan_flows,
    plan_heads,
    share,
)
from pcap_zmq.units import NS_PER_MS, NS_PER_S
from tests.support.properties import bounded

START_NS = 1_000 * NS_PER_S
HIGH = 1_000_000
STEP_NS = 8 * NS_PER_MS

# No record is so short that anything lies in the places between.
rates = st.dictionaries(
    st.just(0) | st.integers(place_of(16), PLACES - 1), st.floats(0, 1e9), max_size=10
).map(lambda parts: [parts.get(place, 0.0) for place in range(PLACES)])


def shape(**octets: float) -> list[float]:
    """A profile by places, named n0, n100, …: of so many octets a second each."""
    made = [0.0] * PLACES
    for name, rate in octets.items():
        made[place_of(int(name[1:]))] += rate
    return made


# Places.


def test_places_begin_where_the_table_says() -> None:
    for place in range(2 + 8 * 3, PLACES):
        start = place_start(place)
        assert place_of(start) == place
        assert place_of(start - 1) == place - 1


def test_places_of_few_octets_are_in_order() -> None:
    starts = [place_start(place) for place in range(PLACES)]
    assert starts == sorted(starts)
    for octets in range(1, 100):
        assert starts[place_of(octets)] <= octets < starts[place_of(octets) + 1]


# Plans.


def test_where_nothing_is_known_everything_is_kept() -> None:
    for make in (plan_heads, plan_flows):
        assert make([], 5.0) == FOLLOW


def test_what_fits_is_kept() -> None:
    assert plan_heads(shape(n0=50, n100=50), 100) == FOLLOW
    assert plan_flows([50.0, 50.0], 100) == FOLLOW


def test_what_does_not_fit_is_cut_where_it_begins_not_to() -> None:
    plan = plan_heads(shape(n0=10, n4096=40, n1048576=100), 60)
    assert plan.admitted == EVERYTHING
    # A tenth of what comes between 1 MiB and the next place.
    assert plan.limit == (1 << 20) + (1 << 17) // 10


def test_all_flows_may_begin_while_they_take_less_than_half() -> None:
    plan = plan_heads(shape(n0=50, n1000=50, n100000=1_000), 101)
    assert plan.admitted == EVERYTHING
    assert plan.limit > 50_000


def test_a_flood_of_beginnings_leaves_half_to_those_that_go_on() -> None:
    plan = plan_heads(shape(n0=1_000, n1000=50, n2000=50, n100000=50), 100)
    assert plan.admitted == share(50 / 1_000)
    assert 1_000 <= plan.limit <= 2_000


def test_beginnings_have_what_those_that_go_on_leave() -> None:
    plan = plan_heads(shape(n0=1_000, n1000=10), 100)
    assert plan.admitted == share(90 / 1_000)


def test_few_beginnings_all_go_on_when_others_do_not_fit() -> None:
    plan = plan_heads(shape(n0=20, n1000=500), 100)
    assert plan.admitted == EVERYTHING
    assert plan.limit < 2_000


def test_without_any_goal_nothing_is_kept() -> None:
    assert plan_heads(shape(n0=1, n100=1), 0) == plan_heads([], 0) == Plan(0, 0)
    assert plan_flows([1.0], 0) == plan_flows([], 0) == Plan(admitted=0)


def test_flows_are_admitted_up_to_where_their_sum_fits() -> None:
    assert plan_flows([10.0, 10.0, 20.0, 60.0], 30).admitted == share(2.5 / 4)


@given(rates, st.floats(0, 1e11), st.floats(0, 1e11))
@bounded
def test_more_is_kept_for_a_higher_goal(
    profile: list[float], one: float, other: float
) -> None:
    less, more = sorted((one, other))
    assert (
        kept(profile, plan_heads(profile, less))
        <= 1.001 * kept(profile, plan_heads(profile, more)) + 1
    )
    assert plan_flows(profile, less).admitted <= plan_flows(profile, more).admitted


@given(rates, st.floats(0, 1e11))
@bounded
def test_what_is_planned_to_be_kept_fits_the_goal(
    profile: list[float], goal: float
) -> None:
    # What begins in a place is taken to be spread evenly in it.
    assert kept(profile, plan_heads(profile, goal)) <= 1.01 * goal + max(profile[1:3])


def kept(profile: Sequence[float], plan: Plan) -> float:
    """Octets a second that such a plan lets pass."""
    total = profile[0] * plan.admitted / EVERYTHING if plan.limit else 0.0
    for place, rate in enumerate(profile[1:], 1):
        start = place_start(place)
        end = place_start(place + 1) if place + 1 < PLACES else EVERYTHING
        if plan.limit >= end:
            total += rate
        elif plan.limit > start:
            total += rate * (plan.limit - start) / (end - start)
    return total


# Profiles.


def test_a_profile_shares_out_the_rate_and_forgets() -> None:
    profile = Profile()
    assert profile.rates(5) == []
    profile.add([1, 3], START_NS)
    assert profile.rates(100) == [25, 75]
    profile.add([0, 0], START_NS)
    assert profile.rates(100) == [25, 75]
    profile.add([4, 0], START_NS + 100 * NS_PER_S)
    assert profile.rates(100) == [pytest.approx(100), pytest.approx(0, abs=1e-9)]


def test_a_profile_bears_a_clock_that_steps_back() -> None:
    profile = Profile()
    profile.add([1, 0], START_NS)
    profile.add([0, 1], START_NS - NS_PER_S)
    assert profile.rates(2) == [1, 1]


# Over time.


def heads_of(limit: float) -> float:
    """Of elephants: what is kept, as a part, when so many octets are of each."""
    return min(1.0, limit / (1 << 20))


def seen_below(octets: int) -> list[int]:
    """A profile of elephants of 1 MiB."""
    made = [0] * PLACES
    for place in range(PLACES):
        start, end = place_start(place), place_start(min(place + 1, PLACES - 1))
        made[place] = octets * max(0, min(end, 1 << 20) - start) >> 20
    return made


def play(
    shedding: Shedding, load: Callable[[int], float], steps: int, begin: int = 0
) -> Iterator[tuple[float, Plan]]:
    """What passes in each step, when so much of the high watermark comes in it."""
    plan, since = FOLLOW, 0
    for step in range(begin, begin + steps):
        now_ns = START_NS + step * STEP_NS
        nbytes = int(load(step) * HIGH * STEP_NS / NS_PER_S)
        if not shedding.arrive(nbytes, now_ns):
            shedding.keep(nbytes)
            yield nbytes, FOLLOW
            continue
        if shedding.is_plan_due(now_ns):
            plan = shedding.plan(plan_heads, seen_below(since), now_ns)
            since = 0
        passes = int(nbytes * heads_of(plan.limit))
        since += nbytes
        shedding.keep(passes)
        yield passes, plan


def test_nobody_looks_while_little_comes() -> None:
    shedding = Shedding(HIGH)
    for step in range(1_000):
        assert not shedding.arrive(3_000, START_NS + step * STEP_NS)


def test_what_is_about_as_much_as_may_come_is_followed_and_kept() -> None:
    played = list(play(Shedding(HIGH), lambda step: 0.99, 1_000))
    assert {plan for _, plan in played} == {FOLLOW}


def test_a_second_that_brings_no_more_than_it_may_is_kept_however_it_comes() -> None:
    shedding = Shedding(HIGH)
    burst = int(NS_PER_S / STEP_NS)
    played = play(shedding, lambda step: burst * 0.99 if step % 126 == 0 else 0, 1_000)
    assert {plan for _, plan in played} == {FOLLOW}


@pytest.mark.parametrize("load", [1.2, 2, 4, 8, 16, 100])
def test_of_too_much_about_as_much_passes_as_may(load: float) -> None:
    played = list(play(Shedding(HIGH), lambda step: load, 2_500))
    later = played[1_250:]
    passed = sum(octets for octets, _ in later)
    assert passed == pytest.approx(HIGH * 10, rel=0.03)
    limits = [plan.limit for _, plan in later]
    assert max(limits) < 1.3 * min(limits)


@pytest.mark.parametrize("load", [2, 16, 100])
def test_what_passes_in_any_time_is_bounded(load: float) -> None:
    played = play(Shedding(HIGH), lambda step: load, 1_000)
    total = 0.0
    for step, (octets, _) in enumerate(played):
        total += octets
        # And what comes between two plans.
        beyond = load / 8 * HIGH
        assert total <= HIGH * (SAVED_S + step * STEP_NS / NS_PER_S) + beyond


def test_the_limit_goes_down_as_more_comes_and_away_as_less_does() -> None:
    shedding = Shedding(HIGH)
    loads = [(4, 2_000), (8, 2_000), (2, 2_000), (0.8, 500)]
    limits, begin = [], 0
    for load, steps in loads:
        *_, (_, plan) = play(shedding, lambda _, load=load: load, steps, begin)  # type: ignore[misc]
        limits.append(plan.limit)
        begin += steps
    assert limits[1] < limits[0] < limits[2] < limits[3] == EVERYTHING


def test_a_rate_around_the_watermark_does_not_flap() -> None:
    shedding = Shedding(HIGH)
    list(play(shedding, lambda step: 4, 500))
    assert HYSTERESIS < 0.97
    played = list(play(shedding, lambda step: 0.97, 500, 500))
    changes = sum(
        (a.limit == EVERYTHING) != (b.limit == EVERYTHING)
        for (_, a), (_, b) in itertools.pairwise(played)
    )
    assert changes <= 3


def test_time_that_stands_still_saves_up_nothing() -> None:
    shedding = Shedding(HIGH)
    passed, plan = 0, FOLLOW
    for _ in range(1_000):
        shedding.arrive(10_000, START_NS)
        if shedding.is_plan_due(START_NS):
            plan = shedding.plan(plan_heads, seen_below(10_000), START_NS)
        if plan.limit:
            shedding.keep(octets := int(10_000 * heads_of(plan.limit)))
            passed += octets
    assert passed <= 2.2 * SAVED_S * HIGH


def test_all_numbers_of_flows_are_covered() -> None:
    assert share(0) == 0
    assert share(1) == share(2) == EVERYTHING
    assert plan_flows([1.0] * PARTS, PARTS / 2).admitted == share(0.5)
