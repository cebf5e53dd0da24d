"""The only file that knows the time."""

import time

from pcap_zmq.packet import Instant

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Instant:
        """Both clocks, read together."""
        return Instant(mono_ns=time.monotonic_ns(), wall_ns=time.time_ns())
