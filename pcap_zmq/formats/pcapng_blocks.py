"""The pcapng blocks that are not packets: a section, an interface, its statistics.

Specification: draft-ietf-opsawg-pcapng. Little-endian throughout; packet blocks are
made in C (`pcap_ffi.encode_packets`).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pcap_ffi import CAPLEN_MAX

SECTION = 0x0A0D0D0A
INTERFACE = 1
STATISTICS = 5
PACKET = 6

_BLOCK = struct.Struct("<II")
_OPTION = struct.Struct("<HH")
_SECTION = struct.Struct("<IHHq")
_INTERFACE = struct.Struct("<HHI")
_STATISTICS = struct.Struct("<III")
_TIME = struct.Struct("<II")

_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_VERSION = (1, 0)
_LENGTH_UNKNOWN = -1
_MANTISSA = 1 << 32
_COUNT_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class About:
    """What a section says of whoever writes it; what is empty is not said."""

    hardware: str = ""
    os: str = ""
    application: str = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What statistics say of an interface, in packets; times since the epoch, in its
    own units: from when on, and of when, these are the numbers."""

    received: int
    missed: int
    dropped: int
    delivered: int
    start: int
    end: int


def encode_section(about: About) -> bytes:
    """A section header, of a section whose length nobody knows yet."""
    options = [
        (code, text.encode())
        for code, text in ((2, about.hardware), (3, about.os), (4, about.application))
        if text
    ]
    body = _SECTION.pack(_BYTE_ORDER_MAGIC, *_VERSION, _LENGTH_UNKNOWN)
    return _encode(SECTION, body, options)


def encode_interface(
    linktype: int, name: str, description: str, *, nanoseconds: bool
) -> bytes:
    """Its number is how many of its section came before it. The snaplen is the same for
    all, since libpcap reads no others."""
    options = [
        (2, name.encode()),
        (3, description.encode()),
        (9, bytes([9 if nanoseconds else 6])),
    ]
    body = _INTERFACE.pack(linktype, 0, CAPLEN_MAX)
    return _encode(INTERFACE, body, [(c, value) for c, value in options if value])


def encode_statistics(interface: int, numbers: Numbers) -> bytes:
    """interface: its number in the section."""
    counts = (
        (4, numbers.received),
        (5, numbers.missed),
        (7, numbers.dropped),
        (8, numbers.delivered),
    )
    options = [(2, _time(numbers.start)), (3, _time(numbers.end))]
    options += [
        (code, min(max(0, count), _COUNT_MAX).to_bytes(8, "little"))
        for code, count in counts
    ]
    body = _STATISTICS.pack(interface, *_halves(numbers.end))
    return _encode(STATISTICS, body, options)


def _encode(kind: int, body: bytes, options: Iterable[tuple[int, bytes]]) -> bytes:
    said = [
        _OPTION.pack(code, len(value)) + value + bytes(-len(value) % 4)
        for code, value in options
    ]
    if said:
        said.append(_OPTION.pack(0, 0))
    content = body + b"".join(said)
    length = _BLOCK.size + len(content) + 4
    return _BLOCK.pack(kind, length) + content + length.to_bytes(4, "little")


def _halves(time: int) -> tuple[int, int]:
    """The upper one first, whatever the byte order."""
    return divmod(min(max(0, time), _COUNT_MAX), _MANTISSA)


def _time(time: int) -> bytes:
    return _TIME.pack(*_halves(time))
