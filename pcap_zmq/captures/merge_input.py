"""One of the files that are merged: looked at, and read a part at a time, in as little
memory as it is told.
"""

import tarfile
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG

from pcap_ffi import CAPLEN_MAX, RECORD_HEADER, Period, new_buffer
from pcap_zmq.captures.capture_file import CaptureFile, Ended, Octets
from pcap_zmq.captures.descriptors import Descriptors, SharedFile
from pcap_zmq.captures.inputs import STDIN, Passed, Undone, explained, members
from pcap_zmq.captures.packets import Trouble
from pcap_zmq.errors import FormatError, InputError, PcapZmqError, SavefileError
from pcap_zmq.formats.capture_index import Entry
from pcap_zmq.formats.compressed import MAGIC_MAX, PIECE, Undo, kind_of
from pcap_zmq.formats.file_part import FileTally
from pcap_zmq.packet import Octets as Records
from pcap_zmq.policy.merge_plan import Extent, MergePlan, Order

LOOK_BYTES = 64 << 10
"""How much of a file is looked at to know when it begins."""

PIECE_MIN = 16 << 10
"""Octets that come out of a compressed file at once, however many are open."""

BEYOND_BYTES = 1 << 20
"""When so much is all beyond what is asked for, the rest of the file is taken to be."""

Share = Callable[[], int]
"""Octets that may be read at once, as things are."""


@dataclass(slots=True)
class MergedFile:
    """One of the paths, and what became of it. Written by the thread that reads, but
    the tally's `written` and `dropped`, which the receipts of the batches count."""

    path: Path
    tally: FileTally
    first_ns: int | None = None
    """When its turn comes; None: not looked at yet, or without packets."""
    outside: int = 0
    """Packets that were found and not asked for, by their times."""
    backwards: int = 0
    """Packets that are before one before them in the file: what `Order` is about."""
    skipped: int = 0
    """Of them, those that were left out."""
    late: int = 0
    """Packets that went on although later ones of other files had: where a file begins
    before its first packet, and where no more could be read ahead to sort them."""
    shift_ns: int = 0
    """Is added to all its times, so that it begins with the others."""
    failure: PcapZmqError | None = None
    """Why it could not be read to its end; of several in an archive the last."""
    is_begun: bool = False
    is_read: bool = False
    """Nothing more will come of it; with `tally.is_settled`, it is done with."""
    is_one_pass: bool = False
    """An archive or a pipe: read on from its beginning, and from nowhere else."""
    is_told: bool = False
    """What is worth a warning was said."""


@dataclass(slots=True)
class Part:
    """Packets that follow each other in a file, of one link type."""

    linktype: int
    records: Records
    packets: int


