"""Invariant: any line is a request or a FormatError of one line; a request is said
again in one line, and means the same; any line is a reply or a FormatError.

Input: the line.
"""

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.control import (
    ORDERS,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)


def check(octets: bytes) -> None:
    try:
        request = decode_request(octets)
    except FormatError as error:
        check_line(str(error))
    else:
        assert request.do in ORDERS
        line = encode_request(request)
        assert line.count(b"\n") == 1
        assert decode_request(line) == request
    try:
        reply = decode_reply(octets)
    except FormatError:
        return
    assert encode_reply(reply).count(b"\n") == 1


def check_line(text: str) -> None:
    assert len(text.splitlines()) == 1
