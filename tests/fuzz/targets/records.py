"""Invariant: any octets are so many whole records or a RecordsError that says where the
fault is; the octets before it are records; and every way to look into records agrees
on where each one starts and ends.

Input: 2 octets, a limit; 2 octets, a snaplen; the octets.
"""

from pcap_ffi import (
    RECORD_HEADER,
    RecordsError,
    count_records,
    to_microseconds,
    truncate,
    whole_records,
)
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from tests.fuzz.octets import Front


def check(octets: bytes) -> None:
    front = Front(octets)
    limit, snaplen = front.number(2), front.number(2)
    records = front.rest()
    try:
        count = count_records(memoryview(records))
    except RecordsError as error:
        assert 0 <= error.offset < len(records)  # noqa: PT017  # more than its type
        records = records[: error.offset]
        count = count_records(records)
    packets = list(iter_packets(records))
    assert len(packets) == count
    assert b"".join(map(encode_packet, packets)) == records
    check_whole(records, limit)
    rescaled = bytearray(records)
    to_microseconds(rescaled)
    assert [packet.data for packet in iter_packets(rescaled)] == [
        packet.data for packet in packets
    ]
    shorter = bytearray(records)
    del shorter[truncate(shorter, snaplen) :]
    assert [(packet.origlen, packet.data) for packet in iter_packets(shorter)] == [
        (packet.origlen, packet.data[:snaplen]) for packet in packets
    ]


def check_whole(records: bytes, limit: int) -> None:
    whole = whole_records(records, limit)
    ends = [0]
    for packet in iter_packets(records):
        ends.append(ends[-1] + RECORD_HEADER + len(packet.data))
    assert whole == max(end for end in ends if end <= limit)
