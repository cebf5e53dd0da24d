"""The messages between a sender and a receiver, as octets.

Specification: docs/wire.md. A message of a sender has a header frame, and a payload
frame where its type has one; a reply of a receiver is one frame.
"""

import enum
import operator
import struct
from dataclasses import dataclass

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import UnsupportedVersionError, WireError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.packet import Octets

MAGIC = b"PZMQ"
VERSION = 1

_HEADER = struct.Struct(">4sBBBBIII16sQQQ128s")
_TOTALS = struct.Struct(">16Q")
_REPLY = struct.Struct(">4sBBHQ16sQQQQ")
_CLOCKS = struct.Struct(">QQQ")

HEADER_LENGTH = _HEADER.size
REPLY_LENGTH = _REPLY.size
TOTALS_SLOTS = 16

RAW_LENGTH_MAX = 16 << 20
"""Most octets of packet records in a batch, as declared and after decompression."""

MESSAGE_MAX = RAW_LENGTH_MAX + 4096
"""Most octets of a frame: a message with a larger one is counted and passed over."""

CUT_OFF = 2 * MESSAGE_MAX
"""ZeroMQ cuts off a peer that sends a larger frame, before it is all there."""

SEQUENCE_MAX = (1 << 63) - 1
"""Far beyond what any sender reaches, and safe to add to."""

NAME_MAX = 255
"""Most octets of a sender's name."""

MESSAGE_COST = 512
"""Octets that a batch costs against a window beyond its payload: both ends spend about
this much on keeping track of it."""


class MessageType(enum.IntEnum):
    """What a sender says."""

    HELLO = 0x01
    BATCH = 0x02
    HEARTBEAT = 0x03
    GOODBYE = 0x04


class Role(enum.IntEnum):
    """What a sender is, in the codec field of its hello."""

    SENDER = 0
    RELAY = 1
    """What it holds is its senders', who will send it again."""


class ReplyType(enum.IntEnum):
    """What a receiver says."""

    WELCOME = 0x81
    ACK = 0x82
    FAREWELL = 0x84
    CLOCK = 0x83
    """An acknowledgement that tells the time, to a heartbeat that did."""


# The order of the slots is the wire's; slots that are not named here are zero.
_PLAIN_SLOTS = (
    "logged",
    "missed",
    "missed_tail",
    "overruns",
    "stamped_here",
    "acknowledged",
)
_REASON_SLOTS = {
    6: Reason.NOT_IP,
    7: Reason.HIGH_WATERMARK,
    8: Reason.SEND_QUEUE_FULL,
    9: Reason.SHUTDOWN,
    11: Reason.SPOOL_FULL,
    12: Reason.SENDER_GONE,
    13: Reason.DAMAGED,
}
REASONS_TOLD = frozenset(_REASON_SLOTS.values())
"""Those that a header has a place for."""
_HELD_SLOT = 10
_SPOOLED_SLOT = 14
_plain_of = operator.attrgetter(*_PLAIN_SLOTS)

NO_TOTALS = bytes(_TOTALS.size)


@dataclass(frozen=True, slots=True)
class SenderTotals:
    """A sender's cumulative counters, as every message of its carries them."""

    logged: int
    missed: int
    missed_tail: int
    overruns: int
    stamped_here: int
    acknowledged: int
    held: int
    spooled: int
    dropped: dict[Reason, int]


def encode_totals(counters: SenderCounters, held: int, spooled: int = 0) -> bytes:
    """What the counters are now, as a header carries it. held: packets in the sender;
    spooled: of those, on its disk."""
    dropped = counters.dropped
    return _TOTALS.pack(
        *_plain_of(counters),
        dropped[Reason.NOT_IP],
        dropped[Reason.HIGH_WATERMARK],
        dropped[Reason.SEND_QUEUE_FULL],
        dropped[Reason.SHUTDOWN],
        held,
        dropped[Reason.SPOOL_FULL],
        dropped[Reason.SENDER_GONE],
        dropped[Reason.DAMAGED],
        spooled,
        0,
    )


def decode_totals(totals: bytes) -> SenderTotals:
    """The counters in a header; 128 octets, whatever they are."""
    slots = _TOTALS.unpack(totals)
    return SenderTotals(
        **dict(zip(_PLAIN_SLOTS, slots, strict=False)),
        held=slots[_HELD_SLOT],
        spooled=slots[_SPOOLED_SLOT],
        dropped={reason: slots[slot] for slot, reason in _REASON_SLOTS.items()},
    )


def logged_in(totals: bytes) -> int:
    """One of the counters in a header, without the others."""
    return int.from_bytes(totals[:8])


def acknowledged_in(totals: bytes) -> int:
    """One of the counters in a header, without the others."""
    return int.from_bytes(totals[40:48])


def gone_in(totals: bytes) -> int:
    """One of the counters in a header, without the others."""
    return int.from_bytes(totals[96:104])


@dataclass(frozen=True, slots=True)
class StreamId:
    """One run of one sender: its sequence numbers mean nothing in another."""

    sender: bytes
    """16 octets, the same at every start of this sender."""
    started_ns: int
    """When this run started, nanoseconds since the epoch."""


def encode_stream(stream: StreamId) -> bytes:
    """Its 24 octets in every header."""
    return stream.sender + stream.started_ns.to_bytes(8)


