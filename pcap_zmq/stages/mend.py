"""Batches in, batches out of packets as they would have been on the wire, in C.

Theory of operation. NFLOG sees what offload has not finished yet: checksums and
lengths that the network card completes, and packets that it splits. How these are told
from corrupt ones, and what becomes of them: pcap_ffi/mend.c.

Where a packet is split, a batch has more packets than were logged. What flows on is
counted in the new ones; its receipt (`Segmented`) counts for the ledger in those that
were logged. All segments of a packet are in one batch, and have to stay in one: so no
stage that makes batches anew may follow, unless it makes them of whole flows.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from pcap_ffi import Mended, Mender
from pcap_ffi.mend import Split
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.stream import Part, Receipt, Segmented
from pcap_zmq.packet import Batch, Instant


class Counting(Protocol):
    """What counts the packets that are mended: at either end."""

    fixed: int
    unfixed: int
    unsegmented: int

    def count_segmented(self, packets: int, segments: int) -> None: ...


class Mend:
    """fix: finishes checksums and lengths. mtu: splits IP packets that are longer;
    None: none. A batch with nothing to mend goes on as it is."""

    def __init__(self, *, fix: bool, mtu: int | None, counters: Counting) -> None:
        self._mender = Mender(fix=fix, mtu=mtu)
        self._counters = counters

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]:
        """One batch."""
        mended = self._mender.mend(item.records, item.linktype)
        self._count(mended)
        if mended.records is item.records:
            return (item,)
        more = mended.segments - len(mended.splits)
        receipt = item.receipt
        if mended.splits and isinstance(receipt, Receipt | Runs):
            receipt = Runs.of(split_runs(receipt.runs(), mended.splits))
        return (Batch(item.linktype, mended.records, item.count + more, receipt),)

    def _count(self, mended: Mended) -> None:
        counters = self._counters
        counters.fixed += mended.fixed
        counters.unfixed += mended.unfixed
        counters.unsegmented += mended.unsegmented
        if mended.splits:
            counters.count_segmented(len(mended.splits), mended.segments)


def split_runs(
    runs: Iterable[tuple[Part, int]], splits: Sequence[Split]
) -> Iterator[tuple[Part, int]]:
    """Whose the packets are after these splits: each that was split is a part."""
    waiting = iter(splits)
    split = next(waiting, None)
    # Counted in what came out, as the splits are.
    at = 0
    for part, logged in runs:
        packets = logged
        while split is not None and split.first < at + packets:
            before = split.first - at
            if before:
                yield part, before
            yield Segmented(part, split.records), split.records
            packets -= before + 1
            at = split.first + split.records
            split = next(waiting, None)
        if packets:
            yield part, packets
        at += packets
