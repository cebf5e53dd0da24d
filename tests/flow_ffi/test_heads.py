"""Of each flow the head is kept, or flows are kept whole, in memory of one size."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_ffi import ALL, PARTS, PLACES, FlowHeads, WholeFlows, place_of
from tests.flow_ffi import packets as p
from tests.support.properties import bounded

TABLE = 64 << 10
"""Octets: the smallest table, of 4,096 flows in sets of 8."""
ENTRIES = 4_096
IDLE_MS = 60_000
SYN, SYN_ACK, ACK = 0x02, 0x12, 0x10


def datagram(flow: int, length: int = 100) -> bytes:
    """A packet record of so many octets, at least 44."""
    payload = bytes(length - 44)
    # Ports and addresses, so that there are many flows.
    host = f"10.{flow >> 24 & 255}.{flow >> 16 & 255}.1"
    return p.record(p.ip4(host, p.B4, p.UDP, p.ports(flow & 0xFFFF, 53, payload)))


def segment(flags: int, payload: bytes = b"") -> bytes:
    header = p.ports(40_000, 80, b"\0\0\0\0\x50" + bytes([flags]) + bytes(6))
    return p.record(p.ip4(p.A4, p.B4, p.TCP, header + payload))


def shed(
    heads: FlowHeads,
    records: list[bytes],
    limit: int = ALL,
    admitted: int = ALL,
    now_ms: int = 0,
) -> list[bytes]:
    octets = b"".join(records)
    kept = heads.shed(p.RAW, octets, now_ms, limit, admitted)
    assert kept.count + kept.tails + kept.flows == len(records)
    if kept.count == len(records):
        assert kept.records is octets
    return split(bytes(kept.records), records)


def split(octets: bytes, records: list[bytes]) -> list[bytes]:
    """The records that were kept, in their order."""
    left = []
    for record in records:
        if octets.startswith(record):
            left.append(record)
            octets = octets[len(record) :]
    assert octets == b""
    return left


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(44, 300)), max_size=60),
    st.integers(1, 1_000),
)
@bounded
def test_what_is_kept_of_a_flow_is_what_begins_before_the_limit(
    given: list[tuple[int, int]], limit: int
) -> None:
    records: list[bytes] = []
    expected: list[bytes] = []
    passed: Counter[int] = Counter()
    for flow, length in given:
        # Told apart by their times, which are no part of a flow.
        record = len(records).to_bytes(4, "little") + datagram(flow, length)[4:]
        records.append(record)
        if passed[flow] < limit:
            expected.append(record)
        passed[flow] += length
    assert shed(FlowHeads(TABLE), records, limit) == expected


def test_what_was_seen_is_told_by_its_place_once() -> None:
    heads = FlowHeads(TABLE)
    shed(heads, [datagram(1, 100)] * 3 + [datagram(2, 60)], limit=150)
    seen = heads.seen()
    assert len(seen) == PLACES
    assert {place: octets for place, octets in enumerate(seen) if octets} == {
        0: 160,
        place_of(100): 100,
        place_of(200): 100,
    }
    assert not any(heads.seen())


def test_the_next_batch_goes_on_where_the_last_one_ended() -> None:
    heads = FlowHeads(TABLE)
    assert len(shed(heads, [datagram(1)] * 2, limit=250)) == 2
    assert len(shed(heads, [datagram(1)] * 2, limit=250)) == 1
    # What was dropped has passed, too.
    assert len(shed(heads, [datagram(1)] * 2, limit=450)) == 1


def test_a_flow_is_kept_from_both_directions_together() -> None:
    heads = FlowHeads(TABLE)
    there, back = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    records = [p.record(there), p.record(back), p.record(there)]
    assert len(shed(heads, records, limit=len(records[0]) + 1)) == 2


def test_flows_within_a_tunnel_are_flows() -> None:
    heads = FlowHeads(TABLE)
    inner = [p.both(p.A4, p.B4, p.TCP, port, 443)[0] for port in range(50)]
    records = [p.record(p.ip4(p.C4, p.D4, p.IP_IN_IP, packet)) for packet in inner]
    assert len(shed(heads, records, limit=1)) == 50


def test_a_connection_that_opens_begins_anew() -> None:
    heads = FlowHeads(TABLE)
    long = [segment(ACK, bytes(900))] * 3
    assert len(shed(heads, [segment(SYN), *long], limit=1_000)) == 2
    # Of the answer to it nothing begins.
    assert shed(heads, [segment(SYN_ACK)], limit=1_000) == []
    assert len(shed(heads, [segment(SYN), *long], limit=1_000)) == 2


def test_a_flow_that_was_silent_for_long_begins_anew() -> None:
    heads = FlowHeads(TABLE)
    assert len(shed(heads, [datagram(1)] * 3, 150)) == 2
    assert shed(heads, [datagram(1)], 150, now_ms=IDLE_MS - 1) == []
    assert shed(heads, [datagram(1)], 150, now_ms=2 * IDLE_MS - 2) == []
    assert len(shed(heads, [datagram(1)] * 3, 150, now_ms=3 * IDLE_MS)) == 2


def test_a_clock_that_wraps_around_is_none_that_stood_still() -> None:
    heads = FlowHeads(TABLE)
    wrapped = 1 << 32
    assert len(shed(heads, [datagram(1)] * 3, 150, now_ms=wrapped - 10)) == 2
    assert shed(heads, [datagram(1)], 150, now_ms=wrapped + 10) == []


def test_flows_that_may_not_begin_are_dropped_and_others_go_on() -> None:
    heads = FlowHeads(TABLE)
    old = [datagram(flow) for flow in range(100)]
    new = [datagram(flow) for flow in range(100, 300)]
    assert shed(heads, old) == old
    assert shed(heads, old + new, admitted=0) == old
    kept = shed(heads, old + new, admitted=ALL // 2)
    assert kept[:100] == old
    assert 60 < len(kept) - 100 < 140
    # Always the same ones, until more may.
    assert shed(heads, new, admitted=ALL // 2) == kept[100:]
    assert shed(heads, old + new) == old + new


def test_of_flows_that_may_not_begin_only_the_beginning_is_told() -> None:
    heads = FlowHeads(TABLE)
    shed(heads, [datagram(flow) for flow in range(10)] * 3, admitted=0)
    assert sum(heads.seen()) == 10 * 100


@pytest.mark.parametrize("length", [44, 1_500])
def test_who_sprays_addresses_pushes_out_no_long_flow(length: int) -> None:
    """Ten times as many flows as the table holds, of one packet each, between two
    packets of each of those that are long."""
    heads = FlowHeads(TABLE)
    long = [datagram(flow, 1_500) for flow in range(400)]
    for _ in range(4):
        shed(heads, long)
    for number in range(10):
        first = 1_000_000 + number * ENTRIES
        spray = [datagram(first + n, length) for n in range(ENTRIES)]
        shed(heads, spray, limit=6_000, now_ms=number)
    # Whatever of them is kept has been forgotten. Where seven of a set are long, one
    # of them goes: 400 in 512 sets hardly ever.
    assert len(shed(heads, long, limit=6_000, now_ms=20)) <= 4


def test_a_long_flow_becomes_one_in_the_middle_of_a_spray() -> None:
    """With a packet for every hundred of the spray's."""
    heads = FlowHeads(TABLE)
    kept, at = 0, 1_000_000
    for _ in range(200):
        spray = [datagram(at + n, 44) for n in range(100)]
        at += 100
        shed(heads, spray)
        kept += len(shed(heads, [datagram(1, 1_500)], limit=6_000))
    assert kept == 4


