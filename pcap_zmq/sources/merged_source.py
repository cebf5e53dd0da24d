"""Capture files in, their packets by time out, ahead of the loop; counts what it leaves
out.
"""

from collections import Counter
from collections.abc import Callable, Generator

from pcap_zmq.captures.merged import Merged
from pcap_zmq.counters import FilesCounters, Skipped
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.sources.files import FilesSource


def _nothing(merged: Merged) -> None:
    """Is to be known before the first packet."""


class MergedSource(FilesSource):
    """merged: is run in a thread from now on. prepare: what it does there before the
    first packet. Of the counters `trouble` counts the broken files."""

    def __init__(
        self,
        merged: Merged,
        counters: FilesCounters,
        prepare: Callable[[Merged], None] = _nothing,
    ) -> None:
        super().__init__(_prepared(merged, prepare), counters)
        self._counters = counters
        self._merged = merged
        self._skipped: Counter[Skipped] = Counter()

    def read(self, now: Instant) -> Batch | None:
        """The next batch that has been read ahead."""
        batch = super().read(now)
        self._catch_up()
        return batch

    def _catch_up(self) -> None:
        """The thread counts by itself, as it is ahead; here the loop does."""
        counters, counts = self._counters, self._merged.counts
        counters.files = self._merged.begun
        counters.backwards = counts.backwards
        for reason, packets in tuple(counts.skipped.items()):
            more = packets - self._skipped[reason]
            self._skipped[reason] = packets
            counters.skipped[reason] += more
            counters.read += more


def _prepared(
    merged: Merged, prepare: Callable[[Merged], None]
) -> Generator[Batch, None, None]:
    prepare(merged)
    yield from merged.batches()
