"""Savefiles of numbered packets, written and read without any code of the package."""

import struct
from collections.abc import Iterator
from pathlib import Path

NANO = 0xA1B23C4D
MICRO = 0xA1B2C3D4
RAW = 101
ETHERNET = 1
LINUX_SLL = 113
FIRST_SECOND = 1_700_000_000

FILE_HEADER = struct.Struct("<IHHIIII")
RECORD_HEADER = struct.Struct("<IIII")
_NUMBER = struct.Struct(">Q")
_IP_AND_UDP = 28


def header(linktype: int = RAW, magic: int = NANO) -> bytes:
    """A savefile's first 24 octets, as the receiver writes them."""
    return FILE_HEADER.pack(magic, 2, 4, 0, 0, 262_144, linktype)


def record(number: int, size: int = 200, linktype: int = RAW) -> bytes:
    """The packet record of an IPv4 UDP packet that carries its own number; the record
    is unlike every other one in time, length and content."""
    payload = _NUMBER.pack(number) + bytes(
        (number * 7 + place) % 251 for place in range(size % 64)
    )
    payload = payload.ljust(size - _IP_AND_UDP, b"\xa5")
    length = len(payload) + _IP_AND_UDP
    ip = struct.pack(
        ">BBHHHBBH4s4s",
        *(0x45, 0, length, number & 0xFFFF, 0, 64, 17, 0),
        *(bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))),
    )
    udp = struct.pack(">HHHH", 5000, 5001, length - 20, 0)
    packet = ip + udp + payload
    if linktype == ETHERNET:
        packet = bytes(12) + b"\x08\x00" + packet
    second, place = divmod(number, 1000)
    times = (FIRST_SECOND + second, place * 1_000_000 + 123_456 + number % 1000)
    return RECORD_HEADER.pack(*times, len(packet), len(packet)) + packet


def records(numbers: range, size: int = 200, linktype: int = RAW) -> bytes:
    """Their records back to back; sizes vary around `size`."""
    return b"".join(record(n, size + n % 37, linktype) for n in numbers)


def write(path: Path, numbers: range, size: int = 200, linktype: int = RAW) -> bytes:
    """A savefile of these packets; returns what is in it."""
    octets = header(linktype) + records(numbers, size, linktype)
    path.write_bytes(octets)
    return octets


def split(stream: bytes, magic: int = NANO) -> tuple[list[bytes], bytes]:
    """The whole records of a stream that starts with a file header, and the torn rest
    at its end. Asserts that everything else is as it should be."""
    if len(stream) < FILE_HEADER.size:
        assert header(magic=magic).startswith(stream) or not stream
        return [], stream
    assert FILE_HEADER.unpack_from(stream)[0] == magic
    found, at = [], FILE_HEADER.size
    for start, end in _bounds(stream, at):
        found.append(stream[start:end])
        at = end
    return found, stream[at:]


def number_of(octets: bytes, linktype: int = RAW) -> int:
    """The number that a record's packet carries."""
    at = RECORD_HEADER.size + _IP_AND_UDP + (14 if linktype == ETHERNET else 0)
    (number,) = _NUMBER.unpack_from(octets, at)
    return int(number)


def numbers(stream: bytes, linktype: int = RAW, magic: int = NANO) -> list[int]:
    """The numbers of the whole packets of a stream."""
    return [number_of(octets, linktype) for octets in split(stream, magic)[0]]


def _bounds(stream: bytes, at: int) -> Iterator[tuple[int, int]]:
    while at + RECORD_HEADER.size <= len(stream):
        seconds, _, caplen, origlen = RECORD_HEADER.unpack_from(stream, at)
        # Whatever is torn or misplaced gives nonsense here.
        assert FIRST_SECOND <= seconds < FIRST_SECOND + 100_000
        assert caplen == origlen < 65_536
        end = at + RECORD_HEADER.size + caplen
        if end > len(stream):
            return
        yield at, end
        at = end
