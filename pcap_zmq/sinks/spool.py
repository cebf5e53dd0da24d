"""A directory of segments: batches that wait, on disk, until the receiver has them.

Specification: docs/spool.md. Writes go to the page cache; the loop waits for the disk
only when the kernel makes it (see there). No object stands for a batch on the disk,
only for a segment.
"""

import errno
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.disk.recovery import boot_id, recover
from pcap_zmq.disk.segment import DAMAGE, Segment
from pcap_zmq.disk.segments import Segments
from pcap_zmq.disk.state import StateFile
from pcap_zmq.errors import (
    ConfigError,
    SpoolError,
    SpoolFormatError,
    SpoolPermissionError,
)
from pcap_zmq.formats import spool
from pcap_zmq.formats.send_queue import Record
from pcap_zmq.formats.spool import Place, RecordHeader, RecordKind
from pcap_zmq.formats.spool_state import State
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import EncodedBatch

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 64 << 20
"""A segment is closed at this size, or at a part of the whole spool."""

SEGMENTS = 16
"""A spool has room for so many at least: what is dropped or freed at once is no more
than one."""

_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What the host has none of at the moment: nothing can be taken now."""


class FileSpool:
    """At most `size` octets of segments in `directory`, which is made where there is
    none. drops_oldest: a full spool makes room by dropping its oldest segment of which
    nothing is under way; else it takes nothing more.

    Raises SpoolError and SpoolPermissionError where the directory cannot be had, and
    ConfigError where it is none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        size: int,
        drops_oldest: bool,
        counters: SenderCounters,
    ) -> None:
        self.size = size
        self._directory = directory
        self._drops_oldest = drops_oldest
        self._counters = counters
        self._has_told = False
        self._boot = boot_id()
        try:
            _prepare(directory)
            self._state = StateFile(directory / "state")
            try:
                self._segments = Segments(
                    directory, min(SEGMENT_BYTES, size // SEGMENTS)
                )
                found = recover(directory, self._segments, self._state, self._boot)
            except BaseException:
                self._state.close()
                raise
        except OSError as error:
            if isinstance(error, SpoolError):
                raise
            raise _explained(directory, error) from error
        self.left = found.left
        self.unread_packets = found.unread_packets
        self._at = found.place
        self._bound = found.bound
        self._bound_segment = found.bound_segment

    @property
    def used_bytes(self) -> int:
        """On the disk, in segments of which anything is still wanted."""
        return self._segments.used_bytes

    @property
    def has_unread(self) -> bool:
        """Something is on the disk that was not taken."""
        stop = self._segments.stop
        return stop is not None and self._at.key < stop.key

    def append(self, batch: EncodedBatch, *, is_taken: bool) -> Place | None:
        """Writes the batch; None where there is no room, or the disk refuses."""
        length = spool.RECORD_HEADER_LENGTH + len(batch.payload)
        while self._segments.used_bytes + length > self.size:
            if not self._drop_oldest():
                return None
        try:
            place = self._segments.append(batch)
        except OSError as error:
            self._tell(error)
            return None
        self._has_told = False
        if is_taken:
            self._at = _after(place, length, batch.count)
        else:
            self.unread_packets += batch.count
        return place

    def next_length(self) -> int | None:
        """Octets of the next payload; None: nothing is unread, or not now."""
        found = self._peek()
        return None if found is None else found[1].length

    def take(self) -> Record | None:
        """The next record; None: there is none, or not now. What is damaged is passed
        over, counted."""
        found = self._peek()
        if found is None:
            return None
        segment, header = found
        place = self._at
        try:
            payload = segment.payload_at(place.offset, header)
        except OSError as error:
            self._put_off(error)
            return None
        length = spool.RECORD_HEADER_LENGTH + header.length
        self._at = _after(place, length, header.count)
        self.unread_packets -= header.count
        self._bound = max(0, self._bound - 1)
        if self._at.offset >= segment.end and not self._segments.is_written_to(segment):
            segment.rest()
        if header.kind is not RecordKind.BATCH:
            return Record(place, None, header.count, Reason.SENDER_GONE)
        if payload is None:
            logger.warning(
                "%s: a record of %d packets is damaged", self._directory, header.count
            )
            return Record(place, None, header.count, Reason.DAMAGED)
        batch = EncodedBatch(
            linktype=header.linktype,
            count=header.count,
            codec=header.codec,
            raw_length=header.raw_length,
            payload=payload,
        )
        return Record(place, batch)

    def note_sent(self, sequence: int, count: int) -> None:
        """Remembers it for the next run."""
        self._state.note_sent(sequence, count)

    def sent_with(self, sequence: int) -> int | None:
        """What was remembered, if anything."""
        return self._state.sent_with(sequence)

    def save(
        self,
        stream: StreamId,
        first: int,
        sent: int,
        place: Place | None,
        totals: bytes,
    ) -> None:
        """Saves the state, then deletes the segments before `place`: never the other
        way round."""
        place = place or self._at
        self._state.save(State(stream, self._boot, first, sent, place, totals))
        while (oldest := self._segments.at(0)) is not None:
            is_last = oldest.stop == self._segments.stop
            is_done = oldest.number < place.segment or (
                is_last and place.key >= oldest.stop.key
            )
            if not is_done:
                return
            self._segments.remove(oldest)

    def close(self) -> None:
        """All that was saved is on the disk afterwards. Twice is harmless."""
        if self._state.is_closed:
            return
        try:
            self._segments.sync()
            self._state.sync(has_ended=True)
        except OSError as error:
            logger.warning("%s: %s", self._directory, error.strerror)
        self._segments.close()
        self._state.close()

    def _drop_oldest(self) -> bool:
        """Drops the oldest segment of which nothing has been taken; False: none."""
        has_begun = self._at.offset > spool.SEGMENT_HEADER_LENGTH
        untouched = self._at.segment + has_begun
        victim = self._segments.at(max(untouched, self._bound_segment + 1))
        if (
            not self._drops_oldest
            or victim is None
            or self._segments.is_written_to(victim)
        ):
            return False
        self._counters.dropped[Reason.SPOOL_FULL] += victim.packets
        self.unread_packets -= victim.packets
        self._segments.remove(victim)
        return True

    def _tell(self, error: OSError) -> None:
        if not self._has_told:
            self._has_told = True
            logger.warning(
                "the spool %s takes no more: %s; packets are held in memory, as far as "
                "--send-queue goes",
                self._directory,
                error.strerror,
            )

    def _peek(self) -> tuple[Segment, RecordHeader] | None:
        """The next unread record, which `_at` is moved to; None: there is none, or not
        now."""
        while self.has_unread:
            segment = self._segments.at(self._at.segment)
            if segment is None:
                return None
            if segment.number != self._at.segment:
                self._at = segment.start
            if self._at.offset >= segment.end:
                self._at = Place(segment.number + 1, spool.SEGMENT_HEADER_LENGTH, 0)
                continue
            try:
                return segment, segment.header_at(self._at.offset)
            except SpoolFormatError as error:
                self._pass_over(segment, error)
            except OSError as error:
                if error.errno not in DAMAGE:
                    self._put_off(error)
                    return None
                self._pass_over(segment, error)
        return None

    def _put_off(self, error: OSError) -> None:
        """To be tried again. Raises SpoolError for what does not pass by itself."""
        if error.errno not in _SCARCE:
            raise _explained(self._directory, error) from error
        logger.warning(
            "the spool %s cannot be read now: %s; tries go on",
            self._directory,
            error.strerror,
        )

    def _pass_over(self, segment: Segment, error: Exception) -> None:
        """Without a length there is no way to the next record of a segment."""
        if self._bound:
            # What comes after it would get numbers that the receiver knows already.
            raise SpoolError(
                f"{self._directory} cannot be read: {error}; start the sender again: "
                "it will go on with what can be read"
            )
        lost = segment.packets - self._at.packets
        logger.warning(
            "%s: the rest of segment %d is damaged: %d packets",
            self._directory,
            segment.number,
            lost,
        )
        self._counters.dropped[Reason.DAMAGED] += lost
        self.unread_packets -= lost
        self._at = segment.stop


def _after(place: Place, length: int, packets: int) -> Place:
    return Place(place.segment, place.offset + length, place.packets + packets)


def _prepare(directory: Path) -> None:
    """Makes the directory, or looks whether it is fit for packets."""
    with suppress(FileExistsError):
        directory.mkdir(0o700)
    status = directory.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"--spool {directory} is no directory")
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & 0o022:
        raise SpoolPermissionError(
            f"--spool {directory} can be changed by others, who could put packets "
            "there; make it this user's, with mode 0700"
        )


def _explained(directory: Path, error: OSError) -> SpoolError:
    """What an operator can do about it."""
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return SpoolPermissionError(
            f"--spool {directory} may not be written: {error.strerror}; it has to "
            "belong to the user that the sender runs as (--user)"
        )
    return SpoolError(f"--spool {directory} cannot be used: {error.strerror}")
