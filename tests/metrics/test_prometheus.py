"""Snapshots as a scraper sees them, and the loop that takes them."""

import threading
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pcap_zmq.metrics.address import Address
from pcap_zmq.metrics.family import Distribution, Family, Kind, Metric, Snapshot, single
from pcap_zmq.metrics.prometheus import PrometheusExporter
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Poller
from tests.metrics.snapshots import NOW, later

MINE = Metric("pcap_zmq_sender_held_packets", Kind.GAUGE, "Held.")
LABELLED = Metric(
    "pcap_zmq_sender_dropped_total", Kind.COUNTER, "Dropped.", ("sender",)
)
LATENCY = Metric("pcap_zmq_receiver_latency_seconds", Kind.HISTOGRAM, "Late.")


class World:
    """An observer that counts how often it has looked, and a loop on call."""

    def __init__(self) -> None:
        self.looked = 0
        self.rest: Snapshot = ()
        self.exporter = PrometheusExporter(
            Address("127.0.0.1", 0), self.observe, later(0)
        )

    def observe(self, now: Instant) -> Snapshot:
        self.looked += 1
        return (single(MINE, self.looked), *self.rest)

    def scrape(self) -> str:
        with urllib.request.urlopen(self.exporter.url, timeout=20) as answer:  # noqa: S310
            text: str = answer.read().decode()
        return text

    def scrape_in_the_loop(self, now: Instant) -> str:
        """As somebody else does it while the loop turns."""
        return self._while_turning(self.scrape, now)

    def _while_turning(self, scrape: Callable[[], str], now: Instant) -> str:
        scraped: list[str] = []
        thread = threading.Thread(target=lambda: scraped.append(scrape()))
        thread.start()
        while thread.is_alive():
            Poller().wait(self.exporter.watch(), 10_000_000)
            self.exporter.serve(now)
        return scraped[0]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.exporter.close(NOW)


def held(text: str) -> float:
    (sample,) = [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == MINE.name
    ]
    return sample.value


def test_a_loop_that_hangs_shows_what_it_saw_last(world: World) -> None:
    assert held(world.scrape()) == 1
    assert world.looked == 1


def test_a_scrape_shows_what_is_true_now(world: World) -> None:
    assert held(world.scrape_in_the_loop(later(1))) == 2
    assert held(world.scrape_in_the_loop(later(2))) == 3


def test_scrapes_within_a_second_cost_the_loop_one_look(world: World) -> None:
    for tenth in range(10):
        assert held(world.scrape_in_the_loop(later(1 + tenth / 20))) == 2
    assert world.looked == 2


def test_where_nobody_scrapes_nobody_looks(world: World) -> None:
    for second in range(100):
        world.exporter.serve(later(second))
    assert world.exporter.due() is None
    assert world.looked == 1


def test_a_name_that_would_break_the_format_is_escaped(world: World) -> None:
    name = 'gw"1\\ {a="b"}\n# TYPE x counter'
    world.rest = (Family(LABELLED, (((name,), 5),)),)
    families = text_string_to_metric_families(world.scrape_in_the_loop(later(1)))
    samples = {
        (sample.labels.get("sender"), sample.value)
        for family in families
        for sample in family.samples
        if sample.name == LABELLED.name
    }
    assert samples == {(name, 5.0)}


def test_a_histogram_has_its_buckets_sum_and_count(world: World) -> None:
    world.rest = (Distribution(LATENCY, (0.001, 1.0), (1, 3, 4), 7.5),)
    families = text_string_to_metric_families(world.scrape_in_the_loop(later(1)))
    samples = {
        (sample.name.removeprefix(LATENCY.name), sample.labels.get("le")): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith(LATENCY.name)
    }
    assert samples == {
        ("_bucket", "0.001"): 1,
        ("_bucket", "1.0"): 3,
        ("_bucket", "+Inf"): 4,
        ("_count", None): 4,
        ("_sum", None): 7.5,
    }
