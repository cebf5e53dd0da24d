"""Packets for tests of flows: built by hand, layer by layer, to be damaged at will."""

import struct
from ipaddress import ip_address

TCP, UDP, SCTP, GRE, ICMP, ICMP6 = 6, 17, 132, 47, 1, 58
IP_IN_IP, IP6_IN_IP, ESP, AH = 4, 41, 50, 51
HOP_BY_HOP, ROUTING, FRAGMENT, NO_NEXT, DESTINATION = 0, 43, 44, 59, 60

NULL, ETHERNET, RAW, LOOP, SLL, IPV4, IPV6, NFLOG, SLL2 = (
    0, 1, 101, 108, 113, 228, 229, 239, 276,
)  # fmt: skip

A4, B4, C4, D4 = "10.0.0.1", "192.0.2.9", "10.0.0.2", "198.51.100.3"
A6, B6, C6, D6 = "2001:db8::1", "2001:db8:ffff::9", "fe80::2", "2001:db8::3"


def ports(source: int, target: int, payload: bytes = b"x" * 20) -> bytes:
    """The beginning that TCP, UDP and SCTP have in common; eight octets at least."""
    return struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload


def ip4(
    source: str,
    target: str,
    protocol: int,
    payload: bytes,
    *,
    identification: int = 7,
    offset: int = 0,
    more: bool = False,
    options: bytes = b"",
    total: int | None = None,
) -> bytes:
    """offset: in octets."""
    words = 5 + len(options) // 4
    length = 4 * words + len(payload) if total is None else total
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x40 | words,
        0,
        length,
        identification,
        more << 13 | offset // 8,
        64,
        protocol,
        0,
        ip_address(source).packed,
        ip_address(target).packed,
    )
    return header + options + payload


def ip6(source: str, target: str, next_header: int, payload: bytes) -> bytes:
    return (
        struct.pack(">IHBB", 6 << 28, len(payload), next_header, 64)
        + ip_address(source).packed
        + ip_address(target).packed
        + payload
    )


def extension(next_header: int, words: int = 0) -> bytes:
    """A hop-by-hop, routing or destination header: 8 octets, or so many more."""
    return bytes([next_header, words]) + bytes(6 + 8 * words)


def fragment6(
    next_header: int, *, identification: int, offset: int = 0, more: bool = False
) -> bytes:
    """offset: in octets."""
    return struct.pack(">BBHI", next_header, 0, offset | more, identification)


def ip(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    """Of the addresses' version."""
    make = ip6 if ":" in source else ip4
    return make(source, target, protocol, payload)


def both(
    source: str, target: str, protocol: int, source_port: int, target_port: int
) -> tuple[bytes, bytes]:
    """A packet each way."""
    return (
        ip(source, target, protocol, ports(source_port, target_port)),
        ip(target, source, protocol, ports(target_port, source_port, b"other")),
    )


def ethernet(ethertype: int, payload: bytes, *, turned: bool = False) -> bytes:
    ends = [b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"]
    if turned:
        ends.reverse()
    return b"".join(ends) + ethertype.to_bytes(2, "big") + payload


def ethertype_of(packet: bytes) -> int:
    return 0x0800 if packet[0] >> 4 == 4 else 0x86DD


def framed(packet: bytes) -> bytes:
    """A packet of IP in a frame of Ethernet."""
    return ethernet(ethertype_of(packet), packet)


def tag(ethertype: int, packet: bytes, number: int = 5) -> bytes:
    """What follows the type of a VLAN."""
    return struct.pack(">HH", number, ethertype) + packet


def nflog(packet: bytes, *, family: int = 2, prefix: bytes = b"mirror\0") -> bytes:
    def tlv(kind: int, value: bytes) -> bytes:
        return struct.pack("<HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    return struct.pack(">BBH", family, 0, 5) + tlv(10, prefix) + tlv(9, packet)


def record(packet: bytes, number: int = 0) -> bytes:
    length = len(packet)
    return struct.pack("<IIII", 1_700_000_000, number, length, length) + packet
