"""How much to keep of each flow, or which flows, so that the rest fits a rate.

Theory of operation. Against the high watermark stand tokens, which come in at its rate.
Nothing is shed while no second brings more than the high watermark. When one does, the
goal is the rate at which the tokens stay where they are, at half of what can be saved
up: more while there are more left, less while there are less, nothing when they are
used up and everything when none is. So what passes in any time is bounded, whatever
comes, and no less passes than may, even where all that comes is tails.

What would pass under which limit is known from a profile: the octets of the last few
seconds by their place in their flow (or by their flow's number), as they came, taken as
shares of the present rate. The limit is where their sum reaches the goal: it goes down
as the load grows, bit by bit, and up again as it falls, and is none when all of it
fits.

        octets that came                      The first packets of flows are a part
       │▓▓                                    of their own: as many flows may begin as
       │▓▓▓▓                                  fit into half of the goal, or into what
       │▓▓▓▓▓▓▒▒                              those that go on leave. So a flood of
       │▓▓▓▓▓▓▒▒▒▒▒▒▒▒                        single packets costs those that go on no
       └──────┴──────────► place in the flow  more than half of it.
         kept  limit

A profile is kept from half of the high watermark on, so that those flows are known by
then that make most of the load. Below it there is no work on any packet.
"""

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pcap_zmq.policy.rate import SlidingRate
from pcap_zmq.units import NS_PER_MS, NS_PER_S

EVERYTHING = (1 << 64) - 1
"""As a limit: none. As the highest number of a flow: that of every one."""

TRACKED_ABOVE = 1 / 2
"""The part of the high watermark above which flows are followed. A flow that is not
known when too much comes has its next octets taken for its head, once."""

HYSTERESIS = 0.9
"""Shedding ends below this much of the high watermark."""

SAVED_S = 2
"""How much of the high watermark can be saved up; the goal leaves half of it."""

MEMORY_S = 3.0
"""What came so long ago counts for a third in the profile. Longer than the rate's
window: how much comes changes faster than what it consists of."""

PLANNED_NS = 50 * NS_PER_MS
"""How often there is a new plan, unless the tokens change by PLANNED_S before."""

PLANNED_S = 1 / 8
"""Of the high watermark."""

HALF = 0.5
"""Of the goal: for the beginnings of flows; and for those that go on."""

PLACES_A_POWER = 8


class How(enum.Enum):
    """What to drop when there is too much."""

    TAIL = "tail"
    FLOW = "flow"
    PACKET = "packet"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a batch."""

    limit: int = EVERYTHING
    """Octets of each flow that are kept."""
    admitted: int = EVERYTHING
    """The highest number of a flow that may begin."""


FOLLOW = Plan()
"""Keep all, and see what comes."""


class Profile:
    """How octets are shared among parts, those of longer ago counting less and less."""

    def __init__(self) -> None:
        self._parts: list[float] = []
        self._added_ns = 0

    def add(self, parts: Sequence[int], now_ns: int) -> None:
        """Came now, after what came before."""
        if not self._parts:
            self._parts = [0.0] * len(parts)
        left = math.exp(-max(0, now_ns - self._added_ns) / NS_PER_S / MEMORY_S)
        self._added_ns = max(now_ns, self._added_ns)
        self._parts = [
            old * left + new for old, new in zip(self._parts, parts, strict=True)
        ]

    def rates(self, rate: float) -> list[float]:
        """Each part's share of a rate; nothing where nothing is known."""
        total = sum(self._parts)
        return [part * rate / total for part in self._parts] if total else []


PlanMaker = Callable[[Sequence[float], float], Plan]
"""Of octets per second by part, and those that are to be left."""


