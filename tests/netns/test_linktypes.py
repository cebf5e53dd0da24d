"""What a kernel says of its packets arrives in the link type that was asked for, and
tshark reads it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcap_zmq.formats.linktype import ETHERNET, NFLOG, RAW
from pcap_zmq.formats.savefile import encode_file_header
from testbed import rules
from testbed.namespaces import SEARCH_PATH, Namespace, Network
from testbed.waiting import wait_until
from tests.netns import udp
from tests.netns.pipe import GROUP, TIMEOUT_S, Pipe, attributes, packets_of

pytestmark = pytest.mark.netns

IDS = "10.0.3.2"
CLIENT_V4, CLIENT_V6 = "10.0.1.1", "fd00:1::1"
GATEWAY_V4, GATEWAY_V6 = "10.0.1.2", "fd00:1::2"

MARK = 7
HOOK_INPUT, HOOK_OUTPUT = 1, 3
NFULA_MARK = 2  # tshark 4.0 has no name for it

COUNT = 5
OCTETS = 300

RULES = f"""\
table inet ours {{
    chain in {{
        type filter hook input priority 0
        udp dport {udp.PORT} meta mark set {MARK} log prefix "came: " group {GROUP}
    }}
    chain out {{
        type filter hook output priority 0
        udp dport {udp.PORT} log prefix "own: " group {GROUP}
    }}
}}
"""


@pytest.fixture
def network(user_namespace: bool) -> Iterator[Network]:
    """A client whose packets come in at a gateway, which also sends some itself, and an
    IDS host beside it."""
    with Network(user_namespace) as network:
        for name in ("client", "gateway", "ids"):
            network.add(name)
        network.join(
            "client", "gateway", f"{CLIENT_V4}/24", f"{GATEWAY_V4}/24",
            v6=(f"{CLIENT_V6}/64", f"{GATEWAY_V6}/64"), offloads=False,
        )  # fmt: skip
        network.join("gateway", "ids", "10.0.3.1/24", f"{IDS}/24")
        network["gateway"].run(["nft", "-f", "-"], input=RULES)
        yield network


def exchange(network: Network, pipe: Pipe, *options: str, receiving: str = "") -> int:
    """Both kinds of packets go through the pipe; the user id of the gateway's own."""
    gateway = network["gateway"]
    receiver = pipe.receive(network["ids"], *receiving.split())
    reader = pipe.read()
    sender = pipe.send(gateway, IDS, *options)
    for address in (GATEWAY_V4, GATEWAY_V6):
        udp.send(network["client"], address, COUNT, OCTETS)
    # Somebody who is not root, where there is anybody else.
    user = 0 if network.user_namespace else 1234
    for address in (CLIENT_V4, CLIENT_V6):
        gateway.run(as_user(user, udp.command(address, COUNT, OCTETS)))
    wait_until(lambda: rules.is_quiet(gateway, GROUP), TIMEOUT_S, "the sender to read")
    sender.stop()
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0
    totals = receiver.totals()
    assert (totals["written"], totals["dropped"]) == (4 * COUNT, 0)
    return user


def as_user(user: int, command: list[str]) -> list[str]:
    """`command` of udp.command, by a user who need not be able to read our files."""
    *start, _, _, address, count, octets, mark = command
    become = f"os.setgid({user}); os.setuid({user})"
    program = f"import os, sys; from tests.netns import udp; {become}; udp.main()"
    return [*start, "-c", program, address, count, octets, mark]


