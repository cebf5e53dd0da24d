"""Takes out of batches what is not to go on: by a filter, by an MTU."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pcap_ffi import Filter, count_longer, fit_records, select_records
from pcap_zmq.counters import FilesCounters, Skipped
from pcap_zmq.formats.bpf import program_of
from pcap_zmq.packet import Batch, Instant, Octets

_EVER_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Mtu:
    """Octets that a packet may have behind the header of its link; what is longer is
    left out, or cut."""

    octets: int
    cuts: bool


class Sift:
    """expression: in the language of pcap-filter(7), for the link type of each batch;
    empty: everything passes. mtu: None: however long. What is left out is counted."""

    def __init__(
        self, expression: str, mtu: Mtu | None, counters: FilesCounters
    ) -> None:
        self.cut = 0
        """Packets that were."""
        self.failed = 0
        """Packets of the batch by which it has failed: neither left out nor passed."""
        self._expression = expression.strip()
        self._mtu = mtu
        self._counters = counters
        self._filters: dict[int, Filter] = {}

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]:
        """What passes of the batch, with the receipt only where that is all. Raises
        ConfigError where the filter is none for its link type."""
        records, count = self._filtered(item)
        records, count = self._fitted(item.linktype, records, count)
        if records is item.records:
            yield item
        elif count:
            receipt = item.receipt if count == item.count else None
            yield replace(item, records=records, count=count, receipt=receipt)

    def _filtered(self, item: Batch) -> tuple[Octets, int]:
        if not self._expression:
            return item.records, item.count
        chosen = self._filters.get(item.linktype)
        if chosen is None:
            self.failed = item.count
            chosen = Filter(program_of(self._expression, item.linktype))
            self.failed = 0
            self._filters[item.linktype] = chosen
        records, count = select_records(
            item.records,
            from_ns=0,
            until_ns=_EVER_NS,
            unit_ns=1,
            linktype=item.linktype,
            chosen=chosen,
        )
        self._counters.skipped[Skipped.FILTER] += item.count - count
        # One copy of what was not changed is enough.
        return (item.records, count) if count == item.count else (records, count)

    def _fitted(self, linktype: int, records: Octets, count: int) -> tuple[Octets, int]:
        mtu = self._mtu
        if mtu is None:
            return records, count
        longer = count_longer(records, linktype, mtu.octets)
        if not longer:
            return records, count
        records = fit_records(records, linktype, mtu.octets, cut=mtu.cuts)
        if mtu.cuts:
            self.cut += longer
            return records, count
        self._counters.skipped[Skipped.LENGTH] += longer
        return records, count - longer
