"""Tells people when a network interface takes nothing, and when it does again.

Specification: packet(7): ENETDOWN, ENXIO, ENOBUFS.
"""

import errno
import logging
import os

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.errors import OutputError
from pcap_zmq.packet import Instant
from replay_ffi import Schedule, State, Status

logger = logging.getLogger(__name__)

STUCK_NS = NS_PER_S
"""How long it may have no room before somebody is told."""


class DeviceState:
    """What was told last of the interface of this name. schedule: moves on when
    packets go."""

    def __init__(self, name: str, schedule: Schedule) -> None:
        self._name = name
        self._schedule = schedule
        self._state = State.SENDING
        self._waited_ns = 0
        self._held_up = self._passed = 0
        self._stuck_ns: int | None = None
        self._is_stuck = False

    def look(self, status: Status, now: Instant) -> None:
        """Logs what has changed. Raises OutputError where it never comes back."""
        if status.state is State.FAILED:
            raise OutputError(self._why(status.error))
        if status.state is not self._state:
            self._state = status.state
            self._tell(status)
        self._look_for_room(status, now)

    def _why(self, error: int) -> str:
        if error in {errno.ENODEV, errno.ENXIO}:
            return f"interface {self._name} is gone: it was removed or moved away"
        return f"interface {self._name} takes no more: {os.strerror(error)}"

    def _tell(self, status: Status) -> None:
        if status.state is State.WAITING:
            logger.warning(
                "interface %s is down or has no carrier; what is left waits until it "
                "is back (ip link show %s)",
                self._name,
                self._name,
            )
            return
        waited_s = (status.waited_ns - self._waited_ns) / NS_PER_S
        self._waited_ns = status.waited_ns
        logger.warning(
            "interface %s is back after %.1f s; what is left goes so much later",
            self._name,
            waited_s,
        )

    def _look_for_room(self, status: Status, now: Instant) -> None:
        """A full queue and a rule that drops what goes out look the same: ENOBUFS."""
        passed = self._schedule.packets
        if passed != self._passed or status.held_up == self._held_up:
            self._is_stuck, self._stuck_ns = False, None
        elif self._stuck_ns is None:
            self._stuck_ns = now.mono_ns
        elif now.mono_ns - self._stuck_ns >= STUCK_NS and not self._is_stuck:
            self._is_stuck = True
            logger.warning(
                "interface %s takes nothing: its queue is full, or a rule drops what "
                "goes out (tc filter show dev %s egress; nft list ruleset)",
                self._name,
                self._name,
            )
        self._passed, self._held_up = passed, status.held_up
