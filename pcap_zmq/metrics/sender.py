"""What a sender shows of itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from pcap_zmq import __version__
from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.metrics.family import (
    Family,
    Kind,
    Metric,
    Ratchet,
    Snapshot,
    single,
)
from pcap_zmq.packet import Instant

PREFIX = "pcap_zmq_sender_"

REASONS = (
    Reason.NOT_IP,
    Reason.HIGH_WATERMARK,
    Reason.SEND_QUEUE_FULL,
    Reason.SPOOL_FULL,
    Reason.DAMAGED,
    Reason.SENDER_GONE,
    Reason.SHUTDOWN,
)
"""Why a sender drops: each is there from the start, so that its first packet shows."""


def _counter(name: str, help_text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{name}_total", Kind.COUNTER, help_text, labels)


def _gauge(name: str, help_text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{name}", Kind.GAUGE, help_text, labels)


LOGGED = _counter(
    "logged_packets", "Packets that the kernel logged for us, as far as is certain."
)
SHED = _counter(
    "shed_packets",
    "Of those dropped above the high watermark: by --shed, tails of flows or flows.",
    "part",
)
DROPPED = _counter("dropped_packets", "Packets read and given up, by reason.", "reason")
COUNTED = {
    _counter("received_packets", "Packets read from the kernel or a file."): "received",
    _counter(
        "missed_packets", "Packets logged by the kernel and lost before they were read."
    ): "missed",
    _counter(
        "acknowledged_packets", "Packets that the receiver has written."
    ): "acknowledged",
    _counter("overruns", "Times that the kernel's buffer was full."): "overruns",
    _counter(
        "stamped_here_packets", "Packets whose time is when they were read."
    ): "stamped_here",
    _counter(
        "truncated_datagrams", "Messages of the kernel that were cut short."
    ): "truncated_datagrams",
    _counter(
        "malformed_messages", "Messages of the kernel that no format explains."
    ): "malformed_messages",
    _counter(
        "records_bytes", "Octets of packet records before compression."
    ): "raw_bytes",
    _counter(
        "payload_bytes", "Octets of the same on the wire, after compression."
    ): "payload_bytes",
    _counter("batches", "Batches passed on."): "batches",
    _counter("compressed_batches", "Of those, compressed."): "compressed_batches",
    _counter(
        "incompressible_batches",
        "Of those, sent as they were because such traffic does not shrink.",
    ): "incompressible_batches",
    _counter("reconnects", "Connections after the first."): "reconnects",
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
MISSED_TAIL = _gauge(
    "missed_tail_packets",
    "Packets believed lost after the last one read; missed as soon as it is certain.",
)
HELD = _gauge("held_packets", "Packets neither acknowledged nor dropped.")
UNACCOUNTED = _gauge(
    "unaccounted_packets", "Packets logged that are in no other term; 0 unless broken."
)
RATE = _gauge(
    "records_rate_bytes_per_second",
    "Octets of packet records that came in over the last second: the shaper's measure.",
)
LOW_WATERMARK = _gauge(
    "low_watermark_bytes_per_second", "Rate above which is compressed; 0: never."
)
HIGH_WATERMARK = _gauge(
    "high_watermark_bytes_per_second", "Rate above which is dropped; 0: never."
)
QUEUE = _gauge("queue_bytes", "Octets in the send queue.")
QUEUE_LIMIT = _gauge("queue_limit_bytes", "Octets that the send queue may hold.")
SPOOL = _gauge("spool_bytes", "Octets in the spool on disk.")
SPOOL_PACKETS = _gauge("spool_packets", "Of the packets held, those on disk.")
SPOOL_LIMIT = _gauge("spool_limit_bytes", "Octets that the spool may hold; 0: none.")
LINK_UP = _gauge("link_up", "1 while the receiver takes packets.")
SNAPSHOT = _gauge(
    "snapshot_timestamp_seconds", "When these numbers were taken, by this host's clock."
)
BUILD = _gauge("build_info", "Versions, as labels; always 1.", "version", "libzmq")

METRICS = (
    *(LOGGED, *COUNTED, DROPPED, SHED, MISSED_TAIL, HELD, UNACCOUNTED),
    *(RATE, LOW_WATERMARK, HIGH_WATERMARK),
    *(QUEUE, QUEUE_LIMIT, SPOOL, SPOOL_PACKETS, SPOOL_LIMIT, LINK_UP, SNAPSHOT, BUILD),
)
"""All that a sender ever shows."""

_GETTERS = tuple((metric, attrgetter(name)) for metric, name in COUNTED.items())


def _nothing() -> int:
    return 0


@dataclass(frozen=True, slots=True)
class SenderSources:
    """Where a sender's numbers are. The functions are called by the loop only."""

    counters: SenderCounters
    libzmq: str
    held: Callable[[], int]
    """Packets in the sender; looking for them brings the counters up to date."""
    rate: Callable[[int], float]
    """Octets per second, at a moment (mono_ns)."""
    low_watermark: int
    high_watermark: int
    queue_bytes: Callable[[], int]
    queue_limit: int
    is_up: Callable[[], bool]
    spool_bytes: Callable[[], int] = _nothing
    spool_packets: Callable[[], int] = _nothing
    spool_limit: int = 0


class SenderObserver:
    """Takes a snapshot of a sender."""

    def __init__(self, sources: SenderSources) -> None:
        self._sources = sources
        self._ratchet = Ratchet()

    def __call__(self, now: Instant) -> Snapshot:
        """Looks at live state: for the loop only."""
        return self._ratchet.hold(self._families(now))

    def _families(self, now: Instant) -> Iterator[Family]:
        sources = self._sources
        # First: it brings the counters up to date.
        held = sources.held()
        counters = sources.counters
        yield single(LOGGED, counters.received + counters.missed)
        for metric, get in _GETTERS:
            yield single(metric, get(counters))
        yield Family(
            DROPPED,
            tuple(((reason.value,), counters.dropped[reason]) for reason in REASONS),
        )
        yield Family(
            SHED, ((("tail",), counters.shed_tails), (("flow",), counters.shed_flows))
        )
        gone = counters.acknowledged + counters.dropped.total()
        yield single(MISSED_TAIL, counters.missed_tail)
        yield single(HELD, held)
        yield single(UNACCOUNTED, counters.received - gone - held)
        yield single(RATE, sources.rate(now.mono_ns))
        yield single(LOW_WATERMARK, sources.low_watermark)
        yield single(HIGH_WATERMARK, sources.high_watermark)
        yield single(QUEUE, sources.queue_bytes())
        yield single(QUEUE_LIMIT, sources.queue_limit)
        yield single(SPOOL, sources.spool_bytes())
        yield single(SPOOL_PACKETS, sources.spool_packets())
        yield single(SPOOL_LIMIT, sources.spool_limit)
        yield single(LINK_UP, int(sources.is_up()))
        yield single(SNAPSHOT, now.wall_ns / NS_PER_S)
        yield Family(BUILD, (((__version__, sources.libzmq), 1),))
