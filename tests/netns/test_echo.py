"""A rule that logs everything logs the sender's own stream, too: a loop, and a warning
that ends it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import rules
from testbed.namespaces import Namespace, Network
from testbed.waiting import wait_until
from tests.netns import udp
from tests.netns.pipe import BIN, GROUP, PORT, TIMEOUT_S, Pipe, Program

pytestmark = pytest.mark.netns

GATEWAY, IDS = "10.0.3.1", "10.0.3.2"
WARNING = "is logged, so it mirrors itself"


@pytest.fixture
def network(user_namespace: bool) -> Iterator[Network]:
    with Network(user_namespace) as network:
        network.add("gateway")
        network.add("ids")
        network.join("gateway", "ids", f"{GATEWAY}/24", f"{IDS}/24")
        yield network


def await_warning(sender: Program) -> str:
    wait_until(
        lambda: WARNING in sender.log.read_text(), TIMEOUT_S, "the sender's warning"
    )
    (line,) = (line for line in sender.log.read_text().splitlines() if WARNING in line)
    return line


def exclude(host: Namespace, tool: rules.Tool, warning: str) -> None:
    """Does what the warning says, before the rule that logs."""
    if tool == "nft":
        for match in re.findall(r'"([^"]*) accept"', warning):
            chain = "inet pcap_zmq output"
            host.run(
                ["nft", "insert", "rule", *chain.split(), *match.split(), "accept"]
            )
    else:
        for rest in re.findall(r"-I CHAIN (.*?) -j ACCEPT", warning):
            argv = ["iptables", "-I", "OUTPUT", *rest.split(), "-j", "ACCEPT"]
            host.run(argv)


@pytest.mark.parametrize("tool", ["nft", "iptables"])
def test_a_sender_that_mirrors_itself_says_once_which_rule_ends_it(
    tool: rules.Tool, network: Network, tmp_path: Path
) -> None:
    gateway = network["gateway"]
    rules.log_packets(gateway, GROUP, tool=tool, hook="output")
    pipe = Pipe(network, tmp_path)
    receiver = pipe.receive(network["ids"])
    reader = pipe.read()
    sender = pipe.send(gateway, IDS, "--batch-age", "5ms")
    udp.send(gateway, IDS, 3, 100)
    warning = await_warning(sender)
    assert f"our own stream to tcp://{IDS}:{PORT}" in warning
    exclude(gateway, tool, warning)
    await_rest(gateway, tool)
    sender.stop()
    receiver.await_end()
    wait_until(lambda: reader.poll() is not None, TIMEOUT_S, "the reader's end")
    assert sender.log.read_text().count(WARNING) == 1


def await_rest(host: Namespace, tool: rules.Tool) -> None:
    """Until the loop has ended: twice in a row nothing more has been logged."""
    seen = [-1]

    def rests() -> bool:
        seen.append(rules.packets_logged(host, GROUP, tool=tool))
        return seen[-1] == seen[-2] and rules.is_quiet(host, GROUP)

    wait_until(rests, TIMEOUT_S, "the loop to end")


def test_a_sender_that_listens_notices_too(network: Network, tmp_path: Path) -> None:
    gateway = network["gateway"]
    rules.log_packets(gateway, GROUP, hook="output")
    log = tmp_path / "send.log"
    with log.open("w") as output:
        argv = [str(BIN / "pcap-zmq-send"), "--insecure", "--bind"]
        process = gateway.popen(
            [*argv, f"nflog:{GROUP}", f"tcp://{GATEWAY}:{PORT}"],
            stdout=output,
            stderr=output,
        )
    sender = Program(process, log)
    wait_until(lambda: rules.is_read(gateway, GROUP), TIMEOUT_S, "the sender")
    receive = [str(BIN / "pcap-zmq-recv"), "--insecure", "--connect"]
    network["ids"].popen(
        [*receive, f"tcp://{GATEWAY}:{PORT}", f"file:{tmp_path}/packets"]
    )
    warning = await_warning(sender)
    assert f"our own stream at tcp://{GATEWAY}:{PORT}" in warning
    assert f"ip saddr {GATEWAY} tcp sport {PORT} accept" in warning


def test_a_sender_that_is_excluded_says_nothing(
    network: Network, tmp_path: Path
) -> None:
    gateway = network["gateway"]
    chain = (
        "type filter hook output priority 0\n"
        f"tcp dport {PORT} accept\ncounter log group {GROUP}\n"
    )
    table = f"table inet pcap_zmq {{\nchain output {{\n{chain}}}\n}}\n"
    gateway.run(["nft", "-f", "-"], input=table)
    pipe = Pipe(network, tmp_path)
    receiver = pipe.receive(network["ids"])
    reader = pipe.read()
    sender = pipe.send(gateway, IDS)
    udp.send(gateway, IDS, 3, 100)
    sender.stop()
    receiver.await_end()
    wait_until(lambda: reader.poll() is not None, TIMEOUT_S, "the reader's end")
    assert WARNING not in sender.log.read_text()
