"""Invariant: whatever batches say of themselves and hold, the decoder gives one batch
for each, made of nothing but whole records of the stream's one link type, as many as
it says; and each packet that was declared is in there or counted as dropped.

Input: 1 octet, nanoseconds or not and the stream's link type; then batches: codec, link
type, count of packets, declared length, and the payload after its length.
"""

from pcap_ffi import count_records
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.formats.linktype import MAXIMUM
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Batch, EncodedBatch, Instant
from pcap_zmq.stages.decoder import Decoder
from tests.fuzz.octets import Front

NOW = Instant(0, 0)
LINKTYPES = (101, 1, 228, 0, MAXIMUM)


class Whose:
    """A receipt, for all that a decoder knows of one."""

    def __init__(self) -> None:
        self.dropped = 0

    def count_written(self, packets: int) -> int:
        raise AssertionError("a decoder writes nothing")

    def count_dropped(self, reason: Reason, packets: int) -> int:
        self.dropped += packets
        return packets


def check(octets: bytes) -> None:
    front = Front(octets)
    options = front.number()
    nanoseconds = bool(options & 1)
    linktype = (None, *LINKTYPES)[(options >> 1) % (1 + len(LINKTYPES))]
    counters = ReceiverCounters()
    decoder = Decoder(linktype, nanoseconds, lambda receipt: "a sender", counters)
    while not front.is_empty:
        item = EncodedBatch(
            codec=front.number(),
            linktype=front.choice(LINKTYPES),
            count=front.number(4),
            raw_length=front.number(4),
            payload=memoryview(front.piece()),
            receipt=Whose(),
        )
        dropped = counters.dropped.total()
        (batch,) = decoder.feed(item, NOW)
        dropped = counters.dropped.total() - dropped
        assert batch.receipt is item.receipt
        assert batch.linktype == decoder.linktype or not batch.count
        assert batch.count + dropped == item.count
        assert batch.receipt.dropped == dropped
        check_records(batch, nanoseconds)


def check_records(batch: Batch, nanoseconds: bool) -> None:
    assert count_records(batch.records) == batch.count
    packets = list(iter_packets(batch.records))
    assert len(packets) == batch.count
    if not nanoseconds:
        # The field holds microseconds then.
        assert all(packet.ts_ns % 1_000_000_000 < 1_000_000 for packet in packets)
