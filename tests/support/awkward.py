"""Capture files that have broken one program or another: a function for each of them.

tests/pipes/test_awkward.py has every command read them. What a file holds is said
beside its octets, by who made them.
"""

import gzip
import lzma
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tests.flow_ffi.packets import A4, B4, ETHERNET, RAW, UDP, framed, ip4, ports

S = 10**9
BEGINS_NS = 1_700_000_000 * S
LONGEST = 262_144
"""Octets of a packet: more is taken for nonsense."""

CLIENT_PORT, SERVER_PORT = 5000, 53
"""Of the one flow, from A4 to B4, that nearly all packets are of."""


@dataclass(frozen=True)
class Packet:
    """As it has to come out. in_flow: whether it is of the flow that can be told."""

    ts_ns: int
    data: bytes
    linktype: int = ETHERNET
    more: int = 0
    """Octets that were on the wire and not captured."""
    in_flow: bool = True


@dataclass(frozen=True)
class Awkward:
    """A file. packets: all that can be had of it, in its order. breaks: whether it
    does, behind them. is_capture: whether it is one at all."""

    octets: bytes
    packets: tuple[Packet, ...] = ()
    breaks: bool = False
    is_capture: bool = True
    ending: str = ".pcap"


AWKWARD: dict[str, Awkward] = {}
"""By name, in the order of this file."""


def awkward(make: Callable[[], Awkward]) -> Callable[[], Awkward]:
    """Puts it on the list."""
    AWKWARD[make.__name__] = make()
    return make


def packet(name: str, number: int = 0, *, size: int = 0) -> Packet:
    """One that no other file has, so many milliseconds after the beginning."""
    payload = f"{name} {number} ".encode().ljust(size, b".")
    octets = framed(ip4(A4, B4, UDP, ports(CLIENT_PORT, SERVER_PORT, payload)))
    return Packet(BEGINS_NS + number * 1_000_000, octets)


def pcap(
    packets: Iterable[Packet], *, order: str = "<", unit_ns: int = 1, modified: int = 0
) -> bytes:
    """modified: octets between a record's header and its packet."""
    magic = 0xA1B23C4D if unit_ns == 1 else 0xA1B2C3D4
    if modified:
        magic = 0xA1B2CD34
    parts = [struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, LONGEST, ETHERNET)]
    for each in packets:
        seconds, rest = divmod(each.ts_ns, S)
        lengths = len(each.data), len(each.data) + each.more
        head = struct.pack(order + "IIII", seconds, rest // unit_ns, *lengths)
        parts += [head, bytes(modified), each.data]
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    linktype: int = ETHERNET, resolution: int = 9, order: str = "<", offset_s: int = 0
) -> bytes:
    options = struct.pack(order + "HHB3x", 9, 1, resolution)
    options += struct.pack(order + "HHq", 14, 8, offset_s) + bytes(4)
    return block(1, struct.pack(order + "HHI", linktype, 0, LONGEST) + options, order)


def enhanced(each: Packet, units: int, number: int = 0, order: str = "<") -> bytes:
    """units: its time, as the interface counts it."""
    high, low = divmod(units, 1 << 32)
    lengths = len(each.data), len(each.data) + each.more
    head = struct.pack(order + "IIIII", number, high, low, *lengths)
    return block(6, head + each.data, order)


def whole(name: str, count: int = 3) -> tuple[Packet, ...]:
    return tuple(packet(name, number) for number in range(count))


# Nothing in it.


@awkward
def no_octets() -> Awkward:
    return Awkward(b"", breaks=True, is_capture=False)


@awkward
def no_capture() -> Awkward:
    return Awkward(b"{}\n" * 100, breaks=True, is_capture=False)


@awkward
def no_packets() -> Awkward:
    return Awkward(pcap([]))


@awkward
def no_packets_in_pcapng() -> Awkward:
    return Awkward(section() + interface(), ending=".pcapng")


@awkward
def no_interface() -> Awkward:
    """A section alone, as of a capture that was stopped at once."""
    return Awkward(section(), breaks=True, is_capture=False, ending=".pcapng")


# Packets that are strange.


@awkward
def one_packet() -> Awkward:
    """Which has no rate, and no duration."""
    packets = whole("one_packet", 1)
    return Awkward(pcap(packets), packets)


