"""Capture files in, batches out: whatever reads them, ahead of the loop."""

from collections.abc import Callable, Generator, Iterable

from pcap_zmq.counters import FilesCounters
from pcap_zmq.formats.file_part import FilePart
from pcap_zmq.formats.file_parts import FileParts
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Watch
from pcap_zmq.sources.read_ahead import ReadAhead

READ_AHEAD = 2


class AheadSource:
    """packets: run in a thread from now on. count: is told of the packets that are
    read from here."""

    def __init__(
        self, packets: Generator[Batch, None, None], count: Callable[[int], None]
    ) -> None:
        self._count = count
        self._ahead = ReadAhead(packets, READ_AHEAD)

    @property
    def failure(self) -> BaseException | None:
        """What it has ended by, if not by its end."""
        return self._ahead.failure

    def serve(self, now: Instant) -> None:
        """The thread does what there is to do."""

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Readable while a batch lies ready."""
        return self._ahead.watch() if wanted else ()

    def due(self) -> int | None:
        """Never: the thread wakes the loop."""
        return None

    def read(self, now: Instant) -> Batch | None:
        """The next batch that has been read ahead."""
        batch = self._ahead.get()
        if batch is not None:
            self._count(batch.count)
        return batch

    def settle(self, receipt: object, now: Instant) -> None:
        """A file wants no acknowledgement."""

    def stop(self, now: Instant) -> None:
        """The rest stays unread."""
        self._ahead.stop()

    def is_exhausted(self) -> bool:
        """The end of the last file, or a stop."""
        return self._ahead.is_exhausted()

    def close(self) -> None:
        """Ends the thread, unless it is stuck in reading."""
        self._ahead.close()


class FilesSource(AheadSource):
    """packets: as `captures.packets` or `captures.merged` gives them."""

    def __init__(
        self, packets: Generator[Batch, None, None], counters: FilesCounters
    ) -> None:
        super().__init__(packets, self._note)
        self._counters = counters

    def settle(self, receipt: object, now: Instant) -> None:
        """It has arrived."""
        if isinstance(receipt, FilePart | FileParts):
            receipt.settle()

    def _note(self, packets: int) -> None:
        self._counters.read += packets
