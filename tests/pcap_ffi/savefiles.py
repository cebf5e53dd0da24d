"""Builds savefiles as other programs write them, and packet records in plain Python.

Specification: pcap-savefile(5); draft-ietf-opsawg-pcapng for pcapng.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Record:
    """One packet record, field by field; nanoseconds as the field's unit."""

    seconds: int
    nanoseconds: int
    origlen: int
    data: bytes


RECORDS = [
    Record(1_700_000_000, 123_456_789, 60, b"\x45" * 60),
    Record(1_700_000_000, 999_999_999, 1500, b"\x60" * 96),
    Record((1 << 32) - 1, 0, 0, b""),
    Record(0, 1, 33, bytes(range(33))),
]


def packed(records: Iterable[Record]) -> bytes:
    """As the crossing keeps them: little-endian, nanoseconds."""
    return b"".join(_record(record, "<") for record in records)


def pcap(
    records: Iterable[Record],
    *,
    order: str = "<",
    nanoseconds: bool = True,
    linktype: int = 101,
    snaplen: int = 262_144,
) -> bytes:
    """A classic savefile; order is "<" or ">"."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    header = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, snaplen, linktype)
    unit = 1 if nanoseconds else 1_000
    return header + b"".join(_record(record, order, unit) for record in records)


def pcapng(
    records: Iterable[Record],
    *,
    order: str = "<",
    linktype: int = 101,
    resolution: int = 9,
) -> bytes:
    """One section, one interface; resolution: times are in 10 ** -resolution s."""
    section = _block(
        order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    )
    options = struct.pack(order + "HHBxxxHH", 9, 1, resolution, 0, 0)
    interface = _block(
        order, 1, struct.pack(order + "HHI", linktype, 0, 262_144) + options
    )
    return (
        section
        + interface
        + b"".join(
            _block(order, 6, _enhanced_packet(record, order, resolution))
            for record in records
        )
    )


def _record(record: Record, order: str, unit: int = 1) -> bytes:
    return (
        struct.pack(
            order + "IIII",
            record.seconds,
            record.nanoseconds // unit,
            len(record.data),
            record.origlen,
        )
        + record.data
    )


def _enhanced_packet(record: Record, order: str, resolution: int) -> bytes:
    time = record.seconds * NS_PER_S + record.nanoseconds
    high, low = divmod(time // 10 ** (9 - resolution), 1 << 32)
    lengths = len(record.data), record.origlen
    padding = bytes(-len(record.data) % 4)
    return struct.pack(order + "IIIII", 0, high, low, *lengths) + record.data + padding


def _block(order: str, kind: int, body: bytes) -> bytes:
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length