def tshark(path: Path, *fields: str) -> list[list[str]]:
    """Those fields of each packet. Fails where it finds anything malformed."""
    program = shutil.which("tshark", path=SEARCH_PATH)
    if program is None:
        pytest.skip("tshark is not installed")
    wanted = ("_ws.malformed", *fields)
    argv = [program, "-r", str(path), "-T", "fields", *(f"-e{one}" for one in wanted)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [""] * len(lines)
    return [line[1:] for line in lines]


def link_address(host: Namespace, device: str) -> bytes:
    """A device's own hardware address."""
    shown = host.run(["ip", "-o", "link", "show", "dev", device]).stdout
    return bytes.fromhex(shown.split("link/ether ")[1].split()[0].replace(":", ""))


def test_nflog_says_all_that_the_kernel_said_and_tshark_reads_it(
    network: Network, tmp_path: Path
) -> None:
    pipe = Pipe(network, tmp_path)
    user = exchange(network, pipe, "--linktype", "nflog")
    said = tshark(
        pipe.output, "nflog.res_id", "nflog.family", "nflog.version", "nflog.prefix",
        "nflog.hook", "nflog.protocol", "nflog.uid", "nflog.gid", "udp.dstport",
        "udp.length",
    )  # fmt: skip
    families = [("2", "0x0800"), ("10", "0x86dd")]
    assert said == [
        [str(GROUP), family, "0", prefix, str(hook), protocol, uid, uid, "9",
         str(OCTETS + 8)]
        for prefix, hook, uid in (
            ("came: ", HOOK_INPUT, ""), ("own: ", HOOK_OUTPUT, str(user))
        )
        for family, protocol in families
        for _ in range(COUNT)
    ]  # fmt: skip
    came = tshark(pipe.output, "nflog.ifindex_indev", "nflog.ifindex_outdev")
    assert {bool(indev) for indev, _ in came[: 2 * COUNT]} == {True}
    assert {(indev, bool(outdev)) for indev, outdev in came[2 * COUNT :]} == {
        ("", True)
    }


def test_nflog_has_mark_and_hardware_header_and_ends_with_the_packet(
    network: Network, tmp_path: Path
) -> None:
    pipe = Pipe(network, tmp_path)
    exchange(network, pipe, "--linktype", "nflog")
    packets = packets_of(pipe.output, encode_file_header(NFLOG))
    client, gateway = network["client"], network["gateway"]
    addresses = link_address(gateway, "client") + link_address(client, "gateway")
    for packet in packets[: 2 * COUNT]:
        said = attributes(packet.data)
        assert said[NFULA_MARK] == MARK.to_bytes(4)
        assert said[16][:12] == addresses
        assert said[15] == b"\0\1"
    for packet in packets:
        *_, (kind, _) = attributes(packet.data).items()
        assert kind == 9
        assert packet.origlen == len(packet.data)


def test_ethernet_has_the_header_that_was_or_one_of_zeros(
    network: Network, tmp_path: Path
) -> None:
    pipe = Pipe(network, tmp_path)
    exchange(network, pipe, "--linktype", "ethernet")
    packets = packets_of(pipe.output, encode_file_header(ETHERNET))
    client, gateway = network["client"], network["gateway"]
    own = link_address(gateway, "client") + link_address(client, "gateway")
    expected = [
        addresses + ethertype
        for addresses in (own, bytes(12))
        for ethertype in (b"\x08\x00", b"\x86\xdd")
        for _ in range(COUNT)
    ]
    assert [packet.data[:14] for packet in packets] == expected
    read = tshark(pipe.output, "eth.type", "udp.dstport", "udp.length")
    assert {tuple(line[1:]) for line in read} == {("9", str(OCTETS + 8))}


@pytest.mark.parametrize("linktype", ["nflog", "ethernet"])
def test_the_receiver_makes_them_raw_again(
    linktype: str, network: Network, tmp_path: Path
) -> None:
    pipe = Pipe(network, tmp_path)
    exchange(network, pipe, "--linktype", linktype, receiving="--linktype raw")
    packets = packets_of(pipe.output, encode_file_header(RAW))
    sent = list(udp.payloads(COUNT, OCTETS, 0))
    assert [udp.payload(packet.data) for packet in packets] == 4 * sent


@pytest.mark.parametrize(
    ("linktype", "fields"),
    [
        ("raw", ("ip.len", "udp.length")),
        ("ethernet", ("ip.len", "udp.length")),
        # Wireshark stops before a payload that was cut; tcpdump does not.
        ("nflog", ("nflog.prefix", "nflog.uid")),
    ],
)
def test_a_snaplen_leaves_origlen_what_it_would_be_without(
    linktype: str, fields: tuple[str, ...], network: Network, tmp_path: Path
) -> None:
    found = []
    for snaplen in ("65531", "64"):
        directory = tmp_path / snaplen
        directory.mkdir()
        pipe = Pipe(network, directory)
        exchange(network, pipe, "--linktype", linktype, "--snaplen", snaplen)
        found.append(tshark(pipe.output, "frame.len", "frame.cap_len", *fields))
    whole, cut = found
    assert [length for length, *_ in whole] == [caplen for _, caplen, *_ in whole]
    assert [length for length, *_ in cut] == [length for length, *_ in whole]
    assert all(int(caplen) < OCTETS for _, caplen, *_ in cut)
    # What is left of the packets is still read.
    assert [line[2:] for line in cut] == [line[2:] for line in whole]
