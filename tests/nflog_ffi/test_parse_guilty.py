"""Any octets leave the parser with whole records, true counts and untouched memory."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nflog_ffi.datagrams import done, ipv4, ipv6, logged, several
from tests.nflog_ffi.parsing import Parsed, Parser

GROUPS = (1, 2)

ONE_OF_EACH = several()

packets = st.builds(
    lambda make, octets: make(octets),
    st.sampled_from([ipv4, ipv6, bytes]),
    st.integers(40, 400),
)


def parse_any(parser: Parser, octets: bytes) -> Parsed:
    """What holds whatever the octets are; about memory, `parse` itself looks."""
    before = parser.counts()
    parsed = parser.parse(octets)
    after = parser.counts()
    assert parsed.taken == len(octets)
    assert all(after.get(name, 0) >= count for name, count in before.items())
    assert_conserved(parser, len(parsed.packets))
    return parsed


def assert_conserved(parser: Parser, records: int) -> None:
    """What was received is in a record or was no IP, and each record has a time."""
    counts = parser.counts()
    stamped = counts.get("stamped_by_kernel", 0) + counts.get("stamped_here", 0)
    assert stamped == records
    assert counts.get("received", 0) == stamped + counts.get("not_ip", 0)


def test_the_whole_of_it_is_well_formed() -> None:
    parser = Parser(*GROUPS)
    assert len(parse_any(parser, ONE_OF_EACH).packets) == 3
    assert parser.counts() == {
        "received": 4,
        "not_ip": 1,
        "missed": 2,
        "gaps": 1,
        "stamped_by_kernel": 1,
        "stamped_here": 2,
    }


@pytest.mark.parametrize("length", range(len(ONE_OF_EACH)))
def test_a_truncated_datagram_gives_the_packets_that_are_whole(length: int) -> None:
    parser = Parser(*GROUPS)
    whole = Parser(*GROUPS).parse(ONE_OF_EACH).packets
    given = parse_any(parser, ONE_OF_EACH[:length]).packets
    assert given == whole[: len(given)]
    # The rest is one message that no format explains, or padding, or nothing.
    assert parser.counts().get("malformed", 0) <= 1


@pytest.mark.parametrize("at", range(len(ONE_OF_EACH)))
def test_one_corrupted_octet_harms_nothing_but_its_packets(at: int) -> None:
    for flip in (*(1 << bit for bit in range(8)), 0x7F, 0xFF):
        corrupted = bytearray(ONE_OF_EACH)
        corrupted[at] ^= flip
        parser = Parser(*GROUPS)
        parse_any(parser, bytes(corrupted))


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_any_octets_are_parsed_to_their_end(octets: bytes) -> None:
    parse_any(Parser(*GROUPS), octets)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(ONE_OF_EACH)), min_size=2, max_size=8))
def test_any_pieces_of_datagrams_are_parsed_to_their_end(cuts: list[int]) -> None:
    # At netlink's alignment the pieces look like messages more often.
    pieces = [
        ONE_OF_EACH[start & ~3 : end & ~3] for start, end in itertools.pairwise(cuts)
    ]
    parse_any(Parser(*GROUPS), b"".join(pieces))


def test_counts_only_grow_from_datagram_to_datagram() -> None:
    parser = Parser(*GROUPS)
    chance = random.Random(20)  # noqa: S311  # octets to try, not secrets
    total = 0
    for _ in range(500):
        corrupted = bytearray(ONE_OF_EACH)
        for _ in range(3):
            corrupted[chance.randrange(len(corrupted))] = chance.randrange(256)
        before = parser.counts()
        total += len(parser.parse(bytes(corrupted)).packets)
        after = parser.counts()
        assert all(after[name] >= count for name, count in before.items())
        assert_conserved(parser, total)


@settings(max_examples=200, deadline=None)
@given(st.lists(packets, max_size=20), st.data())
def test_full_buffers_lose_and_repeat_no_packet(
    sent: list[bytes], data: st.DataObject
) -> None:
    datagram = b"".join(
        logged(packet, seq=2 * n, group=1) for n, packet in enumerate(sent)
    )
    datagram += done()
    at_once = Parser(*GROUPS)
    expected = at_once.parse(datagram).packets

    parser = Parser(*GROUPS)
    longest = 16 + max(map(len, sent), default=0)
    given, rest = list[object](), datagram
    for _ in range(len(sent) + 1):
        capacity = data.draw(st.integers(longest, 3 * longest), label="capacity")
        parsed = parser.parse(rest, capacity=capacity)
        given += parsed.packets
        rest = rest[parsed.taken :]
        if not rest:
            break
        assert parsed.packets, "a buffer for the longest packet took none"
    assert (given, rest) == (expected, b"")
    assert parser.counts() == at_once.counts()
