"""Packet records in, the same records out, in parts: each flow's in one and the same.

Both directions of a flow go to one target, of however many there are, and stay there as
long as it is among them: when another one goes or comes, only the flows move that were
or will be its own. Fragments go where their datagram's flow goes.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from flow_ffi._flow import ffi, lib

Octets = bytes | bytearray | memoryview

TARGETS_MAX: int = lib.FLOW_TARGETS_MAX
"""Most targets that flows can be spread over."""

_new = ffi.new_allocator(
    ffi.addressof(lib, "flow_alloc"),
    ffi.addressof(lib, "flow_free"),
    should_clear_after_alloc=False,
)


@dataclass(frozen=True, slots=True)
class Part:
    """What one target gets of a batch. Its records are memory of its own, or the whole
    batch's where all of it is one target's."""

    records: Octets
    counts: tuple[int, ...]
    """Packets of each segment, as many as segments were given."""

    @property
    def count(self) -> int:
        """Packets in all."""
        return sum(self.counts)


class FlowSpread:
    """What is remembered of fragments goes from one batch to the next, so one of these
    sees all batches of a stream.

    inner: go by what is within tunnels (IP in IP, GRE, ERSPAN, VXLAN, Geneve, GTP-U,
    Teredo). seed: 64 bits; two that have the same one send the same flows to the same
    targets; by default nobody knows it, so that nobody can choose where his flows go.
    Raises MemoryError.
    """

    def __init__(self, *, inner: bool = False, seed: int | None = None) -> None:
        seed = secrets.randbits(64) if seed is None else seed
        hasher = lib.flow_hasher_new(seed, inner)
        if not hasher:
            raise MemoryError
        self._hasher = ffi.gc(hasher, lib.flow_hasher_free)

    def flow(self, linktype: int, packet: Octets) -> int:
        """The number of a packet's flow, 64 bits."""
        octets = ffi.from_buffer("uint8_t[]", packet)
        return int(lib.flow_of(self._hasher, linktype, octets, len(packet)))

    def spread(
        self,
        linktype: int,
        records: Octets,
        segments: Sequence[int],
        targets: Sequence[int],
    ) -> list[Part]:
        """A part for each target, in their order.

        records: packet records that were found to be whole. segments: packets of each
        stretch of them, all together those that the records hold. targets: a number
        for each, up to 64 bits, which stands for it for good: 1 to TARGETS_MAX of them.
        Raises ValueError where these do not fit each other.
        """
        count = sum(segments)
        if len(targets) == 1:
            return [Part(records, tuple(segments))]
        chosen = ffi.new("uint16_t[]", count)
        lengths = ffi.new("uint64_t[]", len(targets))
        counts = ffi.new("uint32_t[]", len(targets) * len(segments))
        octets = ffi.from_buffer("uint8_t[]", records)
        failed = lib.flow_choose(
            self._hasher,
            linktype,
            octets,
            len(records),
            targets,
            len(targets),
            segments,
            len(segments),
            chosen,
            lengths,
            counts,
        )
        if failed:
            raise ValueError(
                f"{len(records)} octets are not the {count} records of "
                f"{len(segments)} segments, or {len(targets)} targets are none or "
                "too many"
            )
        kept = [_new("uint8_t[]", length) if length else None for length in lengths]
        given = ffi.unpack(counts, len(counts)) if len(counts) else []
        each = len(segments)
        if len(records) in tuple(lengths):
            made: list[Octets] = [records if length else b"" for length in lengths]
        else:
            outs = ffi.new("uint8_t *[]", [out or ffi.NULL for out in kept])
            lib.flow_part(octets, len(records), chosen, outs)
            made = [memoryview(ffi.buffer(out)) if out else b"" for out in kept]
        return [
            Part(part, tuple(given[at * each : (at + 1) * each]))
            for at, part in enumerate(made)
        ]


def flow_hash(
    linktype: int, packet: Octets, *, inner: bool = False, seed: int = 0
) -> int:
    """The number of a packet's flow by nothing but the packet, 64 bits: fragments go by
    their addresses, the first one too."""
    octets = ffi.from_buffer("uint8_t[]", packet)
    return int(lib.flow_hash(octets, len(packet), linktype, inner, seed))
