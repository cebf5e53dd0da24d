"""Packed packet records as a whole: counted and validated, rescaled, truncated.

Specification: pcap-savefile(5), nanoseconds and little-endian.
"""

from pcap_ffi._pcap import ffi, lib

CAPLEN_MAX: int = lib.CAPLEN_MAX
"""Most octets of a packet that a record may hold."""

RECORD_HEADER: int = lib.RECORD_HEADER
"""Octets before each packet."""

Octets = bytes | bytearray | memoryview


class RecordsError(ValueError):
    """Octets that are no packet records; `offset` is where the first fault starts."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"no packet record at octet {offset}")
        self.offset = offset


def count_records(records: Octets) -> int:
    """How many whole records these octets are. Any octets may come; raises
    RecordsError where they are anything else."""
    at = ffi.new("size_t *")
    count = lib.records_count(ffi.from_buffer("uint8_t[]", records), len(records), at)
    if count < 0:
        raise RecordsError(at[0])
    return int(count)


def to_microseconds(records: bytearray | memoryview) -> None:
    """Rescales the sub-second field from nanoseconds, in place. Takes only octets that
    `count_records` has passed."""
    view = ffi.from_buffer("uint8_t[]", records, require_writable=True)
    lib.records_to_microseconds(view, len(records))


def truncate(records: bytearray | memoryview, snaplen: int) -> int:
    """Keeps at most `snaplen` octets of each packet, in place; `origlen` stays. Returns
    the new length. Takes only octets that `count_records` has passed."""
    view = ffi.from_buffer("uint8_t[]", records, require_writable=True)
    return int(lib.records_truncate(view, len(records), snaplen))


def whole_records(records: Octets, limit: int) -> int:
    """Where the last record ends that ends within the first `limit` octets. Takes only
    octets that `count_records` has passed."""
    view = ffi.from_buffer("uint8_t[]", records)
    return int(lib.records_whole(view, len(records), limit))


def begun_records(records: Octets, written: int) -> int:
    """Of how many records at least an octet is among the first `written` ones. Takes
    only octets that `count_records` has passed."""
    whole = whole_records(records, written)
    return count_records(memoryview(records)[:whole]) + (written > whole)


def record_end(records: Octets, count: int) -> int:
    """Where the record of this number ends, the first being 1; 0: the beginning. Takes
    only octets that `count_records` has passed, and no more than it has counted."""
    view = ffi.from_buffer("uint8_t[]", records)
    return int(lib.records_end(view, len(records), count))
