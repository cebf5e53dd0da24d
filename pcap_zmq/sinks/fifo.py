"""Batches out to a named pipe: finds its readers, each in a pipe of its own.

Specification: fifo(7). What flows, and what becomes of a reader that leaves: pipe.py.

There is no reader as long as opening says so (ENXIO). As soon as one has opened the
FIFO, a fresh one takes its place in the directory, so that the next reader cannot get
at this one's pipe and the torn record in it.
"""

import contextlib
import errno
import logging
import os
import stat
from pathlib import Path

from pcap_zmq.counters import OutputCounts
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats.file_format import FileFormat
from pcap_zmq.packet import Instant
from pcap_zmq.sinks.pipe import (
    LOOK_NS,
    PIPE_BYTES,
    SIP_NS,
    PipeSink,
    State,
    unread_octets,
)

__all__ = ["LOOK_NS", "PIPE_BYTES", "SIP_NS", "FifoSink", "State"]

logger = logging.getLogger(__name__)


class FifoSink(PipeSink):
    """One stream per reader. linktype: None takes the first batch's.

    Makes the FIFO with mode 0600 where there is none. Raises OutputError and
    OutputPermissionError where it cannot be had.
    """

    def __init__(
        self,
        path: Path,
        *,
        linktype: int | None,
        file_format: FileFormat,
        counters: OutputCounts,
    ) -> None:
        super().__init__(
            str(path), linktype=linktype, file_format=file_format, counters=counters
        )
        # Not the link to it: whoever opens it by its own name shall find the next one.
        self._path = path.resolve()
        self._ensure_fifo()

    # The FIFO in the directory.

    def _ensure_fifo(self) -> None:
        try:
            if not self._path.exists():
                os.mkfifo(self._path, 0o600)
            if not stat.S_ISFIFO(self._path.stat().st_mode):
                raise ConfigError(f"{self._path} is no FIFO")
        except PermissionError as error:
            raise OutputPermissionError(
                f"{self._path} may not be made: {error.strerror}; run as a user who "
                "may (--user)"
            ) from error
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be made: {error.strerror}"
            ) from error
        if not os.access(self._path, os.W_OK):
            raise OutputPermissionError(
                f"{self._path} may not be written; run as a user who may (--user)"
            )

    def _put_fresh_fifo(self, fd: int) -> None:
        """The next reader shall open another pipe than this one's."""
        mine, fresh = (
            os.fstat(fd),
            self._path.with_name(f".{self._path.name}.new"),
        )
        try:
            there = self._path.stat()
            if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
                return
            fresh.unlink(missing_ok=True)
            os.mkfifo(fresh, 0o600)
            if (mine.st_uid, mine.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(fresh, mine.st_uid, mine.st_gid)
            fresh.chmod(stat.S_IMODE(mine.st_mode))
            fresh.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            logger.warning(
                "%s cannot be replaced for the next reader (%s): one that opens it "
                "in the same moment as another leaves may find a torn record; let "
                "this user write to the directory and own the FIFO",
                self._path,
                error.strerror,
            )

    # The reader.

    def _find_reader(self, now: Instant) -> int | None:
        self._due_ns = now.mono_ns + LOOK_NS
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENOENT:
                self._ensure_fifo()
            elif error.errno != errno.ENXIO:
                raise OutputError(
                    f"{self._path} cannot be opened: {error.strerror}"
                ) from error
            return None
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            raise OutputError(f"{self._path} is no FIFO any more")
        if unread_octets(fd):
            # Somebody else's octets; what a reader makes of them is not ours to say.
            os.close(fd)
            return None
        self._put_fresh_fifo(fd)
        logger.info("a reader has opened %s", self._path)
        return fd

    def _forgotten(self, now: Instant) -> None:
        logger.info("the reader of %s has left", self._path)
