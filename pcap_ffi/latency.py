"""How old packets are when they are looked at, as a histogram.

Specification: pcap-savefile(5), little-endian.
"""

from collections.abc import Sequence

from pcap_ffi._pcap import ffi, lib
from pcap_ffi.records import Octets


class LatencyHistogram:
    """Buckets of ages with these upper bounds (nanoseconds, ascending) and one for all
    above. nanoseconds: False where the sub-second field of the records counts
    microseconds."""

    def __init__(self, bounds_ns: Sequence[int], *, nanoseconds: bool = True) -> None:
        # What C points at is kept alive here.
        self._bounds = ffi.new("int64_t[]", list(bounds_ns))
        self._counts = ffi.new("uint64_t[]", len(bounds_ns) + 1)
        self._latency = ffi.new("struct latency *", {"counts": self._counts})
        self._bounds_count = len(bounds_ns)
        self._unit_ns = 1 if nanoseconds else 1_000

    def observe(self, records: Octets, now_ns: int) -> None:
        """Counts every packet by its age at `now_ns` (since the epoch). Takes only
        octets that `count_records` has passed."""
        lib.latency_observe(
            self._latency,
            self._bounds,
            self._bounds_count,
            ffi.from_buffer("uint8_t[]", records),
            len(records),
            now_ns,
            self._unit_ns,
        )

    @property
    def counts(self) -> list[int]:
        """Packets in each bucket, the one above all bounds last."""
        return list(self._counts)

    @property
    def sum_s(self) -> float:
        """All ages together, in seconds."""
        return float(self._latency.sum_s)

    @property
    def ahead(self) -> int:
        """Packets stamped later than the moment at which they were looked at: counted
        with age 0."""
        return int(self._latency.ahead)