class MergeInputs:
    """Reads the files. trouble: is told of what breaks, once for each file; the rest
    goes on. passed: counts the octets that were read. batch_bytes: more is never read
    at once."""

    def __init__(self, trouble: Trouble, passed: Passed, batch_bytes: int) -> None:
        self._trouble = trouble
        self._passed = passed
        self._told: set[str] = set()
        self._begun: set[str] = set()
        self._descriptors = Descriptors()
        self._whole = batch_bytes
        self._scratch = new_buffer(max(batch_bytes, RECORD_HEADER + CAPLEN_MAX))

    @property
    def begun(self) -> int:
        """Files, and members of archives, that were begun or found broken so far."""
        return len(self._begun)

    def look(self, file: MergedFile) -> None:
        """Finds out when it begins: the earliest of its first packets. A pipe is not
        looked at, and so comes first."""
        try:
            if is_pipe(file.path):
                file.is_one_pass, file.first_ns = True, 0
                return
            with members(file.path) as found:
                for member in found:
                    file.is_one_pass = member.name != member.source
                    try:
                        octets = _Sips(member.octets, member.name, lambda: LOOK_BYTES)
                        capture = CaptureFile(octets, member.name)
                        used, count, _ = capture.read_into(
                            self._scratch, 0, LOOK_BYTES // 2
                        )
                    except PcapZmqError as error:
                        if not file.is_one_pass:
                            self._tell(file, member.name, error)
                        continue
                    if count:
                        period = Period()
                        period.keep(self._scratch[:used])
                        file.first_ns = period.first_ns
                        return
                    self._begun.add(member.name)
        except PcapZmqError as error:
            self._tell(file, str(file.path), error)
        file.is_read = True

    def parts(
        self, file: MergedFile, period: Period, share: Share
    ) -> Generator[Part, None, None]:
        """What the period wants of it. To be closed when it is not wanted any more."""
        try:
            if file.is_one_pass:
                yield from self._read_members(file, period, share)
                return
            shared = SharedFile(file.path, self._descriptors)
            try:
                octets = _opened(_Counted(shared, self._passed), shared, share)
                yield from self._read(file, str(file.path), octets, period, share)
            finally:
                shared.close()
        except PcapZmqError as error:
            self._tell(file, str(file.path), error)

    def extent(self, file: MergedFile, plan: MergePlan) -> Extent:
        """What the plan takes of it; reads all of it."""
        period = period_of(plan)
        same = replace(file)
        for _ in self.parts(same, period, lambda: self._whole):
            pass
        file.failure = same.failure
        return extent_of(period)

    def close(self) -> None:
        """Of what is being read, too; twice is harmless."""
        self._descriptors.close_all()

    def _read_members(
        self, file: MergedFile, period: Period, share: Share
    ) -> Generator[Part, None, None]:
        with members(file.path, self._passed) as found:
            for member in found:
                octets = _Sips(member.octets, member.name, share)
                try:
                    yield from self._read(file, member.name, octets, period, share)
                except PcapZmqError as error:
                    self._tell(file, member.name, error)

    def _read(
        self,
        file: MergedFile,
        name: str,
        octets: Octets,
        period: Period,
        share: Share,
    ) -> Generator[Part, None, None]:
        self._begun.add(name)
        capture = CaptureFile(octets, name)
        ended, beyond = Ended.FULL, 0
        while ended is not Ended.END and beyond < BEYOND_BYTES:
            # What nearly fills a buffer of its own is not copied.
            is_whole = share() >= self._whole
            enough = None if is_whole else share() // 2
            buffer = new_buffer(len(self._scratch)) if is_whole else self._scratch
            used, count, ended = capture.read_into(buffer, 0, enough)
            left = period.keep(buffer[:used])
            beyond = beyond + used if period.beyond == count else 0
            file.outside += period.before + period.beyond
            file.backwards += period.backwards
            file.skipped += period.skipped
            if not period.packets:
                continue
            records: Records = buffer[:left]
            if left < len(buffer) - len(buffer) // 8 or not is_whole:
                records = bytes(records)
            yield Part(capture.linktype, records, period.packets)

    def _tell(self, file: MergedFile, name: str, error: PcapZmqError) -> None:
        file.failure = error
        self._begun.add(name)
        if name not in self._told:
            self._told.add(name)
            self._trouble(name, error)


def period_of(plan: MergePlan, moved_ns: int = 0) -> Period:
    """What the plan takes of one file."""
    return Period(
        plan.from_ns,
        plan.until_ns,
        moved_ns=moved_ns,
        only_forward=plan.order is Order.SKIPPED,
    )


def extent_of(period: Period) -> Extent:
    """What was kept of it so far."""
    if period.first_ns is None or period.newest_ns is None:
        return Extent()
    return Extent(
        period.kept,
        period.octets,
        period.octets_on_wire,
        period.first_ns,
        period.newest_ns,
    )


def is_unchanged(path: Path, entries: list[Entry]) -> bool:
    """Whether what is known of it still holds."""
    try:
        status = path.stat()
    except OSError:
        return False
    now = status.st_size, status.st_mtime_ns
    return all(now == (each.source_size, each.source_mtime_ns) for each in entries)


def is_pipe(path: Path) -> bool:
    """Whether it can be read but once. Raises InputError."""
    try:
        return path == STDIN or not S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise explained(path, error) from error


def _opened(counted: "_Counted", shared: SharedFile, share: Share) -> Octets:
    """What is in it, as it comes out."""
    kind = kind_of(shared.read(MAGIC_MAX))
    shared.at = 0
    sips = _Sips(counted, counted.name, share)
    if kind is None:
        return sips
    undo = Undo(kind, min(PIECE, max(PIECE_MIN, share())))
    return _Sips(Undone(sips, undo), counted.name, share)


class _Counted:
    """A file whose octets count as read."""

    def __init__(self, shared: SharedFile, passed: Passed) -> None:
        self._shared = shared
        self._passed = passed
        self.name = str(shared.path)

    def read(self, size: int, /) -> bytes:
        octets = self._shared.read(size)
        self._passed.octets += len(octets)
        return octets


class _Sips:
    """Octets of which no more are read at once than there is memory for. What is wrong
    with them is a SavefileError, and stays wrong."""

    def __init__(self, octets: Octets, name: str, share: Share) -> None:
        self._octets = octets
        self._name = name
        self._share = share
        self._failure: PcapZmqError | None = None

    def read(self, size: int, /) -> bytes:
        if self._failure is not None:
            raise self._failure
        try:
            return self._octets.read(min(size, self._share()))
        except InputError as error:
            self._failure = error
            raise
        except OSError as error:
            self._failure = explained(self._name, error)
            raise self._failure from error
        except (FormatError, tarfile.TarError, EOFError) as error:
            self._failure = SavefileError(f"{self._name}: {error}")
            raise self._failure from error
