"""The packets that are counted with: always the same ones."""

from __future__ import annotations

import struct
from random import Random
from typing import TYPE_CHECKING

from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.savefile import encode_file_header
from tests.nflog_ffi.datagrams import done, ipv4, logged

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SIZES = (64, 200, 1400)
"""Of IP packets, in octets."""

HUGE = 65_000
"""So long that a batch holds four of them: what they cost is the cost of a batch."""

BATCH_BYTES = 256 << 10
"""What the sender gathers by default: pcap_zmq/options.py."""

NLBUFSIZ = 128 << 10
"""What the kernel gathers by default: nflog_ffi/limits.py."""

SHORT = 20
LONG = 120
"""Batches of a short and of a long savefile."""

_RECORD = struct.Struct("<IIII")
_SECONDS = 1_700_000_000

_WORDS = (
    b"<li><a href='/item/", b"</a> costs ", b" EUR</li>\n", b"GET /bytes/",
    b"Host: www.example.net\r\n", b"Content-Type: text/html\r\n", b"Accept: */*\r\n",
)  # fmt: skip


def record(packet: bytes, number: int) -> bytes:
    """A packet record; they are 10 µs apart."""
    seconds, microseconds = divmod(number * 10, 1_000_000)
    length = len(packet)
    return _RECORD.pack(_SECONDS + seconds, microseconds * 1_000, length, length) + packet


def per_batch(size: int) -> int:
    """How many packets of a size a batch holds."""
    return BATCH_BYTES // (_RECORD.size + size)


def path_of(directory: Path, size: int, batches: int) -> Path:
    """Where a savefile is that `prepare` has made."""
    return directory / f"{size}x{batches}.pcap"


def prepare(directory: Path) -> None:
    """Makes all savefiles, where their making is not counted."""
    for size in (*SIZES, HUGE):
        for batches in (SHORT, LONG):
            count = batches * per_batch(size)
            octets = (record(ipv4(size), number) for number in range(count))
            _write(path_of(directory, size, batches), octets)


def _write(path: Path, records: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.write(encode_file_header(RAW))
        file.writelines(records)


def datagram(size: int) -> tuple[bytes, int]:
    """As many packets as the kernel gathers in one datagram of its own, numbered from
    0; and how many they are."""
    message = logged(ipv4(size), seq=0)
    count = NLBUFSIZ // len(message)
    messages = (logged(ipv4(size), seq=seq) for seq in range(count))
    return b"".join((*messages, done())), count


def payload() -> tuple[bytes, int]:
    """A batch's payload that compresses about as well as the web's traffic, and the
    number of its packets: text in most, and in every fourth what does not compress."""
    random = Random(1)  # noqa: S311  # no secret
    size = SIZES[-1]
    count = per_batch(size)
    packets = []
    for number in range(count):
        text = b"".join(
            random.choice(_WORDS) + b"%06d" % random.randrange(1_000_000)
            for _ in range(size // 16)
        )
        content = random.randbytes(size) if number % 4 == 3 else text
        packets.append(record((ipv4(20) + content)[:size], number))
    return b"".join(packets), count
