"""Batches out onto a network interface, each packet when a schedule has it due.

Specification: packet(7); what sends, and when, is `replay_ffi`'s thread. Takes
CAP_NET_RAW, and only to be opened.

An interface that goes down, or whose cable is pulled, is waited for, and what is left
is due so much later. One that is taken away never comes back: that ends it.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.counters import OutputCounts, Reason
from pcap_zmq.errors import OutputError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import READABLE, Watch
from pcap_zmq.sinks.device import dropped_by, open_device
from pcap_zmq.sinks.device_state import DeviceState
from replay_ffi import Schedule, Status, Takes

logger = logging.getLogger(__name__)

QUEUE_BYTES = 8 << 20
"""Of records that wait for their time, or a batch. No more is read meanwhile."""

COUNT_NS = 100 * NS_PER_MS
"""How often what has gone of a batch is counted before all of it has."""

LINKTYPES = {
    Takes.ETHERNET: (linktypes.ETHERNET,),
    Takes.IP: (linktypes.RAW, linktypes.IPV4, linktypes.IPV6),
}


@dataclass(slots=True)
class _Given:
    """What is counted so far of a batch. is_sent: the thread has it; else it is only
    in its place in the order."""

    item: Batch
    is_sent: bool
    sent: int = 0
    too_long: int = 0
    malformed: int = 0

    @property
    def left(self) -> int:
        return self.item.count - self.sent - self.too_long - self.malformed


@dataclass(frozen=True, slots=True)
class _Rest:
    count: int
    receipt: Any


class InterfaceSink:
    """schedule: nobody else's to move on from here. busy_wait_ns: what may be spent on
    looking at the clock before each packet, at most; 0 sleeps only, which spares a
    processor and is as punctual as the kernel's timers.

    Packets that are too long for the interface, or too short for its link, are counted
    and passed over; so are those of other link types, unless that is what it begins
    with. Raises ConfigError, OutputError and OutputPermissionError where the interface
    is not to be had, OutputError later when it is gone.
    """

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        *,
        counters: OutputCounts,
        busy_wait_ns: int,
    ) -> None:
        self._name = name
        self._counters = counters
        self._sender = open_device(name, schedule, busy_wait_ns)
        self._linktypes = LINKTYPES[self._sender.takes]
        self._refused = set[int]()
        self._given = deque[_Given]()
        self._octets = 0
        self._has_sent = False
        self._state = DeviceState(name, schedule)
        self._dropped_before = dropped_by(name)
        self._is_finishing = False
        self._is_closed = False
        self._due_ns: int | None = None
        self._arrived: list[Any] = []

    @property
    def held(self) -> Sequence[_Rest]:
        """What waits for its time, as far as is counted."""
        return tuple(_Rest(given.left, given.item.receipt) for given in self._given)

    @property
    def mtu(self) -> int:
        """Octets of a packet that the interface takes, behind its link header."""
        return self._sender.mtu

    @property
    def status(self) -> Status:
        """What sends says of itself."""
        return self._sender.status()

    @property
    def dropped_by_interface(self) -> int:
        """Packets, ours and others', that the interface has taken and dropped since we
        opened it, as the kernel counts: of veth, when its other end does not keep up.
        0 where it tells nothing."""
        dropped = dropped_by(self._name)
        if dropped is None or self._dropped_before is None:
            return 0
        return max(0, dropped - self._dropped_before)

    def serve(self, now: Instant) -> None:
        """Counts what has gone. Raises OutputError when the interface is gone."""
        self._sender.take_wake()
        # First: what has failed sends nothing any more.
        status = self._sender.status()
        self._count()
        self._due_ns = now.mono_ns + COUNT_NS if self._given else None
        self._state.look(status, now)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Something has gone, or the interface."""
        if not self._is_closed:
            yield Watch(self._sender.wake, READABLE)

    def due(self) -> int | None:
        """When to count what is on its way."""
        return self._due_ns

    def offer(self, item: Batch, now: Instant) -> bool:
        """True once it waits for its time."""
        is_sent = bool(item.records) and self._takes(item.linktype)
        if is_sent:
            if self._octets and self._octets + len(item.records) > QUEUE_BYTES:
                return False
            if not self._give(item):
                return False
            self._octets += len(item.records)
            self._has_sent = True
        self._given.append(_Given(item, is_sent))
        self._count()
        self._due_ns = now.mono_ns + COUNT_NS if self._given else None
        return True

    def arrived(self) -> Sequence[Any]:
        """Of these all packets are on the interface, or never will be."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def finish(self, deadline_ns: int | None) -> None:
        """What was given still goes at its time."""
        self._is_finishing = True

    def is_finished(self) -> bool:
        """All has gone."""
        return self._is_finishing and not self._given

    def abandon(self) -> None:
        """What has not gone never will. Takes milliseconds."""
        if self._is_closed:
            return
        self._sender.stop()
        self._count()
        while self._given:
            given = self._given[0]
            reason = Reason.SHUTDOWN if given.is_sent else Reason.LINKTYPE
            self._drop(given, reason, given.left)
            self._release()

    def close(self) -> None:
        """What waits is not sent."""
        if not self._is_closed:
            self._is_closed = True
            self._sender.close()

    def _takes(self, linktype: int) -> bool:
        if linktype in self._linktypes:
            return True
        wanted = " or ".join(map(linktypes.describe, self._linktypes))
        text = (
            f"interface {self._name} takes packets of link type {wanted}, not "
            f"{linktypes.describe(linktype)}"
        )
        if not self._has_sent:
            raise OutputError(f"{text}; {self._advice(linktype)}")
        if linktype not in self._refused:
            self._refused.add(linktype)
            logger.warning("%s: those are dropped", text)
        return False

    def _advice(self, linktype: int) -> str:
        if linktype in LINKTYPES[Takes.IP]:
            return (
                "send bare IP packets onto a tun interface, or give them headers: "
                "--linktype ethernet"
            )
        if linktype in LINKTYPES[Takes.ETHERNET]:
            return "send Ethernet frames onto an Ethernet, veth or dummy interface"
        return "replay them into a FIFO or a file"

    def _give(self, item: Batch) -> bool:
        try:
            return self._sender.give(item.records)
        except OSError as error:
            raise OutputError(
                f"interface {self._name}: no thread can be started to send: "
                f"{error.strerror}"
            ) from error

    def _count(self) -> None:
        """In the order in which batches came."""
        while self._given:
            given = self._given[0]
            if not given.is_sent:
                self._drop(given, Reason.LINKTYPE, given.item.count)
            elif not self._count_sent(given):
                return
            self._release()

    def _count_sent(self, given: _Given) -> bool:
        """Whether that was all of it."""
        outcome = self._sender.outcome()
        if outcome is None:
            return False
        sent = outcome.sent - given.sent
        if sent:
            self._counters.count_written(given.item.receipt, sent)
        self._drop(given, Reason.TOO_LONG, outcome.too_long - given.too_long)
        self._drop(given, Reason.MALFORMED, outcome.malformed - given.malformed)
        given.sent = outcome.sent
        given.too_long, given.malformed = outcome.too_long, outcome.malformed
        if outcome.is_done:
            self._counters.count_bytes(len(given.item.records))
        return outcome.is_done

    def _drop(self, given: _Given, reason: Reason, packets: int) -> None:
        if packets:
            self._counters.count_dropped(given.item.receipt, reason, packets)

    def _release(self) -> None:
        given = self._given.popleft()
        if given.is_sent:
            self._octets -= len(given.item.records)
            self._sender.release()
        if given.item.receipt is not None:
            self._arrived.append(given.item.receipt)
