"""Says when a replay is to be silent for long, and how to leave that out: after a
packet without a time, or before one of a wrong year."""

import logging
import struct
from collections.abc import Sequence

from pcap_ffi import survey
from pcap_zmq.clock import NS_PER_S, utc_ns_text
from pcap_zmq.packet import Batch, Instant, Octets

logger = logging.getLogger(__name__)

LONG_NS = 600 * NS_PER_S
"""What nobody takes for a replay that goes on."""

_HEADER = struct.Struct("<III")
"""Of a packet record: seconds, nanoseconds, octets that follow 4 more."""


class Gaps:
    """A stage that changes nothing."""

    def __init__(self) -> None:
        self.speed = 1.0
        """So many times as fast as captured."""
        self._newest_ns: int | None = None

    def feed(self, item: Batch, now: Instant) -> Sequence[Batch]:
        """The batch as it is."""
        before_ns = self._newest_ns
        if before_ns is None:
            seconds, nanoseconds, _ = _HEADER.unpack_from(item.records)
            before_ns = seconds * NS_PER_S + nanoseconds
        newest_ns = survey(item.records, item.count, 1).newest_ns
        if self._is_long(newest_ns - before_ns):
            # As it takes so long to send, looking at each packet of it takes no time.
            self._look(item.records, before_ns)
        self._newest_ns = max(before_ns, newest_ns)
        return (item,)

    def _is_long(self, gap_ns: int) -> bool:
        return gap_ns / self.speed >= LONG_NS

    def _look(self, records: Octets, newest_ns: int) -> None:
        at = 0
        while at < len(records):
            seconds, nanoseconds, caplen = _HEADER.unpack_from(records, at)
            time_ns = seconds * NS_PER_S + nanoseconds
            if self._is_long(time_ns - newest_ns):
                logger.warning(
                    "nothing goes for %.0f s between the packet of %s and the next, of "
                    "%s: --from and --to leave out what is on one side",
                    (time_ns - newest_ns) / self.speed / NS_PER_S,
                    utc_ns_text(newest_ns),
                    utc_ns_text(time_ns),
                )
            newest_ns = max(newest_ns, time_ns)
            at += _HEADER.size + 4 + caplen
