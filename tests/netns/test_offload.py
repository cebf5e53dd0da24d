"""What the kernel leaves to the network card, on real traffic of a gateway's own: by
tshark and by Suricata, each of which verifies checksums by itself."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcap_zmq.packet import Packet
from testbed import traffic
from testbed.namespaces import Namespace, Network
from testbed.suricata import Witness
from testbed.waiting import wait_until
from tests.netns.pipe import GROUP, TIMEOUT_S, Pipe, Program
from tests.netns.test_pipe import settle

pytestmark = pytest.mark.netns

IDS = "10.0.3.2"
SERVER = {4: "10.0.1.1", 6: "fd00:1::1"}
URLS = {4: f"http://{SERVER[4]}", 6: f"http://[{SERVER[6]}]"}
OCTETS = 300_000

RULES = """\
table inet mirror {
    chain out {
        type filter hook output priority 0
        tcp sport 80 counter log group %(group)d queue-threshold 64
    }
    chain in {
        type filter hook input priority 0
        tcp dport 80 counter log group %(group)d queue-threshold 64
    }
}
"""
ALERT = """\
alert http any any -> any any (msg:"page"; flow:to_client; file.data; \
content:"item 000001"; sid:7;)
"""


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        network.add("client")
        network.add("gateway")
        network.add("ids")
        network.join(
            "gateway", "client", f"{SERVER[4]}/24", "10.0.1.2/24",
            v6=(f"{SERVER[6]}/64", "fd00:1::2/64"),
        )  # fmt: skip
        network.join("gateway", "ids", "10.0.3.1/24", f"{IDS}/24")
        network["gateway"].run(["nft", "-f", "-"], input=RULES % {"group": GROUP})
        traffic.serve_http(network["gateway"])
        yield network


def browse(client: Namespace) -> None:
    for url in URLS.values():
        traffic.http_get(client, f"{url}/bytes/{OCTETS}", f"{url}/small")


def carried(
    network: Network,
    directory: Path,
    *,
    receive: tuple[str, ...] = (),
    send: tuple[str, ...] = (),
) -> tuple[Pipe, Program, Program]:
    """What a gateway that answers itself logged, through the pipe; and its ends."""
    pipe = Pipe(network, directory)
    receiver = pipe.receive(network["ids"], *receive)
    reader = pipe.read()
    sender = pipe.send(network["gateway"], IDS, *send)
    browse(network["client"])
    settle(network)
    sender.stop()
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0
    return pipe, sender, receiver


def tshark(path: Path, *fields: str) -> list[list[str]]:
    """These fields of each packet, with checksums verified."""
    options = ("tcp", "udp", "ip")
    argv = ["tshark", "-r", str(path), "-T", "fields", "-E", "separator=,"]
    argv += [f"-o{name}.check_checksum:TRUE" for name in options]
    argv += [f"-e{field}" for field in fields]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    return [line.split(",") for line in done.stdout.splitlines()]


GOOD, BAD = "1", "0"


def checksums(path: Path) -> set[str]:
    return {status for (status,) in tshark(path, "tcp.checksum.status")}


def ip_lengths(packets: list[Packet]) -> list[int]:
    return [packet.origlen for packet in packets]


def test_without_fixing_checksums_of_our_own_are_wrong(
    network: Network, tmp_path: Path
) -> None:
    pipe, _, receiver = carried(network, tmp_path)
    # What the kernel answers for a connection that is over it finishes itself.
    assert BAD in checksums(pipe.output)
    assert max(ip_lengths(pipe.packets())) > 1500
    assert "fixed" not in receiver.totals()


def test_with_fixing_every_checksum_is_right_by_tshark(
    network: Network, tmp_path: Path
) -> None:
    pipe, _, receiver = carried(network, tmp_path, receive=("--checksums", "fix"))
    assert checksums(pipe.output) == {GOOD}
    totals = receiver.totals()
    assert 0 < totals["fixed"] <= totals["received"] == totals["written"]


@pytest.mark.parametrize("end", ["sender", "receiver"])
def test_segments_are_what_goes_over_a_cable_and_the_ledger_counts_what_was_logged(
    end: str, network: Network, tmp_path: Path
) -> None:
    options = ("--checksums", "fix", "--segment", "1500")
    if end == "sender":
        pipe, sender, receiver = carried(network, tmp_path, send=options)
    else:
        pipe, sender, receiver = carried(network, tmp_path, receive=options)
    packets = pipe.packets()
    assert checksums(pipe.output) == {GOOD}
    assert max(ip_lengths(packets)) == 1500
    assert all(packet.origlen == len(packet.data) for packet in packets)
    faults = [f"tcp.analysis.{fault}" for fault in ("lost_segment", "out_of_order")]
    assert tshark(pipe.output, *faults) == [["", ""]] * len(packets)
    mended = (sender if end == "sender" else receiver).totals()
    more = mended["out"] - mended["in"]
    assert more > 0
    logged = sender.totals()["logged"]
    assert receiver.totals()["received"] == receiver.totals()["written"] == logged
    assert len(packets) == logged + (more if end == "receiver" else 0)


def test_segments_are_those_that_the_kernel_itself_makes(
    network: Network, tmp_path: Path
) -> None:
    """But for their checksums, which it leaves to a card even then."""
    gateway = network["gateway"]
    gateway.run(["ethtool", "-K", "client", "tso", "off"])
    wire = tmp_path / "wire.pcap"
    tcpdump = network.popen(
        ["tcpdump", "-n", "-i", "client", "-B", "65536", "-U", "-w", str(wire),
         "src port 80"],
        gateway, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert tcpdump.stderr is not None
    assert "listening" in tcpdump.stderr.readline()
    pipe, _, _ = carried(network, tmp_path, receive=("--segment", "1500"))
    count = len(told(pipe.output))
    wait_until(lambda: len(told(wire)) >= count, TIMEOUT_S, "tcpdump")
    tcpdump.terminate()
    tcpdump.wait(TIMEOUT_S)
    assert told(pipe.output) == told(wire)


SOURCE_PORT = 3


def told(path: Path) -> list[list[str]]:
    """All that the headers of what we sent tell, but for their checksums."""
    fields = "ip.id ip.len ipv6.plen tcp.srcport tcp.dstport tcp.seq_raw tcp.ack_raw"
    more = "tcp.flags tcp.len tcp.options.timestamp.tsval tcp.window_size_value"
    try:
        found = tshark(path, *fields.split(), *more.split())
    except subprocess.CalledProcessError:
        # It is being written.
        return []
    return sorted(packet for packet in found if packet[SOURCE_PORT] == "80")


@pytest.mark.skipif(not Witness.is_installed(), reason="suricata is not installed")
@pytest.mark.parametrize("options", [(), ("--checksums", "fix")], ids=["keep", "fix"])
def test_suricata_that_verifies_checksums_sees_our_own_traffic_once_they_are_right(
    options: tuple[str, ...], network: Network, tmp_path: Path
) -> None:
    witness = Witness(tmp_path / "ids", ALERT, verifies=True)
    pipe = Pipe(network, tmp_path)
    receiver = pipe.receive(network["ids"], *options)
    wait_until(pipe.fifo.is_fifo, TIMEOUT_S, "the receiver's FIFO")
    with (tmp_path / "suricata.log").open("w") as output:
        ids = network.popen(witness.command(pipe.fifo), stdout=output, stderr=output)
    sender = pipe.send(network["gateway"], IDS)
    browse(network["client"])
    settle(network)
    sender.stop()
    receiver.await_end()
    assert ids.wait(TIMEOUT_S) == 0
    events = [json.loads(line) for line in witness.events.read_text().splitlines()]
    alerts = {e["src_ip"] for e in events if e["event_type"] == "alert"}
    (stats,) = [e["stats"] for e in events if e["event_type"] == "stats"]
    if options:
        assert len(alerts) == 2
        assert stats["tcp"]["invalid_checksum"] == 0
    else:
        assert alerts == set()
        assert stats["tcp"]["invalid_checksum"] > 0


@pytest.mark.parametrize("linktype", ["nflog", "ethernet"])
def test_packets_of_other_link_types_are_mended_before_they_become_raw(
    linktype: str, network: Network, tmp_path: Path
) -> None:
    options = ("--checksums", "fix", "--segment", "1500", "--linktype", "raw")
    send = ("--linktype", linktype)
    pipe, _, receiver = carried(network, tmp_path, receive=options, send=send)
    packets = pipe.packets()
    assert checksums(pipe.output) == {GOOD}
    assert max(ip_lengths(packets)) == 1500
    totals = receiver.totals()
    assert totals["received"] == totals["written"] < len(packets)
