"""Shows snapshots to whoever asks over HTTP, in Prometheus' formats.

Theory of operation. Who scrapes asks the loop for a snapshot, which it takes when the
last one is a second old; the threads of the HTTP server render it, and never see
anything that changes. Where nobody scrapes nothing is done.

Specification: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, core, make_wsgi_app
from prometheus_client.metrics_core import Metric as Exposed
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.metrics.address import Address
from pcap_zmq.metrics.family import Distribution, Family, Kind, Observe, Snapshot
from pcap_zmq.metrics.question import Question
from pcap_zmq.metrics.server import HttpServer
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch

INTERVAL_NS = NS_PER_S
"""How old a snapshot may be, however often somebody scrapes."""


class _Showcase(Collector):
    """What prometheus-client collects from."""

    def __init__(self, question: Question[Snapshot]) -> None:
        self._question = question

    def collect(self) -> Iterator[Exposed]:
        """Called by the threads of the HTTP server."""
        return map(exposed, self._question.ask())


class PrometheusExporter:
    """Serves at `address` until closed. Raises TransportError where the address cannot
    be had."""

    def __init__(self, address: Address, observe: Observe, now: Instant) -> None:
        self._observe = observe
        self._snapshot = observe(now)
        self._fresh_until_ns = now.mono_ns + INTERVAL_NS
        self._question = Question(self._snapshot)
        # Not the library's own registry, to which anything may add itself.
        registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        registry.register(_Showcase(self._question))
        try:
            self._server = HttpServer("--metrics", address, make_wsgi_app(registry))
        except BaseException:
            self._question.close()
            raise

    @property
    def url(self) -> str:
        """Where to look."""
        return f"http://{self._server.address}/metrics"

    def serve(self, now: Instant) -> None:
        """Answers whoever has asked."""
        if not self._question.is_asked:
            return
        if now.mono_ns >= self._fresh_until_ns:
            self._fresh_until_ns = now.mono_ns + INTERVAL_NS
            self._snapshot = self._observe(now)
        self._question.answer(self._snapshot)

    def due(self) -> int | None:
        """It waits to be asked."""
        return None

    def watch(self) -> Iterable[Watch]:
        """Somebody asks."""
        return self._question.watch()

    def close(self, now: Instant) -> None:
        """Serves nobody any more."""
        self._server.close()
        self._question.close()


def exposed(family: Family | Distribution) -> Exposed:
    """What prometheus-client renders."""
    metric = family.metric
    if isinstance(family, Distribution):
        bounds = (*map(str, family.bounds), "+Inf")
        buckets = list(zip(bounds, family.counts, strict=True))
        return core.HistogramMetricFamily(
            metric.name, metric.help, buckets=buckets, sum_value=family.sum
        )
    kind = (
        core.CounterMetricFamily
        if metric.kind is Kind.COUNTER
        else core.GaugeMetricFamily
    )
    numbers = kind(metric.name, metric.help, labels=metric.labels)
    for labels, number in family.samples:
        numbers.add_metric(labels, number)
    return numbers
