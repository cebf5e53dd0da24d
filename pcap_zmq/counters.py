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
    SLOW_OUTPUT = "slow_output"
    """Too much or too long waited for an output that lets nobody wait."""
    OUTPUT_FAILED = "output_failed"
    """For an output that takes no more for good."""
    TOO_LONG = "too_long"
    """For the interface that it was to go onto."""

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
    shed_tails: int = 0
    """Of those dropped above the high watermark: they lay beyond their flow's head."""
    shed_flows: int = 0
    """Of those dropped above the high watermark: their flow was not admitted."""
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
    fixed: int = 0
    """Packets whose unfinished checksum or length was finished."""
    unfixed: int = 0
    """Unfinished, but what it takes to finish them is not there."""
    segmented_in: int = 0
    """Packets that were split as segmentation offload would have done."""
    segmented_out: int = 0
    """What became of them."""
    unsegmented: int = 0
    """Longer than `--segment`, and not to be split."""

    @property
    def logged(self) -> int:
        """What the kernel logged, as far as is known."""
        return self.received + self.missed + self.missed_tail

    def count_segmented(self, packets: int, segments: int) -> None:
        """So many were split before they were sent. To everybody else it is as if the
        kernel had logged what became of them."""
        self.segmented_in += packets
        self.segmented_out += segments
        self.received += segments - packets


class Skipped(enum.Enum):
    """Why a packet of a file was not asked for."""

    FILTER = "filter"
    TIME = "time"
    """Before or after what was asked for."""
    ORDER = "order"
    """Earlier than one before it."""
    LENGTH = "length"
    """Longer than was asked for."""
    DUPLICATE = "duplicate"
    ALREADY_SENT = "already_sent"
    """By an earlier run."""

    # As of Reason.
    __hash__ = object.__hash__


@dataclass(slots=True)
class FilesCounters:
    """What reads capture files: read == skipped + what went out, which its way out
    counts."""

    files: int = 0
    """Begun."""
    broken_files: int = 0
    """Of them and of those that could not be opened: read up to where they break."""
    read: int = 0
    skipped: Counter[Skipped] = field(default_factory=Counter)
    backwards: int = 0
    """Packets that went out although one with a later time had."""


class Owner(Protocol):
    """What knows whose the packets of a batch are, and counts them there, too."""

    def count_written(self, packets: int) -> int:
        """How many packets as logged these were: fewer, where packets were split."""

    def count_dropped(self, reason: Reason, packets: int) -> int:
        """Likewise."""


class Follower:
    """An owner that wants to know of a batch what of it is out before all of it is:
    should the process be killed then, that much was written. A class to inherit from,
    since sinks ask of each receipt whether it is one."""

    __slots__ = ()

    def give(
        self, pipe: int, octets: bytes | bytearray | memoryview, at: int
    ) -> int | None:
        """Writes what became of the batch from `at` on to a pipe, as write(2) does, and
        knows how many octets went, whatever happens; None: has not. Raises OSError."""
        raise NotImplementedError

    def note_begun(self, packets: int, octets: int) -> None:
        """So many of its packets, or so many octets of what became of it, are in the
        output, and in no count yet."""
        raise NotImplementedError


class OutputEvent(enum.Enum):
    """What happens at an output apart from packets; the value is its counter's name."""

    CUT_READER = "cut_readers"
    REFUSED_READER = "refused_readers"
    FILE = "files"
    REMOVED_FILE = "removed_files"
    RECOVERED_FILE = "recovered_files"


