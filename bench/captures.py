"""Finds captures of real traffic, or makes some, for the load generator to send."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from pcap_ffi import CAPLEN_MAX
from pcap_zmq.captures.capture_file import CaptureFile, Descriptor, Ended
from pcap_zmq.errors import SavefileError
from pcap_zmq.formats import linktype
from pcap_zmq.formats.savefile import encode_file_header, encode_packet, iter_packets
from pcap_zmq.packet import Packet
from testbed.traffic import LINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Captures that a checkout may have beside it; they are not part of it.
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "pcaps"
PATTERNS = ("*.pcap", "*.pcapng")

READ_BYTES = 4 << 20
PREPARED = "prepared.pcap"

# Where an IPv4 packet starts behind the headers of a link, and where its type is.
_OFFSETS = {linktype.ETHERNET: 14, linktype.LINUX_SLL: 16, linktype.RAW: 0}
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_VLAN = 0x8100
VLAN_TAG = 4
IPV4_HEADER_MIN = 20
# Loopback's MTU takes more; no capture has more.
LENGTH_MAX = 65_000

MADE_SEED = 7
MADE_FLOWS = 40
PAYLOAD_MAX = 1460
IPPROTO_TCP, IPPROTO_UDP = 6, 17


def find(directory: Path | None) -> list[Path]:
    """The savefiles of a directory, by name; none where there is no directory."""
    where = BESIDE if directory is None else directory
    return sorted(path for pattern in PATTERNS for path in where.glob(pattern))


def prepare(captures: Sequence[Path], directory: Path) -> Path:
    """One savefile of LINKTYPE_RAW with the IPv4 packets of all captures, file after
    file, for loadgen.c. Made once for a directory. What follows a packet in its frame
    is not part of it, and what the capture cut off is not sent."""
    prepared = directory / PREPARED
    if not prepared.exists():
        packets = (packet for path in captures for packet in ipv4_packets(path))
        _write(prepared, packets)
    return prepared


def packets_of(path: Path) -> Iterator[tuple[int, Packet]]:
    """The packets of one savefile, each with its link type. Raises SavefileError."""
    buffer = memoryview(bytearray(READ_BYTES + CAPLEN_MAX))
    with path.open("rb") as file:
        capture = CaptureFile(Descriptor(file.fileno(), str(path)), str(path))
        ended = Ended.FULL
        while ended is not Ended.END:
            used, _, ended = capture.read_into(buffer, 0)
            for packet in iter_packets(buffer[:used]):
                yield capture.linktype, packet


def ipv4_packets(path: Path) -> Iterator[bytes]:
    """The IPv4 packets of one savefile, without the headers of its link; RuntimeError
    where it is none, or of a link type that is not read here."""
    try:
        yield from _ipv4_packets(path)
    except SavefileError as error:
        raise RuntimeError(str(error)) from error


def _ipv4_packets(path: Path) -> Iterator[bytes]:
    for link, packet in packets_of(path):
        offset = _OFFSETS.get(link)
        if offset is None:
            raise RuntimeError(
                f"{path}: link type {linktype.describe(link)} is not one that the "
                "benchmark reads (ethernet, linux_sll, raw)"
            )
        found = _ipv4(packet.data, offset)
        if found is not None:
            yield found


def _ipv4(frame: bytes, offset: int) -> bytes | None:
    if offset > 0:
        kind = int.from_bytes(frame[offset - 2 : offset], "big")
        if kind == ETHERTYPE_VLAN:
            offset += VLAN_TAG
            kind = int.from_bytes(frame[offset - 2 : offset], "big")
        if kind != ETHERTYPE_IPV4:
            return None
    packet = frame[offset:]
    if len(packet) < IPV4_HEADER_MIN or packet[0] >> 4 != 4:
        return None
    header_octets = 4 * (packet[0] & 0xF)
    total = int.from_bytes(packet[2:4], "big")
    packet = packet[: min(total or LENGTH_MAX, LENGTH_MAX)]
    # The kernel takes no header from us that is longer than its packet.
    is_whole = IPV4_HEADER_MIN <= header_octets <= len(packet)
    return packet if is_whole else None


def make(directory: Path) -> Path:
    """A capture for who has none: flows of DNS, of HTTP with text, and of what
    looks encrypted: the same every time."""
    path = directory / "made.pcap"
    chance = random.Random(MADE_SEED)  # noqa: S311  repeatable, not secret
    flows = [_flow(number, chance) for number in range(MADE_FLOWS)]
    _write(path, _shuffled(flows, chance))
    return path


def _shuffled(flows: list[list[bytes]], chance: random.Random) -> Iterator[bytes]:
    """A packet of one flow, then one of another; each flow in its order."""
    waiting = [iter(flow) for flow in flows]
    while waiting:
        flow = chance.choice(waiting)
        packet = next(flow, None)
        if packet is None:
            waiting.remove(flow)
        else:
            yield packet


def _flow(number: int, chance: random.Random) -> list[bytes]:
    client = bytes([10, 0, number // 250, 1 + number % 250])
    server = bytes([192, 0, 2, 1 + number % 250])
    kind = number % 3
    if kind == 0:
        return [
            packet
            for query in range(chance.randint(20, 80))
            for packet in _dns(client, server, number, query, chance)
        ]
    port = 80 if kind == 1 else 443
    packets, at = [], chance.randrange(1 << 32)
    for segment in range(chance.randint(100, 300)):
        text = b"".join(
            LINE % (line, line, line * 7 % 1000, line * 13 % 100)
            for line in range(segment * 22, segment * 22 + 40)
        )
        payload = text if kind == 1 else chance.randbytes(PAYLOAD_MAX)
        octets = min(PAYLOAD_MAX, chance.choice((200, 600, PAYLOAD_MAX, PAYLOAD_MAX)))
        packets.append(
            _tcp(server, client, port, 40_000 + number, at, payload[:octets])
        )
        at = (at + octets) % (1 << 32)
        if segment % 2:
            packets.append(_tcp(client, server, 40_000 + number, port, segment, b""))
    return packets


def _dns(
    client: bytes, server: bytes, number: int, query: int, chance: random.Random
) -> Iterator[bytes]:
    name = b"\x04host\x07example\x03net\x00".replace(b"host", b"%04d" % (query % 50))
    question = name + struct.pack(">HH", 1, 1)
    ident, port = chance.randrange(1 << 16), 1024 + (number * 97 + query) % 60_000
    asked = struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + question
    answer = struct.pack(">HHHIH4s", 0xC00C, 1, 1, 60, 4, chance.randbytes(4))
    said = struct.pack(">6H", ident, 0x8180, 1, 1, 0, 0) + question + answer
    yield _udp(client, server, port, 53, asked)
    yield _udp(server, client, 53, port, said)


def _udp(source: bytes, to: bytes, port: int, to_port: int, payload: bytes) -> bytes:
    header = struct.pack(">4H", port, to_port, 8 + len(payload), 0)
    return _ip(source, to, IPPROTO_UDP, header + payload)


def _tcp(
    source: bytes, to: bytes, port: int, to_port: int, at: int, payload: bytes
) -> bytes:
    # An offset of 5 words, ACK and, with data, PSH.
    flags = 0x5018 if payload else 0x5010
    header = struct.pack(">HHIIHHHH", port, to_port, at, 1, flags, 64_240, 0, 0)
    return _ip(source, to, IPPROTO_TCP, header + payload)


def _ip(source: bytes, to: bytes, protocol: int, payload: bytes) -> bytes:
    # Identification and checksum are filled in by the kernel: raw(7).
    total = IPV4_HEADER_MIN + len(payload)
    header = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0x4000, 64, protocol, 0)
    return header + source + to + payload


def _write(path: Path, packets: Iterator[bytes]) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(encode_file_header(linktype.RAW))
        for packet in packets:
            file.write(encode_packet(Packet(ts_ns=0, origlen=len(packet), data=packet)))
    fresh.replace(path)
