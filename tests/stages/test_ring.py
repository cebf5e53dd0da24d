"""What passes is kept within its bounds, and found again by time, number and filter."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import compile_filter
from pcap_zmq.errors import WireError
from pcap_zmq.formats.excerpt import Excerpt, Wanted
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.stages.ring import BATCH_COST, PART_BYTES, Ring
from tests.pipes import packets
from tests.support.properties import bounded

RAW, ETHERNET = 101, 1
SECOND_NS = 10**9
PLENTY = 1 << 30


def at(mono_ns: int) -> Instant:
    return Instant(mono_ns, packets.FIRST_SECOND * SECOND_NS + mono_ns)


def batch(numbers: range, size: int = 200, linktype: int = RAW) -> Batch:
    return Batch(linktype, packets.records(numbers, size, linktype), len(numbers))


def fetch(ring: Ring, wanted: Wanted, now: Instant) -> tuple[list[int], list[Excerpt]]:
    """All of it, as somebody who asks again and again gets it."""
    parts: list[Excerpt] = []
    while True:
        parts.append(ring.excerpt(wanted, now))
        if parts[-1].reached >= parts[-1].end:
            break
        wanted = replace(wanted, start=parts[-1].reached, end=parts[-1].end)
    stream = packets.header() + b"".join(bytes(part.records) for part in parts)
    numbers = packets.numbers(stream)
    assert sum(part.count for part in parts) == len(numbers)
    return numbers, parts


def test_what_was_never_there_is_not_found() -> None:
    excerpt = Ring(PLENTY, None, nanoseconds=True).excerpt(Wanted(), at(0))
    assert (excerpt.linktype, excerpt.count, excerpt.first) == (None, 0, 0)
    assert excerpt.reached == excerpt.end == 0


def test_a_filter_that_is_none_is_refused() -> None:
    ring = Ring(PLENTY, None, nanoseconds=True)
    with pytest.raises(WireError):
        ring.excerpt(Wanted(filter=b"\x05" + bytes(7)), at(0))


def test_what_passes_goes_on_as_it_is() -> None:
    ring = Ring(PLENTY, None, nanoseconds=True)
    one = batch(range(3))
    (passed,) = ring.feed(one, at(0))
    assert passed is one
    empty = Batch(RAW, b"", 0, "receipt")
    assert list(ring.feed(empty, at(0))) == [empty]
    assert ring.kept_packets == 3


def test_the_oldest_go_when_there_is_no_room() -> None:
    one = batch(range(10))
    cost = len(one.records) + BATCH_COST
    ring = Ring(3 * cost, None, nanoseconds=True)
    for _ in range(5):
        ring.feed(one, at(0))
    assert ring.kept_bytes <= 3 * cost
    excerpt = ring.excerpt(Wanted(), at(0))
    assert (excerpt.first, excerpt.count, excerpt.end) == (20, 30, 50)


def test_the_oldest_go_when_they_are_too_old_also_where_nothing_comes() -> None:
    ring = Ring(PLENTY, 2 * SECOND_NS, nanoseconds=True)
    ring.feed(batch(range(5)), at(0))
    ring.feed(batch(range(5, 8)), at(SECOND_NS))
    assert fetch(ring, Wanted(), at(2 * SECOND_NS))[0] == list(range(8))
    assert fetch(ring, Wanted(), at(3 * SECOND_NS))[0] == [5, 6, 7]
    assert fetch(ring, Wanted(), at(4 * SECOND_NS))[0] == []
    assert (ring.kept_bytes, ring.kept_packets) == (0, 0)


def test_the_last_seconds_are_told_by_the_packets_own_time() -> None:
    # A thousand packets a second.
    ring = Ring(PLENTY, None, nanoseconds=True)
    ring.feed(batch(range(5_000)), at(0))
    now = at(5 * SECOND_NS)
    wanted = Wanted(from_ns=2 * SECOND_NS, is_from_ago=True)
    assert fetch(ring, wanted, now)[0] == list(range(3_000, 5_000))
    wanted = replace(wanted, until_ns=SECOND_NS, is_until_ago=True)
    assert fetch(ring, wanted, now)[0] == list(range(3_000, 4_000))


def test_what_comes_while_somebody_fetches_is_not_his() -> None:
    ring = Ring(PLENTY, None, nanoseconds=True)
    many = batch(range(2 * PART_BYTES // 200))
    ring.feed(many, at(0))
    ring.feed(many, at(0))
    first = ring.excerpt(Wanted(), at(0))
    assert first.reached == many.count < first.end
    ring.feed(many, at(0))
    rest = ring.excerpt(Wanted(start=first.reached, end=first.end), at(0))
    assert (rest.count, rest.reached) == (many.count, 2 * many.count)


def test_who_is_too_slow_learns_what_he_has_missed() -> None:
    one = batch(range(10))
    ring = Ring(2 * (len(one.records) + BATCH_COST), None, nanoseconds=True)
    for _ in range(2):
        ring.feed(one, at(0))
    there = ring.excerpt(Wanted(is_probe=True), at(0))
    assert (there.first, there.end, there.count) == (0, 20, 0)
    ring.feed(one, at(0))
    part = ring.excerpt(Wanted(start=0, end=there.end), at(0))
    assert (part.first, part.count, part.reached) == (10, 10, 20)


def test_one_answer_holds_packets_of_one_link_type() -> None:
    ring = Ring(PLENTY, None, nanoseconds=True)
    ring.feed(batch(range(3)), at(0))
    ring.feed(batch(range(3, 6), linktype=ETHERNET), at(0))
    excerpt = ring.excerpt(Wanted(), at(0))
    assert (excerpt.linktype, excerpt.count, excerpt.reached) == (RAW, 3, 6)
    assert excerpt.others == 3
    excerpt = ring.excerpt(Wanted(linktype=ETHERNET), at(0))
    assert (excerpt.linktype, excerpt.count, excerpt.others) == (ETHERNET, 3, 3)


def test_a_filter_takes_what_it_says() -> None:
    ring = Ring(PLENTY, None, nanoseconds=True)
    ring.feed(batch(range(20)), at(0))
    program = compile_filter("udp[12:4] = 7", RAW)
    assert fetch(ring, Wanted(filter=program), at(0))[0] == [7]


@bounded
@given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 300))
def test_from_any_packet_on_at_least_all_of_its_batch_is_found(
    counts: list[int], start: int
) -> None:
    ring = Ring(PLENTY, None, nanoseconds=True)
    numbers, begins = 0, []
    for count in counts:
        begins += [numbers] * count
        ring.feed(batch(range(numbers, numbers + count)), at(0))
        numbers += count
    expected = list(range(begins[start], numbers)) if start < numbers else []
    assert fetch(ring, Wanted(start=start), at(0))[0] == expected
