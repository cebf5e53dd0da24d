"""The only file that knows the time."""

import time

from pcap_zmq.packet import Instant
from pcap_zmq.units import NS_PER_MS, NS_PER_S

__all__ = ["NS_PER_MS", "NS_PER_S", "SystemClock", "utc_text"]


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Instant:
        """Both clocks, read together."""
        return Instant(mono_ns=time.monotonic_ns(), wall_ns=time.time_ns())


def utc_text(wall_ms: int) -> str:
    """As RFC 3339 has it: 2025-01-31T12:00:00.123Z."""
    seconds, ms = divmod(wall_ms, 1_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ms:03d}Z"
