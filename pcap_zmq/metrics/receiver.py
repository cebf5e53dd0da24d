"""What a receiver shows: of itself, and of each sender in its ledger."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from pcap_zmq import __version__
from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.formats.ledger import Line, Tally
from pcap_zmq.formats.output_line import OutputLine
from pcap_zmq.metrics.family import (
    Distribution,
    Family,
    Kind,
    Metric,
    Ratchet,
    Snapshot,
    single,
)
from pcap_zmq.metrics.latency import Latency
from pcap_zmq.packet import Instant

PREFIX = "pcap_zmq_receiver_"

SENDERS_MAX = 256
"""Senders that have labels of their own: each costs some 25 time series."""

OTHERS = "_others"
"""All senders beyond, together."""

OUTPUT_REASONS = (
    *(Reason.SLOW_OUTPUT, Reason.OUTPUT_FAILED, Reason.NO_READER),
    *(Reason.LINKTYPE, Reason.NOT_IP, Reason.MALFORMED, Reason.SHUTDOWN),
)
"""Why an output drops."""

REASONS = OUTPUT_REASONS
"""Why a receiver drops."""


def _counter(name: str, help_text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{name}_total", Kind.COUNTER, help_text, labels)


def _gauge(name: str, help_text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{name}", Kind.GAUGE, help_text, labels)


def _sender_counter(name: str, help_text: str, *labels: str) -> Metric:
    return _counter(f"sender_{name}", help_text, "sender", *labels)


def _sender_gauge(name: str, help_text: str, *labels: str) -> Metric:
    return _gauge(f"sender_{name}", help_text, "sender", *labels)


# Of the receiver itself.

COUNTED = {
    _counter("received_packets", "Packets taken from senders, each once."): "received",
    _counter("delivered_packets", "Packets written to the output."): "written",
    _counter("delivered_bytes", "Octets written to the output."): "written_bytes",
    _counter("payload_bytes", "Octets of packets on the wire."): "payload_bytes",
    _counter("records_bytes", "Octets of the same once decompressed."): "raw_bytes",
    _counter(
        "repeated_packets", "Packets that came again after a reconnect, passed over."
    ): "repeated",
    _counter(
        "malformed_messages", "Messages that are none of ours."
    ): "malformed_messages",
    _counter(
        "unsupported_messages", "Messages of a wire version not spoken here."
    ): "unsupported_messages",
    _counter(
        "uncalled_messages", "Messages of peers that said no hello, or beyond windows."
    ): "uncalled_messages",
    _counter(
        "refused_connections", "Connections of peers whose key is not allowed."
    ): "refused_connections",
    _counter(
        "failed_handshakes", "Connections that came to nothing: scans, strangers."
    ): "failed_handshakes",
    _counter(
        "cut_off_connections", "Connections ended for what came on them, or for room."
    ): "cut_off",
    _counter("readers", "Times that somebody opened the FIFO."): "readers",
    _counter(
        "cut_readers", "Clients of a live stream cut off, mostly for being slow."
    ): "cut_readers",
    _counter(
        "refused_readers", "Clients of a live stream beyond its bound."
    ): "refused_readers",
    _counter("files", "Files completed by rotation."): "files",
    _counter("removed_files", "Of them, removed as the oldest."): "removed_files",
    _counter(
        "recovered_files", "Files of an earlier run that were completed."
    ): "recovered_files",
    _counter(
        "replayed_packets", "Packets left unread by one reader and given to the next."
    ): "replayed",
    _counter("late_packets", "Packets that came too late to be put in order."): "late",
    _counter(
        "hurried_packets", "Packets that could not wait for others for want of room."
    ): "hurried",
    _counter(
        "disordered_packets", "Packets stamped earlier than one before in their batch."
    ): "disordered",
    _counter(
        "fixed_packets", "Packets whose unfinished checksum or length was finished."
    ): "fixed",
    _counter(
        "unfixed_packets", "Packets left unfinished, since some of them is missing."
    ): "unfixed",
    _counter(
        "segmented_in_packets", "Packets split as segmentation offload does it."
    ): "segmented_in",
    _counter("segmented_out_packets", "Packets made of those."): "segmented_out",
    _counter(
        "unsegmented_packets", "Packets longer than the MTU that cannot be split."
    ): "unsegmented",
}
DROPPED = _counter("dropped_packets", "Packets taken and given up here.", "reason")
HELD = _gauge("held_packets", "Packets taken and not written yet.")
QUEUE_LIMIT = _gauge("queue_limit_bytes", "Octets that the receive queue may hold.")
QUEUE = _gauge("queue_bytes", "Octets in the receive queue.")
CONNECTIONS = _gauge("connections", "Connections that are open, whoever's they are.")
CONNECTIONS_LIMIT = _gauge("connections_limit", "Connections that may be open.")
READER = _gauge("reader_present", "1 while somebody has the FIFO open for reading.")
SENDERS = _gauge("senders", "Senders in the ledger.")
CONNECTED = _gauge("senders_connected", "Of those, the ones that are here.")
UNACCOUNTED = _gauge(
    "unaccounted_packets", "Packets of all senders that nobody can account for."
)
LATENCY = Metric(
    f"{PREFIX}latency_seconds",
    Kind.HISTOGRAM,
    "Time from a packet's timestamp to its being in the output.",
)
AHEAD = _counter(
    "ahead_packets", "Packets stamped in the future: a clock is wrong, theirs or ours."
)
SNAPSHOT = _gauge(
    "snapshot_timestamp_seconds", "When these numbers were taken, by this host's clock."
)
BUILD = _gauge("build_info", "Versions, as labels; always 1.", "version", "libzmq")

# Of each output, where there are several.

OUTPUT_TERMS: dict[Metric, Callable[[OutputLine], float]] = {
    _counter(
        "output_taken_packets", "Packets meant for this output.", "output"
    ): attrgetter("taken"),
    _counter(
        "output_written_packets", "Of those, the ones that are written.", "output"
    ): attrgetter("written"),
    _gauge("output_held_packets", "Of those, the ones that wait.", "output"): (
        attrgetter("held")
    ),
    _counter("output_readers", "Times that somebody began to read it.", "output"): (
        attrgetter("readers")
    ),
    _gauge("output_up", "0 once it takes no more for good.", "output"): (
        lambda line: int(not line.has_failed)
    ),
}
OUTPUT_DROPPED = _counter(
    "output_dropped_packets", "Of those, the ones given up.", "output", "reason"
)

# Of each sender: the terms of the ledger's equation, and what else is known.

TERMS: dict[Metric, Callable[[Tally], int]] = {
    # Without the estimate, which is taken back when it turns out to be wrong.
    _sender_counter("logged_packets", "Packets that its kernel logged."): (
        lambda tally: tally.logged - tally.missed_tail
    ),
    _sender_counter("delivered_packets", "Of its packets, written to the output."): (
        attrgetter("delivered")
    ),
    _sender_counter("missed_packets", "Of its packets, lost before it read them."): (
        attrgetter("missed")
    ),
    _sender_counter(
        "elsewhere_packets", "Of its packets, acknowledged before we can vouch for it."
    ): attrgetter("elsewhere"),
    _sender_gauge("missed_tail_packets", "Believed lost after the last one it read."): (
        attrgetter("missed_tail")
    ),
    _sender_gauge("unaccounted_packets", "Of its packets, those in no other term."): (
        attrgetter("unaccounted")
    ),
}
SENDER_DROPPED = _sender_counter(
    "dropped_packets", "Of its packets, given up by either end.", "reason"
)
SENDER_HELD = _sender_gauge(
    "held_packets", "Of its packets, on their way: in the sender or here.", "at"
)
SENDER_REPEATED = _sender_counter("repeated_packets", "Packets that came again.")
SENDER_MALFORMED = _sender_counter(
    "malformed_messages", "Messages and batches of its that are none of ours."
)
SENDER_RUNS = _sender_counter("runs", "Starts of the sender that were seen.")
SENDER_RATE = _sender_gauge(
    "rate_packets_per_second", "Packets logged a second, between its last messages."
)
SENDER_CONNECTED = _sender_gauge("connected", "1 while the sender is here.")
SENDER_STARTED = _sender_gauge(
    "start_timestamp_seconds", "When its present run began, by its own clock."
)
SENDER_LATE = _sender_counter(
    "late_packets", "Of its packets, those that came too late to be put in order."
)
SENDER_CLOCK = _sender_gauge(
    "clock_offset_seconds", "How far its clock is ahead of ours, once that is known."
)
SENDER_CLOCK_ERROR = _sender_gauge(
    "clock_error_seconds", "The offset is known to so much in either direction."
)
SENDER_SEEN = _sender_gauge("last_seen_timestamp_seconds", "When it was last heard.")

METRICS = (
    *(*COUNTED, DROPPED, HELD, QUEUE, QUEUE_LIMIT, READER, LATENCY, AHEAD),
    *(CONNECTIONS, CONNECTIONS_LIMIT, SENDERS, CONNECTED, UNACCOUNTED, SNAPSHOT, BUILD),
    *(*TERMS, SENDER_DROPPED, SENDER_HELD, SENDER_REPEATED, SENDER_MALFORMED),
    *(SENDER_RUNS, SENDER_RATE, SENDER_CONNECTED, SENDER_STARTED, SENDER_SEEN),
    *(SENDER_LATE, SENDER_CLOCK, SENDER_CLOCK_ERROR),
    *(*OUTPUT_TERMS, OUTPUT_DROPPED),
)
"""All that a receiver ever shows."""

_WORDS = tuple((reason, reason.value) for reason in Reason)
_GETTERS = tuple((metric, attrgetter(name)) for metric, name in COUNTED.items())


@dataclass(frozen=True, slots=True)
class ReceiverSources:
    """Where a receiver's numbers are. The functions are called by the loop only."""

    counters: ReceiverCounters
    libzmq: str
    held: Callable[[], int]
    """Packets in the receiver."""
    ledger: Callable[[Instant], Sequence[Line]]
    latency: Latency
    queue_bytes: Callable[[], int]
    queue_limit: int
    connections: Callable[[], int]
    connections_limit: Callable[[], int]
    has_reader: Callable[[], bool] | None
    """None where the output is no FIFO."""
    outputs: Callable[[], Sequence[OutputLine]] = tuple
    """A line for each, where there are several."""


