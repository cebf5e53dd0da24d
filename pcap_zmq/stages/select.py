"""Keeps the packets that a capture filter takes."""

from collections.abc import Iterable
from dataclasses import replace

from pcap_ffi import Filter, select_records
from pcap_zmq.formats.bpf import program_of
from pcap_zmq.packet import Batch, Instant

_EVER_NS = (1 << 63) - 1


class Select:
    """expression: in the language of pcap-filter(7); empty: everything passes.
    linktype: the batches'. Raises ConfigError with what libpcap says of it."""

    def __init__(self, expression: str, linktype: int) -> None:
        self._filter: Filter | None = None
        if not expression.strip():
            return
        self._filter = Filter(program_of(expression, linktype))

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]:
        """The batch, with what passes."""
        if self._filter is None:
            return (item,)
        records, count = select_records(
            item.records,
            from_ns=0,
            until_ns=_EVER_NS,
            unit_ns=1,
            linktype=item.linktype,
            chosen=self._filter,
        )
        return (replace(item, records=records, count=count),)
