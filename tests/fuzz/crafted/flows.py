"""Seeds of packets whose flows are told: links, tunnels, fragments."""

import struct
from ipaddress import ip_address

from tests.flow_ffi import packets as p
from tests.flow_ffi import test_fragments as fragments
from tests.flow_ffi import test_tunnels as tunnels
from tests.fuzz.crafted.common import Seeds

INNER = 0x80
LINKS = {p.RAW: 0, p.ETHERNET: 1, p.NFLOG: 2, p.NULL: 3, p.SLL: 5, p.SLL2: 8}
"""The octet that stands for each."""


def flow() -> Seeds:
    four = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    six = p.both(p.A6, p.B6, p.UDP, 40_000, 443)
    yield "nothing", b""
    yield "raw", _input(p.RAW, 3, *four, *six)
    yield "ethernet", _input(p.ETHERNET, 3, *map(p.framed, (*four, *six)))
    tagged = p.tag(0x8100, p.tag(0x0800, four[0]))
    yield "vlans", _input(p.ETHERNET, 3, p.ethernet(0x88A8, tagged))
    labelled = b"\0\1\0\x40\0\2\1\x40" + six[0]
    yield "mpls", _input(p.ETHERNET, 3, p.ethernet(0x8847, labelled))
    session = bytes(6) + b"\xff\x03\0\x21" + four[0]
    yield "pppoe", _input(p.ETHERNET, 3, p.ethernet(0x8864, session))
    yield "nflog", _input(p.NFLOG, 3, p.nflog(four[0]), p.nflog(six[0])[:-9])
    yield "null", _input(p.NULL, 3, b"\2\0\0\0" + four[0])
    yield "sll", _input(p.SLL, 3, bytes(14) + b"\x08\0" + four[0])
    yield "sll2", _input(p.SLL2, 3, b"\x86\xdd" + bytes(18) + six[0])
    yield "fragments", _input(p.RAW, 7, *fragments.pieces4(), *fragments.pieces6())
    last_first = (*reversed(fragments.pieces4()), *reversed(fragments.pieces6()))
    yield "fragments-last-first", _input(p.RAW, 7, *last_first)
    error = p.ip4(p.D4, p.A4, p.ICMP, b"\x0b" + bytes(7) + fragments.pieces4()[1])
    yield "icmp-of-a-fragment", _input(p.RAW, 7, fragments.pieces4()[0], error)
    echo = b"\x80\0\0\0\0\x07\0\1"
    yield "icmp6", _input(p.RAW, 7, p.ip6(p.A6, p.B6, p.ICMP6, echo))
    extended = p.extension(p.AH, 1) + bytes([p.TCP, 4]) + bytes(22) + p.ports(1, 2)
    yield "extensions", _input(p.RAW, 3, p.ip6(p.A6, p.B6, p.HOP_BY_HOP, extended))
    for tunnel in tunnels.EVERY:
        name = f"tunnel-{tunnel.__name__}"
        yield name, _input(p.RAW, INNER | 3, tunnel(four[0]), tunnel(six[1]))
    authenticated = b"\0\1\4\x08" + bytes(21) + six[0]
    yield "tunnel-teredo", _input(p.RAW, INNER | 3, tunnels.udp(3544, authenticated))
    nested = tunnels.vxlan(tunnels.full_gre(tunnels.gtpu_extended(six[0])))
    yield "tunnels", _input(p.RAW, INNER | 3, nested)


def filters() -> Seeds:
    yield from _some("raw", "ethernet", "nflog", "sll", "fragments", "extensions")
    yield from _some("icmp-of-a-fragment", "tunnel-vxlan", "tunnel-full_gre", "tunnels")
    yield "packed", b"".join(_pack(p.A4, p.B4, 4) + _pack(p.A6, p.B6, 6) for _ in "ab")


def decapsulate() -> Seeds:
    for name, octets in flow():
        if name.startswith(("tunnel", "vlans", "mpls", "pppoe", "nflog", "fragments")):
            yield name, octets
    (packet, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    labelled = b"\0\1\1\x40" + bytes(4) + p.framed(packet)
    yield "pseudowire", _input(p.ETHERNET, 0x8F, p.ethernet(0x8847, labelled))
    tagged = p.tag(0x8847, b"\0\1\1\x40" + tunnels.plain_gre(tunnels.vxlan(packet)))
    yield "tag-that-stays", _input(p.ETHERNET, 0x81, p.ethernet(0x8100, tagged))
    deep = packet
    for _ in range(20):
        deep = tunnels.ip_in_ip(deep)
    yield "deep", _input(p.RAW, 3, deep)


def dedup() -> Seeds:
    yield from _some("nothing", "raw", "ethernet", "vlans", "mpls", "fragments")
    (packet, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    hop = packet[:8] + b"\x3f" + packet[9:]
    yield "copies", _input(p.RAW, 3, packet, hop, packet, b"", b"")
    arp = p.ethernet(0x0806, bytes(28))
    yield (
        "arp",
        _input(p.ETHERNET, 3, arp, p.ethernet(0x8100, p.tag(0x0806, bytes(28)))),
    )


def _some(*names: str) -> Seeds:
    """Of those of `flow`: the same octets say the same to the others."""
    for name, octets in flow():
        if name in names:
            yield name, octets


def _pack(one: str, other: str, version: int) -> bytes:
    """A flow as `FlowSet` takes it."""
    ends = (ip_address(end).packed.ljust(16, b"\0") for end in (one, other))
    return struct.pack(">BBHH", version, p.TCP, 1, 2) + b"".join(ends)


def _input(linktype: int, manner: int, *packets: bytes) -> bytes:
    """manner: see the target."""
    octets = bytearray([LINKS[linktype], manner])
    for packet in packets:
        if len(packet) < 0x80:
            octets.append(len(packet))
        else:
            packet += bytes(-len(packet) % 16)
            octets.append(0x80 | len(packet) // 16)
        octets += packet
    return bytes(octets)
