"""Packet records as pcapng blocks, and the way through such blocks.

Specification: draft-ietf-opsawg-pcapng.
"""

from collections.abc import Sequence

from pcap_ffi._pcap import ffi, lib
from pcap_ffi.buffers import new_buffer
from pcap_ffi.records import Octets


def encode_packets(
    records: Octets,
    count: int,
    parts: Sequence[tuple[int, int]],
    order: Sequence[int],
    *,
    nanoseconds: bool,
    linktype: int,
    wanted: int,
    before: Octets = b"",
    after: Octets = b"",
) -> memoryview:
    """An enhanced packet block of each of `count` records, which `count_records` has
    passed, between the octets `before` and `after`.

    parts: whose they may be, at least one: the number of an interface, and packets of
    it that were lost before the first one here. order: which part and how many packets
    of it, by turns: a list, or what holds native uint32. wanted: the link type of the
    blocks; where it is not `linktype`, that has to be LINKTYPE_NFLOG.
    """
    c_parts = ffi.new("struct pcapng_part[]", list(parts))
    c_order = (
        ffi.new("uint32_t[]", order)
        if isinstance(order, list | tuple)
        else ffi.from_buffer("uint32_t[]", order)
    )
    c_records = ffi.from_buffer("uint8_t[]", records)
    room = lib.pcapng_room(c_records, len(records), count, len(parts), linktype, wanted)
    start = len(before)
    out = new_buffer(start + room + len(after))
    out[:start] = before
    used = start + lib.pcapng_encode(
        c_records,
        len(records),
        1_000_000_000 if nanoseconds else 1_000_000,
        linktype,
        wanted,
        c_order,
        len(c_order),
        c_parts,
        len(parts),
        ffi.from_buffer("uint8_t[]", out[start:], require_writable=True),
    )
    out[used : used + len(after)] = after
    return out[: used + len(after)]


def whole_blocks(blocks: Octets, limit: int) -> int:
    """Where the last block ends that ends within the first `limit` octets."""
    return int(lib.pcapng_whole(_view(blocks), len(blocks), limit))


def count_packets(blocks: Octets) -> int:
    """Packet blocks among these."""
    return int(lib.pcapng_packets(_view(blocks), len(blocks)))


def undeclared(blocks: Octets, at: int) -> int:
    """Where the first block begins, from `at` on, that does not only say what a section
    or an interface is."""
    return int(lib.pcapng_undeclared(_view(blocks), len(blocks), at))


def _view(blocks: Octets) -> object:
    return ffi.from_buffer("uint8_t[]", blocks)
