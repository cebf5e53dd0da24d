"""Makes payloads of batches, compressed or dropped as the shaper says."""

from collections.abc import Iterable

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats.codec import Codec, compressor, light_compressor
from pcap_zmq.packet import Batch, EncodedBatch, Instant, Octets
from pcap_zmq.policy.gain import SMALL, Effort, Gain
from pcap_zmq.policy.shaper import Shaper, Verdict


class Encoder:
    """Batches in, encoded batches out. A batch that compression hardly makes smaller
    goes as it is, so a payload is never longer than its records; while that goes on,
    most batches are not even tried."""

    def __init__(
        self,
        shaper: Shaper,
        codec: Codec,
        level: int | None,
        counters: SenderCounters,
    ) -> None:
        self._shaper = shaper
        self._codec = codec
        self._gain = Gain()
        self._compress = {
            Effort.LIGHT: light_compressor(codec, level),
            Effort.FULL: compressor(codec, level),
        }
        self._counters = counters

    def feed(self, item: Batch, now: Instant) -> Iterable[EncodedBatch]:
        """One encoded batch, or nothing when the shaper says DROP."""
        length = len(item.records)
        verdict = self._shaper.judge(length, now.mono_ns)
        if verdict is Verdict.DROP:
            self._counters.dropped[Reason.HIGH_WATERMARK] += item.count
            return []
        codec, payload = Codec.NONE, item.records
        if verdict is Verdict.COMPRESS and self._may_compress(length):
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

    def _may_compress(self, length: int) -> bool:
        return self._codec is not Codec.NONE and length >= SMALL

    def _compressed(self, records: Octets) -> tuple[Codec, Octets]:
        effort = self._gain.effort()
        if effort is not Effort.NONE:
            payload = self._compress[effort](records)
            if self._gain.learn(len(records), len(payload)):
                return self._codec, payload
        self._counters.incompressible_batches += 1
        return Codec.NONE, records
