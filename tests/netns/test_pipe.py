"""Whole processes on real packets: what netfilter logs comes out of the FIFO."""

import itertools
import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import rules, traffic
from testbed.ids import Suricata
from testbed.namespaces import Network
from testbed.waiting import wait_until
from tests.netns import udp
from tests.netns.pipe import (
    GROUP,
    TIMEOUT_S,
    Pipe,
    Program,
    has_packets,
    packets_of_tcpdump,
)

pytestmark = pytest.mark.netns

IDS = "10.0.3.2"
SERVER_V4, SERVER_V6 = "10.0.2.2", "fd00:2::2"

PUSH = 0xFFFF

ALERT = """\
alert http any any -> any any (msg:"passwd was asked for"; flow:to_server; \
http.uri; content:"/etc/passwd"; sid:7; rev:1;)
"""


@pytest.fixture
def network(user_namespace: bool) -> Iterator[Network]:
    with Network(user_namespace) as network:
        yield network


@pytest.fixture
def root_network() -> Iterator[Network]:
    """Of the machine's own root: in a user namespace there is nobody else to become."""
    if os.geteuid() != 0:
        pytest.skip("there is no root to give up")
    with Network(user_namespace=False) as network:
        yield network


def make_route(network: Network) -> None:
    """A client, a gateway and a server in a row, and an IDS host beside the gateway."""
    for name in ("client", "server", "ids"):
        network.add(name)
    network.add("gateway", forward=True)
    network.join(
        "client", "gateway", "10.0.1.1/24", "10.0.1.2/24",
        v6=("fd00:1::1/64", "fd00:1::2/64"), offloads=False,
    )  # fmt: skip
    network.join(
        "gateway", "server", "10.0.2.1/24", f"{SERVER_V4}/24",
        v6=("fd00:2::1/64", f"{SERVER_V6}/64"), offloads=False,
    )  # fmt: skip
    network.join("gateway", "ids", "10.0.3.1/24", f"{IDS}/24")
    for via in ("10.0.1.2", "fd00:1::2"):
        network["client"].default_route(via)
    for via in ("10.0.2.1", "fd00:2::1"):
        network["server"].default_route(via)


def make_pair(network: Network) -> None:
    """A gateway that makes its own traffic, and an IDS host."""
    network.add("gateway")
    network.add("ids")
    network.join("gateway", "ids", "10.0.3.1/24", f"{IDS}/24")


def log_udp(network: Network, name: str = "gateway") -> None:
    """Only what we send on purpose, so that it can be counted."""
    options = f"log group {GROUP} queue-threshold 32"
    chain = (
        f"type filter hook output priority 0\nudp dport {udp.PORT} counter {options}\n"
    )
    network[name].run(
        ["nft", "-f", "-"], input=f"table inet ours {{\nchain out {{\n{chain}}}\n}}\n"
    )


def settle(network: Network, name: str = "gateway") -> None:
    """Until the sender has read all that was logged."""
    gateway = network[name]
    wait_until(lambda: rules.is_quiet(gateway, GROUP), TIMEOUT_S, "the sender to read")


def payloads_of(pipe: Pipe) -> list[bytes]:
    found = (udp.payload(packet.data) for packet in pipe.packets())
    return [payload for payload in found if payload is not None]


