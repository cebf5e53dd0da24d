"""Snapshots as a real statsd server sees them: datagrams on a UDP socket."""

import logging
import socket
from collections.abc import Iterator, Mapping

import pytest

from pcap_zmq.errors import ConfigError, TransportError
from pcap_zmq.metrics.address import Address
from pcap_zmq.metrics.family import (
    Distribution,
    Family,
    Kind,
    Labels,
    Metric,
    Snapshot,
    single,
)
from pcap_zmq.metrics.statsd import INTERVAL_NS, StatsdExporter
from pcap_zmq.metrics.statsd_lines import check_prefix, check_tag, expand_prefix
from pcap_zmq.packet import Instant
from tests.metrics.snapshots import NOW, later

DROPPED = Metric("pcap_zmq_sender_dropped_packets_total", Kind.COUNTER, "", ("reason",))
LOGGED = Metric("pcap_zmq_sender_logged_packets_total", Kind.COUNTER, "")
HELD = Metric("pcap_zmq_sender_held_packets", Kind.GAUGE, "")
OF_SENDER = Metric("pcap_zmq_receiver_sender_held_packets", Kind.GAUGE, "", ("sender",))
LATENCY = Metric("pcap_zmq_receiver_latency_seconds", Kind.HISTOGRAM, "")
BUILD = Metric("pcap_zmq_sender_build_info", Kind.GAUGE, "", ("version",))


class Server:
    """What a statsd server hears."""

    def __init__(self, family: socket.AddressFamily, host: str) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        # On one host a datagram is there as soon as it was sent.
        self.socket.setblocking(False)
        self.address = Address(host, self.socket.getsockname()[1])

    def heard(self) -> list[str]:
        lines: list[str] = []
        while True:
            try:
                datagram = self.socket.recv(65_536)
            except BlockingIOError:
                return lines
            assert len(datagram) <= 1_432
            lines += datagram.decode().splitlines()


class World:
    """An observer of whatever the test says, and exporters of it."""

    def __init__(self) -> None:
        self.snapshot: Snapshot = ()
        self.exporters: list[StatsdExporter] = []

    def observe(self, now: Instant) -> Snapshot:
        return self.snapshot

    def export(
        self, address: Address, prefix: str = "gw.pcap_zmq", *tags: str
    ) -> StatsdExporter:
        exporter = StatsdExporter(address, self.observe, NOW, prefix=prefix, tags=tags)
        self.exporters.append(exporter)
        return exporter

    def counted(self, **reasons: int) -> None:
        samples = tuple(((reason,), count) for reason, count in reasons.items())
        self.snapshot = (Family(DROPPED, samples),)

    def show(self, metric: Metric, samples: Mapping[Labels, float]) -> None:
        self.snapshot = (Family(metric, tuple(samples.items())),)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for exporter in world.exporters:
        exporter.close(NOW)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(socket.AF_INET, "127.0.0.1")
    yield server
    server.socket.close()


@pytest.mark.parametrize("host", ["::1%nowhere0", "x" * 64, "a..b"])
def test_a_host_that_is_not_known_is_said_in_one_line(world: World, host: str) -> None:
    with pytest.raises(TransportError, match=r"--statsd .*:8125: .*; name a host"):
        world.export(Address(host, 8125))


def test_a_server_that_is_dead_is_spoken_of_once_and_costs_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(socket.AF_INET, "127.0.0.1")
    server.socket.close()
    world.snapshot = (single(HELD, 1),)
    exporter = world.export(server.address)
    with caplog.at_level(logging.DEBUG):
        for turn in range(1, 9):
            exporter.serve(later(10 * turn))
    # Every second datagram is answered with a refusal: those before it cannot know.
    said = {record.getMessage() for record in caplog.records}
    assert said == {
        f"the statsd server at {server.address} does not take what it is sent; tries "
        "go on"
    }
    assert {record.name for record in caplog.records} == {"pcap_zmq.metrics.statsd"}


def test_a_server_that_comes_back_is_told_again(world: World) -> None:
    server = Server(socket.AF_INET, "127.0.0.1")
    server.socket.close()
    exporter = world.export(server.address)
    world.snapshot = (single(HELD, 1),)
    exporter.serve(later(10))
    exporter.serve(later(20))
    again = Server(socket.AF_INET, "127.0.0.1")
    again.socket.close()
    again.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    again.socket.bind((server.address.host, server.address.port))
    again.socket.setblocking(False)
    with again.socket:
        exporter.serve(later(30))
        exporter.serve(later(40))
        assert "gw.pcap_zmq.sender.held_packets:1|g" in again.heard()


def test_counters_are_sent_as_what_was_added_and_only_then(
    world: World, server: Server
) -> None:
    world.counted(not_ip=0, shutdown=5)
    exporter = world.export(server.address)
    world.counted(not_ip=3, shutdown=5)
    exporter.serve(later(10))
    assert server.heard() == ["gw.pcap_zmq.sender.dropped_packets.not_ip:3|c"]
    exporter.serve(later(20))
    assert server.heard() == []
    world.counted(not_ip=3, shutdown=6)
    exporter.serve(later(30))
    assert server.heard() == ["gw.pcap_zmq.sender.dropped_packets.shutdown:1|c"]


