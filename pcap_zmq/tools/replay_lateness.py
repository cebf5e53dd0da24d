"""How late a replay is: told while it is, and as a histogram at its end."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch
from replay_ffi import Lateness, Schedule

logger = logging.getLogger(__name__)

LOOK_NS = NS_PER_S
"""How often to look whether it is late."""

WARN_NS = 100 * NS_PER_MS
"""Later than this is worth a warning: above what a busy machine does now and then."""

DECADES_NS = tuple(1_000 * 10**power for power in range(8))
"""The histogram's steps for people: 1 us to 10 s."""


class Punctuality:
    """Warns while packets go late. behind_ns: how late the next one is that waits for
    the output; where nothing is late, nothing is said."""

    def __init__(
        self, schedule: Schedule, behind_ns: Callable[[Instant], int], started: Instant
    ) -> None:
        self._schedule = schedule
        self._behind_ns = behind_ns
        self._look_ns = started.mono_ns + LOOK_NS
        self._packets = self._sum_ns = 0
        self._is_late = False

    def serve(self, now: Instant) -> None:
        """Looks when it is time."""
        if now.mono_ns < self._look_ns:
            return
        self._look_ns = now.mono_ns + LOOK_NS
        late_ns = max(self._mean_ns(), self._behind_ns(now))
        if late_ns > WARN_NS:
            self._is_late = True
            logger.warning(
                "packets go %s late: the output, or this machine, is too slow for the "
                "pace; give a lower one (--speed, --fit, --pps, --mbps)",
                describe_ns(late_ns),
            )
        elif self._is_late:
            self._is_late = False
            logger.info("packets go in time again")

    def watch(self) -> Iterable[Watch]:
        """Nothing but time gives it a turn."""
        return ()

    def due(self) -> int | None:
        """When it looks again."""
        return self._look_ns

    def _mean_ns(self) -> int:
        """Of those that went since it was asked last."""
        packets, sum_ns = self._schedule.delays
        more, more_ns = packets - self._packets, sum_ns - self._sum_ns
        self._packets, self._sum_ns = packets, sum_ns
        return more_ns // more if more else 0


class Told(dict[str, Any]):
    """Numbers for machines, and a text for people."""

    def __init__(self, numbers: dict[str, Any], text: str) -> None:
        super().__init__(numbers)
        self._text = text

    def __str__(self) -> str:
        return self._text


def tell(lateness: Lateness) -> Told:
    """The histogram in full, and by powers of ten."""
    numbers = {
        "packets": lateness.packets,
        "late": lateness.late,
        "bound_ns": lateness.bound_ns,
        "mean_ns": lateness.mean_ns,
        "p50_ns": lateness.p50_ns,
        "p99_ns": lateness.p99_ns,
        "max_ns": lateness.max_ns,
        "histogram": [list(bucket) for bucket in lateness.buckets],
    }
    if not lateness.packets:
        return Told(numbers, "of none")
    text = (
        f"half {describe_ns(lateness.p50_ns)}, 99 % {describe_ns(lateness.p99_ns)}, "
        f"most {describe_ns(lateness.max_ns)}, beyond "
        f"{describe_ns(lateness.bound_ns)} {lateness.late} packets "
        f"({', '.join(_steps(lateness))})"
    )
    return Told(numbers, text)


def _steps(lateness: Lateness) -> Iterable[str]:
    """How many packets were late by no more than each power of ten."""
    rest = list(lateness.buckets)
    for step_ns in DECADES_NS:
        count = 0
        while rest and rest[0][0] <= step_ns:
            count += rest.pop(0)[1]
        if count:
            yield f"up to {describe_ns(step_ns)} {count}"
    if rest:
        yield f"more {sum(count for _, count in rest)}"


def describe_ns(nanoseconds: int) -> str:
    """In the unit that people would take, to three digits."""
    for unit, size in (("s", NS_PER_S), ("ms", NS_PER_MS), ("us", 1_000)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g}{unit}"
    return f"{nanoseconds}ns"


class Seconds(float):
    """A number for machines, and for people one with its unit."""

    def __str__(self) -> str:
        return f"{float(self):.3f}s"


def rate(packets: int, octets: int, seconds: float) -> Told:
    """How much went in this time, which is more than none."""
    per_s = packets / seconds
    megabits = octets * 8 / 1_000_000 / seconds
    return Told(
        {"packets_per_s": per_s, "megabits_per_s": megabits},
        f"{per_s:.0f} packets/s {megabits:.2f} Mbit/s",
    )
