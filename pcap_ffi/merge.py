"""Packets of several runs in the order of their times: a k-way merge over records.

Specification: pcap-savefile(5), little-endian. A run is some records whose times do not
go back. A packet's key is its time less its run's epoch, and no more than its run's
ceiling; packets come in the order of their keys, those of one key in the order in which
their runs came. A part of what is longer may have times that go back: there a packet's
key is that of the one before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pcap_ffi._pcap import ffi, lib

Octets = bytes | bytearray | memoryview

KEY_MAX: int = lib.MERGE_KEY_MAX
"""Bound of epochs and ceilings, in either direction."""

ALL = (1 << 63) - 1
"""Above every key."""


class Survey(NamedTuple):
    """What some packets are like."""

    length: int
    """Octets of their records."""
    packets: int
    disordered: int
    """Stamped earlier than one before them."""
    newest_ns: int


@dataclass(frozen=True, slots=True)
class Given:
    """What came next: records in order, whose of which runs."""

    records: Octets | None
    """None: all of one run, which was not copied."""
    packets: int
    linktype: int
    late: int
    """Packets whose key is below one that was given before."""
    slots: Sequence[int]
    """Of the runs that it has packets of, each once: its parts."""
    totals: Sequence[int]
    """Packets of each part."""
    lates: Sequence[int]
    """Late ones of each part."""
    lefts: Sequence[int]
    """What the run of each part still has: its records may go at 0, and its slot."""
    order: memoryview
    """Index of the part and packets, by turns: native uint32."""


def survey(records: Octets, packets: int, unit_ns: int) -> Survey:
    """Looks at the first so many packets. unit_ns: what the fraction of a second
    counts, 1 or 1000. Takes only octets that `count_records` has passed."""
    found = ffi.new("struct survey *")
    octets = ffi.from_buffer("uint8_t[]", records)
    lib.records_survey(octets, len(records), packets, unit_ns, found)
    return Survey(found.length, found.packets, found.disordered, found.newest_ns)


def sort_records(records: Octets, packets: int, unit_ns: int) -> bytes:
    """The same packets by their times; those of one time stay as they are. Takes only
    octets that `count_records` has passed, and that are so many."""
    out = bytearray(len(records))
    octets, target = ffi.from_buffer("uint8_t[]", records), ffi.from_buffer(out)
    if lib.records_sort(octets, len(records), packets, unit_ns, target):
        raise MemoryError
    ffi.release(target)
    return bytes(out)


class Merge:
    """new_buffer: makes writable memory of so many octets. capacity: of what is given
    at once, unless a packet needs more. whole: a run of at least so many octets goes
    uncopied where it comes as it is."""

    def __init__(
        self,
        *,
        unit_ns: int,
        capacity: int,
        whole: int,
        new_buffer: Callable[[int], memoryview],
    ) -> None:
        self._c = ffi.gc(lib.merge_new(unit_ns), lib.merge_free)
        if not self._c:
            raise MemoryError
        self._capacity = capacity
        self._whole = whole
        self._new_buffer = new_buffer
        self._kept: dict[int, object] = {}
        self._out = new_buffer(capacity)

    @property
    def first_ns(self) -> int | None:
        """The key of the packet that is next; None where there is none."""
        first_ns = int(lib.merge_first(self._c))
        return None if first_ns == ALL else first_ns

    def add(
        self,
        records: Octets,
        packets: int,
        *,
        epoch_ns: int,
        ceiling_ns: int,
        newest_ns: int,
        linktype: int,
    ) -> tuple[int, int]:
        """Takes a run of at least one packet, in order; newest_ns: the time of the last
        one. The records shall not change until they are given. Returns the slot by
        which it is known until then, and its last packet's key."""
        octets = ffi.from_buffer("uint8_t[]", records)
        slot = int(
            lib.merge_add(
                self._c,
                octets,
                len(records),
                packets,
                min(max(-KEY_MAX, epoch_ns), KEY_MAX),
                min(max(-KEY_MAX, ceiling_ns), KEY_MAX),
                newest_ns,
                linktype,
            )
        )
        if slot < 0:
            raise MemoryError
        self._kept[slot] = octets
        return slot, int(self._c.runs[slot].last_ns)

    def add_part(
        self,
        records: Octets,
        packets: int,
        *,
        floor_ns: int,
        newest_ns: int,
        linktype: int,
        rank: int,
        has_more: bool,
    ) -> int:
        """Takes a part of what is longer; keys are times, and none is below floor_ns.
        newest_ns: the latest time in it. rank: among equal keys the lower comes first.
        has_more: when it is used up, nothing more is given until it is dropped for the
        next part. No packets: more comes at floor_ns. Returns the slot by which it is
        known until then."""
        octets = ffi.from_buffer("uint8_t[]", records)
        slot = int(
            lib.merge_add_part(
                self._c,
                octets,
                len(records),
                packets,
                floor_ns,
                newest_ns,
                linktype,
                rank,
                has_more,
            )
        )
        if slot < 0:
            raise MemoryError
        if packets:
            self._kept[slot] = octets
        return slot

    @property
    def asks(self) -> int | None:
        """The slot of the part that nothing could go past in the last `take`."""
        asks = int(self._c.taken.asks)
        return None if asks < 0 else asks

    def drop(self) -> None:
        """Forgets that part: it has ended, or its next part will be added."""
        if self.asks is None:
            raise ValueError("no part is used up")
        lib.merge_drop(self._c)
        self._c.taken.asks = -1

    def left(self, slot: int) -> int:
        """Packets of a run that were not given."""
        return int(self._c.runs[slot].left)

    def take(self, until_ns: int) -> Given | None:
        """What comes next with keys up to this one, of one link type, as much as goes
        at once; None where there is nothing."""
        self._fill(until_ns, self._out)
        taken = self._c.taken
        records: Octets | None = None
        if taken.wanted:
            records = self._new_buffer(taken.wanted)
            self._fill(until_ns, records)
        elif not taken.packets:
            return None
        elif not taken.is_whole:
            records = self._written(taken.used)
        parts = taken.parts
        given = Given(
            records,
            taken.packets,
            taken.linktype,
            taken.late,
            ffi.unpack(taken.slots, parts),
            ffi.unpack(taken.totals, parts),
            ffi.unpack(taken.lates, parts),
            ffi.unpack(taken.lefts, parts),
            memoryview(bytes(ffi.buffer(taken.order, 8 * taken.turns))).cast("I"),
        )
        for slot, left in zip(given.slots, given.lefts, strict=True):
            if not left:
                del self._kept[slot]
        return given

    def _fill(self, until_ns: int, out: memoryview) -> None:
        octets = ffi.from_buffer("uint8_t[]", out)
        lib.merge_take(self._c, until_ns, octets, len(out), self._whole)

    def _written(self, used: int) -> Octets:
        """What is given shall not cost more memory than it has."""
        written = self._out[:used]
        if used < self._capacity - self._capacity // 8:
            return bytes(written)
        self._out = self._new_buffer(self._capacity)
        return written
