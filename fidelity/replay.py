"""IP packets of captures: those that a kernel takes from a cable, and onto one.

usage: python -m fidelity.replay INTERFACE SAVEFILE

Sends the packets of a savefile of LINKTYPE_RAW in Ethernet frames to whoever is at the
other end of the cable: to everybody's address, which is everybody's to take.

Specification: net/ipv4/ip_input.c, ip_rcv_core(), and net/ipv6/ip6_input.c,
ip6_rcv_core(), for what never comes to a netfilter hook.
"""

from __future__ import annotations

import socket
import sys
from ipaddress import IPv6Address
from pathlib import Path

from bench.captures import packets_of
from pcap_ffi import Mender
from pcap_zmq.formats import linktype
from pcap_zmq.formats.savefile import encode_file_header, encode_packet, iter_packets
from pcap_zmq.packet import Packet

ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_VLANS = (0x8100, 0x88A8, 0x9100)
_TYPE_ENDS = {linktype.ETHERNET: 14, linktype.LINUX_SLL: 16}

IPV4_HEADER, IPV6_HEADER = 20, 40
LENGTH_MAX = 65_531
"""Of what NFLOG's attribute holds."""


def write_ip_packets(capture: Path, savefile: Path) -> int:
    """What of a capture a kernel takes from a cable, as a savefile of LINKTYPE_RAW; how
    many packets that is. An IPv4 header that the capturing host had left to its network
    card to finish is finished."""
    finish = Mender(fix=True, mtu=None)
    count = 0
    with savefile.open("wb") as file:
        file.write(encode_file_header(linktype.RAW))
        for packet in packets_of(capture):
            octets = _ip_packet(*packet)
            if octets is None:
                continue
            if octets[0] >> 4 == 4 and octets[10:12] == b"\0\0":
                record = encode_packet(Packet(0, len(octets), octets))
                (fixed,) = iter_packets(finish.mend(record, linktype.RAW).records)
                octets = fixed.data
            if is_taken(octets):
                ts_ns = packet[1].ts_ns
                file.write(encode_packet(Packet(ts_ns, len(octets), octets)))
                count += 1
    return count


def is_taken(packet: bytes) -> bool:
    """Whether the kernel shows it to a hook."""
    if packet[0] >> 4 == 4:
        header = 4 * (packet[0] & 0xF)
        if header < IPV4_HEADER or len(packet) < header:
            return False
        return _sum(packet[:header]) == 0xFFFF
    source, to = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    is_ours_only = source.is_loopback or to.is_loopback
    # Scopes 0 and 1 of multicast stay within a host: RFC 4291, section 2.7.
    is_within = to.is_multicast and to.packed[1] & 0xF in (0, 1)
    return not (source.is_multicast or is_ours_only or is_within)


def send(interface: str, savefile: Path) -> None:
    """All of them, at once."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        for _, packet in packets_of(savefile):
            kind = ETHERTYPES[packet.data[0] >> 4].to_bytes(2)
            wire.send(b"\xff" * 6 + b"\2\0\0\0\0\1" + kind + packet.data)


def _ip_packet(link: int, packet: Packet) -> bytes | None:
    """Without the header of its link and what follows it in its frame; None where there
    is no IP packet, or not all of one."""
    octets = packet.data
    if link in _TYPE_ENDS:
        at = _TYPE_ENDS[link]
        kind = int.from_bytes(octets[at - 2 : at])
        while kind in _VLANS:
            at += 4
            kind = int.from_bytes(octets[at - 2 : at])
        if kind not in ETHERTYPES.values():
            return None
        octets = octets[at:]
    version = octets[0] >> 4 if octets else 0
    if version == 4 and len(octets) >= IPV4_HEADER:
        length = int.from_bytes(octets[2:4])
    elif version == 6 and len(octets) >= IPV6_HEADER:
        length = IPV6_HEADER + int.from_bytes(octets[4:6])
    else:
        return None
    is_whole = IPV4_HEADER <= length <= min(len(octets), LENGTH_MAX)
    return octets[:length] if is_whole else None


def _sum(octets: bytes) -> int:
    total = sum(int.from_bytes(octets[at : at + 2]) for at in range(0, len(octets), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


if __name__ == "__main__":
    send(sys.argv[1], Path(sys.argv[2]))
