"""Many files merged by time, once through: what `Merged` does again for each loop."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field

from pcap_ffi import Given, Merge, Period, new_buffer, record_end, sort_records, survey
from pcap_ffi.merge import ALL
from pcap_zmq.captures.joined import Joined
from pcap_zmq.captures.merge_input import (
    MergedFile,
    MergeInputs,
    Part,
    extent_of,
    period_of,
)
from pcap_zmq.counters import Skipped
from pcap_zmq.formats.file_parts import FileParts, totals_of, without_first
from pcap_zmq.packet import Batch, Octets
from pcap_zmq.policy.merge_plan import Extent, MergePlan, Order

PART_MIN = 2 << 10
"""Octets of a part, however many files are open."""

WHOLE_BYTES = 32 << 10
"""A part that is longer, and comes as it is, is not copied."""

Admit = Callable[[MergedFile], bool]


@dataclass(frozen=True, slots=True)
class MergeMeans:
    """What a merge has. memory: octets of records of all files that are open.
    batch_bytes: of a batch, and of a part, at most. admit: asked of each file when its
    turn has come. warn: is told what is no error."""

    inputs: MergeInputs
    memory: int
    batch_bytes: int
    admit: Admit
    warn: Callable[[str], None]
    admit_waits: bool
    """What was read goes on before it is asked."""


@dataclass(slots=True)
class MergeCounts:
    """So far, all times through together."""

    skipped: Counter[Skipped] = field(default_factory=Counter)
    """Packets that were read and are in no batch."""
    backwards: int = 0
    """Packets in batches that are earlier than one before them."""


@dataclass(slots=True, eq=False)
class _Source:
    """A file of this time through. The lower its rank the earlier among equals."""

    file: MergedFile
    rank: int
    period: Period
    moved_ns: int
    """Is added to its times."""
    parts: Generator[Part, None, None] | None = None
    """None: it is not open."""
    live: int = 0
    """Parts of it that wait for their turn."""
    octets: int = 0
    """Of these."""
    has_some: bool = False
    """At least one part was read."""


@dataclass(slots=True)
class _Live:
    """What is in the heap: a part; or none, for a file that is not open yet."""

    source: _Source
    records: Octets = b""
    octets: int = 0


class MergeTurn:
    """moved_ns: is added to all times. is_last: no other time through follows. skip:
    so many packets of it are left out at its beginning."""

    def __init__(
        self,
        files: Sequence[MergedFile],
        plan: MergePlan,
        means: MergeMeans,
        counts: MergeCounts,
        *,
        moved_ns: int,
        is_last: bool,
        skip: int,
    ) -> None:
        self.extent = Extent()
        """Of what was read to its end so far, not moved."""
        self.skip = skip
        """Packets that are still to be left out."""
        self._plan = plan
        self._means = means
        self._counts = counts
        self._is_last = is_last
        self._is_sorted = plan.order is Order.SORTED
        self._merge = Merge(
            unit_ns=1,
            capacity=means.batch_bytes,
            whole=WHOLE_BYTES,
            new_buffer=new_buffer,
        )
        self._live: dict[int, _Live] = {}
        self._open: set[_Source] = set()
        self._held = 0
        for rank, file in enumerate(files):
            if file.first_ns is not None:
                moved = moved_ns + file.shift_ns
                source = _Source(file, rank, period_of(plan, moved), moved)
                self._expect(source, file.first_ns + moved)

    def batches(self) -> Generator[Batch, None, None]:
        """To be asked for once."""
        joined = Joined()
        try:
            while True:
                given = self._merge.take(ALL)
                if given is not None:
                    yield from self._take(given, joined)
                asking = self._merge.asks
                if asking is None:
                    if given is None:
                        break
                    continue
                self._merge.drop()
                used_up = self._live.pop(asking)
                if used_up.source.parts is None and self._means.admit_waits:
                    yield from joined.flush()
                self._go_on(used_up)
            yield from joined.flush()
        finally:
            for source in self._open:
                if source.parts is not None:
                    source.parts.close()

    def _expect(self, source: _Source, first_ns: int) -> None:
        """Its turn comes then."""
        slot = self._merge.add_part(
            b"",
            0,
            floor_ns=first_ns,
            newest_ns=first_ns,
            linktype=0,
            rank=source.rank,
            has_more=True,
        )
        self._live[slot] = _Live(source)

    def _go_on(self, used_up: _Live) -> None:
        source = used_up.source
        if source.parts is None:
            if not self._means.admit(source.file):
                source.file.is_read, source.file.first_ns = True, None
                return
            source.file.is_begun = True
            self._open.add(source)
            source.parts = self._means.inputs.parts(
                source.file, source.period, lambda: self._share(source)
            )
        else:
            source.live -= 1
            source.octets -= used_up.octets
            self._held -= used_up.octets
        while not self._is_provided(source):
            if not self._read_part(source, source.parts):
                break

    def _is_provided(self, source: _Source) -> bool:
        """Whether enough of it is here. What is sorted is looked at a part ahead."""
        if not self._is_sorted:
            return source.live > 0
        return source.live > 1 and source.octets >= self._share(source)

    def _share(self, source: _Source) -> int:
        """Octets that a part of it may have."""
        memory = self._means.memory
        fair = memory // 2 // len(self._open)
        if not source.has_some:
            # As if all that are to come were open, too: most of it they may need.
            fair = memory // 2 // max(len(self._live), len(self._open))
        if self._is_sorted:
            fair //= 2
        free = (memory - self._held) // 4
        return max(PART_MIN, min(fair, free, self._means.batch_bytes))

    def _read_part(self, source: _Source, parts: Generator[Part, None, None]) -> bool:
        """Whether there was one."""
        file, period = source.file, source.period
        outside, skipped, backwards = file.outside, file.skipped, file.backwards
        before_ns = period.newest_ns
        part = next(parts, None)
        skips = self._counts.skipped
        skips[Skipped.TIME] += file.outside - outside
        skips[Skipped.ORDER] += file.skipped - skipped
        found = file.backwards - backwards - (file.skipped - skipped)
        if part is None:
            if not source.live:
                self._end(source)
            return False
        source.has_some = True
        records = part.records
        newest_ns = (period.newest_ns or 0) + source.moved_ns
        floor_ns = -ALL if before_ns is None else before_ns + source.moved_ns
        if self._is_sorted:
            if found:
                records = sort_records(records, part.packets, 1)
            newest_ns = survey(records, part.packets, 1).newest_ns
            floor_ns = -ALL
        else:
            self._counts.backwards += found
        slot = self._merge.add_part(
            records,
            part.packets,
            floor_ns=floor_ns,
            newest_ns=newest_ns,
            linktype=part.linktype,
            rank=source.rank,
            has_more=True,
        )
        self._live[slot] = _Live(source, records, len(records))
        source.live += 1
        source.octets += len(records)
        self._held += len(records)
        return True

    def _end(self, source: _Source) -> None:
        """All of it has gone on."""
        self._open.discard(source)
        file, period = source.file, source.period
        self.extent = self.extent.plus(extent_of(period).shifted(file.shift_ns))
        # None: it is not opened another time.
        file.first_ns = period.first_ns
        if not file.is_told:
            file.is_told = True
            self._tell(file)
        file.is_read = self._is_last or not period.kept

    def _tell(self, file: MergedFile) -> None:
        """What is worth knowing of it."""
        left = file.backwards - file.skipped
        if file.skipped:
            text = f"packets that go back in time: {file.skipped}, left out"
        elif self._is_sorted and file.late:
            text = f"packets that go back in time too far to be sorted: {file.late}"
        elif left and not self._is_sorted:
            text = f"packets that go back in time: {left}"
        elif file.late:
            text = f"packets before its first one, that go on late: {file.late}"
        else:
            return
        self._means.warn(f"{file.path}: {text}")

    def _take(self, given: Given, joined: Joined) -> Iterable[Batch]:
        """What can go on now."""
        live = [self._live[slot] for slot in given.slots]
        records = live[0].records if given.records is None else given.records
        for part, late, left in zip(live, given.lates, given.lefts, strict=True):
            part.source.file.late += late
            if not left:
                # Somebody else's from here on, or used up.
                part.records = b""
        self._counts.backwards += given.late
        order: Sequence[int] = given.order
        totals, packets = given.totals, given.packets
        if self.skip:
            skipped = min(self.skip, packets)
            self.skip -= skipped
            packets -= skipped
            self._counts.skipped[Skipped.ALREADY_SENT] += skipped
            if not packets:
                return ()
            records = bytes(memoryview(records)[record_end(records, skipped) :])
            order = without_first(order, skipped)
            totals = totals_of(order, len(live))
        tallies = [part.source.file.tally for part in live]
        for tally, total in zip(tallies, totals, strict=True):
            tally.read += total
        return joined.add(given.linktype, records, FileParts(tallies, order, totals))
