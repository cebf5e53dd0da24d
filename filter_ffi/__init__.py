"""The crossing to C that filters packets, takes them out of tunnels and drops copies.

Packet records in, packet records out, a batch at a time; no Python runs per packet, and
the GIL is released meanwhile. What goes on from one batch to the next (fragments, what
was seen lately) lies in the objects: one of each for a stream of packets, and for one
thread at a time.

    wanted = AllOf((Subnets([ip_network("10.0.0.0/8")]), Not(Ports([(443, 443, 6)]))))
    filters = Filters({"inside": wanted}, compile_bpf=pcap_ffi.compile_filter)
    (taken,) = filters.select(batch.linktype, batch.records, batch.count)

    for part in Decapsulator(depth=1).peel(linktype, records, count):
        part.linktype, part.records, part.count

    left = Dedup(window_ns=10_000_000).keep(linktype, records, count)
"""

from filter_ffi.decapsulator import (
    DEPTH_MAX,
    Decapsulator,
    Encapsulation,
    Part,
    Undone,
)
from filter_ffi.dedup import Dedup, Left
from filter_ffi.filters import FILTERS_MAX, Filters, Level, Taken
from filter_ffi.flow_set import FlowSet, pack_flow
from filter_ffi.terms import (
    AllOf,
    AnyOf,
    Between,
    Bpf,
    Everything,
    InFlows,
    Macs,
    Not,
    Ports,
    Side,
    Subnets,
    Term,
)

__all__ = [
    "DEPTH_MAX",
    "FILTERS_MAX",
    "AllOf",
    "AnyOf",
    "Between",
    "Bpf",
    "Decapsulator",
    "Dedup",
    "Encapsulation",
    "Everything",
    "Filters",
    "FlowSet",
    "InFlows",
    "Left",
    "Level",
    "Macs",
    "Not",
    "Part",
    "Ports",
    "Side",
    "Subnets",
    "Taken",
    "Term",
    "Undone",
    "pack_flow",
]
