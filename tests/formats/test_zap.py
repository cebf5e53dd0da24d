"""Requests of ZeroMQ who may connect: whatever they are, an answer is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import FormatError
from pcap_zmq.formats import z85, zap
from pcap_zmq.formats.zap import Request, Status

KEY = bytes(range(32))


def frames(*credentials: bytes, mechanism: bytes = b"CURVE") -> list[bytes]:
    """A request."""
    return [b"1.0", b"7", b"pcap-zmq", b"192.0.2.1", b"", mechanism, *credentials]


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_frames_are_a_request_or_a_format_error(octets: list[bytes]) -> None:
    try:
        zap.decode_request(octets)
    except FormatError:
        assert isinstance(zap.request_id_in(octets), bytes)


@pytest.mark.parametrize(
    "octets",
    [
        [],
        frames(KEY)[:5],
        [b"2.0", *frames(KEY)[1:]],
        frames(),
        frames(KEY[:31]),
        frames(KEY, KEY),
    ],
    ids=["nothing", "cut short", "2.0", "no key", "a short key", "two keys"],
)
def test_what_is_no_request_is_refused(octets: list[bytes]) -> None:
    with pytest.raises(FormatError):
        zap.decode_request(octets)


def test_a_curve_request_tells_the_key() -> None:
    key = z85.encode(KEY)
    expected = Request(id=b"7", domain="pcap-zmq", address="192.0.2.1", key=key)
    assert zap.decode_request(frames(KEY)) == expected


@pytest.mark.parametrize("mechanism", [b"NULL", b"PLAIN", b"GSSAPI"])
def test_another_mechanism_proves_no_key(mechanism: bytes) -> None:
    request = zap.decode_request(frames(KEY, b"secret", mechanism=mechanism))
    assert request.key == ""


def test_a_reply_has_six_frames_and_the_number_of_its_request() -> None:
    reply = zap.encode_reply(b"7", Status.WELCOME, "gateway")
    assert reply == [b"1.0", b"7", b"200", b"", b"gateway", b""]
    refusal = zap.encode_reply(b"8", Status.REFUSED, text="no")
    assert refusal == [b"1.0", b"8", b"400", b"no", b"", b""]
