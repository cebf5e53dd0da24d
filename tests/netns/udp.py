"""Sends numbered datagrams from a host of a private network.

Run there as `python -m tests.netns.udp ADDRESS COUNT OCTETS MARK`; `payloads` tells
what was sent.
"""

import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from testbed.namespaces import Namespace

ROOT = Path(__file__).parents[2]

PORT = 9


def payloads(count: int, octets: int, mark: int) -> Iterator[bytes]:
    """Text that compresses, with the sender's mark and a number in front."""
    filling = (b"GET /index.html HTTP/1.1\r\nHost: www.example\r\n" * 40)[: octets - 8]
    for number in range(count):
        yield struct.pack("!II", mark, number) + filling


def command(address: str, count: int, octets: int, mark: int = 0) -> list[str]:
    """What to run on the host that sends."""
    arguments = [address, str(count), str(octets), str(mark)]
    program = ["-m", "tests.netns.udp", *arguments]
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, *program]


def send(host: Namespace, address: str, count: int, octets: int, mark: int = 0) -> None:
    """Sends and returns when all is sent."""
    host.run(command(address, count, octets, mark))


def payload(packet: bytes) -> bytes | None:
    """What a packet carries, if it is one of ours."""
    is_v4 = packet[0] >> 4 == 4
    protocol, header = (packet[9], 20) if is_v4 else (packet[6], 40)
    if protocol != socket.IPPROTO_UDP:
        return None
    (port,) = struct.unpack_from("!H", packet, header + 2)
    return packet[header + 8 :] if port == PORT else None


def main() -> None:
    address, *numbers = sys.argv[1:]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sending:
        for octets in payloads(*map(int, numbers)):
            sending.sendto(octets, (address, PORT))


if __name__ == "__main__":
    main()
