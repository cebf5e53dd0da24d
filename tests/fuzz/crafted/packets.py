"""Seeds of packets: netlink datagrams, packet records and savefiles."""

import gzip
import struct

from tests.fuzz.crafted.common import Seeds, little16
from tests.nflog_ffi.datagrams import (
    PAYLOAD_MAX,
    Attribute,
    done,
    ethernet,
    hardware,
    ipv4,
    ipv6,
    logged,
    packet_body,
    packet_message,
    several,
    vlan,
)
from tests.pcap_ffi.savefiles import RECORDS, Record, packed, pcap, pcapng


def nflog_parse() -> Seeds:
    many = b"".join(logged(ipv6(50 + n), seq=n, group=2) for n in range(20)) + done()
    yield "empty", little16(0)
    yield "one", little16(0) + logged(ipv4(40), group=1)
    yield "several", little16(0) + several()
    yield "several-in-small-buffers", little16(80) + several()
    yield "an-octet-of-ipv4", little16(17) + logged(b"\x45", group=1)
    yield "an-octet-of-ipv6", little16(0) + logged(b"\x60", group=1)
    yield "many-in-small-buffers", little16(200) + many
    attributes = [(kind, bytes(range(1, 29))) for kind in range(1, 40)]
    for kind in (Attribute.NFULA_SEQ, Attribute.NFULA_TIMESTAMP):
        # What lacks would be read beyond the end.
        short = packet_message(1, [(Attribute.NFULA_PAYLOAD, ipv4(20)), (kind, b"")])
        yield f"short-{kind.name.removeprefix('NFULA_').lower()}", little16(0) + short
    yield "every-attribute", little16(0) + packet_message(1, attributes)
    extra = [*hardware(ethernet()), vlan(5)]
    framed = logged(ipv4(41), group=1, extra=extra) + logged(ipv6(60), group=2)
    yield "behind-ethernet-headers", little16(0) + framed
    bridged = [
        (Attribute.NFULA_PACKET_HDR, struct.pack("!HBx", 0x0806, 1)),
        (Attribute.NFULA_L2HDR, ethernet(ethertype=0x0806)),
        (Attribute.NFULA_PAYLOAD, bytes(28)),
    ]
    yield "arp-on-a-bridge", little16(0) + packet_message(2, bridged, family=7)


def relink() -> Seeds:
    """Which link types is said by their places in the target's list."""
    extra = [*hardware(ethernet()), vlan(5)]
    header = struct.Struct("=IHHII").size
    nflog = [
        logged(ipv4(41), extra=extra)[header:],
        logged(ipv6(60))[header:],
        packet_body(1, [(Attribute.NFULA_PAYLOAD, ipv4(20))]),
    ]
    short = [packed([Record(1, 2, len(nflog[0]), nflog[0][:cut])]) for cut in (80, 9)]
    frames = [ethernet() + ipv4(40) + bytes(6), ethernet(ethertype=0x86DD) + ipv6(60)]
    tagged = ethernet(ethertype=0x8100) + b"\0\5\x08\0" + ipv4(40)
    for name, choice, packets in (
        ("nflog-to-raw", 4 + 7, nflog),
        ("nflog-to-ethernet", 4, nflog),
        ("ethernet-to-raw", 0 + 7, [*frames, tagged, frames[0][:15], frames[0][:9]]),
        ("raw-to-ethernet", 1, [ipv4(40), ipv6(60), b"\x45", b"\0", b""]),
        ("ipv6-to-raw", 3 + 7, [ipv6(60)]),
    ):
        records = [Record(1, 2, len(packet), packet) for packet in packets]
        yield name, little16(choice) + packed(records)
    yield "nflog-cut-to-raw", little16(4 + 7) + b"".join(short)
    yield "nflog-cut-to-ethernet", little16(4) + b"".join(short)
    yield "torn", little16(4) + packed([Record(1, 2, 60, bytes(60))])[:-1]


