"""When each packet of a replay is due, from one start on, and how late each one was.

Records are of pcap-savefile(5), nanoseconds and little-endian.
"""

from dataclasses import dataclass
from typing import Any

from replay_ffi._replay import ffi, lib

Octets = bytes | bytearray | memoryview

LATE_NS = 1_000_000
"""Beyond this a packet counts as late, unless told otherwise."""

BITS_PER_MEGABIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What of some records is due."""

    length: int
    """Octets of these records: they are the first ones."""
    count: int
    octets: int
    """Of their packets, without record headers."""
    next_ns: int | None
    """When the packet after them is due; None: there is none among these records."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """How much later than they were due packets went, in nanoseconds."""

    packets: int
    late: int
    """Of them, those beyond the bound."""
    bound_ns: int
    mean_ns: int
    p50_ns: int
    """Half of the packets were at most so late; exact to a sixteenth, never below."""
    p99_ns: int
    max_ns: int
    """Exact."""
    buckets: tuple[tuple[int, int], ...]
    """The longest delay that each counts and how many packets, from the shortest on;
    without those that are empty."""


class Schedule:
    """Every packet's moment on the monotonic clock, all reckoned from one start: what
    one comes too late is never added to the next. Made by one of the class methods. It
    begins with the first packet, unless `begin` was called.

    One of us follows it: who calls `take`, or an `InterfaceSender` in C, whose thread
    moves it on while others may look at `lateness`.
    """

    def __init__(self, kind: int, pace: float, late_ns: int) -> None:
        self._schedule = ffi.new("struct schedule *", {"kind": kind, "pace": pace})
        self._schedule.lateness.bound_ns = late_ns
        self._due = ffi.new("struct schedule_due *")

    @classmethod
    def at_times(cls, speed: float = 1.0, *, late_ns: int = LATE_NS) -> "Schedule":
        """As far apart as they were captured, so many times faster; slower below 1.
        What goes back in time is due with the packet before it."""
        return cls(lib.SCHEDULE_AT_TIMES, _positive(speed, "speed"), late_ns)

    @classmethod
    def packets_per_second(cls, pps: float, *, late_ns: int = LATE_NS) -> "Schedule":
        """At equal distances."""
        return cls(lib.SCHEDULE_PACKETS, _positive(pps, "pps"), late_ns)

    @classmethod
    def megabits_per_second(cls, mbps: float, *, late_ns: int = LATE_NS) -> "Schedule":
        """So many millions of bits of packets as they are captured, link header
        included; without preamble, checksum and gap of Ethernet. tcpreplay counts the
        same. A packet is due when those before it have taken their time."""
        octets_per_s = _positive(mbps, "mbps") * BITS_PER_MEGABIT / 8
        return cls(lib.SCHEDULE_OCTETS, octets_per_s, late_ns)

    @classmethod
    def top_speed(cls) -> "Schedule":
        """Everything is due at once; nothing is ever late."""
        return cls(lib.SCHEDULE_TOP, 1.0, 0)

    def hasten(self, factor: float) -> None:
        """All distances become so many times shorter; before it has begun: for a pace
        that is known only once the files were looked through."""
        self._schedule.pace *= _positive(factor, "factor")

    def begin(self, start_ns: int, epoch_ns: int) -> None:
        """A packet of time `epoch_ns` is due at `start_ns` of the monotonic clock."""
        lib.schedule_begin(self._schedule, start_ns, epoch_ns)

    def take(self, records: Octets, now_ns: int) -> Taken:
        """What of these is due by `now_ns`: they pass, and how late they are is
        counted. To be called with the rest of the records, at `next_ns`. Takes only
        octets that `pcap_ffi.count_records` has passed."""
        view = ffi.from_buffer("uint8_t[]", records)
        lib.schedule_take(self._schedule, view, len(records), now_ns, self._due)
        due = self._due
        is_all = due.length == len(records)
        next_ns = None if is_all else int(due.next_ns)
        return Taken(int(due.length), int(due.count), int(due.octets), next_ns)

    def shift(self, by_ns: int) -> None:
        """What is left is due so much later: for a time in which nothing could go.
        Nobody is late by it, and nothing is caught up in a burst."""
        lib.schedule_shift(self._schedule, by_ns)

    @property
    def is_top_speed(self) -> bool:
        """Nothing is ever due later than now."""
        return bool(self._schedule.kind == lib.SCHEDULE_TOP)

    @property
    def start_ns(self) -> int | None:
        """When it began, on the monotonic clock; None: not yet."""
        return int(self._schedule.start_ns) if self._schedule.is_begun else None

    @property
    def packets(self) -> int:
        """So many have passed."""
        return int(self._schedule.place.packets)

    @property
    def octets(self) -> int:
        """Of these packets, without record headers."""
        return int(self._schedule.place.octets)

    @property
    def delays(self) -> tuple[int, int]:
        """Packets that had a moment to be late for, and all their delays together in
        nanoseconds: what a histogram need not be made for."""
        found = self._schedule.lateness
        return int(found.packets), int(found.sum_ns)

    @property
    def lateness(self) -> Lateness:
        """Of the packets that have passed; of none at top speed."""
        found = self._schedule.lateness
        counts = ffi.unpack(found.buckets, lib.LATENESS_BUCKETS)
        buckets = tuple(
            (int(lib.lateness_bound(number)), count)
            for number, count in enumerate(counts)
            if count
        )
        # Another thread may be counting: what is in the buckets is what is told of.
        packets = sum(count for _, count in buckets)
        max_ns = int(found.max_ns)
        return Lateness(
            packets,
            int(found.late),
            int(found.bound_ns),
            int(found.sum_ns) // max(1, packets),
            min(max_ns, _percentile(buckets, packets, 50)),
            min(max_ns, _percentile(buckets, packets, 99)),
            max_ns,
            buckets,
        )

    @property
    def pointer(self) -> Any:
        """For C that follows it; owned by this."""
        return self._schedule


def _percentile(
    buckets: tuple[tuple[int, int], ...], packets: int, percent: int
) -> int:
    """The bound below or at which so many percent of the packets lie; 0 for none."""
    wanted = -(-packets * percent // 100)
    for bound_ns, count in buckets:
        wanted -= count
        if wanted <= 0:
            return bound_ns
    return 0


def _positive(number: float, name: str) -> float:
    if not 0 < number < float("inf"):
        raise ValueError(f"{name} has to be above 0, not {number}")
    return float(number)