@pytest.mark.parametrize("tool", ["nft", "iptables"])
def test_packets_come_out_as_they_were_sent_and_as_tcpdump_sees_them(
    tool: rules.Tool, network: Network, tmp_path: Path
) -> None:
    make_route(network)
    gateway = network["gateway"]
    other_group = GROUP + 1
    for group in (GROUP, other_group):
        rules.log_packets(gateway, group, tool=tool)
    pipe = Pipe(network, tmp_path)
    receiver = pipe.receive(network["ids"])
    reader = pipe.read()
    sender = pipe.send(gateway, IDS)
    seen = tmp_path / "seen.pcap"
    # tcpdump's way of giving up root does not work in a user namespace; dumpcap is
    # the same libpcap.
    program = "tcpdump --immediate-mode -U -Z root"
    if network.user_namespace:
        program = "dumpcap -q -P"
    tcpdump = gateway.popen(f"{program} -i nflog:{other_group} -w {seen}".split())

    def is_open() -> bool:
        assert tcpdump.poll() is None
        return rules.is_read(gateway, other_group)

    def has_seen_all() -> bool:
        # libpcap does not say that it holds more, so the last packets need a push.
        udp.send(network["client"], SERVER_V4, 1, 30, mark=PUSH)
        return has_packets(seen, logged)

    wait_until(is_open, TIMEOUT_S, "tcpdump to open its group")

    sent: list[bytes] = []
    for address, octets in itertools.product((SERVER_V4, SERVER_V6), (30, 1300)):
        udp.send(network["client"], address, 60, octets, mark=octets)
        sent += udp.payloads(60, octets, octets)
    settle(network)
    logged = rules.packets_logged(gateway, GROUP, tool=tool)
    wait_until(has_seen_all, TIMEOUT_S, "tcpdump to write all")
    tcpdump.send_signal(signal.SIGINT)
    tcpdump.wait(TIMEOUT_S)
    sender.stop()
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0

    packets = [packet.data for packet in pipe.packets()]
    assert packets[:logged] == packets_of_tcpdump(seen)[:logged]
    assert payloads_of(pipe)[: len(sent)] == sent
    totals = sender.totals()
    logged = rules.packets_logged(gateway, GROUP, tool=tool)
    assert len(packets) == logged == totals["logged"] == totals["acknowledged"]
    assert (totals["missed"], totals["dropped"], totals["held"]) == (0, 0, 0)
    assert receiver.totals()["written"] == logged


def test_many_senders_share_one_receiver_and_nothing_is_torn(
    network: Network, tmp_path: Path
) -> None:
    network.add("ids")
    names = ["west", "north", "east"]
    pipe = Pipe(network, tmp_path)
    receiver = pipe.receive(network["ids"])
    reader = pipe.read()
    senders = []
    for number, name in enumerate(names):
        gateway = network.add(name)
        address = f"10.0.{number}.2"
        network.join(name, "ids", f"10.0.{number}.1/24", f"{address}/24")
        log_udp(network, name)
        senders.append(pipe.send(gateway, address, "--name", name))
    sending = [
        network[name].popen(udp.command("127.0.0.1", 800, 600, mark))
        for mark, name in enumerate(names)
    ]
    for process in sending:
        assert process.wait(TIMEOUT_S) == 0
    for name, sender in zip(names, senders, strict=True):
        settle(network, name)
        sender.stop()
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0

    came = payloads_of(pipe)
    for mark in range(len(names)):
        own = [payload for payload in came if payload[:4] == mark.to_bytes(4)]
        assert own == list(udp.payloads(800, 600, mark))
    assert len(came) == 3 * 800


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_flushes_what_is_held_and_prints_the_totals(
    number: signal.Signals, network: Network, tmp_path: Path
) -> None:
    make_pair(network)
    log_udp(network)
    pipe = Pipe(network, tmp_path)
    receiver = pipe.receive(network["ids"])
    reader = pipe.read()
    # The kernel still holds all of it when the signal comes.
    sender = pipe.send(network["gateway"], IDS, "--batch-age", "10s")
    udp.send(network["gateway"], "127.0.0.1", 20, 100)
    sender.stop(number)
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0
    assert payloads_of(pipe) == list(udp.payloads(20, 100, 0))
    totals = sender.totals()
    assert (totals["logged"], totals["acknowledged"]) == (20, 20)


def test_a_sender_that_gave_up_root_has_no_capability_and_still_flushes(
    root_network: Network, tmp_path: Path
) -> None:
    make_pair(root_network)
    log_udp(root_network)
    pipe = Pipe(root_network, tmp_path)
    receiver = pipe.receive(root_network["ids"])
    reader = pipe.read()
    sender = pipe.send(root_network["gateway"], IDS, "--user", "nobody")
    nobody = pwd.getpwnam("nobody")
    wait_until(
        lambda: status_of(sender)["Uid"] == [str(nobody.pw_uid)] * 4,
        TIMEOUT_S,
        "root to be given up",
    )
    status = status_of(sender)
    assert status["Gid"] == [str(nobody.pw_gid)] * 4
    assert status["Groups"] in ([], [str(nobody.pw_gid)])
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind][0], 16) == 0, kind

    udp.send(root_network["gateway"], "127.0.0.1", 300, 200)
    sender.stop()
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0
    assert payloads_of(pipe) == list(udp.payloads(300, 200, 0))
    assert sender.totals()["acknowledged"] == 300


