"""Files that somebody writes into a folder, each once it is complete.

Theory of operation. A folder is looked through twice a second. A file is complete when
nobody has it open for writing any more: the kernel says so when it is asked for a lease
(fcntl(2), F_SETLEASE), of one's own files, or any where root has kept that right. Where
it does not say (another's file, a network's file system), a file is complete when it
stays as it is for a while: a short one where a newer file is there, a long one where it
is the newest. What was renamed into the folder, or linked, is a file like any other.

A file is known by its name and its first octets: so a writer that uses its names again
(tcpdump -W) is seen to have begun another file.

Specification: fcntl(2), "Leases". Waits for the disk: for a thread.
"""

import enum
import fcntl
import fnmatch
import hashlib
import os
import select
import signal
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq.clock import NS_PER_MS, NS_PER_S, SystemClock
from pcap_zmq.errors import InputError, InputPermissionError

LOOK_MS = 500
"""How often the folder is looked through."""

SETTLED_NS = 10 * NS_PER_S
"""The newest file, where the kernel does not say, is complete when it has been as it is
for so long."""

SUPERSEDED_NS = 2 * NS_PER_S
"""The same where a newer one is there."""

BEGINNING = 256
"""Octets by which a file is known: those of two captures differ, by their times."""

_PATTERN = frozenset("*?[")


class Use(enum.Enum):
    """What the kernel says of a file's writers."""

    WRITTEN = "somebody has it open for writing"
    FREE = "nobody has"
    UNKNOWN = "it does not say"


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is complete. begins: what it is known by, with its name."""

    path: str
    begins: str


@dataclass(slots=True)
class _Look:
    size: int
    mtime_ns: int
    since_ns: int


class WatchedFolder:
    """place: a folder, or a pattern of names in one. seen: what has been taken up
    already, by path; is looked at once. Raises InputError where there is no such
    folder."""

    def __init__(self, place: str, seen: Mapping[str, str]) -> None:
        path = Path(place)
        self._pattern = "*"
        if not path.is_dir() and _PATTERN & set(path.name):
            path, self._pattern = path.parent, path.name
        self._folder = path
        self._seen = dict(seen)
        self._looks: dict[str, _Look] = {}
        self._clock = SystemClock()
        self._list()

    def complete(self) -> Generator[Found, None, None]:
        """Those that are, in the order in which they were written; without end. Also
        those that are gone, which begin with nothing. Raises InputError once the folder
        is."""
        while True:
            yield from self.look(self._clock.now().mono_ns)
            select.select((), (), (), LOOK_MS * NS_PER_MS / NS_PER_S)

    def look(self, now_ns: int) -> list[Found]:
        """What has come to be complete, or is gone, since the last time."""
        entries = self._list()
        there = {path for path, _ in entries}
        gone = [path for path in self._seen if path not in there]
        found = [Found(path, "") for path in gone]
        for path in gone:
            del self._seen[path]
        for path in [path for path in self._looks if path not in there]:
            del self._looks[path]
        newest_ns = max((status.st_mtime_ns for _, status in entries), default=0)
        for path, status in entries:
            if not self._is_settled(path, status, newest_ns, now_ns):
                continue
            begins = _beginning(path)
            if begins and self._seen.get(path) != begins:
                self._seen[path] = begins
                found.append(Found(path, begins))
        return found

    def _list(self) -> list[tuple[str, os.stat_result]]:
        """By the times at which they were written last."""
        entries = []
        try:
            with os.scandir(self._folder) as listing:
                for entry in listing:
                    if entry.name.startswith(".") or not fnmatch.fnmatchcase(
                        entry.name, self._pattern
                    ):
                        continue
                    try:
                        if entry.is_file():
                            entries.append((entry.path, entry.stat()))
                    except OSError:
                        # It went while we looked, or is a link that leads nowhere.
                        continue
        except PermissionError as error:
            raise InputPermissionError(
                f"--watch {self._folder} may not be read: {error.strerror}"
            ) from error
        except OSError as error:
            raise InputError(
                f"--watch {self._folder} cannot be read: {error.strerror}"
            ) from error
        return sorted(entries, key=lambda entry: (entry[1].st_mtime_ns, entry[0]))

    def _is_settled(
        self, path: str, status: os.stat_result, newest_ns: int, now_ns: int
    ) -> bool:
        look = self._looks.get(path)
        size, mtime_ns = status.st_size, status.st_mtime_ns
        if look is None or (look.size, look.mtime_ns) != (size, mtime_ns):
            look = self._looks[path] = _Look(size, mtime_ns, now_ns)
        elif look.since_ns < 0:
            # As it was when it was found complete.
            return False
        if not size:
            return False
        use = _use_of(path)
        patience_ns = SUPERSEDED_NS if mtime_ns < newest_ns else SETTLED_NS
        is_settled = use is Use.FREE or (
            use is Use.UNKNOWN and now_ns >= look.since_ns + patience_ns
        )
        if is_settled:
            look.since_ns = -1
        return is_settled


def _use_of(path: str) -> Use:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        # Whoever plays it says why it cannot be read.
        return Use.UNKNOWN
    try:
        # Who opens it for writing in this very moment waits until we have closed it,
        # and the kernel tells us by a signal: one that does nothing, not SIGIO, which
        # would end us.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return Use.WRITTEN
    except OSError:
        return Use.UNKNOWN
    finally:
        os.close(fd)
    return Use.FREE


def _beginning(path: str) -> str:
    """ "": it is gone, or may not be read; then so say `open` and the log."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.blake2b(file.read(BEGINNING), digest_size=8).hexdigest()
    except FileNotFoundError:
        return ""
    except OSError:
        return "unreadable"
