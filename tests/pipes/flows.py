"""Savefiles of flows in both directions; each packet tells which it belongs to."""

import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.pipes import packets
from tests.pipes.packets import FIRST_SECOND, RECORD_HEADER

FRAGMENT = 96
"""Octets of UDP header and payload in each fragment but the last."""


def write_flows(path: Path, flows: int, packets_each: int, seed: int = 1) -> int:
    """Flows of IPv4 and IPv6, by turns UDP, TCP and UDP in fragments, mingled; returns
    how many packets these are."""
    shuffled = random.Random(seed)  # noqa: S311  # the same ones every time
    waiting = [list(_flow(number, packets_each)) for number in range(flows)]
    records = []
    while waiting:
        flow = shuffled.choice(waiting)
        records.append(flow.pop(0))
        if not flow:
            waiting.remove(flow)
    octets = b"".join(
        RECORD_HEADER.pack(FIRST_SECOND + at // 1_000_000, at % 1_000_000, n, n)
        + packet
        for at, packet in enumerate(records)
        if (n := len(packet))
    )
    path.write_bytes(packets.header() + octets)
    return len(records)


def flows_in(stream: bytes) -> list[int]:
    """The flow of each packet, by its addresses alone, which no other flow has."""
    return [_number(record[16:]) for record in packets.split(stream)[0]]


def _number(packet: bytes) -> int:
    if packet[0] >> 4 == 4:
        ends = (packet[12:16], packet[16:20])
    else:
        ends = (packet[8:24], packet[24:40])
    # The client's is the one that differs.
    (number,) = struct.unpack(">H", min(ends)[-2:])
    return int(number)


def _flow(number: int, count: int) -> Iterator[bytes]:
    for turn in range(count):
        yield from _packets(number, turn, is_reply=bool(turn % 2))


def _packets(number: int, turn: int, *, is_reply: bool) -> Sequence[bytes]:
    is_v6, kind = bool(number % 2), number // 2 % 3
    ports = (40_000 + number % 7, 443)
    source, target = reversed(ports) if is_reply else ports
    payload = bytes([number & 0xFF, turn & 0xFF]) * 100
    if kind == 1:
        layer = struct.pack(">HHIIBBHHH", source, target, turn, 0, 0x50, 0x10, 1, 0, 0)
        return [_ip(number, 6, layer + payload, is_reply=is_reply, is_v6=is_v6)]
    layer = struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload
    if kind == 0:
        return [_ip(number, 17, layer, is_reply=is_reply, is_v6=is_v6)]
    made = []
    for start in range(0, len(layer), FRAGMENT):
        piece = layer[start : start + FRAGMENT]
        place = start, start + FRAGMENT < len(layer), number * 500 + turn
        made.append(
            _ip(number, 17, piece, is_reply=is_reply, is_v6=is_v6, fragment=place)
        )
    return made


def _ip(
    number: int,
    protocol: int,
    layer: bytes,
    *,
    is_reply: bool,
    is_v6: bool,
    fragment: tuple[int, bool, int] | None = None,
) -> bytes:
    start, has_more, datagram = fragment or (0, False, 0)
    client, server = struct.pack(">H", number), b"\xff\xff"
    if is_v6:
        addresses = [
            bytes.fromhex("20010db8") + bytes(10) + end for end in (client, server)
        ]
        header = b""
        first = protocol
        if fragment is not None:
            header = struct.pack(">BBHI", protocol, 0, start | has_more, datagram)
            first = 44
        length = len(header) + len(layer)
        if is_reply:
            addresses.reverse()
        front = struct.pack(">IHBB", 6 << 28, length, first, 64)
        return front + b"".join(addresses) + header + layer
    ends = [b"\x0a\x00" + end for end in (client, server)]
    if is_reply:
        ends.reverse()
    offset = start // 8 | (0x2000 if has_more else 0)
    front = struct.pack(
        ">BBHHHBBH",
        *(0x45, 0, 20 + len(layer), datagram & 0xFFFF, offset, 64, protocol, 0),
    )
    return front + b"".join(ends) + layer