def test_a_sender_that_gave_up_root_flushes_what_the_kernel_holds_for_long(
    root_network: Network, tmp_path: Path
) -> None:
    # Without the capability it cannot make the kernel hand over what it gathers.
    make_pair(root_network)
    log_udp(root_network)
    pipe = Pipe(root_network, tmp_path)
    receiver = pipe.receive(root_network["ids"])
    reader = pipe.read()
    sender = pipe.send(
        root_network["gateway"], IDS, "--user", "nobody", "--batch-age", "10s"
    )
    udp.send(root_network["gateway"], "127.0.0.1", 20, 100)
    sender.stop()
    totals = sender.totals()
    assert (totals["logged"], totals["acknowledged"]) == (20, 20)
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0
    assert payloads_of(pipe) == list(udp.payloads(20, 100, 0))


def status_of(program: Program) -> dict[str, list[str]]:
    """/proc/PID/status, field by field."""
    lines = Path(f"/proc/{program.process.pid}/status").read_text().splitlines()
    return {name: rest.split() for name, rest in (line.split(":", 1) for line in lines)}


def test_above_the_low_watermark_batches_travel_compressed(
    network: Network, tmp_path: Path
) -> None:
    make_pair(network)
    log_udp(network)
    pipe = Pipe(network, tmp_path)
    receiver = pipe.receive(network["ids"])
    reader = pipe.read()
    sender = pipe.send(network["gateway"], IDS, "--low-watermark", "1KiB/s")
    for mark in range(3):
        udp.send(network["gateway"], "127.0.0.1", 100, 1000, mark)
        settle(network)
    sender.stop()
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0
    sent = [p for mark in range(3) for p in udp.payloads(100, 1000, mark)]
    assert payloads_of(pipe) == sent
    totals = sender.totals()
    assert 0 < totals["compressed"] <= totals["batches"]
    assert totals["acknowledged"] == 300


def test_above_the_high_watermark_the_rest_flows_and_every_packet_is_accounted_for(
    network: Network, tmp_path: Path
) -> None:
    make_pair(network)
    log_udp(network)
    pipe = Pipe(network, tmp_path)
    receiver = pipe.receive(network["ids"])
    reader = pipe.read()
    sender = pipe.send(
        network["gateway"],
        IDS,
        *("--high-watermark", "300KiB/s", "--batch-bytes", "64KiB"),
        *("--low-watermark", "0"),
    )
    for mark in range(4):
        udp.send(network["gateway"], "127.0.0.1", 1000, 1000, mark)
    settle(network)
    sender.stop()
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0

    totals = sender.totals()
    assert totals["high_watermark"] > 0
    assert totals["acknowledged"] > 0
    assert totals["held"] == 0
    accounted = totals["acknowledged"] + totals["dropped"] + totals["missed"]
    assert accounted == totals["logged"] == 4000
    came = payloads_of(pipe)
    assert len(came) == totals["acknowledged"] == receiver.totals()["written"]
    # In order, and none of them twice: mark and number are what they start with.
    assert came == sorted(set(came))


def test_suricata_on_the_fifo_raises_an_alert_for_a_real_request(
    network: Network, tmp_path: Path
) -> None:
    make_route(network)
    rules.log_packets(network["gateway"], GROUP)
    pipe = Pipe(network, tmp_path)
    os.mkfifo(pipe.fifo, 0o600)
    suricata = Suricata(tmp_path, ALERT)
    with (tmp_path / "suricata.log").open("w") as output:
        ids = network.popen(suricata.command(pipe.fifo), stdout=output, stderr=output)
    try:
        receiver = pipe.receive(network["ids"])
        sender = pipe.send(network["gateway"], IDS)
        traffic.serve_http(network["server"])
        traffic.http_get(
            network["client"],
            f"http://{SERVER_V4}/etc/passwd",
            f"http://[{SERVER_V6}]/etc/passwd",
            f"http://{SERVER_V4}/harmless",
        )
        settle(network)
        sender.stop()
        receiver.await_end()
        assert ids.wait(TIMEOUT_S) == 0
    finally:
        # It heeds nothing else while it waits in open(2) for a writer.
        ids.kill()
    found = sorted((alert.rule, alert.destination) for alert in suricata.alerts())
    assert found == [(7, SERVER_V4), (7, SERVER_V6)]
    logged = rules.packets_logged(network["gateway"], GROUP)
    assert suricata.packets_seen() == logged
