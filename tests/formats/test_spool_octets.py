"""What lies on a spool's disk as octets: nothing damaged is taken for whole."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import SpoolFormatError
from pcap_zmq.formats import spool, spool_state
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.spool import Place, RecordHeader, RecordKind
from pcap_zmq.formats.spool_state import State
from pcap_zmq.formats.wire import RAW_LENGTH_MAX, SEQUENCE_MAX, StreamId
from pcap_zmq.packet import EncodedBatch
from tests.support.decoding import check_decoder
from tests.support.properties import bounded, thorough

SALT = 0x01020304
U32 = st.integers(0, (1 << 32) - 1)
U64 = st.integers(0, (1 << 64) - 1)
SIXTEEN = st.binary(min_size=16, max_size=16)
STATES = st.builds(
    State,
    stream=st.builds(StreamId, SIXTEEN, U64),
    boot=SIXTEEN,
    first=st.integers(1, SEQUENCE_MAX),
    sent=st.integers(0, SEQUENCE_MAX),
    place=st.builds(Place, U64, U64, U64),
    totals=st.binary(min_size=128, max_size=128),
    has_ended=st.booleans(),
)
STATE = State(StreamId(bytes(16), 1), bytes(16), 5, 9, Place(2, 40, 30), bytes(128))


def batch_of(payload: bytes) -> EncodedBatch:
    return EncodedBatch(101, 3, Codec.ZLIB, 500, payload)


# What is refused.


def test_a_damaged_segment_header_is_refused() -> None:
    octets = spool.encode_segment_header(7, SALT)
    read = check_decoder(spool.decode_segment_header, octets, SpoolFormatError)
    assert read == (7, SALT)


def test_a_damaged_record_is_refused() -> None:
    octets = spool.encode_batch(batch_of(b"payload"), SALT)

    def decode(octets: bytes) -> RecordHeader:
        return spool.decode_record(octets, SALT)

    read = check_decoder(decode, octets, SpoolFormatError)
    assert (read.kind, read.count, read.length) == (RecordKind.BATCH, 3, 7)


def test_a_damaged_end_is_refused() -> None:
    octets = spool.encode_end(30, 4, SALT)

    def decode(octets: bytes) -> tuple[int, int]:
        return spool.decode_end(octets, SALT)

    assert check_decoder(decode, octets, SpoolFormatError) == (30, 4)


def test_a_damaged_state_is_refused() -> None:
    octets = spool_state.encode_state(STATE, 3)
    read = check_decoder(spool_state.decode_state, octets, SpoolFormatError)
    assert read == (3, STATE)


def test_no_octet_of_a_state_changes_unseen() -> None:
    octets = spool_state.encode_state(STATE, 3)
    for at in range(len(octets)):
        damaged = octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]
        with pytest.raises(SpoolFormatError):
            spool_state.decode_state(damaged)


@given(U32, U32)
@bounded
def test_a_record_of_another_segment_is_refused(salt: int, other: int) -> None:
    """What a file system brings back of a file that was deleted."""
    octets = spool.encode_hole(3, salt)
    if salt == other:
        spool.decode_record(octets, other)
        return
    with pytest.raises(SpoolFormatError):
        spool.decode_record(octets, other)


def test_a_record_longer_than_any_batch_is_refused() -> None:
    octets = bytearray(spool.encode_hole(3, SALT)[:-4])
    struct.pack_into(">I", octets, len(octets) - 8, RAW_LENGTH_MAX + 1)
    octets += spool.crc32(octets, SALT).to_bytes(4)
    with pytest.raises(SpoolFormatError, match="octets"):
        spool.decode_record(bytes(octets), SALT)


@given(st.binary(max_size=300), U32)
@thorough
def test_any_octets_are_a_value_or_refused(octets: bytes, salt: int) -> None:
    for decode in (
        lambda: spool.decode_segment_header(octets),
        lambda: spool.decode_record(octets, salt),
        lambda: spool.decode_end(octets, salt),
        lambda: spool_state.decode_state(octets),
    ):
        with pytest.raises(SpoolFormatError):
            decode()
    assert spool_state.decode_sent(octets, salt) is None


# What comes back.


@given(STATES, U64)
@bounded
def test_a_state_comes_back_as_it_went(state: State, generation: int) -> None:
    octets = spool_state.encode_state(state, generation)
    assert len(octets) == spool_state.STATE_LENGTH
    assert spool_state.decode_state(octets) == (generation, state)


@given(st.integers(1, SEQUENCE_MAX), U32)
@bounded
def test_what_was_sent_is_known_of_its_own_number_only(seq: int, count: int) -> None:
    octets = spool_state.encode_sent(seq, count)
    assert spool_state.decode_sent(octets, seq) == count
    assert spool_state.decode_sent(octets, seq + spool_state.SENT_ENTRIES) is None


@given(st.binary(max_size=200), U32)
@bounded
def test_a_payload_is_known_by_its_checksum(payload: bytes, salt: int) -> None:
    header = spool.decode_record(spool.encode_batch(batch_of(payload), salt), salt)
    assert header.length == len(payload)
    assert header.crc == spool.crc32(payload, salt)