def test_what_a_sender_had_counted_before_it_came_is_not_added(
    world: World, server: Server
) -> None:
    exporter = world.export(server.address)
    world.counted(not_ip=1_000_000)
    exporter.serve(later(10))
    assert server.heard() == []
    world.counted(not_ip=1_000_001)
    exporter.serve(later(20))
    assert server.heard() == ["gw.pcap_zmq.sender.dropped_packets.not_ip:1|c"]


def test_nothing_is_sent_before_it_is_time_and_the_rest_at_the_end(
    world: World, server: Server
) -> None:
    world.snapshot = (single(LOGGED, 0),)
    exporter = world.export(server.address)
    world.snapshot = (single(LOGGED, 7),)
    assert exporter.due() == NOW.mono_ns + INTERVAL_NS
    exporter.serve(later(9.9))
    assert server.heard() == []
    exporter.close(later(9.9))
    world.exporters.clear()
    assert server.heard() == ["gw.pcap_zmq.sender.logged_packets:7|c"]


def test_a_negative_gauge_is_no_decrement_in_plain_statsd(
    world: World, server: Server
) -> None:
    world.snapshot = (single(HELD, -5),)
    world.export(server.address).serve(later(10))
    name = "gw.pcap_zmq.sender.held_packets"
    assert server.heard() == [f"{name}:0|g", f"{name}:-5|g"]


def test_with_tags_labels_are_tags(world: World, server: Server) -> None:
    world.counted(not_ip=0)
    exporter = world.export(server.address, "ids", "site:berlin", "rack:b/7")
    world.counted(not_ip=3)
    exporter.serve(later(10))
    assert server.heard() == [
        "ids.sender.dropped_packets:3|c|#reason:not_ip,site:berlin,rack:b/7"
    ]


def test_a_sender_s_name_cannot_speak_statsd(world: World, server: Server) -> None:
    """Without keys anybody chooses his own."""
    name = "gw\nx.y:9|c|#a:b,c:d @0.1"
    world.show(OF_SENDER, {(name,): 4})
    world.export(server.address).serve(later(10))
    assert server.heard() == [
        "gw.pcap_zmq.receiver.sender_held_packets.gw_x_y_9_c__a_b_c_d__0_1:4|g"
    ]
    world.export(server.address, "p", "a:b").serve(later(10))
    assert server.heard() == [
        "p.receiver.sender_held_packets:4|g|#sender:gw_x.y:9_c__a:b_c:d__0.1,a:b"
    ]


def test_a_sender_without_a_name_has_a_place_in_the_tree(
    world: World, server: Server
) -> None:
    world.show(OF_SENDER, {("",): 4})
    world.export(server.address, "").serve(later(10))
    assert server.heard() == ["receiver.sender_held_packets._:4|g"]


def test_a_histogram_is_a_counter_for_each_bound(world: World, server: Server) -> None:
    world.snapshot = (Distribution(LATENCY, (0.005, 1.0), (0, 0, 0), 0.0),)
    exporter = world.export(server.address, "")
    world.snapshot = (Distribution(LATENCY, (0.005, 1.0), (1, 1, 3), 7.5),)
    exporter.serve(later(10))
    assert server.heard() == [
        "receiver.latency_seconds_bucket.0_005:1|c",
        "receiver.latency_seconds_bucket.1_0:1|c",
        "receiver.latency_seconds_bucket.inf:3|c",
        "receiver.latency_seconds_count:3|c",
        "receiver.latency_seconds_sum:7.5|c",
    ]


def test_what_only_prometheus_can_use_is_not_sent(world: World, server: Server) -> None:
    world.show(BUILD, {("1.0",): 1})
    world.export(server.address).serve(later(10))
    assert server.heard() == []


def test_a_hundred_senders_go_in_datagrams_that_fit_a_packet(
    world: World, server: Server
) -> None:
    world.show(OF_SENDER, {(f"gateway{n}",): n for n in range(100)})
    world.export(server.address).serve(later(10))
    assert len(server.heard()) == 100


def test_ipv6_works(world: World) -> None:
    server = Server(socket.AF_INET6, "::1")
    with server.socket:
        world.snapshot = (single(HELD, 1),)
        world.export(server.address).serve(later(10))
        assert server.heard() == ["gw.pcap_zmq.sender.held_packets:1|g"]


def test_the_environment_adds_nothing(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would send tags, and itself elsewhere, on its behalf."""
    monkeypatch.setenv("DATADOG_TAGS", "secret:tag")
    monkeypatch.setenv("DD_ENV", "prod")
    monkeypatch.setenv("DD_AGENT_HOST", "192.0.2.1")
    world.snapshot = (single(HELD, 1),)
    world.export(server.address).serve(later(10))
    assert server.heard() == ["gw.pcap_zmq.sender.held_packets:1|g"]


def test_the_host_s_dots_are_no_levels() -> None:
    assert expand_prefix("{host}.pcap_zmq", "gw1.example.org") == (
        "gw1_example_org.pcap_zmq"
    )


@pytest.mark.parametrize("prefix", ["a b", "a:b", "a|b", "{name}", "a\n", "ä"])
def test_a_prefix_that_is_no_name_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="--statsd-prefix"):
        check_prefix("--statsd-prefix", prefix)


@pytest.mark.parametrize("tag", ["a", "a:", ":b", "a:b,c", "a:b|c", "1:b", "a:b\n", ""])
def test_a_tag_that_is_none_is_refused(tag: str) -> None:
    with pytest.raises(ConfigError, match="KEY:VALUE"):
        check_tag("--statsd-tag", tag)
