"""The savefile format: a file header, and packet records after it.

Specification: pcap-savefile(5). Written here are classic savefiles, little-endian; what
others wrote is read through libpcap (`pcap_ffi`).
"""

import struct
from collections.abc import Iterator

from pcap_ffi import CAPLEN_MAX
from pcap_zmq.packet import Octets, Packet

MAGIC_NANO = 0xA1B23C4D
MAGIC_MICRO = 0xA1B2C3D4
VERSION = (2, 4)

_FILE_HEADER = struct.Struct("<IHHIIII")
_RECORD_HEADER = struct.Struct("<IIII")

FILE_HEADER_LENGTH = _FILE_HEADER.size


def encode_file_header(linktype: int, *, nanoseconds: bool = True) -> bytes:
    """The 24 octets before the first packet record."""
    magic = MAGIC_NANO if nanoseconds else MAGIC_MICRO
    # The two words after the version are the time zone and its accuracy: always zero.
    return _FILE_HEADER.pack(magic, *VERSION, 0, 0, CAPLEN_MAX, linktype)


def encode_packet(packet: Packet) -> bytes:
    """One packet record. For tools and tests; batches are filled in C."""
    seconds, nanoseconds = divmod(packet.ts_ns, 1_000_000_000)
    caplen = len(packet.data)
    header = _RECORD_HEADER.pack(seconds, nanoseconds, caplen, packet.origlen)
    return header + packet.data


def iter_packets(records: Octets) -> Iterator[Packet]:
    """The packets of records that `pcap_ffi.count_records` has passed."""
    at = 0
    while at < len(records):
        seconds, nanoseconds, caplen, origlen = _RECORD_HEADER.unpack_from(records, at)
        at += _RECORD_HEADER.size
        yield Packet(
            ts_ns=seconds * 1_000_000_000 + nanoseconds,
            origlen=origlen,
            data=bytes(records[at : at + caplen]),
        )
        at += caplen
