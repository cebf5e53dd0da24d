"""How far a sender's clock is from ours: both halves of what is said about it.

Specification: docs/wire.md, "Clocks"; docs/order.md.

Theory of operation. The receiver says a moment of its monotonic clock; the sender says
it again in its next heartbeat, with how long it has had it and what its own clock is.
So the receiver knows how long both ways took together, whatever either clock shows:

    receiver   said ─────╮                          ╭──► heard
                         │ there               back │
    sender               ╰──► came ── waited ── says╯      its clock: wall

The sender's clock showed `wall` at a moment between heard - trip and heard, where trip
is what both ways took. That is a bound, not an estimate: it holds however unequal the
ways are. Of the last exchanges each gives one, wider by what clocks drift since; what
they have in common holds, too, and its middle is the estimate. A quick exchange
narrows it, a slow one does no harm. Where they have nothing in common the clock has
been set meanwhile: then only the last one counts.

All is reckoned against the receiver's monotonic clock, so that nobody's packets move
when the receiver's own clock is set.
"""

from collections import deque
from typing import NamedTuple

from pcap_zmq.formats.wire import Clocks
from pcap_zmq.packet import Instant

EXCHANGES = 8
"""So many are remembered."""

DRIFT_PPM = 500
"""What clocks drift apart at most, in millionths: as fast as the kernel lets NTP slew
one (adjtimex(2))."""

QUICK_EXCHANGES = 4
"""The first of a connection follow each other soon: a sender's clock is known at
once."""

QUICK_NS = 100_000_000
CLOCK_NS = 4_000_000_000
"""A sender that has batches to send, and so says no heartbeat, says one for its clock
this often."""

WRONG_NS = 500_000_000
"""A clock that is off by more is worth a warning: no time service is that bad, and an
IDS takes packet times for its clock."""

_GRAIN_NS = 1_000
"""Clocks are not read in the moment in which a message goes."""

_MOMENT_MAX = (1 << 64) - 1


class SenderClock:
    """The sender's half, for one connection after the other."""

    def __init__(self) -> None:
        self.is_waiting = False
        """For the receiver's moment, which is worth being taken at once."""
        self._echo_ns = 0
        self._heard_ns = 0
        self._told_ns: int | None = None
        self._exchanges = 0

    def connected(self) -> None:
        """There may be another receiver at the other end."""
        self.is_waiting = False
        self._echo_ns = 0
        self._told_ns = None
        self._exchanges = 0

    def tell(self, now: Instant) -> Clocks:
        """What the heartbeat says that goes now."""
        self._told_ns = now.mono_ns
        self._exchanges += 1
        self.is_waiting = True
        waited_ns = now.mono_ns - self._heard_ns if self._echo_ns else 0
        wall_ns = min(max(0, now.wall_ns), _MOMENT_MAX)
        return Clocks(wall_ns, self._echo_ns, max(0, waited_ns))

    def hear(self, clock_ns: int, now: Instant) -> None:
        """The receiver's moment came."""
        self.is_waiting = False
        self._echo_ns, self._heard_ns = clock_ns, now.mono_ns

    def due(self) -> int:
        """When the next heartbeat for it is (mono_ns)."""
        if self._told_ns is None:
            return 0
        is_new = self._exchanges <= QUICK_EXCHANGES
        return self._told_ns + (QUICK_NS if is_new else CLOCK_NS)


class _Bounds(NamedTuple):
    """What one exchange says of the sender's clock when our monotonic one was 0."""

    at_ns: int
    low_ns: int
    high_ns: int


