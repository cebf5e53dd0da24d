"""The packets that are counted with: always the same ones."""

from __future__ import annotations

import struct
from random import Random
from typing import NamedTuple

SIZES = (64, 200, 1400)
"""Of IP packets, in octets."""

BATCH_BYTES = 256 << 10
"""What the sender gathers by default: pcap_zmq/options.py."""

NLBUFSIZ = 128 << 10
"""What the kernel gathers by default: nflog_ffi/limits.py."""

_RECORD = struct.Struct("<IIII")
_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_PSEUDO = struct.Struct(">6H")
_SECONDS = 1_700_000_000

_WORDS = (
    b"<li><a href='/item/", b"</a> costs ", b" EUR</li>\n", b"GET /bytes/",
    b"Host: www.example.net\r\n", b"Content-Type: text/html\r\n", b"Accept: */*\r\n",
)  # fmt: skip


class Load(NamedTuple):
    """Batches of one kind."""

    name: str
    size: int
    packets: int
    """In a batch."""
    batches: int
    """In a stretch: below half of what ZeroMQ holds (`sockets.RECEIVE_HWM`), since it
    makes room by halves."""

    def records(self) -> bytes:
        """Of one batch."""
        packet = ipv4(self.size)
        return b"".join(record(packet, n) for n in range(self.packets))


def ipv4(length: int) -> bytes:
    """A packet of so many octets, at least 20, of UDP from one host to another."""
    header = _IPV4.pack(0x45, 0, length, 0, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return header + bytes(length - _IPV4.size)


def unfinished(length: int) -> bytes:
    """A packet of so many octets of TCP, with its checksum left to the network card."""
    ip = ipv4(length)
    ip = ip[:9] + b"\6" + ip[10:20]
    # The sum of the pseudo-header: two addresses, the protocol, the length.
    rest = (6).to_bytes(2) + (length - 20).to_bytes(2)
    total: int = sum(_PSEUDO.unpack(ip[12:20] + rest))
    checksum = (total & 0xFFFF) + (total >> 16)
    tcp = struct.pack(">HHIIBBHHH", 80, 40_000, 1, 1, 0x50, 0x18, 500, checksum, 0)
    header = ip[:10] + b"\0\0" + ip[12:]
    words: int = sum(struct.unpack(">10H", header))
    words = (words & 0xFFFF) + (words >> 16)
    finished = header[:10] + (words ^ 0xFFFF).to_bytes(2) + header[12:]
    return (finished + tcp + bytes(range(256)) * (length // 256 + 1))[:length]


def record(packet: bytes, number: int) -> bytes:
    """A packet record; they are 10 µs apart."""
    length = len(packet)
    return _RECORD.pack(_SECONDS, number * 10_000, length, length) + packet


def fitting(size: int) -> int:
    """How many packets of a size a batch holds."""
    return BATCH_BYTES // (_RECORD.size + size)


LOADS = (
    *(Load(str(size), size, fitting(size), 16) for size in SIZES),
    # What a batch costs by itself.
    Load("200, two a batch", 200, 2, 400),
)


def datagram(size: int) -> tuple[bytes, int]:
    """As many packets as the kernel gathers in one datagram of its own, numbered from
    0; and how many they are."""
    # Brings pytest along, which the drivers of the link can do without.
    from tests.nflog_ffi.datagrams import done, logged

    message = logged(ipv4(size), seq=0)
    count = NLBUFSIZ // len(message)
    messages = (logged(ipv4(size), seq=seq) for seq in range(count))
    return b"".join((*messages, done())), count


def payload() -> tuple[bytes, int]:
    """A batch that compresses about as well as the web's traffic, and the number of its
    packets: text in most, and in every fourth what does not compress."""
    random = Random(1)  # noqa: S311  # no secret
    size = SIZES[-1]
    count = fitting(size)
    packets = []
    for number in range(count):
        text = b"".join(
            random.choice(_WORDS) + b"%06d" % random.randrange(1_000_000)
            for _ in range(size // 16)
        )
        content = random.randbytes(size) if number % 4 == 3 else text
        packets.append(record((ipv4(20) + content)[:size], number))
    return b"".join(packets), count