@awkward
def a_packet_of_no_octets() -> Awkward:
    first, second, third = whole("a_packet_of_no_octets")
    packets = first, replace(second, data=b"", more=60, in_flow=False), third
    return Awkward(pcap(packets), packets)


@awkward
def the_longest_packet() -> Awkward:
    """More than fits into most buffers."""
    first, second, third = whole("the_longest_packet")
    data = framed(ip4(A4, B4, UDP, ports(CLIENT_PORT, SERVER_PORT), total=48))
    long = replace(second, data=data.ljust(LONGEST, b"\0"))
    packets = first, long, third
    return Awkward(pcap(packets), packets)


@awkward
def a_packet_too_long() -> Awkward:
    packets = whole("a_packet_too_long")
    record = struct.pack("<IIII", 1_700_000_000, 0, LONGEST + 1, LONGEST + 1)
    return Awkward(pcap(packets) + record + bytes(LONGEST + 1), packets, breaks=True)


@awkward
def cut_packets() -> Awkward:
    packets = tuple(replace(each, more=1400) for each in whole("cut_packets"))
    return Awkward(pcap(packets), packets)


@awkward
def overlapping_fragments() -> Awkward:
    """Of which the second covers a hole in part: it has ended analysers."""
    datagram = ports(CLIENT_PORT, SERVER_PORT, bytes(40))
    cuts = [(0, 24), (32, 48), (8, 40), (24, 48)]
    packets = tuple(
        Packet(
            BEGINS_NS + number,
            framed(
                ip4(
                    A4,
                    B4,
                    UDP,
                    datagram[start:end],
                    offset=start,
                    more=end < 48,
                    identification=0xF00D,
                )
            ),
        )
        for number, (start, end) in enumerate(cuts)
    )
    return Awkward(pcap(packets), packets)


@awkward
def fragments_of_one_number() -> Awkward:
    """Two datagrams' between other hosts with the same identification."""
    packets = []
    for number, (one, other) in enumerate([(A4, B4), ("10.9.9.9", "10.8.8.8")]):
        datagram = ports(CLIENT_PORT, SERVER_PORT, bytes(40))
        packets += [
            Packet(
                BEGINS_NS + number * 10 + start,
                framed(
                    ip4(
                        one,
                        other,
                        UDP,
                        datagram[start : start + 24],
                        offset=start,
                        more=start == 0,
                        identification=0xBEEF,
                    )
                ),
                in_flow=number == 0,
            )
            for start in (0, 24)
        ]
    return Awkward(pcap(packets), tuple(packets))


# Times that are strange.


@awkward
def equal_times() -> Awkward:
    packets = tuple(replace(each, ts_ns=BEGINS_NS) for each in whole("equal_times", 5))
    return Awkward(pcap(packets), packets)


@awkward
def times_that_go_back() -> Awkward:
    packets = tuple(reversed(whole("times_that_go_back", 5)))
    return Awkward(pcap(packets), packets)


