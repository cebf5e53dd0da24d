"""A spool in a list, whole and simple; its disk is full when the test says so."""

from pcap_zmq.counters import Reason
from pcap_zmq.formats.send_queue import Record
from pcap_zmq.formats.spool import Place
from pcap_zmq.formats.spool_state import Left
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import EncodedBatch


class ListSpool:
    """Each batch has the place of its number in the list."""

    def __init__(self, left: Left | None = None) -> None:
        self.left = left
        self.is_full = False
        self.records: list[EncodedBatch] = []
        self.damaged: set[int] = set()
        """Places of records of which only the count can be read."""
        self.read = 0
        self.freed = 0
        """Records that nobody wants any more."""
        self.saved: list[tuple[StreamId, int, int]] = []
        """Stream, first and sent, each time that they were saved."""
        self.sent: dict[int, int] = {}

    @property
    def unread_packets(self) -> int:
        return sum(batch.count for batch in self.records[self.read :])

    @property
    def has_unread(self) -> bool:
        return self.read < len(self.records)

    def append(self, batch: EncodedBatch, *, is_taken: bool) -> Place | None:
        if self.is_full:
            return None
        assert not (is_taken and self.has_unread)
        self.records.append(batch)
        self.read += is_taken
        return Place(0, len(self.records) - 1, 0)

    def next_length(self) -> int | None:
        return len(self.records[self.read].payload) if self.has_unread else None

    def take(self) -> Record | None:
        if not self.has_unread:
            return None
        place, batch = Place(0, self.read, 0), self.records[self.read]
        self.read += 1
        if place.offset in self.damaged:
            return Record(place, None, batch.count, Reason.DAMAGED)
        return Record(place, batch)

    def note_sent(self, sequence: int, count: int) -> None:
        self.sent[sequence] = count

    def sent_with(self, sequence: int) -> int | None:
        return self.sent.get(sequence)

    def save(
        self,
        stream: StreamId,
        first: int,
        sent: int,
        place: Place | None,
        totals: bytes,
    ) -> None:
        self.saved.append((stream, first, sent))
        self.freed = self.read if place is None else place.offset
