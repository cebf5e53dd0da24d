"""What is counted, by reason: docs/counters.md says what each number means.

All counts are of packets and cumulative, unless the name says otherwise. For a sender,
at any instant: received == acknowledged + held + the sum of dropped, and what the
kernel logged is received + missed. For a receiver: received == written + held +
dropped, altogether and for each sender. What is held is nobody's counter: it is looked
for where it should be, so that a sum that does not fit tells of a loss.
"""

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol


class Reason(enum.Enum):
    """Why a packet that reached us went no further."""

    NOT_IP = "not_ip"
    HIGH_WATERMARK = "high_watermark"
    SEND_QUEUE_FULL = "send_queue_full"
    SHUTDOWN = "shutdown"
    LINKTYPE = "linktype"
    MALFORMED = "malformed"
    NO_READER = "no_reader"
    SPOOL_FULL = "spool_full"
    DAMAGED = "damaged"
    """In a spool record that failed its checksum."""
    SENDER_GONE = "sender_gone"
    """In a sender that died with them."""

    # The enumeration's own is Python code, run for each counter that is looked up.
    __hash__ = object.__hash__


@dataclass(slots=True)
class SenderCounters:
    """The sending end, from the kernel or a file to the receiver's acknowledgement."""

    received: int = 0
    missed: int = 0
    missed_tail: int = 0
    """Estimated: lost after the last packet seen, so that no gap tells them yet."""
    overruns: int = 0
    """Times, not packets, that the kernel's buffer was full."""
    truncated_datagrams: int = 0
    malformed_messages: int = 0
    stamped_here: int = 0
    """Packets whose time is when they were read, since the kernel gave none."""
    dropped: Counter[Reason] = field(default_factory=Counter)
    acknowledged: int = 0
    raw_bytes: int = 0
    """Packet records that entered the encoder and were not dropped by it."""
    payload_bytes: int = 0
    """What became of them on the wire."""
    compressed_batches: int = 0
    incompressible_batches: int = 0
    """Sent as they were, above the low watermark: such traffic does not shrink."""
    batches: int = 0
    reconnects: int = 0

    @property
    def logged(self) -> int:
        """What the kernel logged, as far as is known."""
        return self.received + self.missed + self.missed_tail


class Owner(Protocol):
    """What knows whose the packets of a batch are, and counts them there, too."""

    def count_written(self, packets: int) -> None: ...
    def count_dropped(self, reason: Reason, packets: int) -> None: ...


@dataclass(slots=True)
class ReceiverCounters:
    """The receiving end, from the socket to the output."""

    received: int = 0
    written: int = 0
    written_bytes: int = 0
    payload_bytes: int = 0
    raw_bytes: int = 0
    repeated: int = 0
    """Packets that came again after a reconnect and were passed over."""
    dropped: Counter[Reason] = field(default_factory=Counter)
    malformed_messages: int = 0
    unsupported_messages: int = 0
    """Of a wire version that this program does not speak."""
    uncalled_messages: int = 0
    """From peers that said no hello, or beyond what they were allowed."""
    refused_connections: int = 0
    """Of peers whose key is not allowed."""
    failed_handshakes: int = 0
    """Connections that came to nothing: scans, strangers, peers without keys."""
    cut_off: int = 0
    """Connections that were ended for what came on them, or for room."""
    readers: int = 0
    """Readers that opened the FIFO so far."""
    replayed: int = 0
    """Packets that a reader had left unread and that the next one got."""

    def count_written(self, owner: Owner | None, packets: int) -> None:
        """In the output; a negative number where they turned out not to be."""
        self.written += packets
        if owner is not None:
            owner.count_written(packets)

    def count_dropped(self, owner: Owner | None, reason: Reason, packets: int) -> None:
        """Never to be written."""
        self.dropped[reason] += packets
        if owner is not None:
            owner.count_dropped(reason, packets)
