"""Keeps the last packets that passed, for whoever asks for them later.

The batches that flow are kept as they are, without a copy and without delay; so the
memory is theirs, until newer ones need the room. Packets are numbered as they come,
which is how somebody who fetches many, a part at a time, goes on where he was.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from pcap_ffi import Filter, FilterError, select_records
from pcap_zmq.errors import WireError
from pcap_zmq.formats.excerpt import Excerpt, Wanted
from pcap_zmq.packet import Batch, Instant, Octets

BATCH_COST = 512
"""Octets that a kept batch needs beside its records."""

PART_BYTES = 1 << 20
"""So much is looked through for one answer: some milliseconds, with any filter."""


@dataclass(frozen=True, slots=True)
class _Kept:
    first: int
    """The number of its first packet."""
    came_ns: int
    linktype: int
    records: Octets
    count: int

    @property
    def end(self) -> int:
        """The number after that of its last packet."""
        return self.first + self.count

    @property
    def cost(self) -> int:
        return len(self.records) + BATCH_COST


class Ring:
    """At most `limit_bytes`, none older than `limit_ns`; None: no such limit.
    nanoseconds: of the records that pass here."""

    def __init__(
        self, limit_bytes: int, limit_ns: int | None, *, nanoseconds: bool
    ) -> None:
        self.kept_bytes = 0
        """Octets in memory."""
        self._limit_bytes = limit_bytes
        self._limit_ns = limit_ns
        self._nanoseconds = nanoseconds
        self._kept: deque[_Kept] = deque()
        self._passed = 0

    @property
    def kept_packets(self) -> int:
        """Packets in memory."""
        return self._passed - self._first

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]:
        """The same batch."""
        if item.count:
            kept = _Kept(
                self._passed, now.mono_ns, item.linktype, item.records, item.count
            )
            self._passed += item.count
            self._kept.append(kept)
            self.kept_bytes += kept.cost
        self._forget(now)
        return [item]

    def excerpt(self, wanted: Wanted, now: Instant) -> Excerpt:
        """The next part of what is wanted. Raises WireError for a filter that is
        none."""
        self._forget(now)
        wanted = wanted.at(now.wall_ns)
        end = min(wanted.end, self._passed)
        linktype = wanted.linktype
        if linktype is None and self._kept:
            linktype = self._kept[0].linktype
        chosen = _filter_of(wanted.filter)
        part = [] if wanted.is_probe else self._part(wanted.start, end)
        selected = [
            select_records(
                kept.records,
                from_ns=wanted.from_ns,
                until_ns=wanted.until_ns,
                unit_ns=1 if self._nanoseconds else 1_000,
                linktype=kept.linktype,
                chosen=chosen,
            )
            for kept in part
            if kept.linktype == linktype
        ]
        is_last = not part or part[-1].end >= end
        return Excerpt(
            from_ns=wanted.from_ns,
            until_ns=wanted.until_ns,
            first=self._first,
            reached=end if is_last else part[-1].end,
            end=end,
            linktype=linktype,
            nanoseconds=self._nanoseconds,
            records=b"".join(records for records, _ in selected),
            count=sum(count for _, count in selected),
            others=sum(kept.count for kept in part if kept.linktype != linktype),
        )

    def _part(self, start: int, end: int) -> list[_Kept]:
        """Whole batches from there on, up to so much as is looked through at once."""
        part: list[_Kept] = []
        nbytes = 0
        for kept in self._kept:
            if kept.end <= start:
                continue
            if kept.first >= end or nbytes >= PART_BYTES:
                break
            part.append(kept)
            nbytes += len(kept.records)
        return part

    @property
    def _first(self) -> int:
        return self._kept[0].first if self._kept else self._passed

    def _forget(self, now: Instant) -> None:
        while self._kept and self._is_too_much(self._kept[0], now.mono_ns):
            self.kept_bytes -= self._kept.popleft().cost

    def _is_too_much(self, oldest: _Kept, now_ns: int) -> bool:
        if self.kept_bytes > self._limit_bytes:
            return True
        return self._limit_ns is not None and now_ns > oldest.came_ns + self._limit_ns


def _filter_of(octets: bytes) -> Filter | None:
    try:
        return Filter(octets) if octets else None
    except FilterError as error:
        raise WireError(str(error)) from error