def pcapng_blocks() -> Seeds:
    """Link types, parts and where a reader leaves; then records."""
    prefix = (Attribute.NFULA_PREFIX, "Tür: \xff".encode("latin-1") + bytes(1))
    mark = (Attribute.NFULA_MARK, bytes((0, 0, 0, 42)))
    device = (Attribute.NFULA_IFINDEX_INDEV, bytes((0, 0, 0, 2)))
    payload = (Attribute.NFULA_PAYLOAD, ipv4(41))
    body = packet_body(1, [prefix, mark, device, payload])
    records = [Record(1, 2, len(body), body[:cut]) for cut in (len(body), 60, 9, 0)]
    yield "raw", little16(0 + 4 * 1, 100) + packed(RECORDS)
    for name, choice in (("nflog", 1), ("nflog-to-raw", 2), ("nflog-to-ethernet", 3)):
        yield name, little16(choice + 4 * 2, 70) + packed(records)
    yield "torn", little16(0, 9) + packed(RECORDS)[:-1]


def packet_records() -> Seeds:
    yield "empty", little16(0, 0)
    yield "whole", little16(96, 40) + packed(RECORDS)
    yield "limit-at-an-end", little16(len(packed(RECORDS[:2])), 60) + packed(RECORDS)
    yield "torn", little16(96, 40) + packed(RECORDS)[:-1]
    yield "caplen-too-large", little16(0, 0) + struct.pack("<IIII", 1, 1, 1 << 31, 5)


def schedule() -> Seeds:
    """By a kind of schedule, a pace and a step."""
    for kind, name in enumerate(("at-times", "by-packets", "by-octets", "top-speed")):
        yield name, bytes([kind, 40]) + little16(0) + packed(RECORDS)
    yield "empty", bytes([0, 40]) + little16(0)
    yield "slower-than-time-lasts", bytes([0, 0]) + little16(0) + packed(RECORDS)
    yield "faster", bytes([0, 79]) + little16(1) + packed(RECORDS)
    yield "seldom-looked-at", bytes([1, 60]) + little16(50_000) + packed(RECORDS)


def merge() -> Seeds:
    def run(number: int, seconds: list[int], length: int = 20) -> bytes:
        times = [Record(second, number, length, bytes(length)) for second in seconds]
        return bytes([number]) + little16(len(packed(times))) + packed(times)

    def take(number: int, room: int) -> bytes:
        return bytes([number]) + little16(room)

    yield "empty", b""
    yield "one-run", run(0, [1, 2, 3]) + take(3, 1_000)
    two = run(32, [1, 3, 5]) + run(32, [2, 4, 6])
    yield "two-runs", two + take(5, 1_000)
    yield "little-room", two + b"".join(take(5, room) for room in (0, 36, 71, 72))
    yield "as-it-is", run(32, [1] * 9) + run(32, [3]) + take(0x85, 1_000)
    yield "late", run(32, [5, 9]) + take(5, 1_000) + run(32, [1, 7]) + take(5, 1_000)
    yield "out-of-order", run(32, [4, 2, 3, 1, 2]) + take(5, 1_000)
    clocks = b"".join(run(epoch << 1 | 32, [1, 2, 3]) for epoch in range(6))
    yield "clocks", clocks + take(5, 60_000)
    yield "ceilings", run(0, [1, 2]) + run(16, [1, 2]) + run(64, [9, 9]) + take(1, 500)


def merge_parts() -> Seeds:
    def part(rank: int, seconds: list[int], length: int = 20) -> bytes:
        times = [Record(second, rank, length, bytes(length)) for second in seconds]
        return bytes([rank]) + little16(len(packed(times))) + packed(times)

    forward, bound, moved, whole = 1, 2, 4, 8
    three = (
        part(0, [1, 3, 5]) + part(1, [2, 3]) + part(0, [5, 8]) + part(1, [3, 9])
    ) + part(2, [3, 3, 3])
    back = part(0, [5, 1, 6, 2]) + part(0, [4, 7]) + part(1, [1, 2, 3, 4, 5, 6, 7])
    yield "empty", b""
    yield "one", bytes([0]) + little16(1_000) + part(0, [1, 2, 3])
    for name, flags in (("three", 0), ("bound", bound), ("moved", bound | moved)):
        yield name, bytes([flags]) + little16(1_000) + three
    yield "little-room", bytes([0]) + little16(40) + three
    yield "no-room", bytes([whole]) + little16(0) + three
    for name, flags in (("backwards", 0), ("forward", forward), ("whole", whole)):
        yield name, bytes([flags]) + little16(500) + back
    yield "none-of-it", bytes([bound]) + little16(500) + part(0, [1, 9]) + part(0, [8])
    yield "torn", bytes([0]) + little16(500) + part(0, [1, 2])[:-5] + three[:-1]


