"""Makes larger batches of small ones, where nobody is kept waiting by that."""

from collections.abc import Generator
from dataclasses import dataclass, field

from pcap_zmq.formats.file_part import FilePart, FileTally
from pcap_zmq.formats.file_parts import FileParts
from pcap_zmq.packet import Batch, Octets

LARGE_BYTES = 32 << 10
"""What has so many octets goes as it is."""


@dataclass(slots=True)
class _Waiting:
    linktype: int
    records: list[Octets] = field(default_factory=list)
    octets: int = 0
    tallies: list[FileTally] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)

    def add(self, records: Octets, parts: FileParts) -> None:
        first = len(self.tallies)
        self.records.append(records)
        self.octets += len(records)
        self.tallies += parts.tallies
        self.totals += parts.totals
        order = iter(parts.order)
        for index, packets in zip(order, order, strict=True):
            self.order += (first + index, packets)


class Joined:
    """What it is given, in order."""

    def __init__(self) -> None:
        self._waiting: _Waiting | None = None

    def add(
        self, linktype: int, records: Octets, parts: FileParts
    ) -> Generator[Batch, None, None]:
        """What goes on now: to be iterated over."""
        waiting = self._waiting
        is_large = len(records) >= LARGE_BYTES
        if waiting is not None and (is_large or waiting.linktype != linktype):
            yield from self.flush()
            waiting = None
        if is_large:
            yield _batch_of(linktype, records, parts)
            return
        if waiting is None:
            waiting = self._waiting = _Waiting(linktype)
        waiting.add(records, parts)
        if waiting.octets >= LARGE_BYTES:
            yield from self.flush()

    def flush(self) -> Generator[Batch, None, None]:
        """What waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            parts = FileParts(waiting.tallies, waiting.order, waiting.totals)
            yield _batch_of(waiting.linktype, b"".join(waiting.records), parts)


def _batch_of(linktype: int, records: Octets, parts: FileParts) -> Batch:
    first = parts.tallies[0]
    if all(tally is first for tally in parts.tallies):
        return Batch(linktype, records, parts.packets, FilePart(first, parts.packets))
    return Batch(linktype, records, parts.packets, parts)
