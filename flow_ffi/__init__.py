"""The crossing to C that tells of what flow a packet is, and treats each as one."""

from flow_ffi.heads import ALL, PARTS, PLACES, FlowHeads, Kept, WholeFlows, place_of
from flow_ffi.spread import TARGETS_MAX, FlowSpread, Part, flow_hash

__all__ = [
    "ALL",
    "PARTS",
    "PLACES",
    "TARGETS_MAX",
    "FlowHeads",
    "FlowSpread",
    "Kept",
    "Part",
    "WholeFlows",
    "flow_hash",
    "place_of",
]
