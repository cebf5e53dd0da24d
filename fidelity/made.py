"""A small capture with something for each part of an IDS: for who has none."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from pcap_zmq.formats.linktype import ETHERNET
from pcap_zmq.formats.savefile import encode_file_header, encode_packet
from pcap_zmq.packet import Packet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TCP, UDP = 6, 17
FIN, SYN, PSH, ACK = 0x01, 0x02, 0x08, 0x10
FIRST_NS = 1_700_000_000_000_000_000
APART_NS = 1_234_567
SEGMENT = 1_200

REQUEST = (
    b"GET /images/%d.png HTTP/1.1\r\nHost: www.example.com\r\n"
    b"User-Agent: tool/1\r\n\r\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"

# Handshake, version 3.1, with a ClientHello: one cipher, the name www.example.com.
_NAME = b"\0\0\0\x14\0\x12\0\0\x0fwww.example.com"
_HELLO = (
    b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    + struct.pack(">H", len(_NAME)) + _NAME
)  # fmt: skip
CLIENT_HELLO = (
    b"\x16\3\1" + struct.pack(">H", len(_HELLO) + 4)
    + b"\1" + len(_HELLO).to_bytes(3) + _HELLO
)  # fmt: skip


class End(NamedTuple):
    """Who speaks."""

    address: bytes
    port: int


def write(directory: Path) -> Path:
    """The same every time."""
    path = directory / "made.pcap"
    with path.open("wb") as file:
        file.write(encode_file_header(ETHERNET))
        for number, packet in enumerate(packets()):
            frame = _ethernet(packet)
            ts_ns = FIRST_NS + number * APART_NS
            file.write(encode_packet(Packet(ts_ns, len(frame), frame)))
    return path


def packets() -> Iterator[bytes]:
    """Of IPv4 and IPv6: HTTP with a file, DNS, TLS, a ping, and fragments."""
    for v6 in (False, True):
        for number in range(6):
            client, server = _ends(number, 80, v6=v6)
            body = bytes((number * 7 + at) % 251 for at in range(4_000 * number))
            answer = ANSWER % len(body) + body
            yield from _conversation(client, server, REQUEST % number, answer)
            client, resolver = _ends(number, 53, v6=v6)
            yield from _dns(client, resolver, number)
        client, server = _ends(9, 443, v6=v6)
        yield from _conversation(client, server, CLIENT_HELLO, b"\x15\3\1\0\2\2\x28")
    client, server = _ends(7, 4_000, v6=False)
    datagram = _transport(client, server, UDP, bytes(2_000))
    yield _ipv4(client, server, UDP, datagram[:1_000], more=True)
    yield _ipv4(client, server, UDP, datagram[1_000:], offset=1_000)
    ping = b"\x08\0" + struct.pack(">HHH", 0, 1, 1) + bytes(32)
    ping = ping[:2] + (_sum(ping) ^ 0xFFFF).to_bytes(2) + ping[4:]
    yield _ipv4(client, server, 1, ping)


def _ends(number: int, port: int, *, v6: bool) -> tuple[End, End]:
    if v6:
        client, server = (
            b"\xfd" + bytes(14) + bytes([number + 1]),
            b"\xfd\1" + bytes(14),
        )
    else:
        client, server = bytes((10, 0, 0, number + 1)), bytes((192, 0, 2, 80))
    return End(client, 40_000 + number), End(server, port)


def _conversation(
    client: End, server: End, request: bytes, answer: bytes
) -> Iterator[bytes]:
    sent = {client: 1_000, server: 5_000_000}

    def say(source: End, to: End, flags: int, payload: bytes = b"") -> bytes:
        header = (sent[source], sent[to], 0x50, flags, 64_000)
        sent[source] += len(payload) + (1 if flags & (SYN | FIN) else 0)
        return _packet(source, to, TCP, payload, header)

    yield say(client, server, SYN)
    yield say(server, client, SYN | ACK)
    yield say(client, server, ACK)
    yield say(client, server, PSH | ACK, request)
    for at in range(0, len(answer), SEGMENT):
        yield say(server, client, ACK, answer[at : at + SEGMENT])
        yield say(client, server, ACK)
    for source, to in ((client, server), (server, client)):
        yield say(source, to, FIN | ACK)
    yield say(client, server, ACK)


def _dns(client: End, server: End, number: int) -> Iterator[bytes]:
    name = b"\4host\7example\3com\0" if number % 2 else b"\4host\7example\3net\0"
    question = name + struct.pack(">HH", 1, 1)
    asked = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + question
    record = struct.pack(">HHHIH4s", 0xC00C, 1, 1, 60, 4, bytes((192, 0, 2, number)))
    said = struct.pack(">6H", number, 0x8180, 1, 1, 0, 0) + question + record
    yield _packet(client, server, UDP, asked)
    yield _packet(server, client, UDP, said)


def _packet(
    source: End, to: End, protocol: int, payload: bytes, tcp: tuple[int, ...] = ()
) -> bytes:
    transport = _transport(source, to, protocol, payload, tcp)
    if len(source.address) == 4:
        return _ipv4(source, to, protocol, transport)
    header = struct.pack(">IHBB", 6 << 28, len(transport), protocol, 64)
    return header + source.address + to.address + transport


def _transport(
    source: End, to: End, protocol: int, payload: bytes, tcp: tuple[int, ...] = ()
) -> bytes:
    ports = struct.pack(">HH", source.port, to.port)
    header = struct.pack(">IIBBH", *tcp) if tcp else (8 + len(payload)).to_bytes(2)
    after = b"\0\0" + payload if tcp else payload
    length = len(ports) + len(header) + 2 + len(after)
    pseudo = source.address + to.address + struct.pack(">II", length, protocol)
    checksum = _sum(pseudo + ports + header + b"\0\0" + after) ^ 0xFFFF
    return ports + header + checksum.to_bytes(2) + after


def _ipv4(
    source: End,
    to: End,
    protocol: int,
    payload: bytes,
    *,
    offset: int = 0,
    more: bool = False,
) -> bytes:
    fragment = more << 13 | offset // 8
    header = struct.pack(
        ">BBHHHBBH", 0x45, 0, 20 + len(payload), 77, fragment, 64, protocol, 0
    )
    header += source.address + to.address
    checksum = _sum(header) ^ 0xFFFF
    return header[:10] + checksum.to_bytes(2) + header[12:] + payload


def _ethernet(packet: bytes) -> bytes:
    kind = b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"
    return b"\2\0\0\0\0\2\2\0\0\0\0\1" + kind + packet


def _sum(octets: bytes) -> int:
    octets += bytes(len(octets) % 2)
    total = sum(int.from_bytes(octets[at : at + 2]) for at in range(0, len(octets), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
