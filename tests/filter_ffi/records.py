"""Packet records for tests of what filters, decapsulators and dedups make of them."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Octets = bytes | bytearray | memoryview

START_NS = 1_700_000_000 * 10**9
MS = 10**6


@dataclass(frozen=True)
class Seen:
    """A packet as a record has it."""

    packet: bytes
    origlen: int
    ts_ns: int


def record(
    packet: bytes, *, ts_ns: int = START_NS, beyond: int = 0, cut: int = 0
) -> bytes:
    """beyond: octets of the wire that were not captured behind it; cut: of these
    here, so many more."""
    seconds, nanoseconds = divmod(ts_ns, 10**9)
    caplen = len(packet) - cut
    origlen = len(packet) + beyond
    return struct.pack("<IIII", seconds, nanoseconds, caplen, origlen) + packet[:caplen]


def records(packets: Iterable[bytes]) -> tuple[bytes, int]:
    """A millisecond apart; and how many they are."""
    made = [
        record(packet, ts_ns=START_NS + number * MS)
        for number, packet in enumerate(packets)
    ]
    return b"".join(made), len(made)


def seen(octets: Octets) -> Iterator[Seen]:
    at = 0
    while at < len(octets):
        fields = struct.unpack_from("<IIII", octets, at)
        seconds, nanoseconds, caplen, origlen = fields
        at += 16
        packet = bytes(octets[at : at + caplen])
        assert len(packet) == caplen
        at += caplen
        yield Seen(packet, origlen, seconds * 10**9 + nanoseconds)


def packets(octets: Octets) -> list[bytes]:
    return [one.packet for one in seen(octets)]


def pcap(octets: Octets, linktype: int) -> bytes:
    """A savefile of records, in nanoseconds."""
    header = struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, linktype)
    return header + bytes(octets)
