"""Packet records in, fewer out: the heads of all flows, or some flows whole.

Whoever calls says how much; what was seen meanwhile tells him what another limit would
have kept.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from flow_ffi._flow import ffi, lib
from flow_ffi.spread import Octets

ALL = (1 << 64) - 1
"""As a limit: none. As the highest number of a flow: that of every one."""

PLACES: int = lib.HEADS_PLACES
"""Parts of the profile of `FlowHeads`."""
PARTS: int = lib.FLOWS_PARTS
"""Parts of the profile of `WholeFlows`."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of a batch. Where nothing was shed, these are the records that came;
    otherwise octets of their own."""

    records: Octets
    count: int
    tails: int
    """Packets that lay beyond their flow's head."""
    flows: int
    """Packets of flows that were not admitted."""


class FlowHeads:
    """Remembers how much of each flow has passed, in a table of at most `octets`
    octets, 16 of them for a flow. Raises MemoryError."""

    def __init__(self, octets: int, seed: int | None = None) -> None:
        heads = lib.heads_new(octets, _seed(seed))
        if not heads:
            raise MemoryError
        self._heads = ffi.gc(heads, lib.heads_free)
        self._profile = ffi.new("uint64_t[]", PLACES)
        self._scratch = _Scratch()

    def shed(
        self, linktype: int, records: Octets, now_ms: int, limit: int, admitted: int
    ) -> Kept:
        """Keeps of each flow the packets that begin before `limit` octets of it, and
        begins no flow whose number is above `admitted`. Takes whole records."""
        scratch = self._scratch
        scratch.make_room(len(records))
        lib.heads_shed(
            self._heads,
            linktype,
            ffi.from_buffer("uint8_t[]", records),
            len(records),
            now_ms & 0xFFFFFFFF,
            limit,
            admitted,
            scratch.out(),
            self._profile,
            scratch.shed,
        )
        return scratch.kept(records)

    def seen(self) -> list[int]:
        """Octets that came since this was asked last, records' headers included, by
        their place in their flow: see `place_of`. Those of flows that were not admitted
        count where they begin only."""
        return _taken(self._profile)


class WholeFlows:
    """Remembers nothing but the fragments that are under way. Raises MemoryError."""

    def __init__(self, seed: int | None = None) -> None:
        hasher = lib.flow_hasher_new(_seed(seed), True)
        if not hasher:
            raise MemoryError
        self._hasher = ffi.gc(hasher, lib.flow_hasher_free)
        self._profile = ffi.new("uint64_t[]", PARTS)
        self._scratch = _Scratch()

    def shed(self, linktype: int, records: Octets, admitted: int) -> Kept:
        """Keeps the flows whose number is at most `admitted`. Takes whole records."""
        scratch = self._scratch
        scratch.make_room(len(records))
        lib.flows_shed(
            self._hasher,
            linktype,
            ffi.from_buffer("uint8_t[]", records),
            len(records),
            admitted,
            scratch.out(),
            self._profile,
            scratch.shed,
        )
        return scratch.kept(records)

    def seen(self) -> list[int]:
        """Octets that came since this was asked last, records' headers included, by
        their flow's number: in equal parts of all numbers."""
        return _taken(self._profile)


class _Scratch:
    """Where what is kept is gathered: once as large as the largest batch so far, so
    that a batch takes no more memory than is left of it."""

    def __init__(self) -> None:
        self._memory = bytearray()
        self.shed = ffi.new("struct shed *")

    def make_room(self, octets: int) -> None:
        if len(self._memory) < octets:
            self._memory = bytearray(octets)

    def out(self) -> Any:
        return ffi.from_buffer("uint8_t[]", self._memory, require_writable=True)

    def kept(self, records: Octets) -> Kept:
        shed = self.shed
        if shed.tails or shed.flows:
            records = bytes(memoryview(self._memory)[: shed.kept_length])
        return Kept(records, shed.kept, shed.tails, shed.flows)


def _taken(profile: Any) -> list[int]:
    numbers: list[int] = ffi.unpack(profile, len(profile))
    ffi.memmove(profile, bytes(ffi.sizeof(profile)), ffi.sizeof(profile))
    return numbers


def place_of(octets: int) -> int:
    """Which part of the profile of `FlowHeads` such a place in a flow belongs to."""
    return int(lib.heads_place(octets))


def _seed(seed: int | None) -> int:
    return secrets.randbits(64) if seed is None else seed
