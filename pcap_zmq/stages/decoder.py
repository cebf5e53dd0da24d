"""Makes batches of payloads, fit for one savefile stream, or counts why not.

What arrives here came from elsewhere: no length is trusted, and nothing but whole,
valid packet records of the stream's link type goes on. A batch that does not fit is
dropped and counted; an empty one goes on in its place, so that its sender is told.
"""

import logging
from collections.abc import Callable, Iterable

from pcap_ffi import RecordsError, count_records, to_microseconds
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError, FormatError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.codec import decompress
from pcap_zmq.formats.wire import RAW_LENGTH_MAX
from pcap_zmq.packet import Batch, EncodedBatch, Instant, Octets

logger = logging.getLogger(__name__)

_COMPLAINTS_MAX = 10_000
"""Each is said once, so each is remembered."""


class Decoder:
    """Encoded batches in, batches out, one for one and in order.

    linktype: the stream's; None: the first batch's. nanoseconds: False rescales the
    packet times to microseconds. sender_of: whose batch a receipt stands for, for logs.
    blame: is told the receipt of each malformed batch, why, and when. any_linktype: of
    whatever link type, since somebody else sees to that.
    """

    def __init__(
        self,
        linktype: int | None,
        nanoseconds: bool,
        sender_of: Callable[[object], str],
        counters: ReceiverCounters,
        blame: Callable[[object, object, Instant], None] | None = None,
        *,
        any_linktype: bool = False,
    ) -> None:
        self.linktype = linktype
        self._nanoseconds = nanoseconds
        self._sender_of = sender_of
        self._counters = counters
        self._blame = blame
        self._any_linktype = any_linktype
        self._told: set[str] = set()

    def feed(self, item: EncodedBatch, now: Instant) -> Iterable[Batch]:
        """One batch; empty where the item was dropped."""
        self._counters.payload_bytes += len(item.payload)
        try:
            records, count = self._records(item)
        except (FormatError, ConfigError) as error:
            self._drop(item, Reason.MALFORMED, f"a malformed batch: {error}")
            if self._blame is not None:
                self._blame(item.receipt, error, now)
            return [self._empty(item)]
        if self.linktype is None or self._any_linktype:
            self.linktype = item.linktype
        if item.linktype != self.linktype:
            self._drop(
                item,
                Reason.LINKTYPE,
                f"link type {linktypes.describe(item.linktype)} does not fit the "
                f"stream's {linktypes.describe(self.linktype)}",
            )
            return [self._empty(item)]
        self._counters.raw_bytes += len(records)
        return [Batch(item.linktype, records, count, item.receipt)]

    def _records(self, item: EncodedBatch) -> tuple[Octets, int]:
        if item.raw_length > RAW_LENGTH_MAX:
            raise FormatError(f"{item.raw_length} octets, above {RAW_LENGTH_MAX}")
        records = decompress(item.codec, item.payload, item.raw_length)
        try:
            count = count_records(records)
        except RecordsError as error:
            raise FormatError(str(error)) from error
        if count != item.count:
            raise FormatError(f"{count} packets where {item.count} were declared")
        if not self._nanoseconds:
            records = bytearray(records)
            to_microseconds(records)
        return records, count

    def _drop(self, item: EncodedBatch, reason: Reason, why: str) -> None:
        self._counters.count_dropped(item.receipt, reason, item.count)
        sender = self._sender_of(item.receipt)
        complaint = f"{sender} {reason}"
        if complaint not in self._told and len(self._told) < _COMPLAINTS_MAX:
            self._told.add(complaint)
            logger.warning("%s: %s; dropping such batches", sender, why)

    def _empty(self, item: EncodedBatch) -> Batch:
        linktype = item.linktype if self.linktype is None else self.linktype
        return Batch(linktype, b"", 0, item.receipt)
