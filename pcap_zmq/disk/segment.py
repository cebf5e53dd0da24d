"""One segment of a spool as a file: records are appended at its end and read in order.

Specification: docs/spool.md.
"""

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pcap_zmq.errors import SpoolFormatError
from pcap_zmq.formats import spool
from pcap_zmq.formats.spool import Place, RecordHeader, RecordKind
from pcap_zmq.packet import EncodedBatch, Octets

SUFFIX = ".segment"

DAMAGE = frozenset({errno.EIO, errno.ENOENT, errno.EUCLEAN})
"""What says that octets are gone; anything else may pass."""

WRITEBACK_BYTES = 8 << 20
"""After so many octets the kernel is told to begin writing them to the disk: so it
always has less than this to do when a segment is to be safe there."""


def path_of(directory: Path, number: int) -> Path:
    """Where the segment of this number is; names sort like numbers."""
    return directory / f"{number:016d}{SUFFIX}"


def number_of(path: Path) -> int | None:
    """The number in a segment's name; None: it is no segment's name."""
    stem = path.name.removesuffix(SUFFIX)
    is_segment = path.suffix == SUFFIX and stem.isascii() and stem.isdigit()
    return int(stem) if is_segment else None


class Segment:
    """A file that `create` makes or `open` finds. Methods raise OSError as the disk
    does."""

    def __init__(self, path: Path, number: int, salt: int, fd: int) -> None:
        self.number = number
        self.end = spool.SEGMENT_HEADER_LENGTH
        """Where the last record ends."""
        self.packets = 0
        """In all records."""
        self.records = 0
        self.torn_bytes = 0
        """Cut off its end when it was opened."""
        self._path = path
        self._salt = salt
        self._fd = fd
        self._written_back = 0

    @classmethod
    def create(cls, directory: Path, number: int) -> Self:
        """A new one, for its owner only."""
        path = path_of(directory, number)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        salt = int.from_bytes(os.urandom(4), "big")
        segment = cls(path, number, salt, os.open(path, flags, 0o600))
        try:
            segment._write([spool.encode_segment_header(number, salt)], 0)
        except OSError:
            segment.remove()
            raise
        return segment

    @classmethod
    def open(cls, path: Path, number: int) -> Self:
        """One of an earlier run. A torn end is cut off. Raises SpoolFormatError."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            header = os.pread(fd, spool.SEGMENT_HEADER_LENGTH, 0)
            found, salt = spool.decode_segment_header(header)
            if found != number:
                raise SpoolFormatError(f"segment {found} under another name")
            segment = cls(path, number, salt, fd)
            segment._look_at_end()
        except BaseException:
            os.close(fd)
            raise
        segment.rest()
        return segment

    @property
    def start(self) -> Place:
        """Of its first record."""
        return Place(self.number, spool.SEGMENT_HEADER_LENGTH, 0)

    @property
    def stop(self) -> Place:
        """Where its last record ends."""
        return Place(self.number, self.end, self.packets)

    def append(self, batch: EncodedBatch) -> None:
        """Writes a batch behind all others, or nothing of it."""
        header = spool.encode_batch(batch, self._salt)
        self._append([header, batch.payload], batch.count, 1)

    def append_holes(self, counts: Sequence[int]) -> None:
        """Writes a hole for each of these numbers of packets."""
        holes = b"".join(spool.encode_hole(count, self._salt) for count in counts)
        self._append([holes], sum(counts), len(counts))

    def header_at(self, offset: int) -> RecordHeader:
        """Of the record there. Raises SpoolFormatError."""
        octets = os.pread(self._file(), spool.RECORD_HEADER_LENGTH, offset)
        header = spool.decode_record(octets, self._salt)
        if offset + spool.RECORD_HEADER_LENGTH + header.length > self.end:
            raise SpoolFormatError("a record beyond the end of its segment")
        return header

    def payload_at(self, offset: int, header: RecordHeader) -> bytes | None:
        """Of the record there; None where it is damaged, for good."""
        at = offset + spool.RECORD_HEADER_LENGTH
        try:
            payload = os.pread(self._file(), header.length, at)
        except OSError as error:
            if error.errno not in DAMAGE:
                raise
            return None
        is_whole = (
            len(payload) == header.length
            and spool.crc32(payload, self._salt) == header.crc
        )
        return payload if is_whole else None

    def finish(self) -> None:
        """Nothing will be appended any more: writes down the sums."""
        end = spool.encode_end(self.packets, self.records, self._salt)
        # Without it the segment will be walked, that is all.
        with contextlib.suppress(OSError):
            self._write([end], self.end)

    def sync(self) -> None:
        """What was appended is on the disk when this returns."""
        os.fdatasync(self._file())

    def rest(self) -> None:
        """Closes the file until it is needed again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Deletes the file."""
        self.rest()
        self._path.unlink(missing_ok=True)

    def _file(self) -> int:
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self._path, flags)
        return self._fd

    def _append(self, parts: list[Octets], packets: int, records: int) -> None:
        try:
            length = self._write(parts, self.end)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file(), self.end)
            raise
        self.end += length
        self.packets += packets
        self.records += records
        if self.end - self._written_back >= WRITEBACK_BYTES:
            # Begins writing and waits for nothing: generic_fadvise() in mm/fadvise.c.
            os.posix_fadvise(
                self._file(),
                self._written_back,
                self.end - self._written_back,
                os.POSIX_FADV_DONTNEED,
            )
            self._written_back = self.end

    def _write(self, parts: list[Octets], offset: int) -> int:
        """All of it; returns its length."""
        length = sum(map(len, parts))
        done = os.pwritev(self._file(), parts, offset)
        if done < length:
            # The disk is about to be full, or a signal came.
            rest = memoryview(b"".join(parts))
            while done < length:
                done += os.pwrite(self._file(), rest[done:], offset + done)
        return length

    def _look_at_end(self) -> None:
        """Learns the sums: from the record at the end or, without one, record by
        record."""
        size = os.fstat(self._file()).st_size
        end = max(size - spool.END_LENGTH, 0)
        try:
            octets = os.pread(self._file(), spool.END_LENGTH, end)
            self.packets, self.records = spool.decode_end(octets, self._salt)
            self.end = end
        except SpoolFormatError:
            self._walk(size)

    def _walk(self, size: int) -> None:
        at, self.end = self.end, size
        while at < size:
            try:
                header = self.header_at(at)
            except SpoolFormatError:
                break
            if header.kind is RecordKind.END:
                break
            at += spool.RECORD_HEADER_LENGTH + header.length
            self.packets += header.count
            self.records += 1
        self.end = at
        self.torn_bytes = size - at
        if self.torn_bytes:
            os.ftruncate(self._file(), at)
