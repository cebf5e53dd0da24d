"""Capture files as they come, a piece at a time: pcap or pcapng in, records out."""

import enum
from dataclasses import dataclass

from pcap_ffi._pcap import ffi, lib
from pcap_ffi.filter import Filter

Octets = bytes | bytearray | memoryview

NEEDS_MAX: int = lib.CAPTURE_NEEDS_MAX
"""Octets that always get a reader on, where so many are left."""


class CaptureError(ValueError):
    """These octets are of no capture; `at` is where in the file they begin."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(f"{reason}, at octet {at:,}")
        self.reason = reason
        self.at = at


class Paused(enum.Enum):
    """Why a read came back."""

    WANTS = lib.CAPTURE_WANTS
    """It has taken what was whole, and wants more."""
    FULL = lib.CAPTURE_FULL
    """The next packet does not fit into what is left of the buffer."""
    TURNS = lib.CAPTURE_TURNS
    """The next packet has another link type."""
    BROKEN = lib.CAPTURE_BROKEN
    """What comes next makes no sense: another read raises."""


_PAUSED = {paused.value: paused for paused in Paused}


@dataclass(frozen=True, slots=True)
class Rates:
    """How much passed when, in equal spans of time from `start_ns` on; what has an
    earlier time counts to the first."""

    start_ns: int
    span_ns: int
    packets: tuple[int, ...]
    octets: tuple[int, ...]
    """On the wire."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What passed. Times are since the epoch; 0 where no packet did."""

    packets: int
    octets: int
    """Captured."""
    octets_on_wire: int
    truncated: int
    """Packets of which less was captured."""
    backwards: int
    """Packets that are before the one before them."""
    without_time: int
    """Packets without a time of their own."""
    first_ns: int
    last_ns: int
    """The earliest and the latest."""
    interfaces: int
    snaplen: int
    """The largest; 0: none is given."""
    largest: int
    """Octets captured of the largest packet."""


class Capture:
    """The reader of one file, from its first octet on. has_rates: whether `rates` shall
    be counted."""

    def __init__(self, *, has_rates: bool = False) -> None:
        self._c = ffi.gc(lib.capture_new(), lib.capture_free)
        if not self._c:
            raise MemoryError
        # 8 KiB: not where many files are open, and nobody asks.
        self._rates = ffi.new("struct capture_rates *") if has_rates else ffi.NULL
        self._c.rates = self._rates
        self._numbers = ffi.new("size_t[2]")
        self._count = ffi.new("uint32_t *")

    def choose(self, chosen: Filter, linktype: int) -> None:
        """From now on packets of this link type are read only where the filter takes
        them; those of others all. The others count in `sums`, too."""
        self._chosen = chosen
        self._c.filter = chosen.c
        self._c.filter_linktype = linktype

    @property
    def passed_over(self) -> int:
        """Packets that were not chosen."""
        return int(self._c.passed_over)

    @property
    def kind(self) -> str:
        """pcap or pcapng; "" until its first octets came."""
        return ("", "pcap", "pcapng")[self._c.kind]

    @property
    def linktype(self) -> int | None:
        """Of the packets that were read last; before the first, of the first interface.
        None: not known yet."""
        c = self._c
        if c.sums.packets or (c.kind == lib.CAPTURE_PCAP and c.interfaces_count):
            return int(c.linktype)
        return int(c.interfaces[0].linktype) if c.interfaces_count else None

    @property
    def at(self) -> int:
        """Octets of the file that were taken."""
        return int(self._c.at)

    @property
    def is_torn(self) -> bool:
        """The file shall not end here: something has begun and is not whole. True also
        where octets are left that `read` did not take."""
        return bool(self._c.to_skip) or not self._c.kind

    @property
    def sums(self) -> Sums:
        """What passed so far."""
        c = self._c.sums
        return Sums(
            c.packets,
            c.octets,
            c.octets_on_wire,
            c.truncated,
            c.backwards,
            c.without_time,
            c.first_ns,
            c.last_ns,
            c.interfaces,
            c.snaplen,
            self._c.largest,
        )

    @property
    def rates(self) -> Rates:
        """Of what passed so far, where they were asked for."""
        c = self._rates
        if not c:
            return Rates(0, 0, (), ())
        packets = ffi.unpack(c.packets, c.used) if c.used else ()
        octets = ffi.unpack(c.octets, c.used) if c.used else ()
        return Rates(c.start_ns, c.span_ns, tuple(packets), tuple(octets))

    def read(
        self, octets: Octets, out: memoryview | None, *, goes_on: bool = False
    ) -> tuple[int, int, int, Paused]:
        """Makes records, of one link type, of what is whole of the next octets: how
        many were taken, how many octets of `out` are used, packets, and why it came
        back. out: None only sums up. goes_on: of the link type that was read last. What
        was not taken is to be given again. Raises CaptureError where what comes first
        makes no sense."""
        taken, used = self._numbers, self._numbers + 1
        status = lib.capture_read(
            self._c,
            ffi.from_buffer("uint8_t[]", octets),
            len(octets),
            taken,
            ffi.NULL
            if out is None
            else ffi.from_buffer("uint8_t[]", out, require_writable=True),
            0 if out is None else len(out),
            used,
            self._count,
            goes_on,
        )
        if status == lib.CAPTURE_NO_MEMORY:
            raise MemoryError
        if status == lib.CAPTURE_BROKEN and not taken[0]:
            reason = ffi.string(self._c.reason).decode()
            raise CaptureError(reason, self.at)
        return taken[0], used[0], self._count[0], _PAUSED[status]
