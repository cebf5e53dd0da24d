"""How old packets are when they reach the output."""

from itertools import accumulate
from typing import Protocol

from pcap_ffi import LatencyHistogram
from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.metrics.family import Distribution, Metric
from pcap_zmq.packet import Batch, Instant

BOUNDS_NS = (
    *(1 * NS_PER_MS, 2_500_000, 5 * NS_PER_MS),
    *(10 * NS_PER_MS, 25 * NS_PER_MS, 50 * NS_PER_MS),
    *(100 * NS_PER_MS, 250 * NS_PER_MS, 500 * NS_PER_MS),
    *(1 * NS_PER_S, 2_500 * NS_PER_MS, 5 * NS_PER_S),
    *(10 * NS_PER_S, 30 * NS_PER_S, 60 * NS_PER_S),
)
"""From less than a batch takes to fill to longer than most queues last."""

BOUNDS_S = tuple(bound / NS_PER_S for bound in BOUNDS_NS)


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> Instant: ...


class Latency:
    """Told of each batch once it is in the output. nanoseconds: whether the batches'
    records count these, or microseconds.

    The clock is asked for every batch: what came during a long turn of the loop would
    otherwise be younger than its beginning, and look like a clock that is ahead.
    """

    def __init__(self, clock: Clock, *, nanoseconds: bool) -> None:
        self._clock = clock
        self._histogram = LatencyHistogram(BOUNDS_NS, nanoseconds=nanoseconds)

    def delivered(self, batch: Batch) -> None:
        """The batch is in the output now."""
        if batch.records:
            self._histogram.observe(batch.records, self._clock.now().wall_ns)

    def distribution(self, metric: Metric) -> Distribution:
        """All packets so far, in seconds."""
        counts = tuple(accumulate(self._histogram.counts))
        return Distribution(metric, BOUNDS_S, counts, self._histogram.sum_s)

    @property
    def ahead(self) -> int:
        """Packets that were stamped later than they were written."""
        return self._histogram.ahead
