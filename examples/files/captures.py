#!/usr/bin/env python3
"""Makes captures to try things with: what a gateway's rotated files look like, and what
two taps see of the same traffic. Always the same; nothing is needed but Python.

usage: captures.py FOLDER
"""

import gzip
import struct
import sys
from pathlib import Path

BEGINS_S = 1_700_000_000
SECONDS = 60
FILES = 6
FLOWS = 24
ANSWER_SEGMENTS = 400
SEGMENT = 1400
SECRET = 7
"""The flow that asks for what a rule is about."""

CLIENT, SERVER = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
SYN, ACK, PSH, FIN = 0x02, 0x10, 0x08, 0x01

Packet = tuple[int, bytes]
"""Time in nanoseconds since the beginning, and a frame of Ethernet."""


def checksum(octets: bytes) -> int:
    """Specification: RFC 1071. A sum of 16-bit words with carries is a remainder."""
    octets += bytes(len(octets) % 2)
    return ~(int.from_bytes(octets, "big") % 0xFFFF) & 0xFFFF


def frame(
    flow: int, *, up: bool, seq: int, ack: int, flags: int, data: bytes = b""
) -> bytes:
    """A segment of TCP, from the client of a flow or to it."""
    ends = [bytes((10, 0, 0, flow + 1)), bytes((192, 0, 2, flow % 5 + 1))]
    ports = [40_000 + flow, 80]
    macs = [CLIENT, SERVER]
    if not up:
        ends, ports, macs = ends[::-1], ports[::-1], macs[::-1]
    tcp = struct.pack(">HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 64_240, 0, 0)
    pseudo = b"".join(ends) + struct.pack(">BBH", 0, 6, len(tcp) + len(data))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp + data)) + tcp[18:]
    head = struct.pack(
        ">BBHHHBBH", 0x45, 0, 40 + len(data), seq & 0xFFFF, 0x4000, 64, 6, 0
    )
    head += b"".join(ends)
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return macs[1] + macs[0] + b"\x08\x00" + head + tcp + data


def flow_packets(flow: int) -> list[Packet]:
    """A request and a long answer, that goes on over the ends of files."""
    path = b"/secret" if flow == SECRET else b"/page/%d" % flow
    request = b"GET %s HTTP/1.1\r\nHost: www.example.net\r\n\r\n" % path
    length = ANSWER_SEGMENTS * SEGMENT
    text = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    answer = text % length + b"The quick brown fox, packet by packet.\n" * (
        length // 39 + 1
    )
    answer = answer[: length + len(text % length)]
    packets: list[Packet] = []
    at = flow * 10**9
    gap = (SECONDS - FLOWS - 5) * 10**9 // ANSWER_SEGMENTS

    def add(*, up: bool, seq: int, ack: int, flags: int, data: bytes = b"") -> None:
        nonlocal at
        packets.append(
            (at, frame(flow, up=up, seq=seq, ack=ack, flags=flags, data=data))
        )
        at += gap

    add(up=True, seq=1000, ack=0, flags=SYN)
    add(up=False, seq=5000, ack=1001, flags=SYN | ACK)
    add(up=True, seq=1001, ack=5001, flags=ACK)
    add(up=True, seq=1001, ack=5001, flags=ACK | PSH, data=request)
    mine, theirs = 1001 + len(request), 5001
    for place in range(0, len(answer), SEGMENT):
        data = answer[place : place + SEGMENT]
        add(up=False, seq=theirs, ack=mine, flags=ACK | PSH, data=data)
        theirs += len(data)
        add(up=True, seq=mine, ack=theirs, flags=ACK)
    add(up=False, seq=theirs, ack=mine, flags=ACK | FIN)
    add(up=True, seq=mine, ack=theirs + 1, flags=ACK | FIN)
    add(up=False, seq=theirs + 1, ack=mine + 1, flags=ACK)
    return packets


def savefile(packets: list[Packet]) -> bytes:
    """Specification: pcap-savefile(5)."""
    parts = [struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)]
    for at, octets in packets:
        seconds, rest = divmod(at, 10**9)
        lengths = len(octets), len(octets)
        parts += [struct.pack("<IIII", BEGINS_S + seconds, rest, *lengths), octets]
    return b"".join(parts)


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / "rotated").mkdir(parents=True)
    (folder / "taps").mkdir()
    packets = sorted(packet for flow in range(FLOWS) for packet in flow_packets(flow))
    share = -(-len(packets) // FILES)
    for number in range(FILES):
        octets = savefile(packets[number * share : (number + 1) * share])
        name = f"gateway-{number}.pcap"
        # As what rotates them does, after a while.
        if number < FILES - 1:
            name, octets = f"{name}.gz", gzip.compress(octets, 1)
        (folder / "rotated" / name).write_bytes(octets)
    for name, mac in (("up", CLIENT), ("down", SERVER)):
        seen = [packet for packet in packets if packet[1][6:12] == mac]
        (folder / "taps" / f"{name}.pcap").write_bytes(savefile(seen))


if __name__ == "__main__":
    main()
