"""Seeds of packets that offload has left unfinished."""

import struct
from dataclasses import replace

from tests.fuzz.crafted.common import Seeds, little16
from tests.pcap_ffi.savefiles import Record, packed
from tests.pcap_ffi.wire import TCP, UDP, Segment

# What to do is in the last two bits: 1 to fix, 2 to split. Above them, the link type.
FIX, SPLIT, BOTH = 1, 2, 3
RAW, ETHERNET, NFLOG = 0 << 2, 1 << 2, 2 << 2


def mend() -> Seeds:
    for protocol, name in ((TCP, "tcp"), (UDP, "udp")):
        for version in (4, 6):
            small = Segment(version, protocol, b"abcde").encoded(finished=False)
            large = Segment(version, protocol, bytes(1_300)).encoded(finished=False)
            yield f"{name}{version}", seed(576, RAW | BOTH, small, large)
    options = b"\1\1\x08\x0a" + bytes(8)
    segment = Segment(4, TCP, bytes(1_300), options=options)
    octets = segment.encoded(finished=False)
    yield "cut", seed(576, RAW | BOTH, octets, missing=9)
    link = bytes(12) + b"\x81\0\0\5\x08\0"
    tagged = replace(segment, link=link).encoded(finished=False)
    yield "vlan", seed(600, ETHERNET | BOTH, tagged)
    attribute = struct.pack("<HH", 4 + len(octets), 9) + octets
    yield "nflog", seed(600, NFLOG | BOTH, b"\2\0\0\5" + attribute)
    routing = (43, b"\x02\x04\x01" + bytes(20))
    routed = Segment(6, TCP, b"abcde", extensions=((0, bytes(7)), routing))
    yield "extensions", seed(1500, RAW | FIX, routed.encoded(finished=True))
    inner = Segment(6, UDP, b"abcde").encoded(finished=False)
    tunnel = Segment(4, 41, b"").ip_header(len(inner))
    yield "tunnel", seed(576, RAW | BOTH, tunnel + inner)
    absent = octets[:2] + b"\0\0" + octets[4:]
    yield "no-length", seed(576, RAW | BOTH, absent)
    yield "no-room", seed(65_535, RAW | FIX, absent, missing=70_000)
    whole = Segment(6, TCP, bytes(1_300)).encoded(finished=False)
    option = b"\6\0\xc2\4" + (100_000).to_bytes(4)
    jumbo = whole[:4] + b"\0\0\0" + whole[7:40] + option + whole[40:]
    yield "jumbo-split", seed(700, RAW | SPLIT, jumbo)
    yield "jumbo-fixed", seed(700, RAW | FIX, jumbo)


def seed(mtu: int, how: int, *packets: bytes, missing: int = 0) -> bytes:
    records = [Record(1, 2, len(octets) + missing, octets) for octets in packets]
    return little16(mtu, how) + packed(records)
