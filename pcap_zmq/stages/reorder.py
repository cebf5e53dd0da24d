"""Batches of many senders in, their packets in the order of their times out.

Theory of operation. A packet waits for those of other senders that were captured
before it and may still be on their way: for the window, counted from when it came by
this host's own clock. No time of a packet decides how long anything waits. When the
first one's time is up, it goes, and before it all that was captured before it.

A packet is put where it was captured by our monotonic clock: its time less its
sender's epoch, which is what that sender's clock showed when ours was 0. How far off
that clock is is measured over the link: see `formats/clock_offset.py`. Until that is
known it is taken as right; of a sender that does not tell, only where it may be, and
else the newest packet of each batch is taken to be captured as it came. No packet was
captured after it came: a clock that is ahead cannot make its packets wait behind
others', nor hurry others' past their window. What was captured before something that
has gone already is late: it is counted, and goes next.

Memory is bounded: above a limit the first to go do so before their time is up. The
same for a sender when half of its window lies here, so that it never waits for us.

    fed ──► one run for each sender in the batch ──► merged by C, when due ──► batches
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pcap_ffi import Given, Merge, new_buffer, sort_records, survey
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.stream import Part, Stream
from pcap_zmq.formats.wire import StreamId, cost_of
from pcap_zmq.packet import Batch, Instant, Octets

GIVEN_BYTES = 256 << 10
"""Packets of several senders go on together, up to so many octets."""

WHOLE_BYTES = 32 << 10
"""What is longer, and comes as it is, is not copied."""

WINDOW_SHARE = 2
"""One part in so many of a sender's window may lie here."""

GRACE_NS = 1_000_000_000
"""A sender that tells its clock has done so by then."""

ALL_NS = (1 << 63) - 1
"""After every packet."""


@dataclass(slots=True)
class _Share:
    """What of one sender is here."""

    stream: Stream
    runs: "deque[_Run]" = field(default_factory=deque)
    """In the order in which they came; some may be gone."""
    cost: int = 0


@dataclass(slots=True)
class _Run:
    """One sender's packets of a batch, in order."""

    part: Part
    records: Octets
    linktype: int
    packets: int
    receipt: Any
    """The batch's own, where they are all of it; else None."""
    share: _Share | None
    """None where the sender was forgotten meanwhile."""
    cost: int
    last_ns: int
    """The key of the last one."""
    due_ns: int
    """When all of it has to be gone."""
    left: int

    def rest(self) -> Batch:
        """What was not given, for whoever accounts for packets."""
        return Batch(self.linktype, b"", self.left, Runs.of([(self.part, self.left)]))


