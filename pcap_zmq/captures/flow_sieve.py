"""Packets in, those of one event's flow out, in runs between which it was idle."""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from filter_ffi import Filters, FlowSet, InFlows, Level
from pcap_ffi import Period, survey
from pcap_zmq.formats.conditions import Flow
from pcap_zmq.formats.eve_event import EveEvent
from pcap_zmq.packet import Batch, Octets
from pcap_zmq.units import NS_PER_S

_TIME = Struct("<II")


class Run(NamedTuple):
    """Packets of the flow, between which it is never idle."""

    records: Octets
    packets: int
    first_ns: int
    last_ns: int


class FlowSieve:
    """Keeps the packets of an event's flow."""

    def __init__(self, event: EveEvent) -> None:
        # In a tunnel it may be at any depth: Suricata looks into other ones than we do.
        level = Level.OUTER if event.outer is None else Level.ANY
        self._filters = [_filter(event.flow, level)]
        if event.outer is not None:
            self._filters.insert(0, _filter(event.outer, Level.OUTER))

    def runs(self, batch: Batch, idle_ns: int) -> Iterator[Run]:
        """What of a batch is of the flow, by time where it is idle in between."""
        records, count = batch.records, batch.count
        for each in self._filters:
            (taken,) = each.select(batch.linktype, records, count)
            records, count = taken.records, taken.count
            if not count:
                return
        while count:
            found, first_ns = survey(records, count, 1), first_ns_of(records)
            if found.newest_ns - first_ns <= idle_ns:
                yield Run(records, count, first_ns, found.newest_ns)
                return
            until_ns = first_ns
            while True:
                head, period = _within(records, None, until_ns + idle_ns + 1)
                if period.newest_ns == until_ns or period.newest_ns is None:
                    break
                until_ns = period.newest_ns
            yield Run(head, period.packets, first_ns, until_ns)
            records, rest = _within(records, until_ns + idle_ns + 1, None)
            count = rest.packets


def _filter(flow: Flow, level: Level) -> Filters:
    flows = FlowSet()
    flows.add_packed(flow)
    return Filters({"flow": InFlows(flows)}, level=level)


def _within(
    records: Octets, from_ns: int | None, until_ns: int | None
) -> tuple[Octets, Period]:
    """A copy of what is in the period, and what the period counted."""
    period = Period(from_ns, until_ns)
    copy = bytearray(records)
    return memoryview(copy)[: period.keep(copy)], period


def first_ns_of(records: Octets) -> int:
    """The time of the first one as it lies there: of a merged batch, the earliest."""
    seconds, nanoseconds = _TIME.unpack_from(records)
    return int(seconds * NS_PER_S + nanoseconds)
