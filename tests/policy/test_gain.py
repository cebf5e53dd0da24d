"""Which batches are tried, and how hard, as the test says what each try gave."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.policy.gain import (
    LIGHT_ABOVE,
    PATIENCE,
    TRIED_EVERY,
    WORTH,
    Effort,
    Gain,
)
from tests.support.properties import thorough

LENGTH = 100_000
NO_GAIN, SOME_GAIN, GREAT_GAIN = LENGTH, LENGTH * 9 // 10, LENGTH // 4


def efforts(gain: Gain, lengths: list[int]) -> Iterator[Effort]:
    """What is made of batches that would become so long."""
    for after in lengths:
        effort = gain.effort()
        if effort is not Effort.NONE:
            gain.learn(LENGTH, after)
        yield effort


def discouraged() -> Gain:
    """It has seen nothing but batches that do not shrink, for long."""
    gain = Gain()
    *_, last = efforts(gain, [NO_GAIN] * 100 * TRIED_EVERY)
    assert last is Effort.NONE
    return gain


def test_what_never_shrinks_is_tried_once_in_so_many_batches() -> None:
    batches = 1_000 * TRIED_EVERY
    tried = [
        effort
        for effort in efforts(Gain(), [NO_GAIN] * batches)
        if effort is not Effort.NONE
    ]
    # And some more until it is clear.
    assert len(tried) <= batches / TRIED_EVERY + PATIENCE + 4


def test_traffic_that_turns_compressible_is_noticed_soon() -> None:
    for already_skipped in range(TRIED_EVERY):
        gain = discouraged()
        list(efforts(gain, [NO_GAIN] * already_skipped))
        seen = list(efforts(gain, [GREAT_GAIN] * (2 * TRIED_EVERY)))
        first = next(n for n, effort in enumerate(seen) if effort is not Effort.NONE)
        assert first < TRIED_EVERY
        assert all(effort is Effort.FULL for effort in seen[first + 1 :])


def test_a_few_batches_that_do_not_shrink_change_nothing() -> None:
    lengths = [*[NO_GAIN] * (PATIENCE - 1), GREAT_GAIN] * 10
    assert Effort.NONE not in efforts(Gain(), lengths)


def test_the_first_batch_is_tried_with_all_effort() -> None:
    assert Gain().effort() is Effort.FULL


@pytest.mark.parametrize(
    ("after", "effort"),
    [
        (GREAT_GAIN, Effort.FULL),
        (int(LENGTH * LIGHT_ABOVE), Effort.FULL),
        (int(LENGTH * LIGHT_ABOVE) + 1, Effort.LIGHT),
        (SOME_GAIN, Effort.LIGHT),
        (NO_GAIN, Effort.LIGHT),
    ],
)
def test_the_effort_follows_what_the_last_try_left(after: int, effort: Effort) -> None:
    gain = Gain()
    gain.learn(LENGTH, after)
    assert gain.effort() is effort


@pytest.mark.parametrize(
    ("after", "is_worth"),
    [
        (0, True),
        (int(LENGTH * (1 - WORTH)), True),
        (int(LENGTH * (1 - WORTH)) + 1, False),
        (LENGTH, False),
        (2 * LENGTH, False),
    ],
)
def test_a_try_is_worth_it_that_saves_enough(after: int, is_worth: bool) -> None:
    assert Gain().learn(LENGTH, after) is is_worth


@given(st.lists(st.sampled_from([NO_GAIN, SOME_GAIN, GREAT_GAIN]), max_size=300))
@thorough
def test_no_more_is_skipped_in_a_row_than_went_before_without_gain(
    lengths: list[int],
) -> None:
    poor = skipped = 0
    gain = Gain()
    for effort, after in zip(efforts(gain, lengths), lengths, strict=True):
        if effort is Effort.NONE:
            skipped += 1
            assert skipped < TRIED_EVERY
            assert skipped <= poor
            continue
        poor = poor + skipped + 1 if after == NO_GAIN else 0
        skipped = 0