class Reorder:
    """window_ns: how long a packet may wait here. limit: octets that may. nanoseconds:
    False where the records count microseconds. Batches without a receipt, or without
    packets, go on at once."""

    def __init__(
        self,
        window_ns: int,
        limit: int,
        *,
        nanoseconds: bool,
        counters: ReceiverCounters,
    ) -> None:
        self._window_ns = window_ns
        self._limit = limit
        self._unit_ns = 1 if nanoseconds else 1_000
        self._counters = counters
        self._merge = Merge(
            unit_ns=self._unit_ns,
            capacity=GIVEN_BYTES,
            whole=WHOLE_BYTES,
            new_buffer=new_buffer,
        )
        self._runs: dict[int, _Run] = {}
        # In the order in which they came; some may be gone.
        self._waiting: deque[_Run] = deque()
        self._shares: dict[StreamId, _Share] = {}
        self.held_bytes = 0
        """What waits, as windows count it once it is decompressed."""

    @property
    def held(self) -> Sequence[Batch]:
        """What waits: no records, but whose packets they are."""
        return tuple(run.rest() for run in self._runs.values())

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]:
        """What has no need to wait, or no room."""
        if not item.count or item.receipt is None:
            return [item]
        shares = []
        for run in self._split(item, now):
            self._waiting.append(run)
            self.held_bytes += run.cost
            if run.share is not None:
                run.share.runs.append(run)
                run.share.cost += run.cost
                shares.append(run.share)
        return self._hurry(shares)

    def due(self) -> int | None:
        """When the first one's time is up."""
        _pass_gone(self._waiting)
        return self._waiting[0].due_ns if self._waiting else None

    def flush(self, now: Instant) -> Iterable[Batch]:
        """A batch of what is due."""
        waiting = itertools.takewhile(
            lambda run: run.due_ns <= now.mono_ns, self._waiting
        )
        until_ns = max((run.last_ns for run in waiting if run.left), default=None)
        return [] if until_ns is None else self._give(until_ns)

    def drain(self, now: Instant) -> Iterable[Batch]:
        """A batch of all that waits."""
        return self._give(ALL_NS)

    def _split(self, item: Batch, now: Instant) -> Iterator[_Run]:
        """One run for each sender that has packets in the batch."""
        shares = [share for share in item.receipt.runs() if share[1]]
        rest = item.records
        for part, packets in shares:
            found = survey(rest, packets, self._unit_ns)
            is_all = found.length == len(item.records)
            records = rest if is_all else memoryview(rest)[: found.length]
            if found.disordered:
                self._counters.disordered += found.disordered
                records = sort_records(records, packets, self._unit_ns)
            stream = part.stream
            slot, last_ns = self._merge.add(
                records,
                packets,
                epoch_ns=self._epoch_of(stream, found.newest_ns, now),
                ceiling_ns=now.mono_ns,
                newest_ns=found.newest_ns,
                linktype=item.linktype,
            )
            run = self._runs[slot] = _Run(
                part,
                records,
                item.linktype,
                packets,
                receipt=item.receipt if is_all else None,
                share=None if stream is None else self._share_of(stream),
                cost=cost_of(found.length),
                last_ns=last_ns,
                due_ns=now.mono_ns + self._window_ns,
                left=packets,
            )
            yield run
            if not is_all:
                rest = memoryview(rest)[found.length :]

    def _share_of(self, stream: Stream) -> _Share:
        share = self._shares.get(stream.key)
        if share is None:
            share = self._shares[stream.key] = _Share(stream)
        return share

    def _epoch_of(self, stream: Stream | None, newest_ns: int, now: Instant) -> int:
        """What the sender's clock showed when ours was 0."""
        ours_ns = now.wall_ns - now.mono_ns
        if stream is not None and stream.is_relay:
            # Its packets were stamped by other clocks than its own.
            return ours_ns
        epoch_ns = None if stream is None else stream.clock.epoch_to_order_by(now)
        if epoch_ns is not None:
            return epoch_ns
        age_ns = now.wall_ns - newest_ns
        may_be_right = 0 <= age_ns <= self._window_ns
        is_new = stream is not None and now.mono_ns < stream.since_ns + GRACE_NS
        return ours_ns if may_be_right or is_new else newest_ns - now.mono_ns

    def _hurry(self, shares: Iterable[_Share]) -> list[Batch]:
        """What has to go before its time, for want of room."""
        hurried: list[Batch] = []
        while self.held_bytes > self._limit:
            _pass_gone(self._waiting)
            hurried += self._give(self._waiting[0].last_ns)
        for share in shares:
            most = share.stream.lane.window // WINDOW_SHARE
            while 0 < most < share.cost:
                hurried += self._give(share.runs[0].last_ns)
        self._counters.hurried += sum(batch.count for batch in hurried)
        return hurried

    def _give(self, until_ns: int) -> list[Batch]:
        """One batch of the next packets up to a key, if there are any."""
        given = self._merge.take(until_ns)
        if given is None:
            return []
        runs = [self._runs[slot] for slot in given.slots]
        self._counters.late += given.late
        batch = _batch_of(given, runs)
        for slot, run, late, left in zip(
            given.slots, runs, given.lates, given.lefts, strict=True
        ):
            run.left = left
            if late and (stream := run.part.stream) is not None:
                stream.late += late
            if not left:
                del self._runs[slot]
                self._forget(run)
        return [batch]

    def _forget(self, run: _Run) -> None:
        """All of it is gone. It stays in a queue until it is the first, without its
        memory."""
        run.records = b""
        self.held_bytes -= run.cost
        share = run.share
        if share is None:
            return
        share.cost -= run.cost
        _pass_gone(share.runs)
        if not share.runs:
            del self._shares[share.stream.key]


def _pass_gone(runs: deque[_Run]) -> None:
    while runs and not runs[0].left:
        runs.popleft()


def _batch_of(given: Given, runs: Sequence[_Run]) -> Batch:
    if given.records is not None:
        receipt = Runs([run.part for run in runs], given.order, given.totals)
        return Batch(given.linktype, given.records, given.packets, receipt)
    (run,) = runs
    whole = Runs.of([(run.part, run.packets)])
    return Batch(run.linktype, run.records, run.packets, run.receipt or whole)
