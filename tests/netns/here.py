"""What a test inside a private network does with it: rules, packets, and reading."""

import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

from nflog_ffi import NflogSocket
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Packet
from testbed.namespaces import SEARCH_PATH
from testbed.waiting import wait_until

TIMEOUT_S = 20.0

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def run(argv: list[str], *, input: str = "") -> str:
    """A command's output; its failure is ours."""
    path = shutil.which(argv[0], path=SEARCH_PATH)
    assert path is not None, f"{argv[0]} is not installed"
    done = subprocess.run(
        [path, *argv[1:]],
        input=input,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def log(match: str, options: str, *, hook: str = "output") -> None:
    """Logs what `match` says on this host; options: "group 5 snaplen 96"."""
    chain = f"type filter hook {hook} priority 0\n{match} log {options}\n"
    rules = f"table inet here {{\nchain {hook} {{\n{chain}}}\n}}\n"
    run(["nft", "-f", "-"], input=rules)


def send_udp(
    payloads: Iterable[bytes], port: int, family: socket.AddressFamily = socket.AF_INET
) -> None:
    """To our own loopback interface, where nobody needs to listen."""
    with socket.socket(family, socket.SOCK_DGRAM) as sending:
        for payload in payloads:
            sending.sendto(payload, (LOOPBACK[family], port))


def numbered(count: int, octets: int, first: int = 0) -> list[bytes]:
    """Payloads that tell which they are."""
    return [
        struct.pack("!I", n) + bytes(octets - 4) for n in range(first, first + count)
    ]


def read_packets(group_socket: NflogSocket, count: int) -> list[Packet]:
    """The next packets, of which there must be at least `count` in time."""
    packets: list[Packet] = []

    def has_enough() -> bool:
        packets.extend(iter_packets(group_socket.read(0.1)))
        return len(packets) >= count

    wait_until(has_enough, TIMEOUT_S, f"{count} packets of NFLOG")
    return packets


def udp_payload(packet: bytes) -> bytes:
    """Of an IPv4 or IPv6 packet without options or extension headers."""
    header = 20 if packet[0] >> 4 == 4 else 40
    return packet[header + 8 :]


def queued(group: int) -> int:
    """Packets that the kernel still gathers for a group."""
    shown = Path("/proc/net/netfilter/nfnetlink_log").read_text().splitlines()
    rows = [[int(field) for field in line.split()] for line in shown]
    return next(row[2] for row in rows if row[0] == group)
