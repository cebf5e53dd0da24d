"""The capture files that a filter reads, each up to where it breaks."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from pcap_zmq.captures.capture_file import CaptureFile, Octets
from pcap_zmq.captures.inputs import Member, Passed, find, members
from pcap_zmq.captures.packets import batches
from pcap_zmq.errors import ConfigError, NoCaptureError, PcapZmqError
from pcap_zmq.formats.out_names import OutNames, is_called
from pcap_zmq.packet import Batch
from pcap_zmq.stages.sieve import Sieve

Advanced: TypeAlias = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A file, and what is made of it is called. is_named: it is said to be a capture,
    and not only in a folder that was named."""

    path: Path
    stem: str
    is_named: bool


@dataclass(slots=True)
class Found:
    """What came of files. troubles: what is broken, a line each."""

    files: int = 0
    others: int = 0
    """In folders and archives, and no captures."""
    troubles: list[str] = field(default_factory=list)
    linktype: int | None = None
    """Of the first file."""

    def add(self, other: "Found") -> None:
        """Sums up."""
        self.files += other.files
        self.others += other.others
        self.troubles += other.troubles


def jobs_of(paths: Sequence[str], suffix: str) -> list[Job]:
    """All files that the paths name, each once. suffix: what those of folders end in,
    compressed or not. Raises InputError for a path that names nothing."""
    names = OutNames()
    jobs: dict[Path, Job] = {}
    for name in paths:
        folder = Path(name)
        is_folder = folder.is_dir()
        for path in find([name]):
            if path in jobs or (is_folder and not is_called(path.name, suffix)):
                continue
            place = str(path.relative_to(folder)) if is_folder else path.name
            jobs[path] = Job(path, names.stem(place), not is_folder)
    if not jobs:
        raise ConfigError(
            f"no file in {', '.join(paths)} ends in {suffix!r}: see --suffix"
        )
    return list(jobs.values())


def members_of(
    job: Job, passed: Passed, found: Found
) -> Generator[tuple[Member, str], None, None]:
    """The file, or those in it where it is an archive, each with its stem. passed: how
    far it is. What cannot be read is in `found`."""
    names = OutNames()
    try:
        with members(job.path, passed) as inside:
            for member in inside:
                place = member.name.removeprefix(str(job.path)).removeprefix(":")
                if place:
                    yield member, f"{job.stem}/{names.stem(place)}"
                else:
                    yield member, job.stem
    except PcapZmqError as error:
        found.troubles.append(str(error))


def packets_in(
    member: Member,
    found: Found,
    *,
    is_named: bool,
    advanced: Advanced | None = None,
    sieve: Sieve | None = None,
) -> Iterator[Batch]:
    """All of it, or what comes before it breaks. advanced: is told when more was read.
    sieve: what it would not take may be left out. Raises ConfigError where that cannot
    be."""
    octets = member.octets if advanced is None else _Telling(member.octets, advanced)
    try:
        file = CaptureFile(octets, member.name)
    except NoCaptureError as error:
        if is_named:
            found.troubles.append(str(error))
        else:
            found.others += 1
        return
    except PcapZmqError as error:
        found.troubles.append(str(error))
        return
    found.files += 1
    if found.linktype is None:
        found.linktype = file.linktype
    chosen = None if sieve is None else sieve.choice(file.linktype)
    if chosen is not None:
        file.choose(chosen)
    try:
        yield from batches(file)
    except PcapZmqError as error:
        found.troubles.append(str(error))
    if sieve is not None:
        sieve.pass_over(file.passed_over)


def packets_of(
    jobs: Iterable[Job],
    passed: Passed,
    found: Found,
    advanced: Advanced | None = None,
    sieve: Sieve | None = None,
) -> Generator[Batch, None, None]:
    """Of all files, one after the other."""
    for job in jobs:
        for member, stem in members_of(job, passed, found):
            yield from packets_in(
                member,
                found,
                is_named=job.is_named and stem == job.stem,
                advanced=advanced,
                sieve=sieve,
            )


class _Telling:
    """Tells of each read, also where nothing of what is read comes out."""

    def __init__(self, octets: Octets, advanced: Advanced) -> None:
        self._octets = octets
        self._advanced = advanced

    def read(self, size: int, /) -> bytes:
        self._advanced()
        return self._octets.read(size)
