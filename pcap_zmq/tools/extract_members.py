"""Members of tar archives out to files, in one pass over each archive."""

import errno
import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pcap_ffi import keep_freed_memory
from pcap_zmq.captures.archive import CHUNK, Archived
from pcap_zmq.captures.inputs import Member, Passed, find, members, size_of
from pcap_zmq.errors import ConfigError, InputError, OutputError, PcapZmqError
from pcap_zmq.formats.codec import Compress
from pcap_zmq.formats.compressed import kind_of
from pcap_zmq.formats.file_frames import ALL_ENDINGS, frame_compressor
from pcap_zmq.formats.member_names import MemberNames
from pcap_zmq.sinks.capture_parts import explained, give_name
from pcap_zmq.tools.whole_file import check_free, create_part, part_of


@dataclass(frozen=True, slots=True)
class MembersConfig:
    """paths: archives. patterns: of names, with their folders, as a shell has them, and
    * stands for folders, too; is_regex: regular expressions, of which a part of a name
    is enough. folder: None: nothing is written. compress: what is not compressed yet;
    one of `file_frames.ALL_ENDINGS`."""

    paths: tuple[str, ...]
    patterns: tuple[str, ...]
    folder: Path | None
    is_regex: bool = False
    compress: str | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A member that the patterns name. place: what is made of it, below the folder."""

    name: str
    octets: int
    place: str


@dataclass(slots=True)
class Extracted:
    """What came of it."""

    files: int = 0
    octets: int = 0
    """Of members, as they lay there."""
    looked_at: int = 0
    """Members, of whatever name."""
    troubles: list[str] = field(default_factory=list)


_NO_MORE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class _NoMoreError(OutputError):
    """Nothing else could be written, either."""


class Members:
    """Raises ConfigError for what makes no sense."""

    def __init__(self, config: MembersConfig) -> None:
        self._config = config
        self._is_wanted = _wanted(config)
        self._names = MemberNames()
        self._places: dict[str, str] = {}
        self._compress: Compress | None = None
        self._ending = ""
        if config.compress is not None:
            self._compress = frame_compressor(config.compress)
            self._ending = ALL_ENDINGS[config.compress]

    def run(
        self,
        found: Callable[[Found], None] = lambda member: None,
        advanced: Callable[[int, int], None] = lambda done, total: None,
    ) -> Extracted:
        """found: is told of each that is there now, or would be. advanced: how many
        octets of how many are read. A member or an archive that cannot be had is a
        trouble, and the rest goes on. Raises InputError for a path that names
        nothing, OutputError where there is no room."""
        keep_freed_memory()
        done = Extracted()
        paths = find(self._config.paths)
        named = {str(Path(path)) for path in self._config.paths}
        passed = Passed(total=sum(map(size_of, paths)))

        def progress() -> None:
            advanced(passed.octets, passed.total)

        for path in paths:
            self._places.clear()
            try:
                with members(path, passed, links=True) as inside:
                    for member in inside:
                        if member.archived is None:
                            # In a folder there may be others.
                            if str(path) in named:
                                raise InputError(f"{path} is no tar archive")
                            break
                        done.looked_at += 1
                        if self._is_wanted(member.archived.name):
                            self._take(member, member.archived, done, found, progress)
                        progress()
            except _NoMoreError:
                raise
            except PcapZmqError as error:
                done.troubles.append(str(error))
        return done

    def _take(
        self,
        member: Member,
        archived: Archived,
        done: Extracted,
        found: Callable[[Found], None],
        progress: Callable[[], None],
    ) -> None:
        try:
            if archived.link_to:
                place = self._link(archived)
            else:
                place = self._copy(archived, progress)
        except _NoMoreError:
            raise
        except PcapZmqError as error:
            done.troubles.append(f"{member.name}: {error}")
            return
        self._places[archived.name] = place
        done.files += 1
        done.octets += archived.size
        found(Found(member.name, archived.size, place))

    def _copy(self, archived: Archived, progress: Callable[[], None]) -> str:
        """Returns the place of what was made."""
        first = archived.read(CHUNK)
        compress = None if kind_of(first) else self._compress
        ending = "" if compress is None else self._ending
        place = self._names.place(archived.name + ending)
        if self._config.folder is None:
            return place

        def pieces() -> Iterator[bytes]:
            piece = first
            while piece:
                yield piece if compress is None else compress(piece)
                progress()
                piece = archived.read(CHUNK)

        self._make(self._config.folder / place, pieces(), archived.modified_s)
        return place

    def _link(self, archived: Archived) -> str:
        """The same as another member, which was before it."""
        target = self._places.get(archived.link_to)
        if not archived.is_hard_link or target is None:
            kind = "hard" if archived.is_hard_link else "symbolic"
            why = " that was not extracted" if archived.is_hard_link else ""
            raise InputError(f"a {kind} link to {archived.link_to}{why}: left out")
        place = self._names.place(archived.name)
        folder = self._config.folder
        if folder is not None:
            self._make(folder / place, None, archived.modified_s, folder / target)
        return place

    def _make(
        self,
        path: Path,
        pieces: Iterator[bytes] | None,
        modified_s: float,
        same: Path | None = None,
    ) -> None:
        """pieces: what is written; None: it is the same file as `same`. There under its
        name only when it is whole."""
        if not self._config.overwrite:
            check_free(path)
        part = part_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                if same is not None:
                    part.hardlink_to(same)
                else:
                    _write(part, pieces or iter(()))
                    os.utime(part, (modified_s, modified_s))
                give_name(part, path, overwrite=self._config.overwrite)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            if error.errno in _NO_MORE:
                raise _NoMoreError(str(explained(path, error))) from error
            raise explained(path, error) from error


def _write(part: Path, pieces: Iterator[bytes]) -> None:
    with os.fdopen(create_part(part), "wb", buffering=0) as file:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[file.write(view) or 0 :]


def _wanted(config: MembersConfig) -> Callable[[str], bool]:
    """Whether one of the patterns names it."""
    if not config.patterns:
        raise ConfigError("--members names no pattern; write '*' for all")
    compiled = []
    for pattern in config.patterns:
        text = pattern if config.is_regex else fnmatch.translate(pattern)
        try:
            compiled.append(re.compile(text))
        except re.error as error:
            raise ConfigError(
                f"--members {pattern!r} is no regular expression: {error}"
            ) from error
    if config.is_regex:
        return lambda name: any(each.search(name) for each in compiled)
    return lambda name: any(each.match(name) for each in compiled)
