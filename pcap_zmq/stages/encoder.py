"""Makes payloads of batches, compressed or dropped as the shaper says."""

from collections.abc import Iterable

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats.codec import Codec, compressor
from pcap_zmq.packet import Batch, EncodedBatch, Instant, Octets
from pcap_zmq.policy.shaper import Shaper, Verdict


class Encoder:
    """Batches in, encoded batches out. A batch that compression does not make smaller
    goes as it is, so a payload is never longer than its records."""

    def __init__(
        self,
        shaper: Shaper,
        codec: Codec,
        level: int | None,
        counters: SenderCounters,
    ) -> None:
        self._shaper = shaper
        self._codec = codec
        self._compress = compressor(codec, level)
        self._counters = counters

    def feed(self, item: Batch, now: Instant) -> Iterable[EncodedBatch]:
        """One encoded batch, or nothing when the shaper says DROP."""
        length = len(item.records)
        verdict = self._shaper.judge(length, now.mono_ns)
        if verdict is Verdict.DROP:
            self._counters.dropped[Reason.HIGH_WATERMARK] += item.count
            return []
        codec, payload = Codec.NONE, item.records
        if verdict is Verdict.COMPRESS and self._codec is not Codec.NONE:
            codec, payload = self._compressed(item.records)
        self._counters.batches += 1
        self._counters.compressed_batches += codec is not Codec.NONE
        self._counters.raw_bytes += length
        self._counters.payload_bytes += len(payload)
        return [
            EncodedBatch(
                linktype=item.linktype,
                count=item.count,
                codec=codec,
                raw_length=length,
                payload=payload,
                receipt=item.receipt,
            )
        ]

    def _compressed(self, records: Octets) -> tuple[Codec, Octets]:
        payload = self._compress(records)
        if len(payload) < len(records):
            return self._codec, payload
        return Codec.NONE, records
