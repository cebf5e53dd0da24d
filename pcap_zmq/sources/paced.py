"""Gives what another source has when it is due: packets of a replay at their times.

A stage could not: who reads a source is not held up by what a stage holds, and all of
the files would be in memory before the first packet is due. Here nothing is read before
what was read is due.

Theory of operation. The start is when the output has somebody to give to; from there on
the schedule says when each packet is due. So nobody is late for whoever starts to read
a minute later. While nobody is there any more, nothing is given, and what is left is
due so much later: nothing is made up for in one burst. An output that is slow makes
packets late, and late ones go at once. What is due within a millisecond goes together.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Watch
from pcap_zmq.ports import Source, Stage
from replay_ffi import Schedule, Stamps

GRAIN_NS = NS_PER_MS
"""What is due within so long goes together: a turn of the loop for each of many packets
would take all of a processor, and be no more punctual than it."""

FETCHES = 8
"""Batches of which nothing is left that are read in one turn."""


class Batches(Source[Batch], Protocol):
    """A source of batches that may fail."""

    @property
    def failure(self) -> BaseException | None:
        """What it has ended by, if not by its end."""


class Output(Protocol):
    """What packets go to, as far as a replay has to know."""

    def announce(self, linktype: int, now: Instant) -> None:
        """Packets of this link type are to come: it may look for who takes them."""

    def is_away(self) -> bool:
        """It has nobody to give to."""


@dataclass(slots=True)
class _Rest:
    """What has not gone of a batch: packets, and where they begin."""

    batch: Batch
    packets: int
    at: int = 0

    @property
    def records(self) -> memoryview:
        return memoryview(self.batch.records)[self.at :]

    def pass_on(self, length: int, packets: int) -> Batch:
        """The first so many octets, which are so many packets."""
        records = self.records[:length]
        self.at += length
        self.packets -= packets
        return replace(self.batch, records=records, count=packets, receipt=None)


class Paced:
    """source: of batches whose receipts nobody wants. sift: what becomes of them before
    they are due. output: what they go to. stamps: give each packet the time at which it
    goes; None: it keeps its own."""

    def __init__(
        self,
        source: Batches,
        sift: Stage[Batch, Batch],
        schedule: Schedule,
        output: Output,
        *,
        stamps: Stamps | None = None,
    ) -> None:
        self.unsent = 0
        """Packets that were not due yet when the end was asked for."""
        self.last_ns: int | None = None
        """When the last ones went (mono_ns)."""
        self._source = source
        self._sift = sift
        self._schedule = schedule
        self._output = output
        self._stamps = stamps
        self._rests: deque[_Rest] = deque()
        self._has_announced = False
        self._next_ns: int | None = None
        """When the first packet that is left is due."""
        self._due_ns: int | None = None
        """The same, where that is all that is waited for."""
        self._away_ns: int | None = None

    @property
    def failure(self) -> BaseException | None:
        """The source's."""
        return self._source.failure

    @property
    def held_packets(self) -> int:
        """That were read and are not due, or could not go."""
        return sum(rest.packets for rest in self._rests)

    def behind_ns(self, now: Instant) -> int:
        """How late the next packet is that waits for the output to take others."""
        if self._next_ns is None or self._away_ns is not None:
            return 0
        return max(0, now.mono_ns - self._next_ns)

    def serve(self, now: Instant) -> None:
        """Takes note of an output that has nobody to give to, and has again."""
        self._source.serve(now)
        self._due_ns = None
        if self._schedule.start_ns is not None:
            self._note_absence(now)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """The source, where more of it is wanted."""
        return self._source.watch(wanted and not self._rests)

    def due(self) -> int | None:
        """When the next packet is."""
        dues = (self._due_ns, self._source.due())
        return min((due for due in dues if due is not None), default=None)

    def read(self, now: Instant) -> Batch | None:
        """What is due."""
        self._due_ns = None
        if not self._rests and not self._fetch(now):
            return None
        rest = self._rests[0]
        if not self._has_announced:
            self._has_announced = True
            self._output.announce(rest.batch.linktype, now)
        if self._note_absence(now) or self._rests_until(now):
            return None
        taken = self._schedule.take(rest.records, now.mono_ns)
        self._next_ns = taken.next_ns
        if not taken.count:
            self._due_ns = taken.next_ns
            return None
        self.last_ns = now.mono_ns
        batch = rest.pass_on(taken.length, taken.count)
        if not rest.packets:
            self._rests.popleft()
        if self._stamps is None:
            return batch
        stamped = self._stamps.stamp(batch.records, now.mono_ns, now.wall_ns)
        return replace(batch, records=stamped)

    def settle(self, receipt: object, now: Instant) -> None:
        """Batches have no receipts here."""

    def stop(self, now: Instant) -> None:
        """What is not due yet will not be sent."""
        self._source.stop(now)
        self.unsent += self.held_packets
        self._rests.clear()
        self._next_ns = self._due_ns = None

    def is_exhausted(self) -> bool:
        """All has gone, or a stop."""
        return not self._rests and self._source.is_exhausted()

    def close(self) -> None:
        """Closes the source."""
        self._source.close()

    def _fetch(self, now: Instant) -> bool:
        """Whether there is anything to give, now or later."""
        self._next_ns = None
        # Where nothing passes, the loop still wants its turns, and a signal its end.
        for _ in range(FETCHES):
            item = self._source.read(now)
            if item is None:
                return False
            sifted = self._sift.feed(item, now)
            self._rests.extend(_Rest(batch, batch.count) for batch in sifted)
            if self._rests:
                return True
        return False

    def _rests_until(self, now: Instant) -> bool:
        """Whether some have gone just now, in another turn. At top speed nobody rests:
        it would be for nothing."""
        if self.last_ns is None or self._schedule.is_top_speed:
            return False
        until_ns = self.last_ns + GRAIN_NS
        if not self.last_ns < now.mono_ns < until_ns:
            return False
        self._due_ns = until_ns
        return True

    def _note_absence(self, now: Instant) -> bool:
        """Whether nobody is there."""
        is_away = self._output.is_away()
        if is_away and self._away_ns is None:
            self._away_ns = now.mono_ns
        elif not is_away and self._away_ns is not None:
            if self._schedule.start_ns is not None:
                self._schedule.shift(now.mono_ns - self._away_ns)
            self._away_ns = self._next_ns = None
        return is_away