class ClockOffset:
    """The receiver's half, for one run of one sender."""

    __slots__ = ("_bounds", "_is_wrong", "_narrowed", "_said_ns", "jumps")

    def __init__(self) -> None:
        self.jumps = 0
        """Times that the sender's clock was set."""
        self._said_ns = 0
        self._bounds: deque[_Bounds] = deque(maxlen=EXCHANGES)
        self._narrowed: _Bounds | None = None
        self._is_wrong = False

    @property
    def epoch_ns(self) -> int | None:
        """What the sender's clock showed when our monotonic one was 0; None as long as
        it is not known. A time by its clock less this is a time by ours."""
        found = self._narrowed
        return None if found is None else (found.low_ns + found.high_ns) // 2

    def offset_ns(self, now: Instant) -> int | None:
        """How far it is ahead of our clock; below 0: behind."""
        epoch_ns = self.epoch_ns
        if epoch_ns is None:
            return None
        # What somebody says his clock is, less ours, is no more than it.
        offset_ns = epoch_ns - (now.wall_ns - now.mono_ns)
        return min(max(-_MOMENT_MAX, offset_ns), _MOMENT_MAX)

    def error_ns(self, now: Instant) -> int | None:
        """The offset is known to so much in either direction."""
        found = self._narrowed
        if found is None:
            return None
        drift_ns = _drift_ns(now.mono_ns - found.at_ns)
        return (found.high_ns - found.low_ns + 1) // 2 + drift_ns

    def epoch_to_order_by(self, now: Instant) -> int | None:
        """The epoch that puts its packets among those of others. A clock that may well
        be right is taken as right: two that NTP keeps are nearer to each other than
        what can be known of them here. Only where it is certain that the measured one
        is nearer the truth is that taken."""
        offset_ns, error_ns = self.offset_ns(now), self.error_ns(now)
        if offset_ns is None or error_ns is None:
            return None
        if abs(offset_ns) > 2 * error_ns:
            return self.epoch_ns
        return now.wall_ns - now.mono_ns

    def said(self, clock_ns: int) -> None:
        """This moment was said to the sender, who is to say it again."""
        self._said_ns = clock_ns

    def compare(self, clocks: Clocks, now_ns: int) -> None:
        """A heartbeat came now. An echo of what was not said last tells nothing."""
        if not clocks.echo_ns or clocks.echo_ns != self._said_ns:
            return
        trip_ns = now_ns - clocks.echo_ns - clocks.waited_ns
        if trip_ns < 0:
            return
        first_ns = clocks.wall_ns - now_ns
        bounds = _Bounds(now_ns, first_ns - _GRAIN_NS, first_ns + trip_ns + _GRAIN_NS)
        self._bounds.append(bounds)
        found = self._common(now_ns)
        if found is None:
            self.jumps += 1
            self._bounds.clear()
            self._bounds.append(bounds)
            found = bounds
        self._narrowed = found

    def turns_wrong(self, now: Instant) -> bool:
        """Whether it is off by more than any time service leaves it, for certain, and
        was not when this was asked last."""
        offset_ns, error_ns = self.offset_ns(now), self.error_ns(now)
        if offset_ns is None or error_ns is None:
            return False
        was_wrong = self._is_wrong
        self._is_wrong = is_wrong(offset_ns, error_ns)
        return self._is_wrong and not was_wrong

    def _common(self, now_ns: int) -> _Bounds | None:
        drifts = [_drift_ns(now_ns - bounds.at_ns) for bounds in self._bounds]
        pairs = list(zip(self._bounds, drifts, strict=True))
        low_ns = max(bounds.low_ns - drift_ns for bounds, drift_ns in pairs)
        high_ns = min(bounds.high_ns + drift_ns for bounds, drift_ns in pairs)
        return _Bounds(now_ns, low_ns, high_ns) if low_ns <= high_ns else None


def is_wrong(offset_ns: int, error_ns: int) -> bool:
    """Whether a clock is off by more than is usual, for certain."""
    return abs(offset_ns) - error_ns > WRONG_NS


def describe_offset(offset_ns: int) -> str:
    """In a unit that a person reads: +0.3ms, -12s, +2h."""
    sign, size = "-" if offset_ns < 0 else "+", abs(offset_ns)
    if size < 100_000_000:
        return f"{sign}{size / 1_000_000:.1f}ms"
    if size < 100_000_000_000:
        return f"{sign}{size / 1_000_000_000:.1f}s"
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if size >= 2 * seconds * 1_000_000_000:
            return f"{sign}{size / (seconds * 1_000_000_000):.1f}{unit}"
    return f"{sign}{size / 1_000_000_000:.0f}s"


def _drift_ns(passed_ns: int) -> int:
    return max(0, passed_ns) * DRIFT_PPM // 1_000_000
