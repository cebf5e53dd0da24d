"""Whose the packets of a batch are that was made of parts of others.

Where the packets of one batch go different ways (to several outputs, by their flows) or
are put in order with those of others (by time), what flows on has a receipt of this
kind. A batch that came over the link is settled once every packet of it has arrived,
whichever way.
"""

from collections.abc import Iterable, Iterator, Sequence

from pcap_zmq.counters import Reason
from pcap_zmq.formats.stream import Part, Receipt, Stream


class Runs:
    """The packets of a batch in their order: so many of one part, then so many of
    another one.

    parts: each once. order: index into the parts and packets, by turns, as C writes
    them (native uint32) or as plain numbers. totals: packets of each part in all of it,
    where that is known: so that nothing here is done for each packet where they come
    in turns.
    """

    __slots__ = ("_written", "order", "parts", "totals")

    def __init__(
        self,
        parts: Sequence[Part],
        order: Sequence[int],
        totals: Sequence[int] | None = None,
    ) -> None:
        if totals is None:
            counted = [0] * len(parts)
            for index, packets in _pairs(order):
                counted[index] += packets
            totals = counted
        self.parts = parts
        self.order = order
        self.totals = totals
        self._written = 0

    @classmethod
    def of(cls, runs: Iterable[tuple[Part, int]]) -> "Runs":
        """Of parts with their packets, in order."""
        indices: dict[Part, int] = {}
        order: list[int] = []
        for part, packets in runs:
            order += (indices.setdefault(part, len(indices)), packets)
        return cls(tuple(indices), order)

    @property
    def packets(self) -> int:
        """Altogether."""
        return sum(self.totals)

    def runs(self) -> Iterator[tuple[Part, int]]:
        """As it was made."""
        for index, packets in _pairs(self.order):
            yield self.parts[index], packets

    def batches(self) -> Iterator[tuple[Stream, int]]:
        """Of whose batches it has packets, and the numbers of these batches."""
        for part in self.parts:
            stream = part.stream
            if stream is not None:
                yield stream, part.number

    def left(self, packets: int) -> Iterator[tuple[Stream | None, int]]:
        """Whose the next so many packets are that are not in the output, as logged."""
        for part, found in self._between(self._written, self._written + packets):
            yield part.stream, found

    def count_written(self, packets: int) -> int:
        """So many more, in their order, are in the output; or, below 0, so many of the
        last ones turned out not to be."""
        before, after = self._written, self._written + packets
        self._written = after
        counted = self._between(min(before, after), max(before, after))
        logged = 0
        for part, found in counted:
            logged += found
            stream = part.stream
            if stream is not None:
                stream.count_written(found if packets > 0 else -found)
        return logged if packets > 0 else -logged

    def count_dropped(self, reason: Reason, packets: int) -> int:
        """The next so many will never be in the output."""
        logged = 0
        for stream, dropped in self.left(packets):
            logged += dropped
            if stream is not None:
                stream.count_dropped(reason, dropped)
        return logged

    def whole(self) -> Iterator[Receipt]:
        """All of it has arrived or never will: the batches of which nothing is missing
        now. To be asked once."""
        for part, packets in zip(self.parts, self.totals, strict=True):
            # A batch of no packets is in no runs: its own receipt goes on.
            if packets and part.receipt.credit(part.logged(packets, has_last=True)):
                yield part.receipt

    def _between(self, start: int, end: int) -> Iterator[tuple[Part, int]]:
        """Whose the packets from one place to another are, as logged; whose they are is
        told in any order where they are all."""
        if start == 0 and end == self.packets:
            for part, packets in zip(self.parts, self.totals, strict=True):
                yield part, part.logged(packets, has_last=True)
            return
        at = 0
        for index, packets in _pairs(self.order):
            found = min(at + packets, end) - max(at, start)
            if found > 0:
                part = self.parts[index]
                yield part, part.logged(found, has_last=at + packets <= end)
            at += packets
            if at >= end:
                return


def _pairs(order: Sequence[int]) -> Iterator[tuple[int, int]]:
    numbers = iter(order)
    return zip(numbers, numbers, strict=True)


class Copy(Runs):
    """The packets of a batch in another output than the one that counts for their
    streams: how far they are there is nobody's business but that output's."""

    __slots__ = ()

    @classmethod
    def like(cls, receipt: Receipt | Runs) -> "Copy":
        """Of a batch with this receipt."""
        if isinstance(receipt, Runs):
            return cls(receipt.parts, receipt.order, receipt.totals)
        parts = receipt.parts()
        order = [n for at, part in enumerate(parts) for n in (at, part.packets)]
        return cls(parts, order, [part.packets for part in parts])

    def count_written(self, packets: int) -> int:
        """For `left`, and nobody else."""
        self._written += packets
        return packets

    def count_dropped(self, reason: Reason, packets: int) -> int:
        """The output has counted it."""
        return packets

    def whole(self) -> Iterator[Receipt]:
        """None: what settles a batch is its own receipt."""
        return iter(())