def records() -> Seeds:
    for name, octets in packet_records():
        yield name, octets[1::-1] + octets[3:1:-1] + octets[4:]


def savefiles() -> Seeds:
    yield "empty", b""
    yield "pcap", pcap(RECORDS)
    yield "pcap-microseconds", pcap(RECORDS, nanoseconds=False)
    yield "pcap-big-endian", pcap(RECORDS, order=">", linktype=1)
    yield "pcap-torn", pcap(RECORDS)[:-1]
    yield "pcap-short-snaplen", pcap(RECORDS, snaplen=50)
    yield "pcapng", pcapng(RECORDS)
    yield "pcapng-big-endian", pcapng(RECORDS, order=">", resolution=6)
    yield "pcapng-torn", pcapng(RECORDS)[:-5]
    yield "pcapng-two-sections", pcapng(RECORDS[:1]) + pcapng(RECORDS[1:], order=">")
    yield "pcapng-interface-without-packets", pcapng([])
    # Kuznetzov's: eight octets more in each record.
    longer = struct.pack("<IIIIIHBB", 1, 2, 4, 60, 3, 2048, 0, 0) + b"\x45" * 4
    yield "pcap-modified", struct.pack("<I", 0xA1B2CD34) + pcap([])[4:] + longer
    block = struct.pack("<IIIIII", 3, 20, 4, 0x45454545, 20, 0)
    yield "pcapng-simple-packet", pcapng([]) + block[:20]


def capture() -> Seeds:
    for name, octets in savefiles():
        yield name, little16(100, 7) + octets
    yield "pcap-with-a-beginning", little16(0, 0x8000 | 30) + pcap(RECORDS)


def savefile_source() -> Seeds:
    for name, octets in savefiles():
        yield name, b"\0" + octets
    yield "pcap-compressed-too", b"\1" + pcap(RECORDS)
    yield "gzip", b"\0" + gzip.compress(pcap(RECORDS), mtime=0)
    twice = gzip.compress(pcap(RECORDS[:1]), mtime=0)
    twice += gzip.compress(packed(RECORDS[1:]), mtime=0)
    yield "gzip-of-two-members", b"\0" + twice
    yield "gzip-torn", b"\0" + gzip.compress(pcap(RECORDS), mtime=0)[:-3]


def ip() -> Seeds:
    ports = b"\xc0\x00\x16\x2e"
    four = bytearray(ipv4(40))
    four[9] = 6
    yield "ipv4", bytes(four[:20]) + ports + bytes(16)
    four[6:8] = b"\x20\x01"
    yield "ipv4-fragment", bytes(four[:20]) + ports
    yield "ipv4-udp", ipv4(40)
    four[0], four[6:8] = 0x46, b"\0\0"
    yield "ipv4-options", bytes(four[:24]) + ports
    yield "ipv4-cut", bytes(four[:24])
    six = bytearray(ipv6(60))
    six[6] = 6
    yield "ipv6", bytes(six[:40]) + ports
    yield "ipv6-cut", bytes(six[:40])
    yield "nothing", b""


LONG = {
    "nflog_parse": {
        "longest": little16(0)
        + logged(ipv4(1400), group=1)
        + logged(ipv4(PAYLOAD_MAX), seq=1, group=1)
    }
}
"""Inputs by target that are too long to be kept as files."""
