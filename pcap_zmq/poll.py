"""Waits for descriptors, ZeroMQ sockets, a signal or a deadline, whichever is first."""

import contextlib
import os
import select
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import FrameType

import zmq

READABLE = select.POLLIN
WRITABLE = select.POLLOUT
BROKEN = select.POLLERR
"""Nobody is at the other end (any more); reported whether asked for or not."""

# Plain numbers: the enumerations cost more than the call.
_FD = int(zmq.FD)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_POLLOUT = int(zmq.POLLOUT)


@dataclass(slots=True)
class Watch:
    """One thing to wait for."""

    pollable: int | zmq.Socket[bytes]
    events: int
    rest_ns: int = 0
    """It is not looked at for so long: what comes meanwhile wakes nobody."""
    is_ready: bool = field(default=True, compare=False)
    """Whether the last wait that watched it found it so."""


def new_wake() -> tuple[int, int]:
    """A pipe that wakes whoever watches its first end; neither end waits."""
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    return wake, woken


class Stop:
    """SIGTERM and SIGINT set a flag and wake the loop; nothing else. SIGHUP does the
    same, or sets another flag where it is heeded."""

    def __init__(self) -> None:
        self.is_set = False
        self._has_hung_up = False
        self._wake, self._woken = new_wake()

    def install(self) -> None:
        """Takes the signals. Only the main thread may."""
        # Python runs handlers between bytecodes; the octet ends the wait in poll().
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        # Whoever was started with nohup shall outlive the terminal.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._handle)

    def set(self) -> None:
        """As if a signal had come."""
        self.is_set = True
        os.write(self._woken, b"\0")

    def watch(self) -> Watch:
        """Readable once a signal came."""
        return Watch(self._wake, READABLE)

    def heed_hangup(self) -> None:
        """SIGHUP no longer asks for the end: whoever calls this asks `take_hangup` in
        every turn. After `install`. Only the main thread may."""
        signal.signal(signal.SIGHUP, self._handle_hangup)

    def take_hangup(self) -> bool:
        """Whether SIGHUP came since this was asked last."""
        if not self._has_hung_up:
            return False
        self._has_hung_up = False
        # What woke the loop for it shall not wake it again.
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 1 << 12)
        if self.is_set:
            os.write(self._woken, b"\0")
        return True

    def _handle_hangup(self, number: int, frame: FrameType | None) -> None:
        self._has_hung_up = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True


class Poller:
    """One wait a turn, over whatever is of interest in that turn."""

    def wait(self, watches: Iterable[Watch], timeout_ns: int | None) -> None:
        """Returns when something happened or the time has passed; None: no limit."""
        everything = list(watches)
        rest_ns = max((watch.rest_ns for watch in everything), default=0)
        if rest_ns > 0:
            first_ns = rest_ns if timeout_ns is None else min(timeout_ns, rest_ns)
            awake = [watch for watch in everything if not watch.rest_ns]
            if _wait(awake, first_ns) or first_ns == timeout_ns:
                return
            timeout_ns = None if timeout_ns is None else timeout_ns - first_ns
        _wait(everything, timeout_ns)


def _wait(watches: Sequence[Watch], timeout_ns: int | None) -> bool:
    """Whether anything happened. A ZeroMQ socket may wake whoever waits for it and turn
    out to have nothing."""
    poll = select.poll()
    by_fd: dict[int, Watch] = {}
    is_any_ready = False
    for watch in watches:
        fd, events, watch.is_ready = watch.pollable, watch.events, False
        if not isinstance(fd, int):
            # Its descriptor tells only of what comes after this: zmq_getsockopt(3).
            found = _events_of(fd)
            watch.is_ready = bool(found & events)
            is_any_ready = is_any_ready or watch.is_ready
            fd, events = int(fd.get(_FD)), READABLE
        by_fd[fd] = watch
        poll.register(fd, events)
    if is_any_ready:
        timeout_ms: int | None = 0
    elif timeout_ns is None:
        timeout_ms = None
    else:
        # Rounded up: waking a moment early would only mean another turn.
        timeout_ms = max(0, -(-timeout_ns // 1_000_000))
    found_ready = poll.poll(timeout_ms)
    for fd, _ in found_ready:
        watch = by_fd[fd]
        if not watch.is_ready:
            asked = watch.pollable
            watch.is_ready = isinstance(asked, int) or bool(
                _events_of(asked) & watch.events
            )
    return is_any_ready or bool(found_ready)


def _events_of(socket: zmq.Socket[bytes]) -> int:
    events = int(socket.get(_EVENTS))
    return (READABLE if events & _POLLIN else 0) | (
        WRITABLE if events & _POLLOUT else 0
    )
