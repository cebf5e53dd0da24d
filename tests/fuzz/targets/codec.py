"""Invariant: whatever a payload consists of and whatever length it declares, it gives
exactly so many octets or a FormatError, in memory bounded by the declared length; and
one that is accepted ends where its data do: nothing may follow.

Input: 1 octet, the codec; 4 octets, the declared length; the payload.
"""

import tracemalloc

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.codec import Codec, compressor, decompress
from pcap_zmq.formats.wire import RAW_LENGTH_MAX
from pcap_zmq.packet import Octets
from tests.fuzz.octets import Front

WORKSPACE = 1 << 20
"""What a decompressor may have for itself."""


def check(octets: bytes) -> None:
    front = Front(octets)
    codec = front.number()
    # Whoever calls it has refused what is above.
    raw_length = front.number(4) % (RAW_LENGTH_MAX + 1)
    payload = front.rest()
    # As pyzmq gives them: views of a buffer that is not ours.
    raw = within_bounds(codec, memoryview(payload), raw_length)
    if raw is None:
        return
    assert len(raw) == raw_length
    assert within_bounds(codec, memoryview(payload + b"\0"), raw_length) is None
    made = compressor(Codec(codec))(raw)
    assert decompress(codec, made, raw_length) == raw


def within_bounds(codec: int, payload: Octets, raw_length: int) -> Octets | None:
    """The data; None where they were refused."""
    tracemalloc.start()
    try:
        return decompress(codec, payload, raw_length)
    except FormatError:
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 2 * raw_length + WORKSPACE, peak