@dataclass(slots=True)
class _Sender:
    """What is shown under one label: one sender, or several of one name."""

    tally: Tally = field(default_factory=Tally)
    repeated: int = 0
    malformed: int = 0
    runs: int = 0
    rate: int = 0
    is_here: bool = False
    started_ns: int = 0
    seen_ns: int = 0
    late: int = 0
    clock: tuple[int, int] | None = None
    """The offset that is farthest off, and its error."""

    def add(self, line: Line) -> None:
        self.tally.add(line.tally)
        self.repeated += line.repeated
        self.malformed += line.malformed
        self.runs += line.runs
        self.rate += line.rate
        self.is_here = self.is_here or line.is_here
        self.started_ns = max(self.started_ns, line.started_ns)
        self.seen_ns = max(self.seen_ns, line.seen_ns)
        self.late += line.late
        offset_ns, error_ns = line.clock_offset_ns, line.clock_error_ns
        if offset_ns is None or error_ns is None:
            return
        if self.clock is None or abs(offset_ns) > abs(self.clock[0]):
            self.clock = (offset_ns, error_ns)


class ReceiverObserver:
    """Takes a snapshot of a receiver."""

    def __init__(self, sources: ReceiverSources) -> None:
        self._sources = sources
        self._ratchet = Ratchet()
        self._labelled: set[str] = set()

    def __call__(self, now: Instant) -> Snapshot:
        """Looks at live state: for the loop only."""
        lines = self._sources.ledger(now)
        return self._ratchet.hold(
            [*self._own(lines, now), *_of_senders(self._by_label(lines))]
        )

    def _own(
        self, lines: Sequence[Line], now: Instant
    ) -> Iterator[Family | Distribution]:
        sources = self._sources
        counters = sources.counters
        for metric, get in _GETTERS:
            yield single(metric, get(counters))
        yield Family(
            DROPPED,
            tuple(((reason.value,), counters.dropped[reason]) for reason in REASONS),
        )
        yield single(HELD, sources.held())
        yield single(QUEUE, sources.queue_bytes())
        yield single(QUEUE_LIMIT, sources.queue_limit)
        yield single(CONNECTIONS, sources.connections())
        yield single(CONNECTIONS_LIMIT, sources.connections_limit())
        if sources.has_reader is not None:
            yield single(READER, int(sources.has_reader()))
        yield sources.latency.distribution(LATENCY)
        yield single(AHEAD, sources.latency.ahead)
        yield single(SENDERS, len(lines))
        yield single(CONNECTED, sum(line.is_here for line in lines))
        yield single(UNACCOUNTED, sum(line.tally.unaccounted for line in lines))
        yield single(SNAPSHOT, now.wall_ns / NS_PER_S)
        yield from _of_outputs(sources.outputs())
        yield Family(BUILD, (((__version__, sources.libzmq), 1),))

    def _by_label(self, lines: Iterable[Line]) -> dict[str, _Sender]:
        """Whoever has a label keeps it as long as it is in the ledger."""
        lines = list(lines)
        self._labelled &= {line.name for line in lines}
        shown: dict[str, _Sender] = {}
        for line in lines:
            if line.name not in self._labelled and len(self._labelled) < SENDERS_MAX:
                self._labelled.add(line.name)
            label = line.name if line.name in self._labelled else OTHERS
            shown.setdefault(label, _Sender()).add(line)
        return shown


