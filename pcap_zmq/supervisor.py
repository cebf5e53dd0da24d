"""Tells the service manager how things are: ready, alive, doing what, about to end.

Theory of operation. The manager names a datagram socket in NOTIFY_SOCKET; where it does
not, nobody is told anything. That we are alive is told from the loop's own turn and
nowhere else: a loop that hangs tells nothing, and the manager starts us again.

Specification: sd_notify(3), sd_watchdog_enabled(3).
"""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Stop, Watch

logger = logging.getLogger(__name__)

STATUS_NS = 10 * NS_PER_S
"""How often the status line is brought up to date."""

RETRY_NS = NS_PER_S // 4
"""When to tell again what the manager had no room for."""

PARTING_NS = 10 * NS_PER_S
"""What a stop may take beyond the linger time: closing sockets, mostly."""

NS_PER_US = 1_000


class Manager:
    """The service manager that started us, or nobody."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = b""
        if name.startswith("@"):
            # Abstract: a zero octet stands where the @ does in the variable.
            self._address = b"\0" + os.fsencode(name[1:])
        elif name.startswith("/"):
            self._address = os.fsencode(name)
        elif name:
            logger.warning(
                "NOTIFY_SOCKET=%r is neither a path nor an abstract socket: the "
                "service manager is told nothing",
                name,
            )
        self._has_told_failure = False
        self.watchdog_ns = self._watchdog(environment) if self._address else None

    @property
    def listens(self) -> bool:
        """Whether there is one to be told."""
        return bool(self._address)

    def tell(self, **assignments: str | int) -> bool:
        """READY=1 and the like, in one datagram. False: not now, tell it again."""
        if not self._address:
            return True
        # A line is an assignment: a status with an end of line in it would be two.
        lines = (
            f"{name}={' '.join(str(value).splitlines())}"
            for name, value in assignments.items()
        )
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
                notifying.setblocking(False)
                notifying.sendto("\n".join(lines).encode(), self._address)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._has_told_failure:
                self._has_told_failure = True
                logger.warning(
                    "the service manager cannot be told how things are: %s; tries "
                    "go on",
                    error.strerror,
                )
            return False
        self._has_told_failure = False
        return True

    def _watchdog(self, environment: Mapping[str, str]) -> int | None:
        """How long we may be silent, in nanoseconds; None: for ever."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        pid = environment.get("WATCHDOG_PID", str(os.getpid()))
        if not microseconds or pid != str(os.getpid()):
            return None
        if not microseconds.isdecimal() or int(microseconds) == 0:
            logger.warning("WATCHDOG_USEC=%r is no time; it is ignored", microseconds)
            return None
        return int(microseconds) * NS_PER_US


class Supervisor:
    """An attendant of the loop; its first turn says that we are ready.

    status: where things stand, in a few words. linger_ns: what a stop may take.
    """

    def __init__(
        self,
        manager: Manager,
        status: Callable[[], str],
        stop: Stop,
        linger_ns: int,
    ) -> None:
        self._manager = manager
        self._status = status
        self._stop = stop
        self._linger_ns = linger_ns
        self._is_ready = False
        self._is_stopping = False
        self._status_due_ns = 0
        self._alive_due_ns = 0
        watchdog_ns = manager.watchdog_ns
        self._alive_ns = None if watchdog_ns is None else watchdog_ns // 2

    def serve(self, now: Instant) -> None:
        """Tells what is due."""
        if not self._manager.listens:
            return
        if not self._is_ready and now.mono_ns >= self._status_due_ns:
            self._is_ready = self._manager.tell(READY=1, STATUS=self._status())
            self._status_due_ns = self._next(self._is_ready, STATUS_NS, now)
        if self._stop.is_set and not self._is_stopping:
            self.stopping()
        if self._is_ready and now.mono_ns >= self._status_due_ns:
            is_told = self._manager.tell(STATUS=self._status())
            self._status_due_ns = self._next(is_told, STATUS_NS, now)
        if self._alive_ns is not None and now.mono_ns >= self._alive_due_ns:
            is_told = self._manager.tell(WATCHDOG=1)
            self._alive_due_ns = self._next(is_told, self._alive_ns, now)

    def due(self) -> int | None:
        """When something is to be told."""
        if not self._manager.listens:
            return None
        if self._alive_ns is None:
            return self._status_due_ns
        return min(self._status_due_ns, self._alive_due_ns)

    def watch(self) -> Iterable[Watch]:
        """Nothing but time gives it a turn."""
        return ()

    def stopping(self) -> None:
        """Says once that the end has begun, and how long it may take."""
        if self._is_stopping:
            return
        microseconds = (self._linger_ns + PARTING_NS) // NS_PER_US
        self._is_stopping = self._manager.tell(
            STOPPING=1, EXTEND_TIMEOUT_USEC=microseconds, STATUS=self._status()
        )

    def _next(self, is_told: bool, interval_ns: int, now: Instant) -> int:
        return now.mono_ns + (interval_ns if is_told else min(RETRY_NS, interval_ns))
