"""Whose packet this is: the ends of a TCP segment in an IPv4 or IPv6 packet.

Specification: RFC 791, RFC 8200, RFC 9293.
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeAlias

from pcap_zmq.packet import Octets

Address: TypeAlias = IPv4Address | IPv6Address

TCP = 6

_PORTS = struct.Struct("!HH")
_V4_HEADER_MIN = 20
_V6_HEADER = 40
_OFFSET = 0x1FFF
"""Of a fragment: only the first has the ports."""


class End(NamedTuple):
    """One end of a TCP connection."""

    address: Address
    port: int


class Ends(NamedTuple):
    """Both, of one segment."""

    source: End
    destination: End


def tcp_ends(packet: Octets) -> Ends | None:
    """None for what is no TCP, is cut before its ports, or comes after IPv6 extension
    headers. Never raises."""
    view = memoryview(packet)
    if not view:
        return None
    match view[0] >> 4:
        case 4 if len(view) >= _V4_HEADER_MIN:
            is_first = not int.from_bytes(view[6:8], "big") & _OFFSET
            header, protocol = (view[0] & 0x0F) * 4, view[9]
            first, second, end = 12, 16, 20
        case 6 if len(view) >= _V6_HEADER:
            is_first, header, protocol = True, _V6_HEADER, view[6]
            first, second, end = 8, 24, 40
        case _:
            return None
    is_cut = header < _V4_HEADER_MIN or len(view) < header + _PORTS.size
    if protocol != TCP or not is_first or is_cut:
        return None
    source, destination = _PORTS.unpack_from(view, header)
    return Ends(
        End(ip_address(bytes(view[first:second])), source),
        End(ip_address(bytes(view[second:end])), destination),
    )
