"""Surveys many capture files, as many at a time as there are workers."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq import options
from pcap_zmq.errors import (
    ConfigError,
    FormatError,
    InputError,
    InputPermissionError,
)
from pcap_zmq.formats.capture_index import Entry, decode_index, encode_index
from pcap_zmq.sources.inputs import find
from pcap_zmq.sources.survey import survey
from pcap_zmq.tools.whole_file import write_whole

INDEX_MAX = 1 << 30
"""Octets of an index that is read."""


@dataclass(frozen=True, slots=True)
class MapConfig:
    """paths: files, patterns, folders. workers: processes; None: one a processor.
    index: where what is known is kept, and what has not changed is taken from."""

    paths: tuple[str, ...]
    workers: int | None = None
    index: Path | None = None

    def check(self) -> None:
        """Raises ConfigError for a value out of bounds."""
        if not self.paths:
            raise ConfigError("no PATHS: name files, folders or patterns")
        if self.workers is not None:
            options.WORKERS.check("--workers", self.workers)


class Map:
    """Raises ConfigError for what makes no sense."""

    def __init__(self, config: MapConfig) -> None:
        config.check()
        self._config = config

    def run(
        self, advanced: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Entry]:
        """What is known of each file, in the order of the paths; of what is no capture
        only where it was named itself. advanced: is told how many octets of how many
        are looked through. Raises PcapZmqError; a file that breaks, or cannot be read,
        is none."""
        paths = find(self._config.paths)
        known = self._known()
        sizes = {path: _size_of(path) for path in paths}
        found = {path: _unchanged(path, known) for path in paths}
        missing = [path for path in paths if not found[path]]
        total = sum(sizes[path] for path in missing)
        done = 0
        for path, entries in self._surveyed(missing, sizes):
            found[path] = entries
            done += sizes[path]
            advanced(done, total)
        everything = [entry for path in paths for entry in found[path]]
        if self._config.index is not None:
            write_whole(self._config.index, encode_index(everything).encode())
        named = {str(Path(path)) for path in self._config.paths}
        return [entry for entry in everything if entry.kind or entry.source in named]

    def _surveyed(
        self, paths: Sequence[Path], sizes: dict[Path, int]
    ) -> Iterable[tuple[Path, list[Entry]]]:
        workers = min(self._config.workers or os.cpu_count() or 1, len(paths))
        # The largest first, so that none of them is left to one worker at the end.
        paths = sorted(paths, key=lambda path: -sizes[path])
        if workers <= 1:
            for path in paths:
                yield path, survey(path)
            return
        with ProcessPoolExecutor(workers, initializer=_end_quietly) as pool:
            try:
                waiting = {pool.submit(survey, path): path for path in paths}
                for future in as_completed(waiting):
                    yield waiting[future], future.result()
            except BrokenProcessPool as error:
                raise InputError(
                    "a worker has died; is there enough memory? try fewer --workers"
                ) from error
            except BaseException:
                for worker in multiprocessing.active_children():
                    worker.terminate()
                raise

    def _known(self) -> dict[str, list[Entry]]:
        """By source. An index that is not there is empty."""
        path = self._config.index
        if path is None:
            return {}
        try:
            if path.stat().st_size > INDEX_MAX:
                raise FormatError(f"more than {INDEX_MAX} octets")
            entries = decode_index(path.read_bytes())
        except FileNotFoundError:
            return {}
        except FormatError as error:
            raise ConfigError(
                f"--index {path} is no index of pcap-zmq map: {error}; name another "
                "file, or one that is not there"
            ) from error
        except PermissionError as error:
            raise InputPermissionError(
                f"{path} may not be read: {error.strerror}"
            ) from error
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        known: dict[str, list[Entry]] = {}
        for entry in entries:
            known.setdefault(entry.source, []).append(entry)
        return known


def _end_quietly() -> None:
    """Ctrl-C ends a worker at once; the first process has the words for it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _unchanged(path: Path, known: dict[str, list[Entry]]) -> list[Entry]:
    entries = known.get(str(path), [])
    try:
        status = path.stat()
    except OSError:
        return []
    now = status.st_size, status.st_mtime_ns
    is_same = all(now == (each.source_size, each.source_mtime_ns) for each in entries)
    return entries if is_same else []
