"""Captures in, one stream of IP packets out, as if all had been taken at one time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.captures import packets_of
from pcap_ffi import RECORD_HEADER
from pcap_zmq.formats import linktype
from pcap_zmq.packet import Packet
from pcap_zmq.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BEGIN_NS = 1_700_000_000 * NS_PER_S

# Where the Ethernet type is in the header of a link; the packet follows it.
_TYPE_AT = {linktype.ETHERNET: 12, linktype.LINUX_SLL: 14}
_IP_TYPES = (0x0800, 0x86DD)
_VLANS = (0x8100, 0x88A8)


def merged(captures: Sequence[Path], seconds: int) -> list[Packet]:
    """All packets of IP, each capture's in their order, at a steady rate: of a capture
    with twice as many octets, twice as many come in any time."""
    packets = [
        packet for path in captures for packet in _stretched([*_packets(path)], seconds)
    ]
    return sorted(packets, key=lambda packet: packet.ts_ns)


def _stretched(packets: list[Packet], seconds: int) -> Iterator[Packet]:
    total = sum(len(packet.data) + RECORD_HEADER for packet in packets)
    passed = 0
    for packet in packets:
        after = passed * seconds * NS_PER_S // total
        yield Packet(BEGIN_NS + after, packet.origlen, packet.data)
        passed += len(packet.data) + RECORD_HEADER


def _packets(path: Path) -> Iterator[Packet]:
    for link, frame in packets_of(path):
        packet = _ip(frame, link)
        if packet is not None:
            yield packet


def _ip(frame: Packet, link: int) -> Packet | None:
    at = 0
    if link != linktype.RAW:
        where = _TYPE_AT.get(link)
        if where is None:
            return None
        kind = int.from_bytes(frame.data[where : where + 2], "big")
        at = where + 2
        while kind in _VLANS:
            kind = int.from_bytes(frame.data[at + 2 : at + 4], "big")
            at += 4
        if kind not in _IP_TYPES:
            return None
    return Packet(frame.ts_ns, frame.origlen - at, frame.data[at:])
