"""Questions for packets and their answers: the octets, and total over any octets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import WireError
from pcap_zmq.formats.excerpt import (
    EVER_NS,
    NEWEST,
    Excerpt,
    Refusal,
    Wanted,
    decode_excerpt,
    decode_wanted,
    encode_excerpt,
    encode_wanted,
)
from tests.support.properties import bounded

U63 = st.integers(0, EVER_NS)
U64 = st.integers(0, NEWEST)
WANTED = st.builds(
    Wanted, U63, U63, st.booleans(), st.booleans(), U64, U64, st.binary(max_size=64)
)
EXCERPTS = st.builds(
    Excerpt,
    U63,
    U63,
    U64,
    U64,
    U64,
    st.none() | st.integers(0, 0xFFFF),
    st.booleans(),
    st.binary(max_size=64),
    st.integers(0, 100),
    st.integers(0, 100),
    st.none() | st.sampled_from(Refusal),
)


def test_a_question_has_the_octets_that_the_specification_gives_it() -> None:
    wanted = Wanted(1, 2, is_until_ago=True, start=3, end=4, filter=b"\x06" + bytes(7))
    assert encode_wanted(wanted) == bytes.fromhex(
        "0002 0000 ffffffff 0000000000000001 0000000000000002"
        "0000000000000003 0000000000000004 0600000000000000"
    )


@bounded
@given(WANTED)
def test_a_question_comes_back_as_it_was(wanted: Wanted) -> None:
    assert decode_wanted(encode_wanted(wanted)) == wanted


@bounded
@given(EXCERPTS)
def test_an_excerpt_comes_back_as_it_was(excerpt: Excerpt) -> None:
    assert decode_excerpt(encode_excerpt(excerpt)) == excerpt


@pytest.mark.parametrize("length", range(40))
def test_a_question_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(WireError):
        decode_wanted(encode_wanted(Wanted())[:length])


@pytest.mark.parametrize("place", range(4))
def test_an_unknown_flag_of_a_question_is_refused(place: int) -> None:
    octets = bytearray(encode_wanted(Wanted()))
    octets[place] = 0x80
    with pytest.raises(WireError):
        decode_wanted(octets)


def test_a_time_before_the_epoch_is_refused() -> None:
    octets = bytearray(encode_wanted(Wanted()))
    octets[8] = 0xFF
    with pytest.raises(WireError, match="before there were any"):
        decode_wanted(octets)


@bounded
@given(st.binary(max_size=100))
def test_any_octets_are_an_excerpt_or_refused(octets: bytes) -> None:
    try:
        excerpt = decode_excerpt(octets)
    except WireError:
        return
    assert decode_excerpt(encode_excerpt(excerpt)) == excerpt


def test_times_ago_are_told_by_the_clock_of_who_is_asked() -> None:
    wanted = Wanted(30, 10, is_from_ago=True, is_until_ago=True).at(1_000)
    assert (wanted.from_ns, wanted.until_ns) == (970, 990)
    assert not wanted.is_from_ago
