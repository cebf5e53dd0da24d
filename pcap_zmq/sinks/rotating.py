"""Batches out to files that follow each other: by size, by age, only so many of them.

Specification: docs/outputs.md, pcap-savefile(5), renameat2(2).

Theory of operation. A file begins with its first packet, so that there are none
without. Until it is complete its name ends in `.part`; then it is renamed, and never
overwrites another. What is written is written whole, be it a batch or, compressed, a
frame of some batches: what the disk has no room for is cut off again, and tried anew.
So nothing half-written is ever left behind but by a crash, and that is mended at the
next start (disk/leftover.py).

A batch has arrived when write(2) has taken it. With compression that is when its frame
is complete: it is held until then, for a quarter of a second at most. Frames are
compressed in the loop, as batches are at a sender: a small frame takes a millisecond.
"""

import errno
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pcap_zmq.clock import NS_PER_S, utc_format
from pcap_zmq.counters import OutputCounts, OutputEvent
from pcap_zmq.disk import leftover
from pcap_zmq.disk.part import PartFile
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats.file_format import FileFormat
from pcap_zmq.formats.file_frames import ENDINGS, frame_compressor
from pcap_zmq.formats.file_names import FileNames
from pcap_zmq.packet import Batch, Instant, Octets
from pcap_zmq.poll import Watch

logger = logging.getLogger(__name__)

FULL_DISK_NS = NS_PER_S
"""How often to look whether a full disk has room again."""

FRAME_BYTES = 256 << 10
"""Octets that are compressed together; senders' windows are larger."""

