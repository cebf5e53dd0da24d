"""The only file that knows the time."""

import re
import time

from pcap_zmq.packet import Instant
from pcap_zmq.units import NS_PER_MS, NS_PER_S

__all__ = [
    "NS_PER_MS",
    "NS_PER_S",
    "SystemClock",
    "utc_format",
    "utc_ns",
    "utc_ns_text",
    "utc_text",
]


_FRACTION = re.compile(r"(?<=:\d\d)[.,](\d{1,9})(?!\d)")
"""Of a second."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Instant:
        """Both clocks, read together."""
        return Instant(mono_ns=time.monotonic_ns(), wall_ns=time.time_ns())


def utc_text(wall_ms: int) -> str:
    """As RFC 3339 has it: 2025-01-31T12:00:00.123Z."""
    seconds, ms = divmod(wall_ms, 1_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ms:03d}Z"


def utc_format(pattern: str, wall_ns: int) -> str:
    """The moment as strftime(3) writes it, in UTC."""
    seconds = wall_ns // NS_PER_S
    # Its own %s would take the time for a local one.
    pattern = re.sub(
        "%.", lambda found: str(seconds) if found[0] == "%s" else found[0], pattern
    )
    return time.strftime(pattern, time.gmtime(seconds))


def utc_ns_text(wall_ns: int) -> str:
    """As RFC 3339 has it, to the nanosecond: 2025-01-31T12:00:00.000000001Z."""
    seconds, ns = divmod(wall_ns, NS_PER_S)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ns:09d}Z"


def utc_ns(text: str) -> int:
    """The moment that RFC 3339 so writes, or "@" and seconds since the epoch, in
    nanoseconds since the epoch; without a zone in UTC. Raises ValueError."""
    # Here, since hardly anybody asks.
    from datetime import UTC, datetime
    from decimal import Decimal, InvalidOperation

    if text.startswith("@"):
        try:
            return int(Decimal(text[1:]) * NS_PER_S)
        except (InvalidOperation, OverflowError) as error:
            raise ValueError(f"{text!r} is no moment") from error
    # Its own fractions end at microseconds.
    fraction = _FRACTION.search(text)
    moment = datetime.fromisoformat(_FRACTION.sub("", text))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime.fromtimestamp(0, UTC)
    seconds = since.days * 86_400 + since.seconds
    return seconds * NS_PER_S + (int(fraction[1].ljust(9, "0")) if fraction else 0)
