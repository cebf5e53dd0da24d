"""The crossing to libpcap, and the C loops over packed packet records."""

from pcap_ffi.buffers import keep_freed_memory, new_buffer
from pcap_ffi.capture import NEEDS_MAX, Capture, CaptureError, Paused, Rates, Sums
from pcap_ffi.filter import Filter, FilterError, compile_filter, select_records
from pcap_ffi.latency import LatencyHistogram
from pcap_ffi.mend import Mended, Mender, Split
from pcap_ffi.merge import Given, Merge, Survey, sort_records, survey
from pcap_ffi.mtu import count_longer, fit_records
from pcap_ffi.pcapng import (
    count_packets,
    encode_packets,
    undeclared,
    whole_blocks,
)
from pcap_ffi.period import Period
from pcap_ffi.records import (
    CAPLEN_MAX,
    RECORD_HEADER,
    RecordsError,
    begun_records,
    count_records,
    record_end,
    to_microseconds,
    truncate,
    whole_records,
)
from pcap_ffi.relink import Fate, Relinked, can_relink, fates_of, relink_records

__all__ = [
    "CAPLEN_MAX",
    "NEEDS_MAX",
    "RECORD_HEADER",
    "Capture",
    "CaptureError",
    "Fate",
    "Filter",
    "FilterError",
    "Given",
    "LatencyHistogram",
    "Mended",
    "Mender",
    "Merge",
    "Paused",
    "Period",
    "Rates",
    "RecordsError",
    "Relinked",
    "Split",
    "Sums",
    "Survey",
    "begun_records",
    "can_relink",
    "compile_filter",
    "count_longer",
    "count_packets",
    "count_records",
    "encode_packets",
    "fates_of",
    "fit_records",
    "keep_freed_memory",
    "new_buffer",
    "record_end",
    "relink_records",
    "select_records",
    "sort_records",
    "survey",
    "to_microseconds",
    "truncate",
    "undeclared",
    "whole_blocks",
    "whole_records",
]
