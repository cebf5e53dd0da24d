"""Invariant: any octets in the place of a spool's header, record, end or state are what
they should be or a SpoolFormatError; what is read is within its bounds and, written
again, reads the same.

Input: 1 octet, which of them; 1 octet, whether a right checksum is put at the end,
which a fuzzer would never guess; 4 octets, the salt; the octets.
"""

from pcap_zmq.errors import SpoolFormatError
from pcap_zmq.formats import spool, spool_state, wire
from pcap_zmq.formats.wire import SEQUENCE_MAX
from tests.fuzz.octets import Front

CRC = 4


def check(octets: bytes) -> None:
    front = Front(octets)
    which, sealed, salt = front.number() % 5, front.number() & 1, front.number(4)
    given = front.rest()
    is_salted = which in (1, 2)
    if sealed and len(given) > CRC:
        sum_ = spool.crc32(given[:-CRC], salt if is_salted else 0)
        given = given[:-CRC] + sum_.to_bytes(CRC)
    try:
        (check_segment, check_record, check_end, check_state, check_sent)[which](
            given, salt
        )
    except SpoolFormatError:
        return


def check_segment(octets: bytes, salt: int) -> None:
    number, found_salt = spool.decode_segment_header(octets)
    assert spool.encode_segment_header(number, found_salt) == octets


def check_record(octets: bytes, salt: int) -> None:
    header = spool.decode_record(octets, salt)
    assert header.length <= wire.RAW_LENGTH_MAX
    assert 0 <= header.count < 1 << 32


def check_end(octets: bytes, salt: int) -> None:
    packets, records = spool.decode_end(octets, salt)
    again = spool.encode_end(packets, records, salt)
    assert spool.decode_end(again, salt) == (packets, records)


def check_state(octets: bytes, salt: int) -> None:
    generation, state = spool_state.decode_state(octets)
    assert 0 < state.first <= SEQUENCE_MAX
    assert 0 <= state.sent <= SEQUENCE_MAX
    again = spool_state.encode_state(state, generation)
    assert spool_state.decode_state(again) == (generation, state)
    spool_state.died(state.totals, 0)


def check_sent(octets: bytes, salt: int) -> None:
    count = spool_state.decode_sent(octets, salt)
    if count is not None:
        assert spool_state.encode_sent(salt, count) == octets
