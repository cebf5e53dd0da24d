"""The crossing to libpcap, and the C loops over packed packet records."""

from pcap_ffi.buffers import keep_freed_memory, new_buffer
from pcap_ffi.latency import LatencyHistogram
from pcap_ffi.records import (
    CAPLEN_MAX,
    RECORD_HEADER,
    RecordsError,
    count_records,
    to_microseconds,
    truncate,
    whole_records,
)
from pcap_ffi.savefile import Ended, Savefile, SavefileFormatError

__all__ = [
    "CAPLEN_MAX",
    "RECORD_HEADER",
    "Ended",
    "LatencyHistogram",
    "RecordsError",
    "Savefile",
    "SavefileFormatError",
    "count_records",
    "keep_freed_memory",
    "new_buffer",
    "to_microseconds",
    "truncate",
    "whole_records",
]
