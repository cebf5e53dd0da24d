"""A pcap or pcapng savefile in, batches out: from a file, a pipe or standard input."""

import errno
import os
import stat
import sys

from pcap_zmq.captures.capture_file import CaptureFile, Descriptor
from pcap_zmq.captures.packets import batches
from pcap_zmq.counters import SenderCounters
from pcap_zmq.errors import ConfigError, InputError, InputPermissionError
from pcap_zmq.sources.files import AheadSource


class SavefileSource(AheadSource):
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
        super().__init__(batches(file, batch_bytes, batch_age_ns), self._note)

    @property
    def held_packets(self) -> int:
        """None: packets count as received when they are read from here."""
        return 0

    def close(self) -> None:
        """Closes the file, unless it is being read: then the end of the process
        does."""
        if self._ahead.close():
            self._close_input()

    def _note(self, packets: int) -> None:
        self._counters.received += packets

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
