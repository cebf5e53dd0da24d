"""Invariant: any details of a question for packets are refused with a WireError or get
an excerpt of whole records of what is kept, from where it was asked for or later, and
not beyond its end; any body is an excerpt that says the same when it is written again,
or a WireError.

Input: 1 octet: what follows is details, or a body.
"""

from pcap_ffi import count_records
from pcap_zmq.errors import WireError
from pcap_zmq.formats.excerpt import (
    decode_excerpt,
    decode_wanted,
    encode_excerpt,
    encode_wanted,
)
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.stages.ring import Ring
from tests.fuzz.octets import Front
from tests.pcap_ffi.savefiles import RECORDS, packed

NOW = Instant(0, 10**18)
BATCHES = 3


def check(octets: bytes) -> None:
    front = Front(octets)
    if front.number() & 1:
        check_body(front.rest())
    else:
        check_details(front.rest())


def check_details(details: bytes) -> None:
    ring = Ring(1 << 20, None, nanoseconds=True)
    for _ in range(BATCHES):
        ring.feed(Batch(101, packed(RECORDS), len(RECORDS)), NOW)
    try:
        wanted = decode_wanted(details)
        excerpt = ring.excerpt(wanted, NOW)
    except WireError:
        return
    assert decode_wanted(encode_wanted(wanted)) == wanted
    assert count_records(excerpt.records) == excerpt.count <= ring.kept_packets
    assert excerpt.end == min(wanted.end, ring.kept_packets)
    if not wanted.is_probe and wanted.start < excerpt.end:
        assert excerpt.reached > wanted.start


def check_body(body: bytes) -> None:
    try:
        excerpt = decode_excerpt(body)
    except WireError:
        return
    assert decode_excerpt(encode_excerpt(excerpt)) == excerpt
