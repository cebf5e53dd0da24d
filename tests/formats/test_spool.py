"""A spool's octets: what is written is read again, and nothing else is believed."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import SpoolFormatError
from pcap_zmq.formats import spool, spool_state, wire
from pcap_zmq.formats.spool import Place, RecordKind
from pcap_zmq.formats.spool_state import Left, State
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import EncodedBatch, Octets
from tests.support.properties import bounded, thorough

SALT = 0x5A175A17
STREAM = StreamId(b"s" * 16, 7)
PAYLOAD = b"some packet records"
BATCH = EncodedBatch(101, 3, 1, 100, PAYLOAD)

counters_of = st.builds(
    SenderCounters,
    received=st.integers(0, 1 << 40),
    missed=st.integers(0, 1 << 40),
    missed_tail=st.integers(0, 1 << 40),
    overruns=st.integers(0, 1 << 40),
    stamped_here=st.integers(0, 1 << 40),
    acknowledged=st.integers(0, 1 << 40),
)
u64 = st.integers(0, (1 << 64) - 1)
states = st.builds(
    State,
    stream=st.builds(StreamId, st.binary(min_size=16, max_size=16), u64),
    boot=st.binary(min_size=16, max_size=16),
    first=st.integers(1, wire.SEQUENCE_MAX),
    sent=st.integers(0, wire.SEQUENCE_MAX),
    place=st.builds(Place, u64, u64, u64),
    totals=st.binary(min_size=128, max_size=128),
    has_ended=st.booleans(),
)
STATE = State(STREAM, b"b" * 16, 5, 9, Place(1, 32, 0), wire.NO_TOTALS)

WHOLE: list[tuple[bytes, Callable[[Octets], object]]] = [
    (spool.encode_segment_header(3, SALT), spool.decode_segment_header),
    (spool.encode_batch(BATCH, SALT), lambda o: spool.decode_record(o, SALT)),
    (spool.encode_hole(9, SALT), lambda o: spool.decode_record(o, SALT)),
    (spool.encode_end(9, 4, SALT), lambda o: spool.decode_end(o, SALT)),
    (spool_state.encode_state(STATE, 1), spool_state.decode_state),
]
NAMES = ["segment", "batch", "hole", "end", "state"]


@pytest.mark.parametrize(("octets", "decode"), WHOLE, ids=NAMES)
def test_whatever_is_cut_short_or_too_long_is_refused(
    octets: bytes, decode: Callable[[Octets], object]
) -> None:
    decode(octets)
    for length in range(len(octets)):
        with pytest.raises(SpoolFormatError):
            decode(octets[:length])
    with pytest.raises(SpoolFormatError):
        decode(octets + b"\0")


@pytest.mark.parametrize(("octets", "decode"), WHOLE, ids=NAMES)
def test_every_flipped_bit_is_noticed(
    octets: bytes, decode: Callable[[Octets], object]
) -> None:
    for place in range(len(octets)):
        for bit in range(8):
            flipped = bytearray(octets)
            flipped[place] ^= 1 << bit
            with pytest.raises(SpoolFormatError):
                decode(flipped)


@thorough
@given(octets=st.binary(max_size=300))
def test_any_octets_give_a_value_or_a_format_error(octets: bytes) -> None:
    for _, decode in WHOLE:
        with pytest.raises(SpoolFormatError):
            decode(octets)
    assert spool_state.decode_sent(octets, 1) is None


def test_a_record_of_another_segment_is_none_of_this_one() -> None:
    """Each segment has a salt of its own, so packets that look like records are not
    taken for them."""
    with pytest.raises(SpoolFormatError):
        spool.decode_record(spool.encode_batch(BATCH, SALT), SALT + 1)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_refused_by_its_number(version: int) -> None:
    segment = bytearray(spool.encode_segment_header(3, SALT))
    segment[8:12] = version.to_bytes(4, "big")
    with pytest.raises(SpoolFormatError, match=f"version {version}"):
        spool.decode_segment_header(segment)
    state = bytearray(spool_state.encode_state(STATE, 1))
    state[8:12] = version.to_bytes(4, "big")
    with pytest.raises(SpoolFormatError, match=f"version {version}"):
        spool_state.decode_state(state)


def test_a_kind_that_nobody_writes_is_refused() -> None:
    octets = bytearray(spool.encode_hole(9, SALT)[:-4])
    octets[4] = 9
    octets += spool.crc32(octets, SALT).to_bytes(4, "big")
    with pytest.raises(SpoolFormatError, match="kind 9"):
        spool.decode_record(octets, SALT)


def test_a_record_longer_than_any_batch_is_refused() -> None:
    octets = bytearray(spool.encode_hole(9, SALT)[:-4])
    octets[16:20] = (wire.RAW_LENGTH_MAX + 1).to_bytes(4, "big")
    octets += spool.crc32(octets, SALT).to_bytes(4, "big")
    with pytest.raises(SpoolFormatError, match="octets"):
        spool.decode_record(octets, SALT)


def test_numbers_that_no_stream_has_are_refused() -> None:
    octets = bytearray(spool_state.encode_state(STATE, 1)[:-4])
    octets[64:72] = bytes(8)
    octets += spool.crc32(octets).to_bytes(4, "big")
    with pytest.raises(SpoolFormatError, match="batches 0"):
        spool_state.decode_state(octets)


def test_the_sums_of_a_damaged_end_are_not_believed() -> None:
    octets = spool.encode_end(9, 4, SALT)
    header, sums = octets[: spool.RECORD_HEADER_LENGTH], octets[-16:]
    with pytest.raises(SpoolFormatError):
        spool.decode_end(header + bytes(16), SALT)
    with pytest.raises(SpoolFormatError):
        spool.decode_end(spool.encode_hole(9, SALT) + sums, SALT)


@bounded
@given(
    linktype=st.integers(0, 65_535),
    count=st.integers(0, (1 << 32) - 1),
    codec=st.integers(0, 255),
    raw_length=st.integers(0, (1 << 32) - 1),
    payload=st.binary(max_size=100),
)
def test_a_batch_is_read_as_it_was_written(
    linktype: int, count: int, codec: int, raw_length: int, payload: bytes
) -> None:
    batch = EncodedBatch(linktype, count, codec, raw_length, payload)
    header = spool.decode_record(spool.encode_batch(batch, SALT), SALT)
    assert header.kind is RecordKind.BATCH
    assert (header.linktype, header.count, header.codec) == (linktype, count, codec)
    assert (header.raw_length, header.length) == (raw_length, len(payload))
    assert header.crc == spool.crc32(payload, SALT)


@bounded
@given(state=states, generation=u64)
def test_a_state_is_read_as_it_was_written(state: State, generation: int) -> None:
    octets = spool_state.encode_state(state, generation)
    assert spool_state.decode_state(octets) == (generation, state)


@bounded
@given(sequence=u64, count=st.integers(0, (1 << 32) - 1), other=u64)
def test_what_a_batch_was_sent_with_is_remembered_for_that_batch_only(
    sequence: int, count: int, other: int
) -> None:
    octets = spool_state.encode_sent(sequence, count)
    assert spool_state.decode_sent(octets, sequence) == count
    if other != sequence:
        assert spool_state.decode_sent(octets, other) is None


def test_batches_under_way_have_places_of_their_own() -> None:
    first = wire.SEQUENCE_MAX - spool_state.SENT_ENTRIES
    offsets = {
        spool_state.sent_offset(first + place)
        for place in range(spool_state.SENT_ENTRIES)
    }
    assert len(offsets) == spool_state.SENT_ENTRIES
    assert min(offsets) > max(spool_state.STATE_OFFSETS) + spool_state.STATE_LENGTH
    assert max(offsets) + spool_state.SENT_LENGTH <= spool_state.STATE_FILE_LENGTH


# Counters that go on.


@bounded
@given(counters=counters_of, on_disk=st.integers(0, 1 << 40), held=st.integers(0, 99))
def test_counters_go_on_and_every_packet_is_somewhere(
    counters: SenderCounters, on_disk: int, held: int
) -> None:
    """However old the totals are, and whatever the new run has counted already."""
    now = SenderCounters(received=held)
    left = Left(STREAM, 1, 0, on_disk, wire.encode_totals(counters, 0))
    spool_state.carry_over(now, left)
    in_sum = now.acknowledged + on_disk + held + sum(now.dropped.values())
    assert now.received == in_sum
    assert now.logged >= counters.logged
    assert now.acknowledged == counters.acknowledged
    assert now.missed == counters.missed + counters.missed_tail
    assert min(now.dropped.values()) >= 0


def test_what_died_with_a_sender_is_counted_so() -> None:
    was = SenderCounters(received=100, acknowledged=50)
    was.dropped[Reason.SPOOL_FULL] = 5
    left = Left(STREAM, 1, 0, 40, wire.encode_totals(was, 45))
    now = SenderCounters()
    spool_state.carry_over(now, left)
    assert (now.received, now.acknowledged) == (100, 50)
    assert now.dropped[Reason.SENDER_GONE] == 5
    assert now.dropped[Reason.SPOOL_FULL] == 5


def test_for_a_new_stream_what_is_on_the_disk_is_new() -> None:
    now = SenderCounters()
    spool_state.carry_over(now, Left(None, 1, 0, 40, wire.NO_TOTALS))
    assert (now.received, sum(now.dropped.values())) == (40, 0)