@dataclass(frozen=True, slots=True)
class Message:
    """What a sender says. Fields that its type does not use are zero."""

    type: MessageType
    stream: StreamId
    sequence: int
    """BATCH: its number, from 1; others: that of the first batch not acknowledged."""
    window: int = 0
    """The one that the sender goes by."""
    linktype: int = 0
    count: int = 0
    codec: int = 0
    raw_length: int = 0
    totals: bytes = NO_TOTALS
    """The sender's counters: see `decode_totals`."""
    payload: Octets = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver says."""

    type: ReplyType
    stream: StreamId
    written: int
    """The last batch that is in the output, as are all before it."""
    next: int
    """The batch that the receiver wants next."""
    window: int
    """Octets that the sender may have sent and not found acknowledged."""
    receiver_started_ns: int
    clock_ns: int = 0
    """CLOCK: a moment by the receiver's own reckoning, in the place of when it
    started."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What a heartbeat says of the time."""

    wall_ns: int
    """The sender's clock as it said so, since the epoch."""
    echo_ns: int
    """`clock_ns` of the last CLOCK that it heard on this connection; 0: of none."""
    waited_ns: int
    """How long ago it heard that, whatever its clock was set to meanwhile."""


def encode_clocks(clocks: Clocks) -> bytes:
    """The payload of a heartbeat."""
    return _CLOCKS.pack(clocks.wall_ns, clocks.echo_ns, clocks.waited_ns)


def decode_clocks(payload: Octets) -> Clocks | None:
    """What a heartbeat's payload says; None where that is nothing. Any octets may
    come; what follows is for later versions."""
    if len(payload) < _CLOCKS.size:
        return None
    return Clocks(*_CLOCKS.unpack(payload[: _CLOCKS.size]))


def cost_of(payload_length: int) -> int:
    """What a batch takes of a window and of a queue, in octets."""
    return payload_length + MESSAGE_COST


def encode_message(message: Message) -> list[Octets]:
    """Its frames. The payload is not copied."""
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        message.type,
        message.codec,
        0,
        message.linktype,
        message.count,
        message.raw_length,
        message.stream.sender,
        message.stream.started_ns,
        message.sequence,
        message.window,
        message.totals,
    )
    if message.payload or message.type in {MessageType.HELLO, MessageType.BATCH}:
        return [header, message.payload]
    return [header]


def decode_message(frames: list[Octets]) -> Message:
    """The message that these frames are. Raises WireError. The payload is not looked
    at: a batch that lies about its lengths still has a number and a count."""
    if not frames or len(frames[0]) < 5:
        raise WireError("no header")
    if any(len(frame) > MESSAGE_MAX for frame in frames):
        raise WireError(f"a frame above {MESSAGE_MAX} octets")
    header = frames[0]
    if bytes(header[:4]) != MAGIC:
        raise WireError("no pcap-zmq message")
    if header[4] != VERSION:
        raise UnsupportedVersionError(f"wire version {header[4]}, not {VERSION}")
    if len(header) != HEADER_LENGTH or len(frames) > 2:
        raise WireError(f"a header of {len(header)} octets, {len(frames)} frames")
    fields = _HEADER.unpack(header)
    _, _, kind, codec, flags, linktype, count, raw_length, *rest = fields
    sender, started_ns, sequence, window, totals = rest
    try:
        message_type = MessageType(kind)
    except ValueError as error:
        raise WireError(f"message type {kind}") from error
    if flags:
        raise WireError(f"flags {flags:#x}")
    if linktype > linktypes.MAXIMUM:
        raise WireError(f"link type {linktype}")
    if not 0 < sequence <= SEQUENCE_MAX:
        raise WireError(f"sequence number {sequence}")
    return Message(
        type=message_type,
        stream=StreamId(sender, started_ns),
        sequence=sequence,
        window=window,
        linktype=linktype,
        count=count,
        codec=codec,
        raw_length=raw_length,
        totals=totals,
        payload=frames[1] if len(frames) == 2 else b"",
    )


def encode_reply(reply: Reply) -> bytes:
    """Its one frame."""
    return _REPLY.pack(
        MAGIC,
        VERSION,
        reply.type,
        0,
        reply.window,
        reply.stream.sender,
        reply.stream.started_ns,
        reply.written,
        reply.next,
        reply.clock_ns if reply.type is ReplyType.CLOCK else reply.receiver_started_ns,
    )


def decode_reply(frames: list[Octets]) -> Reply:
    """The reply that these frames are. Raises WireError."""
    if len(frames) != 1 or len(frames[0]) < 5 or bytes(frames[0][:4]) != MAGIC:
        raise WireError("no pcap-zmq reply")
    frame = frames[0]
    if frame[4] != VERSION:
        raise UnsupportedVersionError(f"wire version {frame[4]}, not {VERSION}")
    if len(frame) != REPLY_LENGTH:
        raise WireError(f"a reply of {len(frame)} octets")
    fields = _REPLY.unpack(frame)
    _, _, kind, flags, window, sender, started_ns, written, next_, moment = fields
    try:
        reply_type = ReplyType(kind)
    except ValueError as error:
        raise WireError(f"reply type {kind}") from error
    if flags:
        raise WireError(f"flags {flags:#x}")
    if next_ <= written:
        raise WireError(f"wants batch {next_} after {written} are written")
    return Reply(
        type=reply_type,
        stream=StreamId(sender, started_ns),
        written=written,
        next=next_,
        window=window,
        receiver_started_ns=0 if reply_type is ReplyType.CLOCK else moment,
        clock_ns=moment if reply_type is ReplyType.CLOCK else 0,
    )
