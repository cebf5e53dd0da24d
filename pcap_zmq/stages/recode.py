"""Encoded batches in, encoded batches out, in another codec where that was asked for.

What is not to change is not looked into. What is looked into came from elsewhere: a
batch that lies about its lengths, or holds no packet records, is dropped and counted,
and an empty one goes on in its place, so that its sender is told.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pcap_ffi import RecordsError, count_records
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError, FormatError
from pcap_zmq.formats.codec import Codec, compressor, decompress, light_compressor
from pcap_zmq.formats.relayed import Passed
from pcap_zmq.formats.wire import RAW_LENGTH_MAX
from pcap_zmq.packet import EncodedBatch, Instant, Octets
from pcap_zmq.policy.gain import SMALL, Effort, Gain

logger = logging.getLogger(__name__)

_COMPLAINTS_MAX = 10_000
"""Each is said once, so each is remembered."""


@dataclass(frozen=True, slots=True)
class Recoding:
    """codec: None: as it is; NONE: nothing is compressed; else what is not compressed
    becomes so, and, with `recompress`, also what another codec has compressed. checks:
    every batch is looked into."""

    codec: Codec | None = None
    level: int | None = None
    recompress: bool = False
    checks: bool = False


class Recoder:
    """One for one and in order; each batch's receipt goes on as a `Passed`. sender_of:
    whose batch a receipt stands for, for logs. blame: is told the receipt of each
    malformed batch, why, and when. announce: is told the link type of a sender that has
    no packets yet. Raises ConfigError for a codec or level that there is not."""

    def __init__(
        self,
        recoding: Recoding,
        *,
        sender_of: Callable[[object], str],
        blame: Callable[[object, object, Instant], None],
        announce: Callable[[int], None],
        counters: ReceiverCounters,
    ) -> None:
        self._recoding = recoding
        self._sender_of = sender_of
        self._blame = blame
        self._announce = announce
        self._counters = counters
        self._told: set[str] = set()
        self._gain = Gain()
        codec = recoding.codec or Codec.NONE
        self._compress = {
            Effort.LIGHT: light_compressor(codec, recoding.level),
            Effort.FULL: compressor(codec, recoding.level),
        }

    def feed(self, item: EncodedBatch, now: Instant) -> Iterable[EncodedBatch]:
        """One batch; none for the announcement of a link type."""
        if item.receipt is None:
            self._announce(item.linktype)
            return ()
        self._counters.payload_bytes += len(item.payload)
        try:
            codec, payload = self._recoded(item)
        except (FormatError, ConfigError) as error:
            self._drop(item, error, now)
            passed = Passed(item.receipt, 0)
            return (EncodedBatch(item.linktype, 0, Codec.NONE, 0, b"", passed),)
        self._counters.raw_bytes += item.raw_length
        self._counters.written_bytes += len(payload)
        return (
            EncodedBatch(
                linktype=item.linktype,
                count=item.count,
                codec=codec,
                raw_length=item.raw_length,
                payload=payload,
                receipt=Passed(item.receipt, item.count),
            ),
        )

    def _recoded(self, item: EncodedBatch) -> tuple[int, Octets]:
        if item.raw_length > RAW_LENGTH_MAX:
            raise FormatError(f"{item.raw_length} octets, above {RAW_LENGTH_MAX}")
        recoding = self._recoding
        is_plain = item.codec == Codec.NONE
        may_change = is_plain or recoding.recompress or recoding.codec is Codec.NONE
        changes = may_change and recoding.codec not in {None, item.codec}
        if not changes:
            if recoding.checks:
                _opened(item)
            return item.codec, item.payload
        if is_plain and not recoding.checks:
            return self._compressed(item.payload)
        return self._compressed(_opened(item))

    def _compressed(self, records: Octets) -> tuple[int, Octets]:
        codec = self._recoding.codec
        effort = self._gain.effort() if len(records) >= SMALL else Effort.NONE
        if codec and effort is not Effort.NONE:
            payload = self._compress[effort](records)
            if self._gain.learn(len(records), len(payload)):
                return codec, payload
        return Codec.NONE, records

    def _drop(self, item: EncodedBatch, error: Exception, now: Instant) -> None:
        self._counters.count_dropped(item.receipt, Reason.MALFORMED, item.count)
        sender = self._sender_of(item.receipt)
        if sender not in self._told and len(self._told) < _COMPLAINTS_MAX:
            self._told.add(sender)
            logger.warning(
                "%s: a malformed batch: %s; dropping such batches", sender, error
            )
        self._blame(item.receipt, error, now)


def _opened(item: EncodedBatch) -> Octets:
    """Its records, which are what it says. Raises FormatError, or ConfigError for a
    codec whose library is not installed."""
    records = decompress(item.codec, item.payload, item.raw_length)
    try:
        count = count_records(records)
    except RecordsError as error:
        raise FormatError(str(error)) from error
    if count != item.count:
        raise FormatError(f"{count} packets where {item.count} were declared")
    return records
