"""Builds netlink datagrams as the kernel makes them for NFLOG.

Specification: linux/netlink.h, linux/netfilter/nfnetlink.h and nfnetlink_log.h; a test
compares the numbers here with those headers.
"""

import enum
import struct
from collections.abc import Sequence


class Message(enum.IntEnum):
    """Message types that are no packets."""

    NLMSG_NOOP = 1
    NLMSG_ERROR = 2
    NLMSG_DONE = 3
    NLMSG_OVERRUN = 4
    NLMSG_MIN_TYPE = 16


class Nfnetlink(enum.IntEnum):
    """Of which the type of a packet message is made."""

    NFNL_SUBSYS_ULOG = 4
    NFULNL_MSG_PACKET = 0
    NFULNL_MSG_CONFIG = 1


class Attribute(enum.IntEnum):
    """What a packet message may hold."""

    NFULA_PACKET_HDR = 1
    NFULA_MARK = 2
    NFULA_TIMESTAMP = 3
    NFULA_IFINDEX_INDEV = 4
    NFULA_IFINDEX_OUTDEV = 5
    NFULA_HWADDR = 8
    NFULA_PAYLOAD = 9
    NFULA_PREFIX = 10
    NFULA_UID = 11
    NFULA_SEQ = 12
    NFULA_SEQ_GLOBAL = 13
    NFULA_GID = 14
    NFULA_HWTYPE = 15
    NFULA_HWHEADER = 16
    NFULA_HWLEN = 17
    NFULA_CT = 18
    NFULA_VLAN = 20
    NFULA_L2HDR = 21


class VlanAttribute(enum.IntEnum):
    """What is nested in NFULA_VLAN."""

    NFULA_VLAN_PROTO = 1
    NFULA_VLAN_TCI = 2


NLA_F_NESTED = 1 << 15

PACKET_MESSAGE = Nfnetlink.NFNL_SUBSYS_ULOG << 8 | Nfnetlink.NFULNL_MSG_PACKET
CONFIG_MESSAGE = Nfnetlink.NFNL_SUBSYS_ULOG << 8 | Nfnetlink.NFULNL_MSG_CONFIG

# Length, type, flags, sequence number and port id, in the machine's own order.
_MESSAGE_HEADER = struct.Struct("=IHHII")
# Family, version, and the group in network order: struct nfgenmsg.
_GROUP_HEADER = struct.Struct("!BBH")
_ATTRIBUTE_HEADER = struct.Struct("=HH")

IPV4_HEADER = 20
IPV6_HEADER = 40

PAYLOAD_MAX = 0xFFFF - _ATTRIBUTE_HEADER.size
"""The most octets that one attribute holds."""

Attributes = Sequence[tuple[int, bytes]]


def message(kind: int, body: bytes) -> bytes:
    """One netlink message, padded as they are inside a datagram."""
    length = _MESSAGE_HEADER.size + len(body)
    return _padded(_MESSAGE_HEADER.pack(length, kind, 0, 0, 0) + body)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _padded(_ATTRIBUTE_HEADER.pack(len(value) + 4, kind) + value)


def packet_message(group: int, attributes: Attributes, family: int = 0) -> bytes:
    """What tells of one packet, by attributes of any kind in any order."""
    return message(PACKET_MESSAGE, packet_body(group, attributes, family))


def packet_body(group: int, attributes: Attributes, family: int = 0) -> bytes:
    """The same without the header of netlink: a packet of LINKTYPE_NFLOG."""
    header = _GROUP_HEADER.pack(family, 0, group)
    return header + b"".join(attribute(kind, value) for kind, value in attributes)


def vlan(number: int, protocol: int = 0x8100) -> tuple[int, bytes]:
    """The attribute of a packet with a VLAN tag."""
    value = attribute(VlanAttribute.NFULA_VLAN_TCI, struct.pack("!H", number))
    value += attribute(VlanAttribute.NFULA_VLAN_PROTO, struct.pack("!H", protocol))
    return NLA_F_NESTED | Attribute.NFULA_VLAN, value


def ethernet(
    source: bytes = b"\2\0\0\0\0\1",
    destination: bytes = b"\2\0\0\0\0\2",
    ethertype: int = 0x0800,
) -> bytes:
    """A header."""
    return destination + source + struct.pack("!H", ethertype)


def hardware(header: bytes, hwtype: int = 1) -> Attributes:
    """What the kernel says of a packet that came in by a device with such headers."""
    return [
        (Attribute.NFULA_HWTYPE, struct.pack("!H", hwtype)),
        (Attribute.NFULA_HWLEN, struct.pack("!H", len(header))),
        (Attribute.NFULA_HWHEADER, header),
    ]


def logged(
    packet: bytes | None,
    *,
    seq: int | None = 0,
    group: int = 0,
    stamp: tuple[int, int] | None = None,
    extra: Attributes = (),
) -> bytes:
    """What the kernel sends for a packet; stamp is seconds and microseconds."""
    attributes: list[tuple[int, bytes]] = [
        (Attribute.NFULA_PACKET_HDR, struct.pack("!HBx", 0x0800, 3)),
        (Attribute.NFULA_PREFIX, b"\0"),
        (Attribute.NFULA_IFINDEX_OUTDEV, struct.pack("!I", 1)),
        *extra,
    ]
    if stamp is not None:
        attributes.append((Attribute.NFULA_TIMESTAMP, struct.pack("!QQ", *stamp)))
    if seq is not None:
        attributes.append((Attribute.NFULA_SEQ, struct.pack("!I", seq)))
    if packet is not None:
        attributes.append((Attribute.NFULA_PAYLOAD, packet))
    return packet_message(group, attributes)


def done() -> bytes:
    """What ends a datagram that the kernel gathered several messages in."""
    return message(Message.NLMSG_DONE, _GROUP_HEADER.pack(0, 0, 0))


def ipv4(octets: int, *, totlen: int | None = None) -> bytes:
    """A packet of so many octets, whose header may say another number."""
    totlen = octets if totlen is None else totlen
    header = struct.pack("!BBH16x", 0x45, 0, totlen)
    return (header + _filling(octets))[:octets]


def ipv6(octets: int, *, payload_length: int | None = None) -> bytes:
    """A packet of so many octets, whose header may say another payload length."""
    if payload_length is None:
        payload_length = octets - IPV6_HEADER
    header = struct.pack("!IH34x", 6 << 28, payload_length)
    return (header + _filling(octets))[:octets]


def several() -> bytes:
    """A datagram with something of everything, for those that tear it."""
    return b"".join(
        [
            logged(ipv4(28), seq=0, group=1, stamp=(1_700_000_000, 123_456)),
            logged(ipv6(60), seq=0, group=2),
            logged(ipv4(33, totlen=1500), seq=3, group=1),
            logged(b"\xff\xff", seq=4, group=1),
            done(),
        ]
    )


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)


def _filling(octets: int) -> bytes:
    """Octets that tell when one of them is not where it was."""
    return bytes(range(256)) * (octets // 256 + 1)
