"""Flows are spread over targets, whole, evenly, and move as little as can be."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_ffi import TARGETS_MAX, FlowSpread
from tests.flow_ffi import packets as p
from tests.support.properties import bounded


def packet(flow: int, *, answer: bool = False, length: int = 30) -> bytes:
    there, back = p.both(p.A4, p.B4, p.UDP, 1_024 + flow, 443)
    return (back if answer else there) + bytes(length)


def batch(flows: list[int]) -> list[bytes]:
    return [
        p.record(packet(flow, answer=n % 3 == 1, length=n % 50), n)
        for n, flow in enumerate(flows)
    ]


def shares(
    spread: FlowSpread, records: list[bytes], targets: list[int]
) -> list[list[bytes]]:
    """The records that each target gets."""
    parts = spread.spread(p.RAW, b"".join(records), [len(records)], targets)
    assert len(parts) == len(targets)
    found = [split(bytes(part.records)) for part in parts]
    assert [len(one) for one in found] == [part.count for part in parts]
    return found


def split(octets: bytes) -> list[bytes]:
    found = []
    while octets:
        end = 16 + struct.unpack_from("<I", octets, 8)[0]
        found.append(octets[:end])
        octets = octets[end:]
    return found


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 9))
@bounded
def test_each_record_goes_to_one_target_in_order(flows: list[int], count: int) -> None:
    records = batch(flows)
    found = shares(FlowSpread(), records, list(range(count)))
    # The time makes each of them another.
    places = [[records.index(record) for record in share] for share in found]
    assert all(share == sorted(share) for share in places)
    assert sorted(place for share in places for place in share) == list(
        range(len(records))
    )


@given(
    st.lists(st.integers(0, 40), max_size=60),
    st.lists(st.integers(0, 1 << 64 - 1), min_size=1, max_size=9, unique=True),
)
@bounded
def test_a_flow_goes_to_one_target_in_both_directions(
    flows: list[int], targets: list[int]
) -> None:
    records = batch(flows)
    found = shares(FlowSpread(), records, targets)
    owners: dict[int, set[int]] = {}
    for record, flow in zip(records, flows, strict=True):
        (owner,) = [at for at, share in enumerate(found) if record in share]
        owners.setdefault(flow, set()).add(owner)
    assert all(len(owner) == 1 for owner in owners.values())


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=20), max_size=8),
    st.integers(1, 5),
)
@bounded
def test_packets_are_counted_for_each_segment(
    segments: list[list[int]], count: int
) -> None:
    spread = FlowSpread(seed=9)
    records = batch([flow for segment in segments for flow in segment])
    targets = list(range(count))
    sizes = [len(segment) for segment in segments]
    parts = spread.spread(p.RAW, b"".join(records), sizes, targets)
    at = 0
    for number, size in enumerate(sizes):
        alone = shares(spread, records[at : at + size], targets)
        assert [part.counts[number] for part in parts] == [len(one) for one in alone]
        at += size
    assert all(len(part.counts) == len(segments) for part in parts)


def test_all_of_one_target_is_not_copied() -> None:
    records = b"".join(batch([5] * 20))
    parts = FlowSpread().spread(p.RAW, records, [20], [1, 2, 3])
    (whole,) = [part for part in parts if part.count]
    assert whole.records is records
    assert [bytes(part.records) for part in parts if not part.count] == [b"", b""]
    (only,) = FlowSpread().spread(p.RAW, records, [15, 5], [7])
    assert only.records is records
    assert only.counts == (15, 5)


def test_each_part_is_memory_of_its_own() -> None:
    """So that who is slow holds no more than what is his."""
    records = bytearray(b"".join(batch(list(range(100)))))
    parts = FlowSpread().spread(p.RAW, records, [100], [1, 2, 3, 4])
    before = [bytes(part.records) for part in parts]
    records[:] = bytes(len(records))
    assert [bytes(part.records) for part in parts] == before
    assert sum(map(len, before)) == len(records)


@pytest.mark.parametrize("count", [2, 3, 4, 7, 16])
def test_flows_are_spread_evenly(count: int) -> None:
    flows = 4_000
    records = [p.record(packet(flow, length=0)) for flow in range(flows)]
    found = shares(FlowSpread(), records, list(range(count)))
    fair = flows / count
    for share in found:
        # Six standard deviations.
        assert abs(len(share) - fair) < 6 * fair**0.5


def test_when_a_target_goes_only_its_flows_move_and_come_back_with_it() -> None:
    spread = FlowSpread()
    records = [p.record(packet(flow), flow) for flow in range(1_000)]
    whole = dict(
        zip([3, 5, 8, 13], shares(spread, records, [3, 5, 8, 13]), strict=True)
    )
    left = dict(zip([3, 8, 13], shares(spread, records, [3, 8, 13]), strict=True))
    for target, share in left.items():
        assert set(whole[target]) < set(share)
    assert shares(spread, records, [3, 5, 8, 13]) == list(whole.values())


def test_targets_go_by_their_numbers_not_by_their_places() -> None:
    spread = FlowSpread()
    records = [p.record(packet(flow), flow) for flow in range(200)]
    one_way = dict(zip([3, 5, 8], shares(spread, records, [3, 5, 8]), strict=True))
    other_way = dict(zip([8, 3, 5], shares(spread, records, [8, 3, 5]), strict=True))
    assert one_way == other_way


def test_two_with_one_seed_agree_and_others_do_not() -> None:
    records = [p.record(packet(flow), flow) for flow in range(200)]
    targets = [1, 2, 3]
    agreed = shares(FlowSpread(seed=77), records, targets)
    assert shares(FlowSpread(seed=77), records, targets) == agreed
    assert shares(FlowSpread(seed=78), records, targets) != agreed
    assert shares(FlowSpread(), records, targets) != agreed


def test_what_goes_on_in_the_next_batch_is_remembered() -> None:
    spread = FlowSpread()
    first = p.record(p.ip4(p.A4, p.B4, p.UDP, p.ports(1, 2), more=True))
    rest = p.record(p.ip4(p.A4, p.B4, p.UDP, b"z" * 20, offset=32))
    whole = p.record(p.ip4(p.A4, p.B4, p.UDP, p.ports(1, 2)))
    targets = list(range(16))
    places = [
        [len(share) for share in shares(spread, [one], targets)].index(1)
        for one in (first, rest, whole)
    ]
    assert len(set(places)) == 1


@pytest.mark.parametrize(
    "damaged",
    [
        lambda records: records[:-1],
        lambda records: records + b"\0",
        lambda records: records[:8] + b"\xff\xff\xff\xff" + records[12:],
        lambda records: b"",
    ],
)
def test_records_that_are_not_those_of_the_segments_are_refused(
    damaged: object,
) -> None:
    assert callable(damaged)
    records = damaged(b"".join(batch([1, 2, 3])))
    with pytest.raises(ValueError, match="3 records of 2 segments"):
        FlowSpread().spread(p.RAW, records, [1, 2], [1, 2])


def test_more_records_than_the_segments_have_are_refused() -> None:
    records = b"".join(batch([1, 2, 3]))
    with pytest.raises(ValueError, match="2 records"):
        FlowSpread().spread(p.RAW, records, [2], [1, 2])


@pytest.mark.parametrize("count", [0, TARGETS_MAX + 1])
def test_no_targets_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} targets"):
        FlowSpread().spread(p.RAW, b"".join(batch([1])), [1], list(range(count)))


def test_as_many_targets_as_there_may_be_are_served() -> None:
    records = batch(list(range(50)))
    found = shares(FlowSpread(), records, list(range(TARGETS_MAX)))
    assert sum(map(len, found)) == 50


def test_nothing_is_spread_into_nothing() -> None:
    parts = FlowSpread().spread(p.RAW, b"", [0, 0], [1, 2])
    assert [(bytes(part.records), part.counts) for part in parts] == [(b"", (0, 0))] * 2
    parts = FlowSpread().spread(p.RAW, b"", [], [1, 2])
    assert [part.counts for part in parts] == [(), ()]
