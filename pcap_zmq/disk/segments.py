"""All segments of a spool, in order: the last is written to, whole ones are deleted.

Specification: docs/spool.md.
"""

import logging
import os
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from pcap_zmq.disk import segment as names
from pcap_zmq.disk.segment import Segment
from pcap_zmq.errors import SpoolFormatError
from pcap_zmq.formats import spool
from pcap_zmq.formats.spool import Place
from pcap_zmq.packet import EncodedBatch

logger = logging.getLogger(__name__)


class Segments:
    """Those in `directory`; each is closed when it has `segment_bytes`. Methods raise
    OSError as the disk does."""

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self.used_bytes = 0
        self.last_number = 0
        """The highest that was ever given."""
        self.doubtful = -1
        """The highest of a segment that was found damaged, other than at the very
        end."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._all: list[Segment] = []
        self._writing: Segment | None = None
        self._unsynced: Segment | None = None
        self._open()

    def __iter__(self) -> Iterator[Segment]:
        return iter(tuple(self._all))

    @property
    def stop(self) -> Place | None:
        """Where the last record ends; None: there is none."""
        return self._all[-1].stop if self._all else None

    def at(self, number: int) -> Segment | None:
        """The one of this number, or else the next."""
        place = bisect_left(self._all, number, key=lambda segment: segment.number)
        return self._all[place] if place < len(self._all) else None

    def append(self, batch: EncodedBatch) -> Place:
        """Writes the batch behind all others; returns where."""
        length = spool.RECORD_HEADER_LENGTH + len(batch.payload)
        writing = self._writing
        if writing is not None and writing.end + length > self._segment_bytes:
            self._turn(writing)
        if self._writing is None:
            self._writing = self.add()
        writing = self._writing
        place = writing.stop
        try:
            writing.append(batch)
        except OSError:
            if not writing.records:
                # An empty one would look as if there were something to read.
                self.remove(writing)
            raise
        self.used_bytes += length
        return place

    def add(self) -> Segment:
        """A new one behind all others."""
        segment = Segment.create(self._directory, self.last_number + 1)
        self.last_number = segment.number
        self._all.append(segment)
        self.used_bytes += segment.end
        return segment

    def is_written_to(self, segment: Segment) -> bool:
        """Whether more may be appended to it."""
        return segment is self._writing

    def remove(self, segment: Segment) -> None:
        """Deletes it."""
        self._all.remove(segment)
        self.used_bytes -= segment.end
        if segment is self._writing:
            self._writing = None
        if segment is self._unsynced:
            self._unsynced = None
        try:
            segment.remove()
        except OSError as error:
            # It will be found, and removed, by the next run.
            logger.warning("%s: %s", self._directory, error)

    def sync(self) -> None:
        """All that was appended is on the disk when this returns."""
        if self._writing is not None:
            self._writing.finish()
            self._writing.sync()
        if self._unsynced is not None:
            self._unsynced.sync()
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Gives every descriptor back."""
        for segment in self._all:
            segment.rest()

    def _turn(self, writing: Segment) -> None:
        writing.finish()
        unsynced, self._unsynced, self._writing = self._unsynced, writing, None
        if unsynced is not None:
            # Its octets have been on their way for a whole segment: no long wait.
            unsynced.sync()
            unsynced.rest()

    def _open(self) -> None:
        found = {
            number: path
            for path in self._directory.iterdir()
            if (number := names.number_of(path)) is not None
        }
        for number, path in sorted(found.items()):
            self.last_number = number
            try:
                segment = Segment.open(path, number)
            except (SpoolFormatError, OSError) as error:
                logger.warning("%s is passed over, and left alone: %s", path, error)
                self.doubtful = number
                continue
            if segment.torn_bytes:
                logger.warning(
                    "%s: a torn end of %d octets was cut off", path, segment.torn_bytes
                )
                if number != max(found):
                    self.doubtful = number
            self._all.append(segment)
            self.used_bytes += segment.end
            if not segment.records:
                self.remove(segment)
