"""Batches of packets out of many capture files that overlap in time, merged by time.

Waits for what it reads: for a thread (`ReadAhead`), or a process of its own.

    merged = Merged(paths, trouble, MergePlan(order=Order.KEPT, loops=1))
    source = MergedSource(merged, counters)

Theory of operation. Each file is looked at once, to know when it begins. It stands in a
heap with that time; when its turn comes it is opened, and its first part stands there
instead, with the time of its next packet. Nothing goes past a part that is used up, or
past a file that is not open yet: so the next part is read first, and all that goes is
in order. What is open at a time is only what overlaps, and shares one bounded memory:
the more there is, the shorter are the parts. Descriptors are few, whatever is open.

An archive is read in one pass: its members, one after the other, are one file here.
Packets of equal times come in the order of the paths, and those of one file as they lie
there. The same files give the same stream every time, so that a dispatcher can go on by
the number of packets that have arrived (`MergePlan.skip`).
"""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from pcap_zmq.captures.inputs import STDIN, Passed, find_captures, size_of
from pcap_zmq.captures.merge_input import (
    MergedFile,
    MergeInputs,
    is_pipe,
    is_unchanged,
)
from pcap_zmq.captures.merge_turn import Admit, MergeCounts, MergeMeans, MergeTurn
from pcap_zmq.captures.packets import BATCH_BYTES, Trouble
from pcap_zmq.errors import InputError
from pcap_zmq.formats.capture_index import Entry
from pcap_zmq.formats.file_part import FileTally
from pcap_zmq.packet import Batch
from pcap_zmq.policy.merge_plan import Extent, MergePlan, Order

__all__ = ["Extent", "MergePlan", "Merged", "MergedFile", "Order"]

MEMORY = 24 << 20
"""Octets of records of all files that are open. What it takes to undo compression comes
on top: a tenth of a MiB a file for gzip, some MiB for the others."""


TOLD_MAX = 20
"""Files of which a warning tells."""


def everything(file: MergedFile) -> bool:
    """Admits it."""
    return True


def nobody(text: str) -> None:
    """Is told."""


