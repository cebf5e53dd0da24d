"""Puts packets onto a network interface when a schedule has them due.

Specification: packet(7). Takes CAP_NET_RAW to be made, and no capability later.
"""

import contextlib
import enum
import os
from collections import deque
from dataclasses import dataclass

from replay_ffi._replay import ffi, lib
from replay_ffi.schedule import Octets, Schedule

BATCHES_MAX: int = lib.SENDER_BATCHES
"""So many batches may wait."""


class Takes(enum.Enum):
    """What packets an interface takes."""

    NOTHING = lib.DEVICE_TAKES_NOTHING
    """Of those that files hold."""
    ETHERNET = lib.DEVICE_TAKES_ETHERNET
    IP = lib.DEVICE_TAKES_IP
    """Without any link header."""


class State(enum.Enum):
    """What the thread is about."""

    SENDING = lib.SENDER_SENDING
    WAITING = lib.SENDER_WAITING
    """The interface is down. What is left is due so much later."""
    FAILED = lib.SENDER_FAILED


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became so far of the packets of one batch, the oldest."""

    sent: int
    too_long: int
    """For the interface's MTU; not sent."""
    malformed: int
    """Too short to be a packet of this link; not sent."""
    is_done: bool
    """That was all."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the thread says of itself."""

    state: State
    error: int
    """The errno where it has failed."""
    waited_ns: int
    """For an interface that was down."""
    held_up: int
    """Times that the interface's queue had no room."""
    busy_wait_ns: int
    """What it has learned to spend on looking at the clock before a packet."""


class InterfaceSender:
    """Feeds a thread of C that follows `schedule`, which is nobody else's to move on
    from here. busy_wait_ns: at most so long before a packet is due the thread stops
    sleeping and looks at the clock; 0: it is as punctual as the kernel wakes it.

    The thread starts with the first batch. Raises OSError where the interface is not
    to be had: ENODEV, EPERM.
    """

    def __init__(self, name: str, schedule: Schedule, *, busy_wait_ns: int) -> None:
        found = ffi.new("struct device *")
        fd = lib.device_open(os.fsencode(name), found)
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd))
        self.takes = Takes(lib.device_takes(found.type))
        self.type: int = found.type
        """ARPHRD_* of linux/if_arp.h."""
        self.mtu: int = found.mtu
        self.is_up: bool = found.is_up != 0
        # What C points at is kept alive here.
        self._schedule = schedule
        self._views = deque[object]()
        self._outcome = ffi.new("struct sender_outcome *")
        self._status = ffi.new("struct sender_status *")
        self._sender = lib.sender_new(fd, found, schedule.pointer, busy_wait_ns)
        if self._sender == ffi.NULL:
            raise MemoryError("no memory or no descriptor is left for a sender")
        self._wake: int = lib.sender_wake(self._sender)

    @property
    def wake(self) -> int:
        """A descriptor that is readable when a batch is done with or the status has
        changed; `take_wake` says it was seen."""
        return self._wake

    def take_wake(self) -> None:
        """What woke us is being looked at."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 8)

    def give(self, records: Octets) -> bool:
        """Hands these over, to be left unchanged until they are released; False: not
        now. Takes only octets that `pcap_ffi.count_records` has passed. Raises OSError
        where there can be no thread."""
        view = ffi.from_buffer("uint8_t[]", records)
        status = lib.sender_give(self._sender, view, len(records))
        if status < 0:
            raise OSError(-status, os.strerror(-status))
        if status > 0:
            self._views.append(view)
        return bool(status)

    def outcome(self) -> Outcome | None:
        """Of the oldest batch that is not released; None: there is none."""
        found = self._outcome
        if not lib.sender_outcome(self._sender, found):
            return None
        return Outcome(found.sent, found.too_long, found.malformed, found.is_done != 0)

    def release(self) -> None:
        """Forgets the oldest batch, which is done with, or which `stop` left over."""
        lib.sender_release(self._sender)
        self._views.popleft()

    def status(self) -> Status:
        """At any time."""
        found = self._status
        lib.sender_status(self._sender, found)
        return Status(
            State(found.state),
            found.error,
            found.waited_ns,
            found.held_up,
            found.ahead_ns,
        )

    def stop(self) -> None:
        """Ends the thread, within milliseconds: what it has not sent it never will.
        Twice is harmless."""
        lib.sender_stop(self._sender)

    def close(self) -> None:
        """Stops, and gives everything back. Nothing may be asked of it any more but
        this."""
        if self._sender != ffi.NULL:
            lib.sender_free(self._sender)
            self._sender = ffi.NULL
            self._views.clear()
