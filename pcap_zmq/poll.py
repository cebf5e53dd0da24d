"""Waits for descriptors, ZeroMQ sockets, a signal or a deadline, whichever is first."""

import contextlib
import os
import select
import signal
from collections.abc import Iterable
from types import FrameType
from typing import NamedTuple

import zmq

READABLE = int(zmq.POLLIN)
WRITABLE = int(zmq.POLLOUT)
BROKEN = int(zmq.POLLERR)
"""Nobody is at the other end (any more); reported whether asked for or not."""


class Watch(NamedTuple):
    """One thing to wait for."""

    pollable: int | zmq.Socket[bytes]
    events: int


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
        poller = zmq.Poller()
        for pollable, events in watches:
            poller.register(pollable, events)
        if not poller.sockets:
            # With nothing to watch pyzmq does not wait at all.
            select.select([], [], [], None if timeout_ns is None else timeout_ns / 1e9)
            return
        # Rounded up: waking a moment early would only mean another turn.
        timeout_ms = None if timeout_ns is None else max(0, -(-timeout_ns // 1_000_000))
        poller.poll(timeout_ms)
