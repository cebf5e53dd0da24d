"""Packet records of one link type made of those of another: nflog, raw and Ethernet.

Specification: https://www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html, IEEE 802.3.
"""

import enum
from typing import NamedTuple

from pcap_ffi._pcap import ffi, lib
from pcap_ffi.buffers import new_buffer

Octets = bytes | bytearray | memoryview


class Fate(enum.IntEnum):
    """What becomes of a packet."""

    MADE = lib.RELINK_MADE
    MALFORMED = lib.RELINK_MALFORMED
    """Not of the link type that it is said to be of."""
    NOT_IP = lib.RELINK_NOT_IP
    """Nothing that the other link type can hold."""


class Relinked(NamedTuple):
    """Records of the new link type, and how many packets of the old one are in them or
    not."""

    records: memoryview
    made: int
    malformed: int
    not_ip: int


def can_relink(source: int, target: int) -> bool:
    """Whether packets of this LINKTYPE can become packets of that."""
    return bool(lib.records_relinkable(source, target))


def relink_records(records: Octets, count: int, source: int, target: int) -> Relinked:
    """Takes only `count` records that `count_records` has passed, and link types that
    `can_relink`. origlen stays right: it is the packet's in its new form."""
    out = new_buffer(len(records) + lib.RELINK_MORE * count)
    relinked = ffi.new("struct relinked *")
    lib.records_relink(
        ffi.from_buffer("uint8_t[]", records),
        len(records),
        source,
        target,
        ffi.from_buffer("uint8_t[]", out),
        ffi.NULL,
        relinked,
    )
    return Relinked(out[: relinked.length], *relinked.fates)


def fates_of(records: Octets, count: int, source: int, target: int) -> bytes:
    """What becomes of each packet, in order, for whoever has to know which were left
    out: the same work once more."""
    out = new_buffer(len(records) + lib.RELINK_MORE * count)
    fates = bytearray(count)
    relinked = ffi.new("struct relinked *")
    lib.records_relink(
        ffi.from_buffer("uint8_t[]", records),
        len(records),
        source,
        target,
        ffi.from_buffer("uint8_t[]", out),
        ffi.from_buffer("uint8_t[]", fates),
        relinked,
    )
    return bytes(fates)
