"""The values that flow: batches of packet records, and the time that they share."""

from dataclasses import dataclass
from typing import Any

Octets = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Instant:
    """One reading of both clocks; a whole turn of the loop shares it."""

    mono_ns: int
    """For deadlines, rates and ages; never steps."""
    wall_ns: int
    """Since the epoch; for names of moments that others shall understand."""


@dataclass(frozen=True, slots=True)
class Packet:
    """What one packet record holds."""

    ts_ns: int
    origlen: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Packets of one link type as packet records back to back: nanoseconds,
    little-endian. Whoever holds the batch, or this `records`, owns the octets, which
    nobody changes; who holds a slice only does not."""

    linktype: int
    records: Octets
    count: int
    receipt: Any = None
    """What the source wants back once the batch is written; the source's own."""


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """A batch as the wire carries it: the payload is its records, compressed where
    `codec` says so."""

    linktype: int
    count: int
    codec: int
    raw_length: int
    payload: Octets
    receipt: Any = None
