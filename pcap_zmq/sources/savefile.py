"""A pcap or pcapng savefile in, batches out: from a file, a pipe or standard input.

A thread reads ahead by two batches, so that the loop never waits for a disk, a slow
pipe or a decompressor. Nothing outside of this file knows of it.
"""

import errno
import os
import queue
import stat
import sys
import threading
from collections.abc import Iterable

from pcap_ffi import CAPLEN_MAX, RECORD_HEADER, new_buffer
from pcap_zmq.counters import SenderCounters
from pcap_zmq.errors import (
    ConfigError,
    InputError,
    InputPermissionError,
    PcapZmqError,
)
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import READABLE, Watch, new_wake
from pcap_zmq.sources.capture_file import CaptureFile, Ended

READ_AHEAD = 2


class SavefileSource:
    """path: a file or FIFO; "-": standard input. gzip, xz, zstd and lz4 are undone
    where the first octets say so. fd: what `open_input` has opened of it, owned from
    here on; None: it is opened here. Raises InputError where it cannot be opened,
    SavefileError where it holds no savefile; what goes wrong later ends the stream and
    is in `failure`."""

    def __init__(
        self,
        path: str,
        fd: int | None = None,
        *,
        batch_bytes: int,
        batch_age_ns: int,
        counters: SenderCounters,
    ) -> None:
        self.failure: PcapZmqError | None = None
        self.warnings: list[str] = []
        self._name = "standard input" if path == "-" else path
        self._capacity = max(batch_bytes, RECORD_HEADER + CAPLEN_MAX)
        self._age_ns = batch_age_ns
        self._counters = counters
        self._owns_fd = path != "-"
        self._fd = open_input(path) if fd is None else fd
        try:
            self._file = CaptureFile(self._fd, self._name)
        except BaseException:
            self._close_input()
            raise
        self.linktype = self._file.linktype
        self._ahead: queue.Queue[Batch | PcapZmqError | None] = queue.Queue(READ_AHEAD)
        self._wake, self._woken = new_wake()
        self._is_stopped = False
        self._is_closed = False
        self._is_exhausted = False
        self._thread = threading.Thread(target=self._read_ahead, daemon=True)
        self._thread.start()

    @property
    def held_packets(self) -> int:
        """None: packets count as received when they are read from here."""
        return 0

    def serve(self, now: Instant) -> None:
        """The thread does what there is to do."""

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Readable while a batch lies ready."""
        if wanted and not self._is_exhausted:
            yield Watch(self._wake, READABLE)

    def due(self) -> int | None:
        """Never: the thread wakes the loop."""
        return None

    def read(self, now: Instant) -> Batch | None:
        """The next batch that has been read ahead."""
        if self._is_exhausted:
            return None
        try:
            item = self._ahead.get_nowait()
        except queue.Empty:
            return None
        os.read(self._wake, 1)
        if isinstance(item, Batch):
            self._counters.received += item.count
            return item
        self._is_exhausted = True
        self.failure = item
        return None

    def settle(self, receipt: object, now: Instant) -> None:
        """A file wants no acknowledgement."""

    def stop(self, now: Instant) -> None:
        """The rest of the file stays unread."""
        self._is_stopped = True
        self._is_exhausted = True

    def is_exhausted(self) -> bool:
        """The end of the file, or a stop."""
        return self._is_exhausted

    def close(self) -> None:
        """Closes the file, unless the thread is stuck in reading it: then the end of
        the process does."""
        self._is_stopped = True
        while not self._ahead.empty():
            self._ahead.get_nowait()
        self._thread.join(timeout=0.2)
        if self._thread.is_alive():
            return
        if not self._is_closed:
            self._is_closed = True
            os.close(self._wake)
            os.close(self._woken)
            self._close_input()

    def _close_input(self) -> None:
        if self._owns_fd:
            os.close(self._fd)

    def _read_ahead(self) -> None:
        ended: Ended | None = None
        while ended is not Ended.END and not self._is_stopped:
            buffer = new_buffer(self._capacity)
            try:
                used, count, ended = self._file.read_into(buffer, self._age_ns)
            except PcapZmqError as error:
                self._hand_over(error)
                return
            if count:
                records = buffer[:used]
                if used < self._capacity - self._capacity // 8:
                    # Small batches do not each keep a large buffer occupied.
                    records = memoryview(bytes(records))
                self._hand_over(Batch(self._file.linktype, records, count))
        self._hand_over(None)

    def _hand_over(self, item: Batch | PcapZmqError | None) -> None:
        # First the octet: whoever finds the item finds an octet for it to read.
        os.write(self._woken, b"\0")
        while not self._is_stopped:
            try:
                self._ahead.put(item, timeout=0.1)
            except queue.Full:
                continue
            return


def open_input(path: str) -> int:
    """A descriptor of the file, or of standard input; without any thread yet."""
    if path == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise ConfigError("standard input is a terminal: pipe a savefile into it")
        return sys.stdin.fileno()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except PermissionError as error:
        raise InputPermissionError(
            f"{path} may not be read: {error.strerror}"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from error
    return fd
