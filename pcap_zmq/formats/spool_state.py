"""What a run of a sender leaves to the next, as octets: where it stood, in numbers.

Specification: docs/spool.md. A run may end between any two octets that it writes, so
there are two states, and the newer one that is whole counts.
"""

import struct
from dataclasses import dataclass

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import SpoolFormatError
from pcap_zmq.formats import wire
from pcap_zmq.formats.spool import VERSION, Place, crc32
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import Octets

STATE_MAGIC = b"PZMQSTAT"

_STATE = struct.Struct(">8sIIQ16sQ16sQQQQQ128sI")
_SENT = struct.Struct(">QII")
_CRC = struct.Struct(">I")

STATE_LENGTH = _STATE.size
SENT_LENGTH = _SENT.size

STATE_OFFSETS = (0, 4096)
"""Two states, each in a page of its own: one is whole while the other is written."""

SENT_OFFSET = 8192
SENT_ENTRIES = 1 << 16
"""Batches that may be under way: of each the number of packets is remembered."""

STATE_FILE_LENGTH = SENT_OFFSET + SENT_ENTRIES * SENT_LENGTH

_ENDED = 1


@dataclass(frozen=True, slots=True)
class State:
    """What a run of a sender leaves to the next."""

    stream: StreamId
    boot: bytes
    """16 octets, another at each start of the machine; zero where it is not known."""
    first: int
    """The number of the first batch that is not acknowledged."""
    sent: int
    """The last number that was ever sent."""
    place: Place
    """Of the record that has the number `first`, or where it would be."""
    totals: bytes
    """The sender's counters: see `wire.decode_totals`."""
    has_ended: bool = False
    """In good order, with everything on the disk."""


@dataclass(frozen=True, slots=True)
class Left:
    """What an earlier run left to be delivered. stream: None where its numbers cannot
    be trusted, so that a new one has to begin."""

    stream: StreamId | None
    first: int
    sent: int
    packets: int
    """On the disk, holes included."""
    totals: bytes


def encode_state(state: State, generation: int) -> bytes:
    """The generation says which of the two states is the newer one."""
    head = _STATE.pack(
        STATE_MAGIC,
        VERSION,
        _ENDED if state.has_ended else 0,
        generation,
        state.stream.sender,
        state.stream.started_ns,
        state.boot,
        state.first,
        state.sent,
        state.place.segment,
        state.place.offset,
        state.place.packets,
        state.totals,
        0,
    )[: -_CRC.size]
    return head + _CRC.pack(crc32(head))


def decode_state(octets: Octets) -> tuple[int, State]:
    """The generation and the state. Raises SpoolFormatError."""
    if len(octets) != _STATE.size or bytes(octets[:8]) != STATE_MAGIC:
        raise SpoolFormatError("no state of a spool")
    _, version, flags, generation, *fields, crc = _STATE.unpack(octets)
    if version != VERSION:
        raise SpoolFormatError(f"a state of version {version}, not {VERSION}")
    if crc != crc32(octets[: -_CRC.size]):
        raise SpoolFormatError("a damaged state")
    sender, started_ns, boot, first, sent, segment, offset, packets, totals = fields
    if not 0 < first <= wire.SEQUENCE_MAX or sent > wire.SEQUENCE_MAX:
        raise SpoolFormatError(f"batches {first} to {sent}")
    return generation, State(
        StreamId(sender, started_ns),
        boot,
        first,
        sent,
        Place(segment, offset, packets),
        totals,
        has_ended=bool(flags & _ENDED),
    )


def sent_offset(sequence: int) -> int:
    """Where the state file remembers how many packets this batch brought."""
    return SENT_OFFSET + sequence % SENT_ENTRIES * SENT_LENGTH


def encode_sent(sequence: int, count: int) -> bytes:
    """Batch `sequence` was sent with `count` packets."""
    return _SENT.pack(sequence, count, crc32(_SENT.pack(sequence, count, 0)[:-4]))


def decode_sent(octets: Octets, sequence: int) -> int | None:
    """How many packets that batch was sent with; None where it is not known."""
    if len(octets) != _SENT.size:
        return None
    found, count, crc = _SENT.unpack(octets)
    return count if found == sequence and crc == crc32(octets[:-4]) else None


def died(totals: bytes, on_disk: int) -> int:
    """Packets that an earlier run had, and that are neither delivered, counted as lost
    nor on the disk. Below zero: its last totals are older than the disk."""
    was = wire.decode_totals(totals)
    received = was.logged - was.missed - was.missed_tail
    return received - was.acknowledged - sum(was.dropped.values()) - on_disk


def carry_over(counters: SenderCounters, left: Left) -> None:
    """Goes on counting where the earlier run stopped. What died with it is dropped."""
    if left.stream is None:
        # For a new stream these packets are new.
        counters.received += left.packets
        return
    was = wire.decode_totals(left.totals)
    lost = died(left.totals, left.packets)
    # What it had read after it had written down its totals for the last time.
    counters.received += was.logged - was.missed - was.missed_tail + max(0, -lost)
    counters.missed += was.missed + was.missed_tail
    counters.overruns += was.overruns
    counters.stamped_here += was.stamped_here
    counters.acknowledged += was.acknowledged
    counters.dropped.update(was.dropped)
    counters.dropped[Reason.SENDER_GONE] += max(0, lost)
