"""A pcap or pcapng savefile in, batches out: from a file, a pipe or standard input."""

import errno
import os
import stat
import sys
from collections.abc import Iterable

from pcap_zmq.captures.capture_file import CaptureFile, Descriptor
from pcap_zmq.captures.packets import batches
from pcap_zmq.counters import SenderCounters
from pcap_zmq.errors import ConfigError, InputError, InputPermissionError
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Watch
from pcap_zmq.sources.read_ahead import ReadAhead

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
        self.warnings: list[str] = []
        self._counters = counters
        self._owns_fd = path != "-"
        self._fd = open_input(path) if fd is None else fd
        name = "standard input" if path == "-" else path
        try:
            file = CaptureFile(Descriptor(self._fd, name), name)
        except BaseException:
            self._close_input()
            raise
        self.linktype = file.linktype
        self._ahead = ReadAhead(batches(file, batch_bytes, batch_age_ns), READ_AHEAD)

    @property
    def failure(self) -> BaseException | None:
        """What the stream has ended by, if not by its end."""
        return self._ahead.failure

    @property
    def held_packets(self) -> int:
        """None: packets count as received when they are read from here."""
        return 0

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
            self._counters.received += batch.count
        return batch

    def settle(self, receipt: object, now: Instant) -> None:
        """A file wants no acknowledgement."""

    def stop(self, now: Instant) -> None:
        """The rest of the file stays unread."""
        self._ahead.stop()

    def is_exhausted(self) -> bool:
        """The end of the file, or a stop."""
        return self._ahead.is_exhausted()

    def close(self) -> None:
        """Closes the file, unless it is being read: then the end of the process
        does."""
        if self._ahead.close():
            self._close_input()

    def _close_input(self) -> None:
        if self._owns_fd and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


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
