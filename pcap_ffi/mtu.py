"""Packets that a link is too narrow for: counted, left out or cut.

Specification: pcap-savefile(5), little-endian; IEEE 802.3 and 802.1Q. An MTU counts
what is behind the header of the link.
"""

from pcap_ffi._pcap import ffi, lib
from pcap_ffi.buffers import new_buffer
from pcap_ffi.records import Octets


def count_longer(records: Octets, linktype: int, mtu: int) -> int:
    """How many packets have more than so many octets behind the header of the link.
    Takes only octets that `count_records` has passed."""
    octets = ffi.from_buffer("uint8_t[]", records)
    return int(lib.records_longer(octets, len(records), linktype, mtu))


def fit_records(records: Octets, linktype: int, mtu: int, *, cut: bool) -> memoryview:
    """The records without those packets, or, cut, with so much of them; `origlen`
    stays. Takes only octets that `count_records` has passed."""
    out = new_buffer(len(records))
    used = lib.records_fit(
        ffi.from_buffer("uint8_t[]", records),
        len(records),
        linktype,
        mtu,
        cut,
        ffi.from_buffer("uint8_t[]", out),
    )
    return out[:used]