class OutputCounts(Protocol):
    """What an output tells of what it does."""

    def count_written(self, owner: Owner | None, packets: int) -> None:
        """In the output; a negative number where they turned out not to be."""

    def count_dropped(self, owner: Owner | None, reason: Reason, packets: int) -> None:
        """Never to be written."""

    def count_bytes(self, octets: int) -> None:
        """So many more of packet records were written."""

    def count_reader(self) -> None:
        """Somebody has begun to read."""

    def count_replayed(self, packets: int) -> None:
        """Left unread by one reader, and given to the next."""

    def count_event(self, event: OutputEvent) -> None:
        """It happened once more."""


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
    late: int = 0
    """Packets that came when later ones had gone on already: see docs/order.md."""
    hurried: int = 0
    """Packets that could not wait for others as long as they should."""
    disordered: int = 0
    """Packets stamped earlier than one before them in their sender's batch."""
    cut_readers: int = 0
    """Clients of a live stream that were cut off, mostly for being slow."""
    refused_readers: int = 0
    """Clients of a live stream beyond its bound."""
    files: int = 0
    """Files completed, where they are rotated."""
    removed_files: int = 0
    """Of them, those removed as the oldest."""
    recovered_files: int = 0
    """Files that an earlier run left incomplete, and that were completed."""
    replayed: int = 0
    """Packets that a reader had left unread and that the next one got."""
    fixed: int = 0
    """Packets whose unfinished checksum or length was finished."""
    unfixed: int = 0
    """Unfinished, but what it takes to finish them is not there."""
    segmented_in: int = 0
    """Packets that were split as segmentation offload would have done."""
    segmented_out: int = 0
    """What became of them."""
    unsegmented: int = 0
    """Longer than `--segment`, and not to be split."""

    def count_segmented(self, packets: int, segments: int) -> None:
        """So many were split. Received and written are still as logged."""
        self.segmented_in += packets
        self.segmented_out += segments

    def count_written(self, owner: Owner | None, packets: int) -> None:
        """In the output; a negative number where they turned out not to be."""
        self.written += packets if owner is None else owner.count_written(packets)

    def count_dropped(self, owner: Owner | None, reason: Reason, packets: int) -> None:
        """Never to be written."""
        logged = packets if owner is None else owner.count_dropped(reason, packets)
        self.dropped[reason] += logged

    def count_bytes(self, octets: int) -> None:
        """So many more of packet records were written."""
        self.written_bytes += octets

    def count_reader(self) -> None:
        """Somebody has begun to read."""
        self.readers += 1

    def count_replayed(self, packets: int) -> None:
        """Left unread by one reader, and given to the next."""
        self.replayed += packets

    def count_event(self, event: OutputEvent) -> None:
        """It happened once more."""
        setattr(self, event.value, getattr(self, event.value) + 1)


@dataclass(slots=True)
class OutputCounters:
    """One of several outputs: taken == written + held + dropped, in packets.

    of: the receiver's. is_copy: what it is given another output is given, too, and the
    receiver goes by that one: so of this only the readers count there, and its owners
    are none that count for anybody else.
    """

    of: ReceiverCounters
    is_copy: bool = False
    taken: int = 0
    written: int = 0
    written_bytes: int = 0
    dropped: Counter[Reason] = field(default_factory=Counter)
    readers: int = 0
    replayed: int = 0

    def count_written(self, owner: Owner | None, packets: int) -> None:
        """In the output; a negative number where they turned out not to be."""
        self.written += packets
        if not self.is_copy:
            self.of.count_written(owner, packets)
        elif owner is not None:
            owner.count_written(packets)

    def count_dropped(self, owner: Owner | None, reason: Reason, packets: int) -> None:
        """Never to be written."""
        self.dropped[reason] += packets
        if not self.is_copy:
            self.of.count_dropped(owner, reason, packets)
        elif owner is not None:
            owner.count_dropped(reason, packets)

    def count_bytes(self, octets: int) -> None:
        """So many more of packet records were written."""
        self.written_bytes += octets
        if not self.is_copy:
            self.of.count_bytes(octets)

    def count_reader(self) -> None:
        """Somebody has begun to read."""
        self.readers += 1
        self.of.count_reader()

    def count_replayed(self, packets: int) -> None:
        """Left unread by one reader, and given to the next."""
        self.replayed += packets
        if not self.is_copy:
            self.of.count_replayed(packets)

    def count_event(self, event: OutputEvent) -> None:
        """Counted for all outputs together."""
        self.of.count_event(event)
