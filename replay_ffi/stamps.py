"""The times at which packets go, in place of those that they had.

Records are of pcap-savefile(5), nanoseconds and little-endian.
"""

from replay_ffi._replay import ffi, lib
from replay_ffi.schedule import Octets, Schedule

SLACK_NS = 10_000_000
"""No packet says that it went longer ago than so long before it did."""


class Stamps:
    """Goes along with a schedule: all that it lets pass has to come here, in order. A
    packet gets the time at which it was due, so that distances are as scheduled; what
    is later than `slack_ns` gets one so long before it went, and at top speed the
    moment itself. Times never go back."""

    def __init__(self, schedule: Schedule, *, slack_ns: int = SLACK_NS) -> None:
        self._schedule = schedule.pointer
        self._place = ffi.new("struct schedule_place *")
        self._slack_ns = slack_ns
        self._offset_ns: int | None = None

    def stamp(self, records: Octets, mono_ns: int, wall_ns: int) -> memoryview:
        """A copy of the records with the times at which they go. mono_ns, wall_ns: the
        moment by both clocks; how far these are apart is taken once, so that a step of
        the second moves nothing. Takes only octets that `pcap_ffi.count_records` has
        passed."""
        if self._offset_ns is None:
            self._offset_ns = wall_ns - mono_ns
        copy = bytearray(records)
        lib.schedule_stamp(
            self._schedule,
            self._place,
            ffi.from_buffer("uint8_t[]", copy),
            len(copy),
            mono_ns,
            self._slack_ns,
            self._offset_ns,
        )
        return memoryview(copy)
