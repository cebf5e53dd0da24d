"""What a sender with several receivers knows of each, and does for all of them.

Specification: docs/balance.md. Who gets what is `Balance`'s or `Copies`' to say; how
one receiver is talked to is `LinkSink`'s.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats.ip import End
from pcap_zmq.packet import Batch, EncodedBatch, Instant
from pcap_zmq.poll import Watch
from pcap_zmq.sinks.link import LinkSink

MOVE_NS = 100 * NS_PER_MS
"""How often is looked whether what waits for a dead receiver can move."""

Item = TypeVar("Item", Batch, EncodedBatch)


@dataclass(slots=True, eq=False)
class Way:
    """One receiver. counters: its link's own. number: what stands for it when flows are
    shared out, for good."""

    sink: LinkSink
    counters: SenderCounters
    number: int
    taken: int = 0
    """Packets that it was given, less those that moved to others."""
    seen_ns: int | None = None
    """When it was last up, or looked for first."""
    counted: SenderCounters = field(default_factory=SenderCounters)
    """As far as the sender's own counters know."""


class Ways(ABC, Generic[Item]):
    """What sharing out and copying have in common. counters: the sender's. waits: what
    has no room waits, rather than being dropped. failover_ns: 0: nobody is ever dead.
    """

    def __init__(
        self,
        ways: Sequence[Way],
        counters: SenderCounters,
        *,
        waits: bool,
        failover_ns: int,
    ) -> None:
        self._ways = ways
        self._counters = counters
        self._waits = waits
        self._failover_ns = failover_ns
        self._is_finishing = False
        self._has_passed_on = False
        self._deadline_ns: int | None = None
        self._now_ns = 0
        self.own_ends: set[End] = set()
        """Where our connections begin, all of them."""
        self.endpoint = " and ".join(way.sink.endpoint for way in ways)

    @property
    def held_bytes(self) -> int:
        """What the send queues hold, in octets."""
        return sum(way.sink.held_bytes for way in self._ways)

    @property
    def shelved_packets(self) -> int:
        """None: there is no disk."""
        return 0

    @property
    def is_up(self) -> bool:
        """Whether all receivers take packets."""
        return all(way.sink.is_up for way in self._ways)

    def serve(self, now: Instant) -> None:
        """Sees to every link, and to what waits for one that is dead."""
        self._now_ns = now.mono_ns
        self.own_ends.clear()
        for way in self._ways:
            way.sink.serve(now)
            self.own_ends |= way.sink.own_ends
            if way.sink.is_up or way.seen_ns is None:
                way.seen_ns = now.mono_ns
        self._look_after_the_rest(now)
        if self._is_finishing:
            self._take_leave()
        self._count()

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """What each link watches."""
        for way in self._ways:
            yield from way.sink.watch(wanted or self._has_rest())

    def due(self) -> int | None:
        """The nearest of what is due, or when somebody is taken for dead."""
        dues = [way.sink.due() for way in self._ways]
        for way in self._ways:
            dies_ns = (way.seen_ns or 0) + self._failover_ns
            if self._failover_ns and not way.sink.is_up and dies_ns > self._now_ns:
                dues.append(dies_ns)
        if self._has_rest() or (self._is_finishing and not self._has_passed_on):
            dues.append(self._now_ns + MOVE_NS)
        return min((due for due in dues if due is not None), default=None)

    def arrived(self) -> Sequence[object]:
        """Nothing: who reads from the kernel or a file gives no receipts."""
        return ()

    def finish(self, deadline_ns: int | None) -> None:
        """Takes leave of each receiver: see `LinkSink.finish`."""
        self._is_finishing = True
        self._has_passed_on = False
        self._deadline_ns = deadline_ns

    def is_finished(self) -> bool:
        """Each has been taken leave of, or is dead, and another one is not."""
        return self._has_passed_on and all(w.sink.is_finished() for w in self._ways)

    def abandon(self) -> None:
        """Gives up what is not acknowledged, and counts it."""
        self._abandon_rest()
        for way in self._ways:
            way.sink.abandon()
        self._count()

    def close(self) -> None:
        """Twice is harmless."""
        for way in self._ways:
            way.sink.close()

    @property
    @abstractmethod
    def held_packets(self) -> int:
        """Packets that are not acknowledged, as the sender's own counters see it."""

    @abstractmethod
    def offer(self, item: Item, now: Instant) -> bool:
        """Takes the item, unless it has to wait."""

    @abstractmethod
    def encode_totals(self, index: int, before: int) -> bytes:
        """The counters of a message to this receiver. before: packets that are in the
        sender and have not come here."""

    @abstractmethod
    def _counted_ways(self) -> Sequence[Way]:
        """Those that the sender's own counters follow."""

    @abstractmethod
    def _look_after_the_rest(self, now: Instant) -> None:
        """Whatever was taken and is not in a queue yet, or in that of a dead one."""

    @abstractmethod
    def _has_rest(self) -> bool:
        """Whether there is such a thing."""

    @abstractmethod
    def _abandon_rest(self) -> None:
        """Gives it up, and counts it."""

    def _is_dead(self, way: Way) -> bool:
        seen_ns = self._now_ns if way.seen_ns is None else way.seen_ns
        is_late = self._now_ns - seen_ns >= self._failover_ns > 0
        return is_late and not way.sink.is_up

    def _give(self, way: Way, batch: EncodedBatch, now: Instant) -> bool:
        """False: it has no room, and is to be waited for."""
        way.taken += batch.count
        if way.sink.offer(batch, now):
            return True
        if self._waits:
            way.taken -= batch.count
            return False
        way.counters.dropped[Reason.SEND_QUEUE_FULL] += batch.count
        return True

    def _take_leave(self) -> None:
        if not self._has_passed_on:
            is_urgent = self._deadline_ns is not None
            self._has_passed_on = is_urgent or not self._has_rest()
            if self._has_passed_on:
                for way in self._ways:
                    way.sink.finish(self._deadline_ns)
        elif any(way.sink.is_finished() for way in self._ways):
            for way in self._ways:
                if self._is_dead(way) and not way.sink.is_finished():
                    way.sink.abandon()

    def _count(self) -> None:
        """Brings the sender's own counters up to date."""
        for way in self._counted_ways():
            own, counted = way.counters, way.counted
            self._counters.acknowledged += own.acknowledged - counted.acknowledged
            counted.acknowledged = own.acknowledged
            for reason, packets in own.dropped.items():
                self._counters.dropped[reason] += packets - counted.dropped[reason]
                counted.dropped[reason] = packets
        self._counters.reconnects = sum(w.counters.reconnects for w in self._ways)

    def _dropped_before(self) -> Counter[Reason]:
        """By the sender, before anything was given to a receiver's queue."""
        dropped = self._counters.dropped.copy()
        for way in self._counted_ways():
            dropped.subtract(way.counted.dropped)
        return dropped

    def _told(self, way: Way) -> SenderCounters:
        """What is told of all that the sender knows, and of this way."""
        all_of_us = self._counters
        return SenderCounters(
            received=all_of_us.received,
            missed=all_of_us.missed,
            missed_tail=all_of_us.missed_tail,
            overruns=all_of_us.overruns,
            stamped_here=all_of_us.stamped_here,
            acknowledged=way.counters.acknowledged,
            dropped=self._dropped_before() + way.counters.dropped,
        )
