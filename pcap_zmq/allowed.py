"""Whose keys are in a directory, kept up to date while it changes.

A directory that has gone allows nobody, as an empty one does. What cannot be read at
the moment changes nothing for the directory, and for a file means that it is not there:
a certificate that is broken must not go on letting somebody in.
"""

import errno
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.errors import FormatError, KeyFileError, KeyPermissionError
from pcap_zmq.formats import certificate
from pcap_zmq.formats.certificate import Role
from pcap_zmq.keys import PUBLIC, is_foreign, is_writable_for_others, read_public
from pcap_zmq.packet import Instant

logger = logging.getLogger(__name__)

LOOK_NS = NS_PER_S
"""How often the directory is looked at."""

UNSETTLED_NS = 2 * NS_PER_S
"""A file may change again within one tick of its file system's clock, and look the
same: what is as young as this is read again."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who a key belongs to."""

    name: str
    role: Role


class AllowList:
    """The public certificates in a directory: files that end in .key.

    Raises KeyFileError where the directory cannot be read in the beginning.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.people: Mapping[str, Person] = {}
        """By key, Z85. Replaced as a whole, never changed."""
        self._seen: object = None
        self._is_unsettled = True
        self._has_warned_of: frozenset[str] = frozenset()
        self._due_ns = 0
        try:
            files = self._look()
        except OSError as error:
            kind = (
                KeyPermissionError
                if isinstance(error, PermissionError)
                else KeyFileError
            )
            hint = "; whoever runs this (--user) has to" * (error.errno == errno.EACCES)
            raise kind(
                f"--allow {directory} cannot be read: {error.strerror}{hint}"
            ) from error
        self._read(files)
        if not self.people:
            logger.warning("%s allows nobody: it holds no %s file", directory, PUBLIC)

    def refresh(self, now: Instant, *, at_once: bool = False) -> bool:
        """Looks at the directory when it is time, or at once; whether it now says
        something else than before."""
        if now.mono_ns < self._due_ns and not at_once:
            return False
        self._due_ns = now.mono_ns + LOOK_NS
        complaints = []
        try:
            files = self._look()
        except FileNotFoundError:
            files = {}
            complaints = [f"{self._directory} has gone: nobody is allowed"]
        except OSError as error:
            logger.warning(
                "%s cannot be read: %s; those allowed before still are",
                self._directory,
                error.strerror,
            )
            return False
        is_same = files == self._seen and not self._is_unsettled
        if is_same and not complaints and not at_once:
            return False
        before = self.people
        self._read(files, complaints)
        youngest_ns = max((mtime_ns for mtime_ns, *_ in files.values()), default=0)
        self._is_unsettled = youngest_ns > now.wall_ns - UNSETTLED_NS
        return self.people != before

    def due(self) -> int:
        """When to look again (mono_ns)."""
        return self._due_ns

    def _look(self) -> dict[str, tuple[int, ...]]:
        """What can be seen of each certificate without reading it. Raises OSError."""
        status = self._directory.stat()
        if is_foreign(status):
            raise PermissionError(
                0,
                f"it belongs to user {status.st_uid}, who could let anybody in; chown "
                "it to root or to the user that this runs as",
            )
        if is_writable_for_others(status):
            raise PermissionError(
                0, "others can write there, and so let anybody in; chmod go-w it"
            )
        files: dict[str, tuple[int, ...]] = {}
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if not entry.name.endswith(PUBLIC):
                    continue
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    continue
                files[entry.name] = (
                    found.st_mtime_ns,
                    found.st_ctime_ns,
                    found.st_size,
                    found.st_ino,
                    found.st_mode,
                )
        return files

    def _read(
        self, files: Mapping[str, tuple[int, ...]], complaints: Iterable[str] = ()
    ) -> None:
        self._seen = files
        certificates, complaints = [], list(complaints)
        for file in sorted(files):
            try:
                certificates.append(self._certificate(file))
            except KeyFileError as error:
                complaints.append(f"{error}; whoever it is for is not allowed")
        self.people, doubts = _judge(certificates, self._directory)
        self._warn([*complaints, *doubts])

    def _certificate(self, file: str) -> tuple[str, Person]:
        """The key in a file, and whose it is."""
        path = self._directory / file
        found = read_public(path)
        name = found.name or path.name.removesuffix(PUBLIC)
        try:
            certificate.check_name(name)
        except FormatError as error:
            raise KeyFileError(f"{path}: {error}") from None
        return found.public, Person(name, found.role)

    def _warn(self, complaints: Iterable[str]) -> None:
        """Says each thing once, and again only after it was mended."""
        said = frozenset(complaints)
        for complaint in sorted(said - self._has_warned_of):
            logger.warning("%s", complaint)
        self._has_warned_of = said


def _judge(
    found: Iterable[tuple[str, Person]], directory: Path
) -> tuple[dict[str, Person], list[str]]:
    """Those of whom there is no doubt who they are; and the doubts."""
    distinct = set(found)
    keys = Counter(key for key, _ in distinct)
    names = Counter(person.name for _, person in distinct)
    doubts = [
        f"{directory} has several keys for the name {name!r}: none of them is allowed"
        for name, times in names.items()
        if times > 1
    ]
    doubts += [
        f"{directory} has several names or roles for the key {key}: none is allowed"
        for key, times in keys.items()
        if times > 1
    ]
    people = {
        key: person
        for key, person in distinct
        if keys[key] == 1 and names[person.name] == 1
    }
    return people, doubts
