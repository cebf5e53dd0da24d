"""Whose packets are in the output, of batches gathered from several streams."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_ffi import Lane, Lanes, Share, Shares
from tests.support.properties import bounded
from tests.support.shares import gathered, share_of


def lanes_with(parts: Sequence[int], whose: Sequence[int]) -> tuple[list[Lane], Shares]:
    """Lanes of which each has the parts that are its own, and one receipt for all."""
    lanes = Lanes(1 << 40, 1)
    everybody = [lanes.add(bytes(24), 1) for _ in range(max(whose, default=0) + 1)]
    shares = []
    for who, packets in zip(whose, parts, strict=True):
        lane = everybody[who]
        lane.reserved = 1 << 30
        number = lane.next
        lanes.take(lane, number, 0, packets)
        shares.append(share_of(lane, number, packets))
    return everybody, gathered(lanes, shares)


def delivered(lanes: Sequence[Lane]) -> list[int]:
    return [lane.packets_written for lane in lanes]


def test_packets_are_counted_for_whom_they_are_in_their_order() -> None:
    lanes, shares = lanes_with([3, 2, 5], [0, 1, 0])
    shares.count_written(4)
    assert delivered(lanes) == [3, 1]
    shares.count_written(6)
    assert delivered(lanes) == [8, 2]


def test_what_a_reader_left_unread_is_taken_back_from_the_end() -> None:
    lanes, shares = lanes_with([3, 2, 5], [0, 1, 2])
    shares.count_written(10)
    shares.count_written(-6)
    assert delivered(lanes) == [3, 1, 0]
    assert shares.written == 4
    shares.count_written(-4)
    assert delivered(lanes) == [0, 0, 0]


def test_batches_without_packets_take_no_part() -> None:
    lanes, shares = lanes_with([0, 2, 0, 1, 0], [0, 1, 2, 3, 4])
    shares.count_written(3)
    assert delivered(lanes) == [0, 2, 0, 1, 0]
    shares.count_written(-1)
    assert delivered(lanes) == [0, 2, 0, 0, 0]


def test_nothing_is_nobodys() -> None:
    lanes, shares = lanes_with([3], [0])
    shares.count_written(0)
    assert delivered(lanes) == [0]


def test_what_is_counted_twice_shows() -> None:
    """A receiver that is mistaken shall be found out by its ledger."""
    lanes, shares = lanes_with([3, 2], [0, 1])
    shares.count_written(5)
    shares.count_written(5)
    assert delivered(lanes) == [3, 7]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_the_part_of_a_stream_that_was_forgotten_is_passed_over(gone: int) -> None:
    lanes = Lanes(1 << 40, 1)
    everybody = [lanes.add(bytes(24), 1) for _ in range(3)]
    shares = gathered(lanes, [share_of(lane, 1, 10) for lane in everybody])
    shares.count_written(15)
    lanes.remove(everybody[gone])
    shares.count_written(15)
    shares.count_written(-1)
    expected = [10, 10, 9]
    for who, lane in enumerate(everybody):
        if who != gone:
            assert lane.packets_written == expected[who]


def test_the_shares_are_told_as_they_were_made() -> None:
    lanes = Lanes(1, 1)
    parts = [Share(1, 2, (1 << 64) - 1, 3), Share(4, 5, 6, (1 << 32) - 1)]
    assert list(gathered(lanes, parts).shares()) == parts


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=30),
    st.lists(st.integers(-60, 60), max_size=20),
)
@bounded
def test_what_is_counted_is_the_front_of_the_packets(
    parts: list[tuple[int, int]], moves: list[int]
) -> None:
    whose = [who for who, packets in parts for _ in range(packets)]
    lanes, shares = lanes_with([n for _, n in parts], [who for who, _ in parts])
    written = 0
    for move in moves:
        after = min(max(0, written + move), len(whose))
        shares.count_written(after - written)
        written = after
        expected = [whose[:written].count(who) for who in range(len(lanes))]
        assert delivered(lanes) == expected