def test_the_oldest_long_flow_goes_when_all_are_long() -> None:
    heads = FlowHeads(TABLE)
    flows = 4 * ENTRIES
    for number in range(flows):
        shed(heads, [datagram(number, 1_500)] * 3, now_ms=number)
    kept = [
        len(shed(heads, [datagram(number, 1_500)], limit=4_000, now_ms=flows))
        for number in (0, flows - 1)
    ]
    assert kept == [1, 0]


def test_places_go_up_with_octets_in_eighths() -> None:
    octets = sorted({max(0, (1 << n) + d) for n in range(64) for d in (-1, 0, 1)})
    places = [place_of(number) for number in octets if number <= ALL]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == PLACES - 1
    assert place_of(16_384) + 8 == place_of(32_768)


@given(st.lists(st.integers(0, 200), max_size=100), st.integers(0, ALL))
@bounded
def test_flows_are_kept_whole_or_not_at_all(flows: list[int], admitted: int) -> None:
    records = [datagram(flow) for flow in flows]
    whole = WholeFlows(seed=7)
    kept = whole.shed(p.RAW, b"".join(records), admitted)
    assert kept.tails == 0
    assert kept.count + kept.flows == len(records)
    left = Counter(split(bytes(kept.records), records))
    assert all(count == records.count(record) for record, count in left.items())
    seen = whole.seen()
    assert len(seen) == PARTS
    assert sum(seen) == 100 * len(records)


def test_the_share_of_flows_is_that_of_the_numbers() -> None:
    records = [datagram(flow) for flow in range(4_000)]
    whole = WholeFlows()
    kept = whole.shed(p.RAW, b"".join(records), ALL // 4)
    assert 850 < kept.count < 1_150
    everything = b"".join(records)
    assert whole.shed(p.RAW, everything, ALL).records is everything


def test_nothing_is_kept_of_nothing() -> None:
    assert FlowHeads(TABLE).shed(p.RAW, b"", 0, 0, 0).count == 0
    assert WholeFlows().shed(p.RAW, b"", 0).count == 0