class Merged:
    """paths: files, patterns, folders, archives. trouble: is told of what breaks, in
    the thread that reads; the rest goes on. warn: is told, there too, what is no error.
    known: entries of an index of `map`, which spare a look at files that have not
    changed. admit: asked of each file when its turn has come, in the thread that reads,
    and may wait; False leaves it out. passed: how far it is, for a progress bar. Raises
    InputError for a path that names nothing.

    Each batch has a receipt, a `FilePart` or `FileParts`: counters' `Owner`, with
    `settle()`. What they count is in `files`."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        trouble: Trouble,
        plan: MergePlan | None = None,
        *,
        known: Sequence[Entry] = (),
        warn: Callable[[str], None] = nobody,
        admit: Admit = everything,
        passed: Passed | None = None,
        batch_bytes: int = BATCH_BYTES,
        memory: int = MEMORY,
    ) -> None:
        self._plan = MergePlan() if plan is None else plan
        self._passed = Passed() if passed is None else passed
        inputs = MergeInputs(trouble, self._passed, batch_bytes)
        self._warn = warn
        self._told = 0
        self._means = MergeMeans(
            *(inputs, memory, batch_bytes, admit, self._tell),
            admit_waits=admit is not everything,
        )
        self.files: Sequence[MergedFile] = tuple(
            MergedFile(path, FileTally(str(path)))
            for path in find_captures([str(path) for path in paths])
        )
        """In the order of the paths."""
        self.counts = MergeCounts()
        self._known: dict[Path, list[Entry]] = {}
        for entry in known:
            source = Path(entry.source).absolute()
            self._known.setdefault(source, []).append(entry)
        self._has_looked = False
        self._extent: Extent | None = None

    @property
    def begun(self) -> int:
        """Files, and members of archives, that were begun or found broken so far."""
        return self._means.inputs.begun

    def extent(self) -> Extent:
        """What the plan takes of the files, once through. Reads all of them, but those
        that `known` tells of: for a schedule that has to know the end at the beginning.
        Troubles are told once, here or later. Raises InputError for a pipe."""
        if self._extent is None:
            self._check_pipes("what is to be known of all beforehand")
            self._look()
            extent = Extent()
            for file in self.files:
                if file.first_ns is not None:
                    extent = extent.plus(self._extent_of(file).shifted(file.shift_ns))
            self._extent = extent
            self._passed.octets = 0
        return self._extent

    def batches(self) -> Generator[Batch, None, None]:
        """All of it, as planned; to be asked for once. Of no packets nothing comes, how
        often it ever be. Raises InputError for a pipe where it would be read twice."""
        plan, turn, skip = self._plan, 0, self._plan.skip
        if plan.loops != 1:
            self._check_pipes("what is to come again")
        if plan.together:
            self._check_pipes("what is to begin together")
        try:
            self._look()
            while turn < plan.loops or not plan.loops:
                moved_ns = self._extent.moved_ns(turn) if self._extent else 0
                if turn and not moved_ns:
                    self._warn("the times begin again: records end in 2106")
                this = MergeTurn(
                    self.files,
                    plan,
                    self._means,
                    self.counts,
                    moved_ns=moved_ns,
                    is_last=turn + 1 == plan.loops,
                    skip=skip,
                )
                yield from this.batches()
                self._extent = self._extent or this.extent
                if not this.extent.packets:
                    return
                turn, skip = turn + 1, this.skip
        finally:
            self._means.inputs.close()

    def _tell(self, text: str) -> None:
        """Of thousands of files alike only the first."""
        self._told += 1
        if self._told <= TOLD_MAX:
            self._warn(text)
        elif self._told == TOLD_MAX + 1:
            self._warn("more files are like these: the totals count their packets")

    def _check_pipes(self, what: str) -> None:
        for file in self.files:
            try:
                is_unfit = is_pipe(file.path)
            except InputError:
                # That is its trouble, and told when it is looked at.
                continue
            if is_unfit:
                name = "standard input" if file.path == STDIN else file.path
                raise InputError(
                    f"{name} is a pipe, which can be read but once: {what} has to "
                    "be in files"
                )

    def _look(self) -> None:
        """When each file begins."""
        if self._has_looked:
            return
        self._has_looked = True
        for file in self.files:
            self._passed.total += size_of(file.path) * (self._plan.loops or 1)
            known = self._known_of(file)
            full = [entry for entry in known if entry.packets]
            if not known:
                self._means.inputs.look(file)
            elif all(self._plan.takes_none(e.first_ns, e.last_ns) for e in full):
                file.outside = sum(entry.packets for entry in full)
                file.is_read = True
            else:
                file.first_ns = min(entry.first_ns for entry in full)
                file.is_one_pass = any(each.path != each.source for each in known)
        if self._plan.together:
            self._align()

    def _align(self) -> None:
        """All of them begin with the earliest."""
        begins = [file.first_ns for file in self.files if file.first_ns is not None]
        for file in self.files:
            if file.first_ns is not None:
                file.shift_ns = min(begins) - file.first_ns

    def _known_of(self, file: MergedFile) -> Sequence[Entry]:
        """What the index says, if that still holds and says all."""
        entries = self._known.get(file.path.absolute(), [])
        is_whole = not any(entry.broken_why for entry in entries)
        return entries if is_whole and is_unchanged(file.path, entries) else ()

    def _extent_of(self, file: MergedFile) -> Extent:
        known = [entry for entry in self._known_of(file) if entry.packets]
        may_skip = self._plan.order is Order.SKIPPED and (
            len(known) > 1 or any(entry.backwards for entry in known)
        )
        if not known or may_skip:
            return self._means.inputs.extent(file, self._plan)
        extent = Extent()
        for entry in known:
            if not self._plan.takes_all(entry.first_ns, entry.last_ns):
                return self._means.inputs.extent(file, self._plan)
            extent = extent.plus(
                Extent(
                    entry.packets,
                    entry.octets,
                    entry.octets_on_wire,
                    entry.first_ns,
                    entry.last_ns,
                )
            )
        return extent