@awkward
def milliseconds() -> Awkward:
    """Coarser than microseconds: it has divided by zero."""
    packets = whole("milliseconds")
    octets = section() + interface(resolution=3)
    octets += b"".join(enhanced(each, each.ts_ns // 1_000_000) for each in packets)
    return Awkward(octets, packets, ending=".pcapng")


@awkward
def picoseconds() -> Awkward:
    """Which do not fit since the epoch, but with an offset."""
    packets = whole("picoseconds")
    octets = section() + interface(resolution=12, offset_s=BEGINS_NS // S)
    for each in packets:
        octets += enhanced(each, (each.ts_ns - BEGINS_NS) * 1000 + 999)
    return Awkward(octets, packets, ending=".pcapng")


@awkward
def a_power_of_two() -> Awkward:
    packets = tuple(
        replace(each, ts_ns=BEGINS_NS + number * S // 4)
        for number, each in enumerate(whole("a_power_of_two"))
    )
    octets = section() + interface(resolution=0x80 | 10)
    octets += b"".join(enhanced(each, each.ts_ns * 1024 // S) for each in packets)
    return Awkward(octets, packets, ending=".pcapng")


@awkward
def no_times() -> Awkward:
    """pcapng's simple packets have none: they get that of the packet before them."""
    first, second, third = whole("no_times")
    octets = section() + interface() + enhanced(first, first.ts_ns)
    packets = first, *(replace(each, ts_ns=first.ts_ns) for each in (second, third))
    for each in packets[1:]:
        octets += block(3, struct.pack("<I", len(each.data)) + each.data)
    return Awkward(octets, packets, ending=".pcapng")


# Forms that are rare.


@awkward
def big_endian_microseconds() -> Awkward:
    packets = whole("big_endian_microseconds")
    return Awkward(pcap(packets, order=">", unit_ns=1000), packets)


@awkward
def eight_octets_more() -> Awkward:
    """Of an old patched libpcap."""
    packets = whole("eight_octets_more")
    return Awkward(pcap(packets, unit_ns=1000, modified=8), packets)


@awkward
def a_second_section() -> Awkward:
    """In another byte order, and with another interface."""
    first, second, third = whole("a_second_section")
    octets = section() + interface() + enhanced(first, first.ts_ns)
    octets += section(">") + interface(resolution=6, order=">")
    for each in (second, third):
        octets += enhanced(each, each.ts_ns // 1000, order=">")
    return Awkward(octets, (first, second, third), ending=".pcapng")


@awkward
def mixed_interfaces() -> Awkward:
    """Frames of Ethernet and packets of IP, by turns."""
    packets = []
    for number, each in enumerate(whole("mixed_interfaces", 6)):
        is_raw = number % 2 == 1
        packets.append(
            replace(each, data=each.data[14:], linktype=RAW) if is_raw else each
        )
    octets = section() + interface(ETHERNET) + interface(RAW)
    for number, each in enumerate(packets):
        octets += enhanced(each, each.ts_ns, number % 2)
    return Awkward(octets, tuple(packets), ending=".pcapng")


@awkward
def blocks_that_nobody_knows() -> Awkward:
    first, second, third = whole("blocks_that_nobody_knows")
    strange = (
        block(0x80000BAD, bytes(70_000)) + block(4, bytes(8)) + block(5, bytes(12))
    )
    octets = section() + strange + interface() + enhanced(first, first.ts_ns)
    octets += strange + enhanced(second, second.ts_ns) + enhanced(third, third.ts_ns)
    return Awkward(octets + strange, (first, second, third), ending=".pcapng")


@awkward
def several_compressed_after_each_other() -> Awkward:
    packets = whole("several_compressed_after_each_other", 30)
    octets = pcap(packets)
    cuts = [octets[start : start + 100] for start in range(0, len(octets), 100)]
    compressed = b"".join(map(gzip.compress, cuts)) + bytes(512)
    return Awkward(compressed, packets, ending=".pcap.gz")


@awkward
def pcapng_in_xz() -> Awkward:
    packets = whole("pcapng_in_xz")
    octets = section() + interface()
    octets += b"".join(enhanced(each, each.ts_ns) for each in packets)
    return Awkward(lzma.compress(octets), packets, ending=".pcapng.xz")


# Files that break.


@awkward
def a_torn_tail() -> Awkward:
    packets = whole("a_torn_tail", 4)
    return Awkward(pcap(packets)[:-1], packets[:-1], breaks=True)


@awkward
def a_torn_record_header() -> Awkward:
    packets = whole("a_torn_record_header")
    return Awkward(pcap(packets) + bytes(15), packets, breaks=True)


@awkward
def a_torn_block() -> Awkward:
    packets = whole("a_torn_block", 4)
    octets = section() + interface()
    octets += b"".join(enhanced(each, each.ts_ns) for each in packets)
    return Awkward(octets[:-1], packets[:-1], breaks=True, ending=".pcapng")


@awkward
def torn_compression() -> Awkward:
    packets = whole("torn_compression")
    # Without the checksum and length at its end.
    return Awkward(
        gzip.compress(pcap(packets))[:-8], packets, breaks=True, ending=".pcap.gz"
    )


@awkward
def an_interface_that_is_not_there() -> Awkward:
    packets = whole("an_interface_that_is_not_there")
    octets = section() + interface()
    octets += b"".join(enhanced(each, each.ts_ns) for each in packets)
    octets += enhanced(packets[0], packets[0].ts_ns, number=7)
    return Awkward(octets, packets, breaks=True, ending=".pcapng")


@awkward
def a_length_that_is_nonsense() -> Awkward:
    packets = whole("a_length_that_is_nonsense")
    octets = section() + interface()
    octets += b"".join(enhanced(each, each.ts_ns) for each in packets)
    octets += struct.pack("<II", 6, 0xFFFFFFFC) + bytes(100)
    return Awkward(octets, packets, breaks=True, ending=".pcapng")