class Shedding:
    """When to shed, and down to what rate. high_watermark: octets per second, above
    0."""

    def __init__(self, high_watermark: int) -> None:
        self._high = high_watermark
        self._rate = SlidingRate()
        self._tokens = float(high_watermark * SAVED_S)
        self._refilled_ns: int | None = None
        self._planned_ns: int | None = None
        self._planned_tokens = 0.0
        self._is_shedding = False
        self._profile = Profile()

    def arrive(self, nbytes: int, now_ns: int) -> bool:
        """So many octets come now; whether anybody needs to look at them."""
        self._refill(now_ns)
        self._rate.add(nbytes, now_ns)
        rate = self._rate.bytes_per_s(now_ns)
        was_shedding = self._is_shedding
        self._is_shedding = rate > self._high * (HYSTERESIS if was_shedding else 1)
        if self._is_shedding != was_shedding:
            self._planned_ns = None
        if rate > self._high * TRACKED_ABOVE:
            return True
        # What comes later has nothing to do with what came.
        self._profile = Profile()
        return False

    def is_plan_due(self, now_ns: int) -> bool:
        """Whether what is known is not what the last plan was made of."""
        return (
            self._planned_ns is None
            or now_ns >= self._planned_ns + PLANNED_NS
            or abs(self._tokens - self._planned_tokens) > self._high * PLANNED_S
        )

    def plan(self, make: PlanMaker, seen: Sequence[int], now_ns: int) -> Plan:
        """A new one. seen: octets by part, since the last one was made."""
        self._planned_ns, self._planned_tokens = now_ns, self._tokens
        self._profile.add(seen, now_ns)
        if not self._is_shedding:
            return FOLLOW
        return make(self._profile.rates(self._rate.bytes_per_s(now_ns)), self._goal())

    def _goal(self) -> float:
        """The high watermark while half of what can be saved up is there."""
        spent = self._high * SAVED_S - self._tokens
        if spent <= 0:
            return math.inf
        return max(0.0, self._high * self._tokens / spent)

    def keep(self, nbytes: int) -> None:
        """So much of it passes."""
        self._tokens -= nbytes

    def bytes_per_s(self, now_ns: int) -> float:
        """How fast packet records have been coming in."""
        return self._rate.bytes_per_s(now_ns)

    def _refill(self, now_ns: int) -> None:
        last_ns = now_ns if self._refilled_ns is None else self._refilled_ns
        self._refilled_ns = max(now_ns, last_ns)
        gained = self._high * (self._refilled_ns - last_ns) / NS_PER_S
        self._tokens = min(self._tokens + gained, self._high * SAVED_S)


def plan_heads(rates: Sequence[float], goal: float) -> Plan:
    """The longest heads that fit. rates: octets per second by place, as of
    `place_start`; first those of flows that begin."""
    if goal <= 0:
        return Plan(0, 0)
    if sum(rates) <= goal:
        return FOLLOW
    beginning, going_on = rates[0], [0.0, *rates[1:]]
    admitted = min(beginning, max(goal * HALF, goal - sum(going_on)))
    return Plan(
        limit=_limit(going_on, goal - admitted),
        admitted=share(admitted / beginning if beginning > 0 else 1),
    )


def plan_flows(rates: Sequence[float], goal: float) -> Plan:
    """As many flows as fit. rates: octets per second by the flow's number, in equal
    parts of all numbers."""
    if goal <= 0:
        return Plan(admitted=0)
    if sum(rates) <= goal:
        return FOLLOW
    kept = 0.0
    for part, rate in enumerate(rates):
        if kept + rate > goal:
            # What lies between two parts' borders is not known: of one flow, or many.
            return Plan(admitted=share((part + (goal - kept) / rate) / len(rates)))
        kept += rate
    return FOLLOW


def share(part: float) -> int:
    """The highest number of a flow when such a part of all flows may go on."""
    return max(0, min(EVERYTHING, int(part * EVERYTHING)))


def place_start(place: int) -> int:
    """Where in a flow a part of the profile begins, in octets: at 0, then eight parts
    for each power of two."""
    if place == 0:
        return 0
    power, eighth = divmod(place - 1, PLACES_A_POWER)
    return -(-(PLACES_A_POWER + eighth << power) // PLACES_A_POWER)


def _limit(rates: Sequence[float], goal: float) -> int:
    """Up to where the sum of what goes on reaches the goal; at least 1, so that what
    begins is not cut."""
    kept = 0.0
    for place, rate in enumerate(rates):
        if kept + rate > goal:
            start, end = place_start(place), place_start(place + 1)
            return max(1, start + int((end - start) * (goal - kept) / rate))
        kept += rate
    return EVERYTHING
