"""Batches out to one savefile, from its header to its end: a file or standard output.

Specification: formats/file_format.py has what is in it. A full disk is waited for;
nothing half-written is left at the end.
"""

import errno
import logging
import os
import select
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import Follower, OutputCounts
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats.file_format import WRITE_MAX, FileFormat
from pcap_zmq.packet import Batch, Instant, Octets
from pcap_zmq.poll import BROKEN, WRITABLE, Watch

logger = logging.getLogger(__name__)

FULL_DISK_NS = NS_PER_S
"""How often to look whether a full disk has room again."""


class SavefileSink:
    """path: a file, made where there is none; "-": standard output. linktype: None
    takes the first batch's. A file that holds something is refused unless `overwrite`.

    Raises ConfigError, OutputError and OutputPermissionError where it cannot be had;
    OutputError later when the reader of standard output has left.
    """

    def __init__(
        self,
        path: str,
        *,
        linktype: int | None,
        file_format: FileFormat,
        overwrite: bool,
        counters: OutputCounts,
    ) -> None:
        self._name = "standard output" if path == "-" else path
        self._owns_fd = path != "-"
        self._linktype = linktype
        self._format = file_format
        self._counters = counters
        self._fd = _open_file(Path(path), overwrite) if self._owns_fd else _stdout()
        mode = os.fstat(self._fd).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._is_pollable = not self._is_file and not stat.S_ISBLK(mode)
        if not self._is_file:
            # A FIFO or a device may keep us waiting.
            os.set_blocking(self._fd, False)
        self._poll = select.poll()
        if self._is_pollable:
            self._poll.register(self._fd, 0)
        self._header: bytes | None = None
        self._header_at = 0
        self._offered: Octets = b""
        self._offered_at = self._offered_start = 0
        self._due_ns: int | None = None
        self._is_finishing = False
        self._is_last = False
        """What is on offer is the last word."""
        self._arrived: list[Any] = []

    @property
    def held(self) -> Sequence[Batch]:
        """Nothing: what is written stays written."""
        return ()

    def serve(self, now: Instant) -> None:
        """Writes the file header as soon as its link type is known. Raises OutputError
        when nobody reads standard output any more."""
        if any(events & select.POLLERR for _, events in self._poll.poll(0)):
            raise OutputError(f"the reader of {self._name} has left")
        if self._due_ns is not None and now.mono_ns >= self._due_ns:
            self._due_ns = None
        if self._header is None and self._linktype is not None:
            # Not before: it may tell who is there, which nobody knows while we open.
            self._header = self._format.header(self._linktype)
        if (
            self._header is not None
            and self._header_at < len(self._header)
            and self._due_ns is None
        ):
            self._header_at = self._write(self._header, self._header_at, now)
        if self._is_last and self._due_ns is None:
            self._offered_at = self._write(self._offered, self._offered_at, now)
            if self._offered_at == len(self._offered):
                self._is_last = False
                self._offered, self._offered_at = b"", 0

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Room in a pipe, and its reader's leaving; files do not say."""
        if self._fd >= 0 and self._is_pollable and self._due_ns is None:
            waits = wanted or self._is_last
            yield Watch(self._fd, WRITABLE if waits else BROKEN)

    def due(self) -> int | None:
        """When to try a full disk again."""
        return self._due_ns

    def offer(self, item: Batch, now: Instant) -> bool:
        """True once every octet of it is written."""
        if self._linktype is None:
            self._linktype = item.linktype
        self.serve(now)
        if not item.records:
            self._arrive(item)
            return True
        header = self._header
        if header is None or self._header_at < len(header) or self._due_ns is not None:
            return False
        if self._is_file and not self._offered_at:
            self._offered_start = os.lseek(self._fd, 0, os.SEEK_CUR)
        octets = self._offered = self._offered or self._format.encode(item, now)
        self._offered_at = self._write(octets, self._offered_at, now, item.receipt)
        if self._offered_at < len(octets):
            if isinstance(item.receipt, Follower):
                whole = self._format.whole(octets, self._offered_at)
                begun = self._format.count(memoryview(octets)[:whole])
                item.receipt.note_begun(begun, self._offered_at)
            return False
        self._offered, self._offered_at = b"", 0
        self._counters.count_written(item.receipt, item.count)
        self._counters.count_bytes(len(octets))
        self._arrive(item)
        return True

    def cut(self) -> int:
        """Of the batch on offer nothing is to be written that is not begun: how many
        packets, its first, still have to be offered, as a batch of their own."""
        begun, end = self._format.cut(self._offered, self._offered_at)
        self._offered = memoryview(self._offered)[:end]
        if not begun:
            self._offered, self._offered_at = b"", 0
        return begun

    def skip(self, item: Batch) -> None:
        """It will not be offered: whoever dropped it has counted it."""
        self._format.skip(item)

    def arrived(self) -> Sequence[Any]:
        """What was taken is in the output."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def finish(self, deadline_ns: int | None) -> None:
        """Nothing more will be offered."""
        has_header = self._header is not None and self._header_at == len(self._header)
        if has_header and not self._offered and not self._is_finishing:
            self._offered = self._format.end()
            self._is_last = bool(self._offered)
        if self._is_last and not self._is_finishing:
            if self._is_file:
                self._offered_start = os.lseek(self._fd, 0, os.SEEK_CUR)
            # In the next turn.
            self._due_ns = 0
        self._is_finishing = True

    def is_finished(self) -> bool:
        """What was taken was written, and the last word."""
        return self._is_finishing and not self._is_last

    def abandon(self) -> None:
        """What was not written is still its sender's."""

    def close(self) -> None:
        """Cuts off what was written of an unfinished record, and closes."""
        if self._fd < 0:
            return
        if self._is_file and self._offered:
            # From the file, since an error leaves no word of how far a write came.
            came = os.lseek(self._fd, 0, os.SEEK_CUR) - self._offered_start
            whole = self._format.whole(self._offered, came)
            os.ftruncate(self._fd, self._offered_start + whole)
        if self._owns_fd:
            os.close(self._fd)
        self._fd = -1

    def _arrive(self, item: Batch) -> None:
        if item.receipt is not None:
            self._arrived.append(item.receipt)

    def _write(
        self, octets: Octets, at: int, now: Instant, receipt: object = None
    ) -> int:
        """As much as goes now; returns how far it came. receipt: of the batch that
        these are, for who wants to know to the octet."""
        is_followed = self._is_pollable and isinstance(receipt, Follower)
        try:
            while at < len(octets):
                given = None
                if is_followed and isinstance(receipt, Follower):
                    given = receipt.give(self._fd, octets, at)
                if given is None:
                    given = os.write(self._fd, memoryview(octets)[at : at + WRITE_MAX])
                at += given
        except BlockingIOError:
            return at
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise OutputError(
                    f"{self._name} takes no more: {error.strerror}"
                ) from error
            self._due_ns = now.mono_ns + FULL_DISK_NS
            logger.warning(
                "%s: %s; what is meant for it waits until there is room",
                self._name,
                error.strerror,
            )
        return at


def _open_file(path: Path, overwrite: bool) -> int:
    try:
        if path.is_dir():
            raise ConfigError(f"{path} is a directory; name a file or a FIFO in it")
        if path.is_file() and path.stat().st_size and not overwrite:
            raise ConfigError(
                f"{path} holds something already; move it away, or say --overwrite"
            )
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return os.open(path, flags, 0o600)
    except PermissionError as error:
        raise OutputPermissionError(
            f"{path} may not be written: {error.strerror}; run as a user who may "
            "(--user)"
        ) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _stdout() -> int:
    if sys.stdout is None or sys.stdout.isatty():
        raise ConfigError(
            "standard output is a terminal: redirect it, or pipe it into a reader"
        )
    return sys.stdout.fileno()