FRAME_NS = NS_PER_S // 4
"""How long a batch waits for others to be compressed with."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class RotatingSink:
    """pattern: a path whose last part strftime(3) makes a name of, in UTC. size: octets
    after which another file begins, or before: one batch is never in two files. age_ns:
    whole multiples of it since the epoch end a file. count: complete files to keep.
    compress: a name in file_frames.ENDINGS. None: never, all, not at all. linktype:
    None takes the first batch's.

    Raises ConfigError, OutputError and OutputPermissionError where there can be no such
    files; OutputError later when there cannot any more.
    """

    def __init__(
        self,
        pattern: str,
        *,
        size: int | None,
        age_ns: int | None,
        count: int | None,
        compress: str | None,
        linktype: int | None,
        file_format: FileFormat,
        counters: OutputCounts,
    ) -> None:
        self._pattern = pattern
        path = Path(pattern)
        self._directory = path.parent
        self._names = FileNames(path.name, ENDINGS[compress] if compress else "")
        self._size, self._age_ns, self._count = size, age_ns, count
        self._compress = frame_compressor(compress) if compress else None
        self._linktype = linktype
        self._format = file_format
        self._counters = counters
        # The file that is being written, where there is one.
        self._file: PartFile | None = None
        self._packets = 0
        self._until_ns: int | None = None
        # What is to be written next, whole, and whose it is.
        self._piece: Octets = b""
        self._piece_of: list[Batch] = []
        # What is being gathered for a frame, and whose it is.
        self._frame: list[Octets] = []
        self._frame_bytes = 0
        self._frame_of: list[Batch] = []
        self._frame_ns: int | None = None
        self._offered: Batch | None = None
        self._retry_ns: int | None = None
        self._is_finishing = False
        self._arrived: list[Any] = []
        try:
            self._check()
        except OutputError:
            raise
        except OSError as error:
            raise _explained(self._directory, error) from error
        self._mend()
        self._prune()

    @property
    def held(self) -> Sequence[Batch]:
        """What waits to be compressed, or for room."""
        taken = [item for item in self._piece_of if item is not self._offered]
        return (*taken, *self._frame_of)

    def serve(self, now: Instant) -> None:
        """Writes what waits, and ends a file whose time has come."""
        if self._retry_ns is not None and now.mono_ns >= self._retry_ns:
            self._retry_ns = None
        is_over = self._until_ns is not None and now.mono_ns >= self._until_ns
        if self._frame_ns is not None and (now.mono_ns >= self._frame_ns or is_over):
            self._end_frame()
        if self._offered is None:
            self._write_piece(now)
        if is_over or self._is_finishing:
            self._end_file(now)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Nothing: files do not say."""
        return ()

    def due(self) -> int | None:
        """When a file or a frame is to end; before anything else, a full disk is to be
        tried again."""
        if self._retry_ns is not None or self._offered is not None:
            return self._retry_ns
        if self._is_finishing and self._file is not None:
            return 0
        dues = (self._until_ns, self._frame_ns)
        return min((due for due in dues if due is not None), default=None)

    def offer(self, item: Batch, now: Instant) -> bool:
        """True once it is written; with compression, once it is in a frame."""
        if self._linktype is None:
            self._linktype = item.linktype
        if not item.records:
            self._arrive(item)
            return True
        if self._offered is not None:
            if self._offered is not item:
                raise AssertionError("another batch while one was on offer")
            return self._write_piece(now)
        self.serve(now)
        if self._retry_ns is not None or not self._make_room(item, now):
            return False
        octets = self._format.encode(item, now)
        if self._compress is None:
            self._piece, self._piece_of, self._offered = octets, [item], item
            return self._write_piece(now)
        if not self._frame_of:
            self._frame_ns = now.mono_ns + FRAME_NS
        self._gather(octets)
        self._frame_of.append(item)
        if self._frame_bytes >= FRAME_BYTES:
            self._end_frame()
            self._write_piece(now)
        return True

    def cut(self) -> int:
        """Nothing of the batch on offer is in the file: it is forgotten."""
        if self._offered is not None:
            self._format.cut(self._piece, 0)
            self._offered = None
            self._piece, self._piece_of = b"", []
        return 0

    def skip(self, item: Batch) -> None:
        """It will not be offered: whoever dropped it has counted it."""
        self._format.skip(item)

    def arrived(self) -> Sequence[Any]:
        """What is in a file."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def finish(self, deadline_ns: int | None) -> None:
        """The file is to be complete, without a batch that there is no room for."""
        self.cut()
        self._is_finishing = True
        self._frame_ns = 0 if self._frame_of else None

    def is_finished(self) -> bool:
        """The last file is complete."""
        return self._is_finishing and self._file is None and not self.held

    def abandon(self) -> None:
        """What was not written is still its sender's."""

    def close(self) -> None:
        """Completes the file with what is in it."""
        self._complete()

    def _arrive(self, item: Batch) -> None:
        if item.receipt is not None:
            self._arrived.append(item.receipt)

    # Files, one after the other.

    def _make_room(self, item: Batch, now: Instant) -> bool:
        """A file that the batch can go to; False: not now."""
        if self._file is not None and self._size is not None and self._packets:
            # How much of the disk a batch will need is not known before it is
            # compressed.
            needed = 1 if self._compress else len(item.records)
            if self._file.length + needed > self._size:
                self._end_file(now)
        if self._file is not None:
            return True
        try:
            self._file = self._begin(now)
        except OSError as error:
            self._put_off(error, now)
            return False
        header = self._format.header(self._linktype or item.linktype)
        if self._compress is not None:
            self._gather(header)
            return True
        self._piece = header
        return self._write_piece(now)

    def _begin(self, now: Instant) -> PartFile:
        stem = utc_format(self._names.stem, now.wall_ns)
        file = PartFile(self._directory, self._names, stem)
        self._packets = 0
        self._until_ns = None
        if self._age_ns is not None:
            left_ns = self._age_ns - now.wall_ns % self._age_ns
            self._until_ns = now.mono_ns + left_ns
        return file

    def _end_file(self, now: Instant) -> None:
        """Completes it, unless something of it still waits for room."""
        if self._frame_of or self._piece_of:
            return
        # What this forgets is no packet: a full disk shall not keep the file open.
        self._piece, self._frame, self._frame_bytes = b"", [], 0
        last = b"" if self._file is None else self._format.end()
        if last:
            self._piece = self._compress(last) if self._compress else last
            self._write_piece(now)
            self._piece = b""
        self._complete()
        self._prune()

    def _complete(self) -> None:
        file, self._file = self._file, None
        self._until_ns = None
        if file is None:
            return
        try:
            if not self._packets:
                file.discard()
                return
            name = file.complete()
        except OSError as error:
            logger.warning(
                "%s cannot be renamed: %s; it is complete, and the next start tries "
                "again",
                file.path,
                error.strerror,
            )
            return
        self._counters.count_event(OutputEvent.FILE)
        logger.info(
            "%s is complete: %d packets, %d octets", name, self._packets, file.length
        )

    def _prune(self) -> None:
        """Removes the oldest of the complete files beyond the count."""
        if self._count is None:
            return
        try:
            for path in leftover.complete(self._directory, self._names)[: -self._count]:
                path.unlink(missing_ok=True)
                self._counters.count_event(OutputEvent.REMOVED_FILE)
                logger.info("%s is removed, as the oldest", path)
        except OSError as error:
            logger.warning(
                "old files of %s cannot be removed: %s", self._pattern, error.strerror
            )

    # Octets.

    def _gather(self, octets: Octets) -> None:
        self._frame.append(octets)
        self._frame_bytes += len(octets)

    def _end_frame(self) -> None:
        """Makes a piece of what was gathered, unless one waits."""
        if not self._frame_of or self._piece_of or self._compress is None:
            return
        self._piece = self._compress(b"".join(self._frame))
        self._piece_of = self._frame_of
        self._frame, self._frame_bytes, self._frame_of = [], 0, []
        self._frame_ns = None

    def _write_piece(self, now: Instant) -> bool:
        """Whole, or not at all: False."""
        if self._retry_ns is not None and now.mono_ns < self._retry_ns:
            return False
        if self._file is not None:
            try:
                self._file.write(self._piece)
            except OSError as error:
                self._put_off(error, now)
                return False
        self._retry_ns = None
        for item in self._piece_of:
            self._packets += item.count
            self._counters.count_written(item.receipt, item.count)
            self._counters.count_bytes(len(item.records))
            self._arrive(item)
        self._piece, self._piece_of, self._offered = b"", [], None
        return True

    def _put_off(self, error: OSError, now: Instant) -> None:
        """Until there is room. Raises OutputError where that is not the trouble."""
        path = self._directory if self._file is None else self._file.path
        if error.errno not in _FULL:
            raise _explained(path, error) from error
        self._retry_ns = now.mono_ns + FULL_DISK_NS
        logger.warning(
            "%s: %s; what is meant for it waits until there is room",
            path,
            error.strerror,
        )

    # The beginning.

    def _check(self) -> None:
        if Path(self._pattern).is_dir():
            raise ConfigError(f"{self._pattern} is a directory; name a file in it")
        if "%" in str(self._directory):
            raise ConfigError(
                f"file:{self._pattern}: %-directives are for the file's name, not for "
                "the directories before it"
            )
        if not self._directory.is_dir():
            raise OutputError(
                f"file:{self._pattern}: there is no directory {self._directory}; make "
                "it, for the user that the receiver runs as (--user)"
            )
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise OutputPermissionError(
                f"{self._directory} may not be written; run as a user who may (--user)"
            )

    def _mend(self) -> None:
        """What an earlier run left incomplete."""
        try:
            for left in leftover.find(self._directory, self._names):
                self._mend_one(left)
        except OSError as error:
            raise _explained(self._directory, error) from error

    def _mend_one(self, left: Path) -> None:
        try:
            mended = leftover.mend(left, self._names)
        except (leftover.Unmendable, OSError) as error:
            logger.warning("%s was left incomplete, and stays so: %s", left, error)
            return
        if mended is None:
            logger.warning("%s is being written by another process", left)
        elif mended.name is None:
            logger.info("%s held no whole packet, and is removed", left)
        else:
            self._counters.count_event(OutputEvent.RECOVERED_FILE)
            logger.warning(
                "%s was left incomplete: %d octets of half a packet are cut off, and "
                "it is now %s",
                left,
                mended.cut,
                mended.name.name,
            )


def _explained(path: Path, error: OSError) -> OutputError:
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return OutputPermissionError(
            f"{path} may not be written: {error.strerror}; run as a user who may "
            "(--user)"
        )
    return OutputError(f"{path} cannot be written: {error.strerror}")
