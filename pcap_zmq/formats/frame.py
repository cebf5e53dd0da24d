"""Where the IP packet lies in a packet of any link type that a sender writes.

Specification: https://www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html, IEEE 802.3.
"""

import struct

from pcap_zmq.formats import linktype
from pcap_zmq.packet import Octets

ETHERTYPES_IP = (0x0800, 0x86DD)
ETHERTYPES_VLAN = (0x8100, 0x88A8, 0x9100)

NFULA_PAYLOAD = 9
"""The TLV that holds the packet: linux/netfilter/nfnetlink_log.h."""

_NFLOG_HEADER = 4
_TLV = struct.Struct("<HH")
_TLV_TYPE = 0x3FFF
_ADDRESSES = 12
_TAG = 4


def ip_packet(octets: Octets, number: int) -> memoryview | None:
    """None where there is none, or the LINKTYPE `number` is not one of those. Never
    raises."""
    view = memoryview(octets)
    match number:
        case linktype.RAW:
            return view
        case linktype.NFLOG:
            return _of_nflog(view)
        case linktype.ETHERNET:
            return _of_ethernet(view)
        case _:
            return None


def _of_nflog(view: memoryview) -> memoryview | None:
    at = _NFLOG_HEADER
    while len(view) - at >= _TLV.size:
        length, kind = _TLV.unpack_from(view, at)
        if length < _TLV.size:
            return None
        if kind & _TLV_TYPE == NFULA_PAYLOAD:
            return view[at + _TLV.size : at + length]
        at += (length + 3) & ~3
    return None


def _of_ethernet(view: memoryview) -> memoryview | None:
    at = _ADDRESSES
    while (kind := int.from_bytes(view[at : at + 2], "big")) in ETHERTYPES_VLAN:
        at += _TAG
    return view[at + 2 :] if kind in ETHERTYPES_IP else None
