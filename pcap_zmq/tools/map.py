"""Surveys many capture files, as many at a time as there are workers."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcap_ffi import keep_freed_memory
from pcap_zmq import options
from pcap_zmq.captures.inputs import find, size_of
from pcap_zmq.captures.survey import survey
from pcap_zmq.errors import (
    ConfigError,
    FormatError,
    InputError,
    InputPermissionError,
)
from pcap_zmq.formats.capture_index import (
    INDEX_MAX,
    Entry,
    decode_index,
    encode_index,
)
from pcap_zmq.tools.known_files import known_files
from pcap_zmq.tools.whole_file import write_whole
from pcap_zmq.tools.workers import Do, More, shared_out

GROUP_BYTES = 8 << 20
GROUP_FILES = 64
"""What a worker is given at once, at most, unless one file is larger: handing over
costs about as much as a small file."""

Found = list[tuple[Path, list[Entry]]]
"""What is known of some files."""


@dataclass(frozen=True, slots=True)
class MapConfig:
    """paths: files, patterns, folders. workers: processes; None: one a processor.
    index: where what is known is kept, and what has not changed is taken from.
    hashes: whether of each file's octets, too."""

    paths: tuple[str, ...]
    workers: int | None = None
    index: Path | None = None
    hashes: bool = True

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
        listed = known_files(self._config.paths, None)
        paths = find(listed.paths)
        known = self._known(listed.entries)
        sizes = {path: size_of(path) for path in paths}
        found = {path: self._unchanged(path, known) for path in paths}
        missing = [path for path in paths if not found[path]]
        total = sum(sizes[path] for path in missing)
        surveyed = self._surveyed(missing, sizes, lambda done: advanced(done, total))
        found.update(surveyed)
        everything = [entry for path in paths for entry in found[path]]
        if self._config.index is not None:
            write_whole(self._config.index, encode_index(everything).encode())
        named = {str(Path(path)) for path in listed.paths}
        return [entry for entry in everything if entry.kind or entry.source in named]

    def _surveyed(
        self,
        paths: Sequence[Path],
        sizes: dict[Path, int],
        advanced: Callable[[int], None],
    ) -> Iterator[tuple[Path, list[Entry]]]:
        workers = self._config.workers or os.cpu_count() or 1
        # The largest first, so that none of them is left to one worker at the end.
        paths = sorted(paths, key=lambda path: -sizes[path])
        groups = _grouped(paths, sizes, workers)
        make = functools.partial(_surveyor, self._config.hashes)
        for _, found in shared_out(make, groups, workers, advanced):
            yield from found

    def _unchanged(self, path: Path, known: dict[str, list[Entry]]) -> list[Entry]:
        """What is known of it; nothing where that is not all that is asked for."""
        entries = known.get(str(path), [])
        if not entries:
            return []
        try:
            status = path.stat()
        except OSError:
            return []
        now = status.st_size, status.st_mtime_ns
        is_same = all(
            now == (each.source_size, each.source_mtime_ns)
            and (each.sha256 or not self._config.hashes)
            for each in entries
        )
        return entries if is_same else []

    def _known(self, named: Iterable[Entry]) -> dict[str, list[Entry]]:
        """By source; what the index says counts more than what is named. An index that
        is not there is empty."""
        known: dict[str, list[Entry]] = {}
        for entry in self._indexed():
            known.setdefault(entry.source, []).append(entry)
        others: dict[str, list[Entry]] = {}
        for entry in named:
            others.setdefault(entry.source, []).append(entry)
        return others | known

    def _indexed(self) -> Sequence[Entry]:
        path = self._config.index
        if path is None:
            return ()
        try:
            if path.stat().st_size > INDEX_MAX:
                raise FormatError(f"more than {INDEX_MAX} octets")
            return decode_index(path.read_bytes())
        except FileNotFoundError:
            return ()
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


def _grouped(
    paths: Sequence[Path], sizes: dict[Path, int], workers: int
) -> list[list[Path]]:
    """What goes together, in the given order; at least so many that each worker has
    several."""
    files = min(GROUP_FILES, max(1, len(paths) // (4 * workers)))
    groups: list[list[Path]] = []
    octets = 0
    for path in paths:
        octets += sizes[path]
        if not groups or len(groups[-1]) == files or octets > GROUP_BYTES:
            groups.append([])
            octets = sizes[path]
        groups[-1].append(path)
    return groups


def _surveyor(hashes: bool) -> Do[Sequence[Path], Found]:
    # Else the kernel clears every chunk's pages anew.
    keep_freed_memory()

    def do(paths: Sequence[Path], more: More, /) -> Found:
        return [(path, survey(path, hashes=hashes, advanced=more)) for path in paths]

    return do
