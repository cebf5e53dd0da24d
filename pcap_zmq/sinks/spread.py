"""Batches out to several receivers: each flow to one of them, or everything to all.

Specification: docs/balance.md.

Theory of operation. A receiver that has not been up for `failover_ns` is dead. Its
share of the flows moves to the others, and so does what was queued for it and never
sent. What was sent and not acknowledged it may have delivered: that is held for it, or
for the process that comes after it, so that nothing is lost or delivered twice. When
it is up again its share is its own again.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from flow_ffi import FlowSpread
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import Codec, Compress, compressor, decompress
from pcap_zmq.packet import Batch, EncodedBatch, Instant
from pcap_zmq.sinks.ways import MOVE_NS, Way, Ways


class Balance(Ways[Batch]):
    """Each flow to one of them, both directions. encode: makes payloads of a part. A
    part that has to wait holds up everything."""

    def __init__(
        self,
        ways: Sequence[Way],
        counters: SenderCounters,
        *,
        waits: bool,
        failover_ns: int,
        flows: FlowSpread,
        encode: Callable[[Batch, Instant], Iterable[EncodedBatch]],
    ) -> None:
        super().__init__(ways, counters, waits=waits, failover_ns=failover_ns)
        self._flows = flows
        self._encode = encode
        self._waiting: deque[tuple[Way, EncodedBatch]] = deque()
        self._in_hand = 0
        self._moved_ns = 0

    @property
    def held_packets(self) -> int:
        """In every queue, and on the way there."""
        self._count()
        return self._unassigned() + sum(way.sink.held_packets for way in self._ways)

    def offer(self, item: Batch, now: Instant) -> bool:
        """Takes the batch unless a part of an earlier one waits."""
        # Whatever is sent meanwhile tells of it, too.
        self._in_hand += item.count
        if self._waiting:
            self._try_waiting(now)
        self._in_hand -= item.count
        if self._waiting:
            return False
        self._share_out(item, now)
        self._count()
        return True

    def encode_totals(self, index: int, before: int) -> bytes:
        """Each receiver is told of its own packets; the first also of what was lost
        before any was chosen."""
        way = self._ways[index]
        if index:
            own = way.counters
            told = SenderCounters(
                received=way.taken, acknowledged=own.acknowledged, dropped=own.dropped
            )
            return wire.encode_totals(told, way.sink.held_packets)
        told = self._told(way)
        told.received -= sum(other.taken for other in self._ways[1:])
        held = before + self._unassigned() + way.sink.held_packets
        return wire.encode_totals(told, held)

    def _unassigned(self) -> int:
        return self._in_hand + sum(batch.count for _, batch in self._waiting)

    def _counted_ways(self) -> Sequence[Way]:
        return self._ways

    def _share_out(self, item: Batch, now: Instant) -> None:
        self._in_hand += item.count
        for way, part in self._parts(item):
            batches = self._encode(part, now)
            # What the encoder has dropped, it has counted.
            self._in_hand -= part.count
            for batch in batches:
                self._assign(way, batch, now)

    def _assign(self, way: Way, batch: EncodedBatch, now: Instant) -> None:
        if self._waiting or not self._give(way, batch, now):
            self._waiting.append((way, batch))

    def _share_again(self, batch: EncodedBatch, now: Instant) -> None:
        """Among those that are not dead, and not measured again by the shaper."""
        self._in_hand += batch.count
        records = decompress(batch.codec, batch.payload, batch.raw_length)
        for way, part in self._parts(Batch(batch.linktype, records, batch.count)):
            self._in_hand -= part.count
            self._assign(way, _encoded(part, batch.codec), now)

    def _parts(self, item: Batch) -> Iterator[tuple[Way, Batch]]:
        ways = [way for way in self._ways if not self._is_dead(way)] or self._ways
        parts = self._flows.spread(
            item.linktype, item.records, [item.count], [way.number for way in ways]
        )
        for way, part in zip(ways, parts, strict=True):
            if part.count:
                yield way, Batch(item.linktype, part.records, part.count)

    def _try_waiting(self, now: Instant) -> None:
        while self._waiting:
            # What is given is sent, and tells of what waits: that is no more of it.
            way, batch = self._waiting.popleft()
            if not self._give(way, batch, now):
                self._waiting.appendleft((way, batch))
                return

    def _look_after_the_rest(self, now: Instant) -> None:
        if self._waiting:
            self._try_waiting(now)
        if now.mono_ns < self._moved_ns + MOVE_NS:
            return
        self._moved_ns = now.mono_ns
        dead = [way for way in self._ways if self._is_dead(way)]
        if dead and len(dead) < len(self._ways):
            for way in dead:
                self._move(way, now)

    def _move(self, dead: Way, now: Instant) -> None:
        """What was never sent to it goes to the others, as far as they have room."""
        batches = deque(dead.sink.withdraw())
        while batches and self._have_room(batches[0].raw_length):
            batch = batches.popleft()
            dead.taken -= batch.count
            self._share_again(batch, now)
        for batch in batches:
            dead.sink.offer(batch, now)
        for _ in range(len(self._waiting)):
            way, batch = self._waiting.popleft()
            if way is dead and self._have_room(batch.raw_length):
                self._share_again(batch, now)
            else:
                self._waiting.append((way, batch))

    def _have_room(self, octets: int) -> bool:
        """Each of those that are not dead."""
        return all(w.sink.has_room(octets) for w in self._ways if not self._is_dead(w))

    def _has_rest(self) -> bool:
        """Also what somebody who may still come back has not been sent."""
        gone = (way for way in self._ways if not way.sink.is_up)
        return bool(self._waiting) or any(way.sink.has_unsent for way in gone)

    def _abandon_rest(self) -> None:
        while self._waiting:
            way, batch = self._waiting.popleft()
            way.taken += batch.count
            way.counters.dropped[Reason.SHUTDOWN] += batch.count


class Copies(Ways[EncodedBatch]):
    """Everything to all of them. What the sender's own counters call acknowledged, held
    and dropped is so at the first; the others have their own. Where the source can
    wait, it waits for all but the dead."""

    def __init__(
        self,
        ways: Sequence[Way],
        counters: SenderCounters,
        *,
        waits: bool,
        failover_ns: int,
    ) -> None:
        super().__init__(ways, counters, waits=waits, failover_ns=failover_ns)
        self._item: EncodedBatch | None = None
        self._waiting: list[Way] = []
        self._in_hand = 0

    @property
    def held_packets(self) -> int:
        """By the first."""
        self._count()
        return self._held_for(self._ways[0])

    def offer(self, item: EncodedBatch, now: Instant) -> bool:
        """Takes the batch unless an earlier one waits."""
        # Whatever is sent meanwhile tells of it, too.
        self._in_hand = item.count
        if self._waiting:
            self._try_waiting(now)
        self._in_hand = 0
        if self._waiting:
            return False
        self._item = item
        self._waiting = list(self._ways)
        self._try_waiting(now)
        self._count()
        return True

    def encode_totals(self, index: int, before: int) -> bytes:
        """Each receiver is told of everything, and of what became of it on its way."""
        way = self._ways[index]
        held = before + self._in_hand + self._held_for(way)
        return wire.encode_totals(self._told(way), held)

    def _held_for(self, way: Way) -> int:
        waiting = self._item.count if self._item and way in self._waiting else 0
        return waiting + way.sink.held_packets

    def _counted_ways(self) -> Sequence[Way]:
        return self._ways[:1]

    def _try_waiting(self, now: Instant) -> None:
        item = self._item
        waiting, self._waiting = self._waiting, []
        while item is not None and waiting:
            way = waiting.pop(0)
            if self._give(way, item, now):
                continue
            if self._is_dead(way):
                way.taken += item.count
                way.counters.dropped[Reason.SEND_QUEUE_FULL] += item.count
            else:
                self._waiting.append(way)

    def _look_after_the_rest(self, now: Instant) -> None:
        if self._waiting:
            self._try_waiting(now)

    def _has_rest(self) -> bool:
        return bool(self._waiting)

    def _abandon_rest(self) -> None:
        for way in self._waiting:
            if self._item is not None:
                way.counters.dropped[Reason.SHUTDOWN] += self._item.count
        self._waiting = []


def _encoded(part: Batch, codec: int) -> EncodedBatch:
    """Its payload as that of the batch that it is a part of."""
    payload = _compressor(codec)(part.records)
    length = len(part.records)
    return EncodedBatch(part.linktype, part.count, codec, length, payload)


@functools.cache
def _compressor(codec: int) -> Compress:
    return compressor(Codec(codec))
