"""Invariant: whatever a payload consists of and whatever length it declares, it gives
exactly so many octets or a FormatError, in memory bounded by the declared length; and
one that is accepted ends where its data do: nothing may follow.

Input: 1 octet, the codec; 4 octets, the declared length; the payload. Or, with the
highest bit of the codec set, 1 octet, how many changes; so many changes, each 2 octets
for the place and 1 for what stands there then; and data, whose payload is changed so.
"""

import tracemalloc

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.codec import Codec, compressor, decompress
from pcap_zmq.formats.wire import RAW_LENGTH_MAX
from pcap_zmq.packet import Octets
from tests.fuzz.octets import Front

DAMAGED = 0x80
CHANGES_MAX = 8

WORKSPACE = 1 << 20
"""What a decompressor may have for itself."""


def check(octets: bytes) -> None:
    front = Front(octets)
    codec = front.number()
    if codec & DAMAGED:
        check_damaged(Codec(codec % len(Codec)), front)
    else:
        # Whoever calls it has refused what is above.
        raw_length = front.number(4) % (RAW_LENGTH_MAX + 1)
        check_payload(codec, front.rest(), raw_length)


def check_payload(codec: int, payload: bytes, raw_length: int) -> None:
    # As pyzmq gives them: views of a buffer that is not ours.
    raw = within_bounds(codec, memoryview(payload), raw_length)
    if raw is None:
        return
    assert len(raw) == raw_length
    assert within_bounds(codec, memoryview(payload + b"\0"), raw_length) is None
    made = compressor(Codec(codec))(raw)
    assert decompress(codec, made, raw_length) == raw


def check_damaged(codec: Codec, front: Front) -> None:
    """Nearer to what a library takes than a fuzzer gets that cannot look into it."""
    changes = [
        (front.number(2), front.number()) for _ in range(front.number() % CHANGES_MAX)
    ]
    data = front.rest()
    payload = bytearray(compressor(codec)(data))
    for place, octet in changes:
        if payload:
            payload[place % len(payload)] = octet
    check_payload(codec, bytes(payload), len(data))


def within_bounds(codec: int, payload: Octets, raw_length: int) -> Octets | None:
    """The data; None where they were refused."""
    if not tracemalloc.is_tracing():
        # Once: what it has traced it does not give back when it stops (CPython 3.11).
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    try:
        return decompress(codec, payload, raw_length)
    except FormatError:
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1] - before
        assert peak <= 2 * raw_length + WORKSPACE, peak
