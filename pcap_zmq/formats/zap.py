"""Requests of ZeroMQ who may connect, and the answers to them.

Specification: https://rfc.zeromq.org/spec/27/ (ZAP).
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from pcap_zmq.errors import FormatError
from pcap_zmq.formats import z85

ENDPOINT = "inproc://zeromq.zap.01"
"""Where ZeroMQ asks, within the process."""

VERSION = b"1.0"
_CURVE = b"CURVE"
_FIXED_FRAMES = 6


class Status(enum.Enum):
    """What ZeroMQ does: lets in, refuses and says so, or breaks off for an error of
    ours."""

    WELCOME = b"200"
    REFUSED = b"400"
    FAILED = b"500"


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody wants in. key: the one that CURVE has proven, Z85; "" with another
    mechanism."""

    id: bytes
    domain: str
    address: str
    key: str


def decode_request(frames: Sequence[bytes]) -> Request:
    """Raises FormatError."""
    if len(frames) < _FIXED_FRAMES:
        raise FormatError(f"a ZAP request of {len(frames)} frames")
    version, request_id, domain, address, _, mechanism, *credentials = frames
    if version != VERSION:
        raise FormatError(f"a ZAP request of version {version!r}")
    key = ""
    if mechanism == _CURVE:
        if [len(octets) for octets in credentials] != [z85.KEY_OCTETS]:
            raise FormatError("a ZAP request for CURVE without a key")
        key = z85.encode(credentials[0])
    return Request(
        id=request_id,
        domain=domain.decode(errors="replace"),
        address=address.decode(errors="replace"),
        key=key,
    )


def encode_reply(
    request_id: bytes, status: Status, user_id: str = "", text: str = ""
) -> list[bytes]:
    """Its frames. user_id: what each message of this connection will bear."""
    metadata = b""
    return [
        VERSION,
        request_id,
        status.value,
        text.encode(),
        user_id.encode(),
        metadata,
    ]


def request_id_in(frames: Sequence[bytes]) -> bytes:
    """Of a request that is none otherwise, to refuse it by."""
    return frames[1] if len(frames) > 1 else b""
