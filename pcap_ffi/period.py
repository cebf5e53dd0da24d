"""The packets of a period out of a file's, in place: which go back in time, and all of
them moved on.

Specification: pcap-savefile(5), nanoseconds and little-endian.
"""

from pcap_ffi._pcap import ffi, lib
from pcap_ffi.merge import ALL, Octets


class Period:
    """from_ns, until_ns: what from_ns <= time < until_ns is kept; None: no bound.
    moved_ns: is added to the times, which have to stay within what a record holds.
    only_forward: leave out packets that are before one that was kept before them.

    Knows of a file as much as passed: one for each."""

    def __init__(
        self,
        from_ns: int | None = None,
        until_ns: int | None = None,
        *,
        moved_ns: int = 0,
        only_forward: bool = False,
    ) -> None:
        self._c = ffi.new("struct period *")
        # Whoever says it need not know how far a record's times go.
        self._c.from_ns = -ALL if from_ns is None else min(max(-ALL, from_ns), ALL)
        self._c.until_ns = ALL if until_ns is None else min(max(-ALL, until_ns), ALL)
        self._c.moved_ns = moved_ns
        self._c.only_forward = only_forward
        self._c.first_ns = ALL
        self._c.newest_ns = -ALL - 1

    @property
    def kept(self) -> int:
        """Packets so far."""
        return int(self._c.kept)

    @property
    def first_ns(self) -> int | None:
        """The earliest of them, not moved; None: there are none."""
        return int(self._c.first_ns) if self._c.kept else None

    @property
    def newest_ns(self) -> int | None:
        """The latest of them, not moved; None: there are none."""
        return int(self._c.newest_ns) if self._c.kept else None

    @property
    def octets(self) -> int:
        """Captured, of them."""
        return int(self._c.octets)

    @property
    def octets_on_wire(self) -> int:
        """Likewise."""
        return int(self._c.octets_on_wire)

    @property
    def packets(self) -> int:
        """That the last call kept."""
        return int(self._c.packets)

    @property
    def before(self) -> int:
        """That the last call found too early."""
        return int(self._c.before)

    @property
    def beyond(self) -> int:
        """That it found too late."""
        return int(self._c.beyond)

    @property
    def backwards(self) -> int:
        """That it found before one that was kept before them."""
        return int(self._c.backwards)

    @property
    def skipped(self) -> int:
        """Of these, those that it left out."""
        return int(self._c.skipped)

    def count(self, records: Octets) -> None:
        """Counts as `keep` does, and changes nothing: for a period without bounds, that
        keeps all as it is."""
        c = self._c
        if (c.from_ns, c.until_ns, c.moved_ns) != (-ALL, ALL, 0) or c.only_forward:
            raise ValueError("such a period changes what it counts")
        lib.records_period(ffi.from_buffer("uint8_t[]", records), len(records), c)

    def keep(self, records: bytearray | memoryview) -> int:
        """Returns the octets that are left of them. Takes only octets that
        `count_records` has passed."""
        octets = ffi.from_buffer("uint8_t[]", records, require_writable=True)
        return int(lib.records_period(octets, len(records), self._c))
