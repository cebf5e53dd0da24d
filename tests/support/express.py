"""The way that plain batches take past the receiver's link, without a socket."""

import link_ffi
from link_ffi import Lane, Shares, Verdict
from link_ffi._link import lib
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.wire import Message, MessageType
from pcap_zmq.packet import EncodedBatch


def lane_of(link: ReceiverLink, peer: bytes) -> Lane | None:
    """What is open on a connection."""
    number = int.from_bytes(peer[1:]) | 1 << 32
    found: Lane | None = lib.lane_of_peer(link.lanes.c, number) or None
    return found


def take(
    link: ReceiverLink, peer: bytes, message: Message, now_ns: int
) -> EncodedBatch | None:
    """What `Intake` makes of a message: a batch; or None where the link is to be asked.
    It has changed nothing then."""
    lane = lane_of(link, peer)
    if lane is None or message.type is not MessageType.BATCH:
        return None
    stream = next(it for it in link.streams.values() if it.lane.slot == lane.slot)
    if stream.id != message.stream:
        return None
    if message.window == lane.window < lane.reserved:
        return None
    number, length = message.sequence, len(message.payload)
    if link.lanes.take(lane, number, length, message.count) is not Verdict.TAKEN:
        return None
    link_ffi.hear(lane, message.totals, now_ns)
    shares = Shares.of(link.lanes, lane, number, message.count)
    return EncodedBatch(
        message.linktype,
        message.count,
        message.codec,
        message.raw_length,
        message.payload,
        link.receipt_of(shares),
    )
