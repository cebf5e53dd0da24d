"""A spool's segments and records, as octets.

Specification: docs/spool.md. What is written here is read by a later run of the sender,
after whatever happened to the disk in between: every decoder gives a value or
SpoolFormatError.
"""

import enum
import struct
from dataclasses import dataclass

from isal import isal_zlib

from pcap_zmq.errors import SpoolFormatError
from pcap_zmq.formats import wire
from pcap_zmq.packet import EncodedBatch, Octets

VERSION = 1
SEGMENT_MAGIC = b"PZMQSEGM"
RECORD_MAGIC = b"PZSR"

_SEGMENT = struct.Struct(">8sIIQI")
_RECORD = struct.Struct(">4sBBHIIIII")
_SUMS = struct.Struct(">QQ")
_CRC = struct.Struct(">I")

SEGMENT_HEADER_LENGTH = _SEGMENT.size
RECORD_HEADER_LENGTH = _RECORD.size
END_LENGTH = _RECORD.size + _SUMS.size


class RecordKind(enum.IntEnum):
    """What a record of a segment is."""

    BATCH = 1
    HOLE = 2
    """Stands for a batch that died with a sender after it had been given a number."""
    END = 3
    """The last of a segment that was closed; its payload is the sums."""


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What stands in front of a payload."""

    kind: RecordKind
    codec: int
    linktype: int
    count: int
    raw_length: int
    length: int
    """Of the payload."""
    crc: int
    """Of the payload."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record of a spool begins."""

    segment: int
    offset: int
    packets: int
    """In the records before it, in the same segment."""

    @property
    def key(self) -> tuple[int, int]:
        """Places of one spool are in this order."""
        return self.segment, self.offset


def crc32(octets: Octets, salt: int = 0) -> int:
    """CRC-32 as in RFC 1952, begun with a salt."""
    return isal_zlib.crc32(octets, salt)


def encode_segment_header(number: int, salt: int) -> bytes:
    """A segment's first octets."""
    head = _SEGMENT.pack(SEGMENT_MAGIC, VERSION, salt, number, 0)[: -_CRC.size]
    return head + _CRC.pack(crc32(head))


def decode_segment_header(octets: Octets) -> tuple[int, int]:
    """The segment's number and its salt. Raises SpoolFormatError."""
    if len(octets) != _SEGMENT.size or bytes(octets[:8]) != SEGMENT_MAGIC:
        raise SpoolFormatError("no segment of a spool")
    _, version, salt, number, crc = _SEGMENT.unpack(octets)
    if version != VERSION:
        raise SpoolFormatError(f"a segment of version {version}, not {VERSION}")
    if crc != crc32(octets[: -_CRC.size]):
        raise SpoolFormatError("a segment whose header is damaged")
    return number, salt


def encode_batch(batch: EncodedBatch, salt: int) -> bytes:
    """What goes in front of a batch's payload."""
    return _encode_record(
        RecordHeader(
            RecordKind.BATCH,
            batch.codec,
            batch.linktype,
            batch.count,
            batch.raw_length,
            len(batch.payload),
            crc32(batch.payload, salt),
        ),
        salt,
    )


def encode_hole(count: int, salt: int) -> bytes:
    """A whole record; `count` packets are gone."""
    return _encode_record(
        RecordHeader(RecordKind.HOLE, 0, 0, count, 0, 0, crc32(b"", salt)), salt
    )


def encode_end(packets: int, records: int, salt: int) -> bytes:
    """The whole record that ends a segment."""
    sums = _SUMS.pack(packets, records)
    crc = crc32(sums, salt)
    header = RecordHeader(RecordKind.END, 0, 0, 0, 0, len(sums), crc)
    return _encode_record(header, salt) + sums


def decode_end(octets: Octets, salt: int) -> tuple[int, int]:
    """The packets and records of the segment that these octets end. Raises
    SpoolFormatError."""
    if len(octets) != END_LENGTH:
        raise SpoolFormatError("no end of a segment")
    header = decode_record(octets[: _RECORD.size], salt)
    sums = octets[_RECORD.size :]
    if header.kind is not RecordKind.END or header.crc != crc32(sums, salt):
        raise SpoolFormatError("no end of a segment")
    packets, records = _SUMS.unpack(sums)
    return packets, records


def decode_record(octets: Octets, salt: int) -> RecordHeader:
    """A record's header. Raises SpoolFormatError; what it lets pass was written by a
    sender, for this segment."""
    if len(octets) != _RECORD.size or bytes(octets[:4]) != RECORD_MAGIC:
        raise SpoolFormatError("no record of a spool")
    *fields, header_crc = _RECORD.unpack(octets)
    if header_crc != crc32(octets[: -_CRC.size], salt):
        raise SpoolFormatError("a record whose header is damaged")
    _, kind, codec, linktype, count, raw_length, length, crc = fields
    try:
        record_kind = RecordKind(kind)
    except ValueError as error:
        raise SpoolFormatError(f"a record of kind {kind}") from error
    if length > wire.RAW_LENGTH_MAX:
        raise SpoolFormatError(f"a record of {length} octets")
    return RecordHeader(record_kind, codec, linktype, count, raw_length, length, crc)


def _encode_record(header: RecordHeader, salt: int) -> bytes:
    head = _RECORD.pack(
        RECORD_MAGIC,
        header.kind,
        header.codec,
        header.linktype,
        header.count,
        header.raw_length,
        header.length,
        header.crc,
        0,
    )[: -_CRC.size]
    return head + _CRC.pack(crc32(head, salt))
