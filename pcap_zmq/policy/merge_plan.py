"""What of many capture files is asked for, in which order, and how often."""

import enum
from dataclasses import dataclass, replace

from pcap_zmq.units import NS_PER_S

TIME_MAX_NS = (1 << 32) * NS_PER_S - 1
"""A packet record has 32 bits for the seconds."""

LONE_GAP_NS = NS_PER_S
"""Between one time through and the next, where no time passes in it."""


class Order(enum.Enum):
    """What becomes of packets that are earlier than one before them in their file."""

    KEPT = "kept"
    """They stay where they are; the stream goes back in time there."""
    SORTED = "sorted"
    """They go where they belong, as far as what is read ahead reaches."""
    SKIPPED = "skipped"
    """They are left out: no file goes back in time."""


@dataclass(frozen=True, slots=True)
class MergePlan:
    """from_ns, until_ns: packets with from_ns <= time < until_ns, exactly; None: no
    bound. loops: how often all of it; 0: for ever. Each time is moved on by the period
    of the whole. skip: so many packets of the merged stream are left out at its
    beginning, since an earlier run has sent them. together: every file begins when the
    earliest does; without bounds."""

    order: Order = Order.KEPT
    from_ns: int | None = None
    until_ns: int | None = None
    loops: int = 1
    skip: int = 0
    together: bool = False

    def takes_all(self, first_ns: int, last_ns: int) -> bool:
        """Of packets between these times, themselves included."""
        return (self.from_ns is None or self.from_ns <= first_ns) and (
            self.until_ns is None or last_ns < self.until_ns
        )

    def takes_none(self, first_ns: int, last_ns: int) -> bool:
        """Likewise."""
        return (self.from_ns is not None and last_ns < self.from_ns) or (
            self.until_ns is not None and self.until_ns <= first_ns
        )


@dataclass(frozen=True, slots=True)
class Extent:
    """What all of it comes to, once through. octets: captured. Times are the earliest
    and the latest; 0 without packets."""

    packets: int = 0
    octets: int = 0
    octets_on_wire: int = 0
    first_ns: int = 0
    last_ns: int = 0

    @property
    def duration_ns(self) -> int:
        """From the first packet to the last one."""
        return self.last_ns - self.first_ns

    @property
    def period_ns(self) -> int:
        """By which a loop moves on: the duration, and one mean gap."""
        if not self.duration_ns:
            return LONE_GAP_NS
        return self.duration_ns + max(1, self.duration_ns // max(1, self.packets - 1))

    def moved_ns(self, turn: int) -> int:
        """By how much in this turn, from 0 on. Where packet records cannot hold the
        times any more, they begin again."""
        turns = (TIME_MAX_NS - self.last_ns) // self.period_ns + 1
        return turn % turns * self.period_ns

    def shifted(self, by_ns: int) -> "Extent":
        """The same at another time."""
        if not self.packets:
            return self
        first_ns, last_ns = self.first_ns + by_ns, self.last_ns + by_ns
        return replace(self, first_ns=max(0, first_ns), last_ns=last_ns)

    def plus(self, other: "Extent") -> "Extent":
        """Both together."""
        if not self.packets or not other.packets:
            return self if self.packets else other
        return Extent(
            self.packets + other.packets,
            self.octets + other.octets,
            self.octets_on_wire + other.octets_on_wire,
            min(self.first_ns, other.first_ns),
            max(self.last_ns, other.last_ns),
        )
