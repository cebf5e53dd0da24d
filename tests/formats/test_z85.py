"""Keys as text: what is no key, and that ZeroMQ reads the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85 as reference

from pcap_zmq.errors import FormatError
from pcap_zmq.formats import z85

octets_of_a_key = st.binary(min_size=z85.KEY_OCTETS, max_size=z85.KEY_OCTETS)


@given(st.text())
def test_any_text_is_a_key_or_a_format_error(text: str) -> None:
    try:
        assert len(z85.decode_key(text)) == z85.KEY_OCTETS
    except FormatError:
        return


@pytest.mark.parametrize(
    "text",
    ["", "a" * 39, "a" * 41, "a" * 39 + '"', "a" * 39 + " ", "a" * 39 + "é", "#" * 40],
    ids=["nothing", "too short", "too long", "a quote", "a space", "é", "above 2**32"],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        z85.decode_key(text)


@given(octets_of_a_key)
def test_it_is_what_zeromq_makes_of_it(octets: bytes) -> None:
    assert z85.encode(octets).encode() == reference.encode(octets)


@given(octets_of_a_key)
def test_a_key_comes_back_as_it_was(octets: bytes) -> None:
    assert z85.decode_key(z85.encode(octets)) == octets


def test_the_example_of_the_specification() -> None:
    assert z85.encode(bytes.fromhex("864fd26fb559f75b")) == "HelloWorld"


def test_a_length_that_fits_no_group_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="no multiple"):
        z85.encode(b"abc")
