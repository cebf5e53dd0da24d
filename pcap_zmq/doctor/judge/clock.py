"""Whether packet times will mean anything beside other hosts' and the receiver's.

Specification: adjtimex(2).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, unknown, warning
from pcap_zmq.units import NS_PER_MS

CHECK = "clock"

APART_NS = 500 * NS_PER_MS
"""An IDS takes packet times for its clock: beyond this, flows of two gateways that
belong together are judged in the wrong order."""


@dataclass(frozen=True, slots=True)
class Clock:
    """is_synchronized: by the kernel's own account; None: it could not be asked.
    error_us: how wrong it may be at most, by the same account."""

    is_synchronized: bool | None
    error_us: int = 0


@dataclass(frozen=True, slots=True)
class Offset:
    """How far the receiver's clock is ahead of ours, and how far that may be wrong."""

    endpoint: str
    ahead_ns: int
    uncertain_ns: int


def judge(clock: Clock) -> Iterator[Finding]:
    """Of this host alone."""
    if clock.is_synchronized is None:
        yield unknown(CHECK, "the kernel does not say whether it is synchronized")
    elif clock.is_synchronized:
        yield ok(CHECK, f"synchronized, within {clock.error_us / 1000:.0f} ms")
    else:
        yield warning(
            CHECK,
            "not synchronized: packet times may be anything",
            "run chrony, systemd-timesyncd or ntpd, and wait until it has synchronized",
        )


def judge_offset(offset: Offset) -> Iterator[Finding]:
    """Beside the receiver."""
    apart_ns = abs(offset.ahead_ns)
    ahead = "ahead of" if offset.ahead_ns > 0 else "behind"
    within = f"(within {offset.uncertain_ns / NS_PER_MS:.0f} ms)"
    if apart_ns <= offset.uncertain_ns:
        yield ok(CHECK, f"the clock at {offset.endpoint} shows the same {within}")
        return
    text = (
        f"the clock at {offset.endpoint} is {apart_ns / NS_PER_MS:.0f} ms {ahead} "
        f"this one {within}"
    )
    if apart_ns - offset.uncertain_ns > APART_NS:
        yield warning(
            CHECK, text, "synchronize both: an IDS takes packet times for its clock"
        )
    else:
        yield ok(CHECK, text)
