"""Where the packets of a batch come from that was merged: from several files."""

from collections.abc import Iterator, Sequence

from pcap_zmq.counters import Reason
from pcap_zmq.formats.file_part import FileTally


class FileParts:
    """The receipt of such a batch: so many packets of one file, then so many of
    another one. Counters' `Owner`.

    tallies: one may be there more than once. order: index into them and packets, by
    turns. totals: packets of each tally
    in all of it, so that nothing here is done for each turn where all is counted at
    once."""

    __slots__ = ("_written", "order", "packets", "tallies", "totals")

    def __init__(
        self,
        tallies: Sequence[FileTally],
        order: Sequence[int],
        totals: Sequence[int],
    ) -> None:
        self.tallies = tallies
        self.order = order
        self.totals = totals
        self.packets = sum(totals)
        self._written = 0

    def count_written(self, packets: int) -> int:
        """So many more of them, in their order, are in the output; or, below 0, so many
        of the last ones turned out not to be."""
        before, self._written = self._written, self._written + packets
        sign = 1 if packets > 0 else -1
        for tally, found in self._between(*sorted((before, self._written))):
            tally.written += sign * found
        return packets

    def count_dropped(self, reason: Reason, packets: int) -> int:
        """The next so many will never be."""
        before, self._written = self._written, self._written + packets
        for tally, found in self._between(before, self._written):
            tally.dropped[reason] += found
        return packets

    def settle(self) -> None:
        """The batch has arrived, at who does not count packets: a receiver."""
        self.count_written(self.packets - self._written)

    def _between(self, start: int, end: int) -> Iterator[tuple[FileTally, int]]:
        """Whose the packets from one place to another are; in any order where they are
        all."""
        if start == 0 and end == self.packets:
            yield from zip(self.tallies, self.totals, strict=True)
            return
        at = 0
        for index, packets in _pairs(self.order):
            found = min(at + packets, end) - max(at, start)
            if found > 0:
                yield self.tallies[index], found
            at += packets
            if at >= end:
                return


def without_first(order: Sequence[int], packets: int) -> list[int]:
    """What is left of such an order without so many packets."""
    left: list[int] = []
    for index, found in _pairs(order):
        passed = min(found, packets)
        packets -= passed
        if found > passed:
            left += (index, found - passed)
    return left


def totals_of(order: Sequence[int], parts: int) -> list[int]:
    """Packets of each of so many parts."""
    totals = [0] * parts
    for index, packets in _pairs(order):
        totals[index] += packets
    return totals


def _pairs(order: Sequence[int]) -> Iterator[tuple[int, int]]:
    numbers = iter(order)
    return zip(numbers, numbers, strict=True)