def _of_outputs(lines: Sequence[OutputLine]) -> Iterator[Family]:
    for metric, get in OUTPUT_TERMS.items():
        yield Family(metric, tuple(((line.name,), get(line)) for line in lines))
    samples = [
        ((line.name, reason.value), line.dropped.get(reason.value, 0))
        for line in lines
        for reason in OUTPUT_REASONS
    ]
    yield Family(OUTPUT_DROPPED, tuple(samples))


def _of_senders(senders: dict[str, _Sender]) -> Iterator[Family]:
    def each(metric: Metric, get: Callable[[_Sender], float]) -> Family:
        return Family(metric, tuple(((n,), get(s)) for n, s in senders.items()))

    for metric, of_tally in TERMS.items():
        samples = [((n,), of_tally(s.tally)) for n, s in senders.items()]
        yield Family(metric, tuple(samples))
    yield Family(
        SENDER_DROPPED,
        tuple(
            ((name, word), sender.tally.dropped[reason])
            for name, sender in senders.items()
            for reason, word in _WORDS
        ),
    )
    yield Family(
        SENDER_HELD,
        tuple(
            sample
            for name, sender in senders.items()
            for sample in (
                ((name, "sender"), sender.tally.held_by_sender),
                ((name, "receiver"), sender.tally.held_by_receiver),
            )
        ),
    )
    yield each(SENDER_REPEATED, lambda sender: sender.repeated)
    yield each(SENDER_MALFORMED, lambda sender: sender.malformed)
    yield each(SENDER_RUNS, lambda sender: sender.runs)
    yield each(SENDER_RATE, lambda sender: sender.rate)
    yield each(SENDER_CONNECTED, lambda sender: int(sender.is_here))
    yield each(SENDER_STARTED, lambda sender: sender.started_ns / NS_PER_S)
    yield each(SENDER_SEEN, lambda sender: sender.seen_ns / NS_PER_S)
    yield each(SENDER_LATE, lambda sender: sender.late)
    clocks = [(name, sender.clock) for name, sender in senders.items()]
    for place, metric in enumerate((SENDER_CLOCK, SENDER_CLOCK_ERROR)):
        known = [((n,), clock[place] / NS_PER_S) for n, clock in clocks if clock]
        yield Family(metric, tuple(known))
