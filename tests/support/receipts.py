"""Whose a batch is that came over a link, for tests that follow it."""

from pcap_zmq.formats.stream import Stream
from pcap_zmq.packet import EncodedBatch


def batch_of(batch: EncodedBatch) -> tuple[Stream, int]:
    """The stream of a batch that was not gathered, and its number there."""
    (whose,) = batch.receipt.batches()
    stream, number = whose
    return stream, number


def stream_of(batch: EncodedBatch) -> Stream:
    """The stream of a batch that was not gathered."""
    return batch_of(batch)[0]
