"""Packet records in, the same without the packets that were seen a moment ago."""

import secrets
from dataclasses import dataclass

from filter_ffi._filter import ffi, lib
from filter_ffi.memory import NewBuffer, array, new_buffer, not_whole, octets_of, room

Octets = bytes | bytearray | memoryview

OCTETS_MAX = 32 << 20
"""Most memory that is used, unless said otherwise: two million packets."""

WINDOW_MAX_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a batch: its own records where nothing was dropped, or memory of
    its own."""

    records: Octets
    count: int
    dropped: int


class Dedup:
    """A packet is dropped that is the same as one that was kept no longer than
    `window_ns` before or after it, by the packets' times. So of what comes for ever one
    in each window is kept.

    The same: all of the IP packet but its TTL or hop limit and IPv4's header checksum,
    as far as it was captured; where it came along (hardware addresses, VLAN tags, MPLS
    labels, padding, the link type) does not matter. What is not IP: its EtherType and
    what follows. Told by 64 bits that nobody can foresee: `seed`, by default random, so
    that nobody can make a packet that is taken for a copy of another.

    octets: most memory for what was seen, taken as it is needed; where the packets of a
    window do not fit, the oldest are forgotten, and counted. new_buffer: makes the
    memory of what is left. Raises ValueError for a window below 0, MemoryError.
    """

    def __init__(
        self,
        window_ns: int,
        *,
        octets: int = OCTETS_MAX,
        seed: int | None = None,
        new_buffer: NewBuffer = new_buffer,
    ) -> None:
        if not 0 <= window_ns <= WINDOW_MAX_NS:
            raise ValueError(f"no window: {window_ns} ns")
        seed = secrets.randbits(64) if seed is None else seed
        self._c = ffi.gc(lib.dedup_new(window_ns, octets, seed), lib.dedup_free)
        if not self._c:
            raise MemoryError
        self._new_buffer = new_buffer

    def keep(self, linktype: int, records: Octets, count: int) -> Left:
        """What was not seen; packets stay in their order. Raises ValueError where the
        records are not `count` whole ones."""
        kept = array("uint64_t", count)
        length, left = ffi.new("uint64_t *"), ffi.new("uint32_t *")
        octets = octets_of(records)
        if lib.dedup_choose(
            self._c, linktype, octets, len(records), count, kept, length, left
        ):
            raise not_whole(records, count)
        if left[0] == count:
            return Left(records, count, 0)
        if not left[0]:
            return Left(b"", 0, count)
        out = room(self._new_buffer, length[0], len(records))
        outs = ffi.new("uint8_t *[1]", [octets_of(out)])
        lib.filters_gather(octets, len(records), kept, 1, outs)
        return Left(out, left[0], count - left[0])

    @property
    def seen(self) -> int:
        """Packets since the beginning."""
        return int(self._c.seen)

    @property
    def dropped(self) -> int:
        """Of them, those that were the same as another."""
        return int(self._c.dropped)

    @property
    def forgotten(self) -> int:
        """Packets that were forgotten within their window, for want of memory."""
        return int(self._c.forgotten)
