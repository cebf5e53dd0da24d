"""Takes packets out of tunnels, drops copies of them, and keeps what filters take.

In this order, so that the same packet in two tunnels is a copy, and a filter sees what
was within. Specification: docs/filter.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

from pcap_ffi import Filter, new_buffer, select_records
from pcap_zmq.counters import FilesCounters, Skipped
from pcap_zmq.formats.bpf import program_of
from pcap_zmq.packet import Batch, Instant

if TYPE_CHECKING:
    from filter_ffi import Part, Term

_EVER_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done with packets before filters see them. decap: so many tunnels are
    taken off a packet, at most; None: none. dedup_ns: packets that are the same within
    that time, by their own times, are one; None: none are. level: which packet is asked
    where packets are in packets: outer, inner, any."""

    decap: int | None = None
    dedup_ns: int | None = None
    level: str = "any"

    @property
    def is_nothing(self) -> bool:
        """Packets stay as they are, and all of them."""
        return self.decap is None and self.dedup_ns is None


@dataclass(slots=True)
class SieveCounts:
    """In packets: read == duplicates + what the filters were asked about."""

    read: int = 0
    duplicates: int = 0
    decapsulated: int = 0
    """Of those read; something was taken off."""
    still_inside: int = 0
    """Of those read, in a tunnel that could not be taken off: a fragment, malformed or
    too deep."""
    forgotten: int = 0
    """Of which a copy may have passed, since there was no memory for more."""
    orphans: int = 0
    """Fragments whose first one was not there: no port and no flow is known of them."""

    def add(self, other: "SieveCounts") -> None:
        """Sums up."""
        for each in fields(self):
            total = getattr(self, each.name) + getattr(other, each.name)
            setattr(self, each.name, total)


class Sieve(Protocol):
    """For one stream of packets."""

    @property
    def counts(self) -> SieveCounts:
        """So far."""

    def each(self, batch: Batch) -> Iterable[tuple[int, Batch]]:
        """What the filters take, each by its place; a batch for each link type that
        there is, and none that is empty. Raises ConfigError where a filter's expression
        is none for the link type."""

    def choice(self, linktype: int) -> Filter | None:
        """Another file begins, in which packets of this link type come first: what
        takes all of them that pass, so that its reader can leave out the others. Until
        the next file comes it is believed to do so. Raises as `each` does."""

    def pass_over(self, packets: int) -> None:
        """So many were left out."""


class OneExpression:
    """One of pcap-filter(7), with nothing before it: loads less, and does less, than
    what can do more."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._filters: dict[int, Filter] = {}
        self._chosen: int | None = None
        self.counts = SieveCounts()

    def each(self, batch: Batch) -> Iterable[tuple[int, Batch]]:
        """See `Sieve`."""
        linktype = batch.linktype
        self.counts.read += batch.count
        if linktype == self._chosen:
            yield 0, batch
            return
        records, count = select_records(
            batch.records,
            from_ns=0,
            until_ns=_EVER_NS,
            unit_ns=1,
            linktype=linktype,
            chosen=self._filter_for(linktype),
        )
        if count:
            yield 0, Batch(linktype, records, count)

    def choice(self, linktype: int) -> Filter | None:
        """See `Sieve`."""
        self._chosen = linktype
        return self._filter_for(linktype)

    def pass_over(self, packets: int) -> None:
        """See `Sieve`."""
        self.counts.read += packets

    def _filter_for(self, linktype: int) -> Filter:
        if linktype not in self._filters:
            program = program_of(self._expression, linktype)
            self._filters[linktype] = Filter(program)
        return self._filters[linktype]


class ManyFilters:
    """terms: of filters, by their names, one at least."""

    def __init__(self, terms: "Mapping[str, Term]", preparation: Preparation) -> None:
        # Here, since a single expression does without it.
        from filter_ffi import Decapsulator, Dedup, Filters, Level

        self._filters = Filters(
            terms,
            compile_bpf=program_of,
            level=Level[preparation.level.upper()],
            new_buffer=new_buffer,
        )
        depth, window_ns = preparation.decap, preparation.dedup_ns
        self._decapsulator = None if depth is None else Decapsulator(depth=depth)
        self._dedup = None if window_ns is None else Dedup(window_ns)
        self._read = 0

    @property
    def counts(self) -> SieveCounts:
        """See `Sieve`."""
        decapsulator, dedup = self._decapsulator, self._dedup
        return SieveCounts(
            read=self._read,
            duplicates=0 if dedup is None else dedup.dropped,
            decapsulated=0 if decapsulator is None else decapsulator.changed,
            still_inside=(
                0 if decapsulator is None else sum(decapsulator.undone.values())
            ),
            forgotten=0 if dedup is None else dedup.forgotten,
            orphans=self._filters.orphans,
        )

    def each(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        """See `Sieve`."""
        self._read += batch.count
        for part in self._parts(batch):
            records, count = part.records, part.count
            if self._dedup is not None:
                left = self._dedup.keep(part.linktype, records, count)
                records, count = left.records, left.count
            if not count:
                continue
            taken = self._filters.select(part.linktype, records, count)
            for place, each in enumerate(taken):
                if each.count:
                    yield place, Batch(part.linktype, each.records, each.count)

    def choice(self, linktype: int) -> Filter | None:
        """See `Sieve`. All are looked at."""
        return None

    def pass_over(self, packets: int) -> None:
        """See `Sieve`."""
        self._read += packets

    def _parts(self, batch: Batch) -> "Iterable[Part]":
        if self._decapsulator is None:
            from filter_ffi import Part

            return (Part(batch.linktype, batch.records, batch.count),)
        return self._decapsulator.peel(batch.linktype, batch.records, batch.count)


class SieveStage:
    """The same as a stage, of one filter."""

    def __init__(self, sieve: Sieve, counters: FilesCounters) -> None:
        self.sieve = sieve
        self._counters = counters

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]:
        """What the filter takes."""
        taken = [batch for _, batch in self.sieve.each(item)]
        skipped = self._counters.skipped
        duplicates = self.sieve.counts.duplicates
        new = duplicates - skipped[Skipped.DUPLICATE]
        skipped[Skipped.DUPLICATE] = duplicates
        skipped[Skipped.FILTER] += item.count - new - sum(b.count for b in taken)
        return taken
