"""Seeds of packets: netlink datagrams, packet records and savefiles."""

import gzip
import struct

from tests.fuzz.crafted.common import Seeds, little16
from tests.nflog_ffi.datagrams import (
    PAYLOAD_MAX,
    Attribute,
    done,
    ipv4,
    ipv6,
    logged,
    packet_message,
    several,
)
from tests.pcap_ffi.savefiles import RECORDS, packed, pcap, pcapng


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


def packet_records() -> Seeds:
    yield "empty", little16(0, 0)
    yield "whole", little16(96, 40) + packed(RECORDS)
    yield "limit-at-an-end", little16(len(packed(RECORDS[:2])), 60) + packed(RECORDS)
    yield "torn", little16(96, 40) + packed(RECORDS)[:-1]
    yield "caplen-too-large", little16(0, 0) + struct.pack("<IIII", 1, 1, 1 << 31, 5)


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


def savefile() -> Seeds:
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
