"""Packed packet records as the packets would have been on the wire: see mend.c."""

from collections.abc import Sequence
from typing import NamedTuple

from pcap_ffi._pcap import ffi, lib
from pcap_ffi.records import Octets

_allocate = ffi.new_allocator(should_clear_after_alloc=False)


class Split(NamedTuple):
    """One packet that was split: the number of the first of its records among those
    that came out, and how many they are."""

    first: int
    records: int


class Mended(NamedTuple):
    """What became of a batch's records, and counts of its packets."""

    records: Octets
    splits: Sequence[Split] = ()
    fixed: int = 0
    """Whose checksum or length was unfinished."""
    unfixed: int = 0
    """Unfinished, and what it takes to finish them is not there."""
    segments: int = 0
    """Made of those that were split."""
    unsegmented: int = 0
    """Longer than the MTU, and not to be split."""


class Mender:
    """fix: finishes checksums and lengths. mtu: splits what is longer; None: not."""

    def __init__(self, *, fix: bool, mtu: int | None) -> None:
        self._mend = ffi.new("struct mend *")
        self._mend.what = fix * lib.MEND_FIX | (mtu is not None) * lib.MEND_SEGMENT
        self._mend.mtu = mtu or 0

    def mend(self, records: Octets, linktype: int) -> Mended:
        """Takes only octets that `count_records` has passed. The records are the same
        object where there was nothing to do. Raises MemoryError."""
        mend = self._mend
        mend.linktype = linktype
        octets = ffi.from_buffer("uint8_t[]", records)
        lib.mend_plan(mend, octets, len(records))
        if not mend.room:
            return Mended(records, unfixed=mend.unfixed, unsegmented=mend.unsegmented)
        # Owned by the view that is returned.
        out = _allocate("uint8_t[]", mend.room)
        splits = ffi.new("struct mend_split[]", mend.splits)
        used = lib.mend_apply(mend, octets, len(records), out, splits)
        return Mended(
            memoryview(ffi.buffer(out))[:used],
            [Split(split.first, split.records) for split in splits],
            mend.fixed,
            mend.unfixed,
            mend.segments,
            mend.unsegmented,
        )
