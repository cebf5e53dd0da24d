"""A line each way on a control socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.control import (
    ORDERS,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)

TEXTS = some.text()


@given(some.sampled_from(ORDERS), some.lists(TEXTS), some.booleans())
def test_a_request_comes_as_it_was_said(
    do: str, files: list[str], is_for_all: bool
) -> None:
    request = Request(do, tuple(files), is_for_all)
    line = encode_request(request)
    assert line.count(b"\n") == 1
    assert decode_request(line) == request


def test_a_reply_comes_as_it_was_said() -> None:
    for reply in (Reply(), Reply("no"), Reply("not all", {"files": [1]})):
        assert decode_reply(encode_reply(reply)) == reply


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"1",
        b"{}",
        b'{"do":[]}',
        b'{"do":"dance"}',
        b'{"do":"add","files":"a"}',
        b'{"do":"add","files":[1]}',
        b'{"do":"add","all":1}',
        b"[" * 100_000,
    ],
)
def test_nonsense_is_an_error(line: bytes) -> None:
    with pytest.raises(FormatError):
        decode_request(line)


@pytest.mark.parametrize("line", [b"", b"1", b"{}", b"\xff", b'["ok"]'])
def test_what_is_no_reply_is_an_error(line: bytes) -> None:
    with pytest.raises(FormatError):
        decode_reply(line)
