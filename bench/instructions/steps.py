"""A clock that goes on by a step whenever it is read, however long anything takes."""

from __future__ import annotations

from pcap_zmq.packet import Instant
from pcap_zmq.units import NS_PER_S


class Steps:
    """Begins long after 0, as the machine's clock does."""

    def __init__(self, step_ns: int) -> None:
        self._step_ns = step_ns
        self._now_ns = 1_000 * NS_PER_S

    def now(self, later_ns: int = 0) -> Instant:
        """The next instant, later by so much than it would be."""
        self._now_ns += self._step_ns + later_ns
        return Instant(self._now_ns, self._now_ns)
