"""One of several outputs: what waits for it, and what becomes of that when its reader
is slow.

Theory of operation. Batches are given on at once as long as the sink takes them; else
they wait here, up to so many octets. Then either nothing more is taken, and so all
outputs wait for this one; or the oldest go, and so does whatever has waited for a
second; and what waits counts as arrived after a moment, so that its sender may forget
it. Of a batch that is half written everything goes but the record that is begun: no
reader ever finds a torn one. Its end still waits for the reader, and nobody for it.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pcap_ffi import record_end
from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.counters import OutputCounters, Reason
from pcap_zmq.errors import OutputError
from pcap_zmq.formats.output_line import OutputLine
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Watch

logger = logging.getLogger(__name__)

SLOW_NS = NS_PER_S
"""Who lets a packet wait for so long is slow."""

TOLD_NS = 20 * NS_PER_MS
"""Where it drops, nobody waits longer for it: senders may forget what waits here, or
else their windows would be full of it."""


class Held(Protocol):
    """Packets that are somewhere, and whose they are."""

    @property
    def count(self) -> int: ...
    @property
    def receipt(self) -> Any: ...


class Output(Protocol):
    """A sink that can be told to write less of a batch than it has begun to take; its
    methods are those of `ports.Sink`."""

    @property
    def held(self) -> Sequence[Held]: ...
    def serve(self, now: Instant) -> None: ...
    def due(self) -> int | None: ...
    def watch(self, wanted: bool) -> Iterable[Watch]: ...
    def offer(self, item: Batch, now: Instant) -> bool: ...
    def arrived(self) -> Sequence[Any]: ...
    def finish(self, deadline_ns: int | None) -> None: ...
    def is_finished(self) -> bool: ...
    def abandon(self) -> None: ...
    def close(self) -> None: ...

    def cut(self) -> int:
        """Of the batch that was offered last and not taken nothing is to be written
        that is not begun. How many packets, its first, still have to be offered, as a
        batch of their own; 0: none, and it is forgotten."""

    def skip(self, item: Batch) -> None:
        """Packets that will not be offered, and are accounted for: the next ones of
        their receipt."""


class Relink(Protocol):
    """Makes packets be of another link type; a stage."""

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]: ...


@dataclass(slots=True)
class _Waiting:
    batch: Batch
    since_ns: int
    is_cut: bool = False
    """Only the rest of a record that is begun: it has arrived as far as anybody waits
    for it."""


class Branch:
    """Owns the sink. drops: rather than let all others wait. queue_bytes: octets of
    packet records that may wait. relink: None where packets stay as they are.
    delivered: is told of each batch that the sink has taken.

    Raises OutputError where the sink takes no more for good, unless it drops: then it
    drops whatever comes from then on.
    """

    def __init__(
        self,
        name: str,
        sink: Output,
        *,
        drops: bool,
        queue_bytes: int,
        counters: OutputCounters,
        relink: Relink | None = None,
        delivered: Callable[[Batch], None] | None = None,
    ) -> None:
        self.name = name
        self.sink = sink
        self.drops = drops
        self.counters = counters
        self.failure: OutputError | None = None
        """Why it takes no more; None: it does."""
        self._queue_bytes = queue_bytes
        self._relink = relink
        self._delivered = delivered
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._arrived: list[Any] = []
        # Of batches that count as arrived and are still to be given on, all or the rest
        # of them: the sink tells of them, too. By id; kept, so that no other has it.
        self._has_arrived: dict[int, Any] = {}
        # So many of those that wait, from the first on, are among these.
        self._told = 0
        self._is_finishing = self._has_finished = False
        self._finish_ns: int | None = None

    @property
    def held(self) -> list[Held]:
        """What was taken and is neither written nor dropped."""
        return [*self.sink.held, *(waiting.batch for waiting in self._waiting)]

    @property
    def held_packets(self) -> int:
        """Packets in all of it."""
        return sum(held.count for held in self.held)

    @property
    def held_bytes(self) -> int:
        """Octets of packet records that wait, but for the rest of one."""
        return self._waiting_bytes

    @property
    def line(self) -> OutputLine:
        """What there is to say of it."""
        counters = self.counters
        return OutputLine(
            name=self.name,
            taken=counters.taken,
            written=counters.written,
            held=self.held_packets,
            dropped={why.value: n for why, n in counters.dropped.items() if n},
            readers=counters.readers,
            replayed=counters.replayed,
            drops=self.drops,
            is_copy=counters.is_copy,
            has_failed=self.failure is not None,
        )

    def has_room(self) -> bool:
        """Whether `take` is to be called: always, where it drops."""
        return self.drops or self._waiting_bytes < self._queue_bytes

    def prepare(self, item: Batch, now: Instant) -> Sequence[Batch]:
        """What is to be taken for a batch: of the link type that it shall have."""
        self.counters.taken += item.count
        return (item,) if self._relink is None else tuple(self._relink.feed(item, now))

    def take(self, items: Iterable[Batch], now: Instant) -> None:
        """Sooner or later their receipts have arrived."""
        for batch in items:
            if self.failure is not None:
                self._give_up(batch, Reason.OUTPUT_FAILED)
                continue
            self._waiting.append(_Waiting(batch, now.mono_ns))
            self._waiting_bytes += len(batch.records)
        self._guarded(self._pump, now)

    def serve(self, now: Instant) -> None:
        """Gives on what waits, as far as the sink takes it."""
        self._guarded(self._serve, now)

    def due(self) -> int | None:
        """When the sink wants a turn, or something has waited for too long."""
        if self.failure is not None:
            return None
        due = self.sink.due()
        oldest = self._oldest()
        if oldest is None or not self.drops:
            return due
        dues = [oldest.since_ns + SLOW_NS]
        if self._told < len(self._waiting):
            dues.append(self._waiting[self._told].since_ns + TOLD_NS)
        if due is not None:
            dues.append(due)
        return min(dues)

    def watch(self) -> Iterable[Watch]:
        """What the sink waits for."""
        if self.failure is not None:
            return ()
        return self.sink.watch(wanted=bool(self._waiting))

    def arrived(self) -> Sequence[Any]:
        """Receipts of what is written, or never will be, since this was asked last."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def finish(self, deadline_ns: int | None) -> None:
        """Nothing more will be taken."""
        self._is_finishing, self._has_finished = True, False
        self._finish_ns = deadline_ns
        self._finish_sink()

    def is_finished(self) -> bool:
        """Everything is written, or never will be."""
        if self.failure is not None:
            return True
        return self._has_finished and self.sink.is_finished()

    def abandon(self) -> None:
        """Time is up. Where it drops, all that waits goes; else it is still its
        senders'."""
        if self.failure is not None:
            return
        if self.drops:
            self._drop_all(Reason.SHUTDOWN)
        self.sink.abandon()
        self._collect()

    def close(self) -> None:
        """The sink, too."""
        self.sink.close()

    # Into the sink.

    def _guarded(self, work: Callable[[Instant], None], now: Instant) -> None:
        if self.failure is not None:
            return
        try:
            work(now)
        except OutputError as error:
            self._collect()
            if not self.drops:
                raise
            self._fail(error)

    def _serve(self, now: Instant) -> None:
        self.sink.serve(now)
        self._pump(now)
        self._finish_sink()

    def _finish_sink(self) -> None:
        if self._is_finishing and not self._has_finished and not self._waiting:
            self._has_finished = True
            self.sink.finish(self._finish_ns)

    def _pump(self, now: Instant) -> None:
        while self._waiting:
            first = self._waiting[0]
            if not self.sink.offer(first.batch, now):
                break
            self._waiting.popleft()
            self._told = max(0, self._told - 1)
            if first.is_cut:
                continue
            self._waiting_bytes -= len(first.batch.records)
            if self._delivered is not None:
                self._delivered(first.batch)
        self._collect()
        if self.drops:
            self._shed(now)
            self._tell(now)

    def _collect(self) -> None:
        for receipt in self.sink.arrived():
            self._arrive(receipt)

    def _arrive(self, receipt: Any) -> None:
        """Once."""
        if self._has_arrived.pop(id(receipt), None) is None:
            self._arrived.append(receipt)

    # When the reader is slow.

    def _oldest(self) -> _Waiting | None:
        """Of what may be dropped."""
        at = 1 if self._waiting and self._waiting[0].is_cut else 0
        return self._waiting[at] if len(self._waiting) > at else None

    def _tell(self, now: Instant) -> None:
        """Nobody waits any longer for what has been here for some time."""
        while self._told < len(self._waiting):
            waiting = self._waiting[self._told]
            if waiting.since_ns > now.mono_ns - TOLD_NS:
                return
            self._told += 1
            receipt = waiting.batch.receipt
            if receipt is not None and id(receipt) not in self._has_arrived:
                self._arrived.append(receipt)
                self._has_arrived[id(receipt)] = receipt

    def _shed(self, now: Instant) -> None:
        too_old_ns = now.mono_ns - SLOW_NS
        while (oldest := self._oldest()) is not None:
            is_full = self._waiting_bytes > self._queue_bytes
            if not is_full and oldest.since_ns > too_old_ns:
                return
            self._drop_oldest(Reason.SLOW_OUTPUT)

    def _drop_all(self, reason: Reason) -> None:
        while self._oldest() is not None:
            self._drop_oldest(reason)
        for rest in self._waiting:
            self.counters.count_dropped(rest.batch.receipt, reason, rest.batch.count)
        self._waiting.clear()
        self._waiting_bytes = self._told = 0

    def _drop_oldest(self, reason: Reason) -> None:
        first = self._waiting.popleft()
        if first.is_cut:
            # Its end stays in front of what comes later.
            oldest = self._waiting.popleft()
            self._waiting.appendleft(first)
            self._told = max(min(self._told, 1), self._told - 1)
            begun = 0
        else:
            oldest = first
            self._told = max(0, self._told - 1)
            begun = self.sink.cut()
        batch = oldest.batch
        self._waiting_bytes -= len(batch.records)
        if not begun:
            self._give_up(batch, reason)
            return
        records = memoryview(batch.records)[: record_end(batch.records, begun)]
        # What is dropped are its last packets, not the next ones.
        self.counters.count_written(batch.receipt, begun)
        self._give_up(replace(batch, count=batch.count - begun), reason)
        self.counters.count_written(batch.receipt, -begun)
        if batch.receipt is not None:
            self._has_arrived[id(batch.receipt)] = batch.receipt
        rest = replace(batch, records=records, count=begun)
        # Mostly written: it takes nobody's room.
        self._waiting.appendleft(_Waiting(rest, oldest.since_ns, is_cut=True))
        self._told += 1

    def _give_up(self, batch: Batch, reason: Reason) -> None:
        if batch.count:
            self.sink.skip(batch)
            self.counters.count_dropped(batch.receipt, reason, batch.count)
        if batch.receipt is not None:
            self._arrive(batch.receipt)

    # When it takes no more for good.

    def _fail(self, error: OutputError) -> None:
        logger.error("%s; what is meant for it is dropped from now on", error)
        self.failure = error
        self._drop_all(Reason.OUTPUT_FAILED)
        self.sink.abandon()
        self._collect()
        self.sink.close()
