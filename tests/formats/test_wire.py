"""Messages and replies as octets: what is refused, what is carried, and where."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import link_ffi
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import UnsupportedVersionError, WireError
from pcap_zmq.formats import linktype, wire
from pcap_zmq.formats.wire import (
    Clocks,
    Message,
    MessageType,
    Reply,
    ReplyType,
    StreamId,
)
from pcap_zmq.packet import Octets
from tests.support.decoding import check_decoder
from tests.support.properties import bounded, thorough

U32 = st.integers(0, (1 << 32) - 1)
U64 = st.integers(0, (1 << 64) - 1)
STREAMS = st.builds(StreamId, st.binary(min_size=16, max_size=16), U64)
MESSAGES = st.builds(
    Message,
    type=st.sampled_from(MessageType),
    stream=STREAMS,
    sequence=st.integers(1, wire.SEQUENCE_MAX),
    window=U64,
    linktype=st.integers(0, linktype.MAXIMUM),
    count=U32,
    codec=st.integers(0, 255),
    raw_length=U32,
    totals=st.binary(min_size=128, max_size=128),
)
STREAM = StreamId(bytes(range(16)), 1_700_000_000_000_000_000)
HELLO = Message(MessageType.HELLO, STREAM, 1, linktype=101, payload=b"gateway")
HEARTBEAT = Message(MessageType.HEARTBEAT, STREAM, 7, window=1 << 20)
REPLY = Reply(ReplyType.ACK, STREAM, written=6, next=9, window=1, receiver_started_ns=1)


def header_of(message: Message) -> bytes:
    return bytes(wire.encode_message(message)[0])


def decode_header(header: bytes) -> Message:
    return wire.decode_message([header])


def decode_frame(frame: bytes) -> Reply:
    return wire.decode_reply([frame])


# Messages that are refused.


def test_a_header_is_refused_at_every_truncation_and_survives_every_octet() -> None:
    assert check_decoder(decode_header, header_of(HEARTBEAT), WireError) == HEARTBEAT


def test_a_message_of_no_frames_is_refused() -> None:
    with pytest.raises(WireError, match="no header"):
        wire.decode_message([])


def test_a_message_of_three_frames_is_refused() -> None:
    with pytest.raises(WireError, match="3 frames"):
        wire.decode_message([*wire.encode_message(HELLO), b""])


def test_a_stranger_is_told_from_a_peer_by_the_magic() -> None:
    with pytest.raises(WireError, match="no pcap-zmq message"):
        decode_header(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_unsupported_whatever_its_length(version: int) -> None:
    # A later version may well have another header.
    with pytest.raises(UnsupportedVersionError, match=f"wire version {version}"):
        decode_header(b"PZMQ" + bytes([version]))


@pytest.mark.parametrize("kind", [0, 5, 0x81, 0x82, 0xFF])
def test_an_unknown_message_type_is_refused(kind: int) -> None:
    with pytest.raises(WireError, match=f"message type {kind}"):
        decode_header(_with_octet(header_of(HELLO), 5, kind))


@pytest.mark.parametrize("flags", [1, 0x80])
def test_a_message_with_an_unknown_flag_is_refused(flags: int) -> None:
    with pytest.raises(WireError, match="flags"):
        decode_header(_with_octet(header_of(HELLO), 7, flags))


@pytest.mark.parametrize("sequence", [0, wire.SEQUENCE_MAX + 1, (1 << 64) - 1])
def test_a_sequence_number_that_no_sender_reaches_is_refused(sequence: int) -> None:
    header = bytearray(header_of(HEARTBEAT))
    struct.pack_into(">Q", header, 44, sequence)
    with pytest.raises(WireError, match=f"sequence number {sequence}"):
        decode_header(bytes(header))


@pytest.mark.parametrize("number", [linktype.MAXIMUM + 1, (1 << 32) - 1])
def test_a_link_type_that_no_savefile_header_holds_is_refused(number: int) -> None:
    """It would decide what every reader makes of every sender's packets."""
    header = bytearray(header_of(HELLO))
    struct.pack_into(">I", header, 8, number)
    with pytest.raises(WireError, match=f"link type {number}"):
        decode_header(bytes(header))


@given(st.lists(st.binary(max_size=200), max_size=4))
@thorough
def test_any_frames_give_a_message_or_a_wire_error(frames: list[bytes]) -> None:
    octets: list[Octets] = list(frames)
    try:
        wire.decode_message(octets)
    except WireError:
        return


@given(st.binary(min_size=183, max_size=183))
@thorough
def test_any_fields_give_a_message_or_a_wire_error(fields: bytes) -> None:
    try:
        decode_header(b"PZMQ\x01" + fields)
    except WireError:
        return


# Messages that are carried.


@given(MESSAGES)
@bounded
def test_a_message_comes_back_as_it_went(message: Message) -> None:
    assert wire.decode_message(wire.encode_message(message)) == message


@given(st.binary(max_size=300))
@bounded
def test_a_batch_carries_its_payload_in_a_frame_of_its_own(payload: bytes) -> None:
    message = Message(MessageType.BATCH, STREAM, 1, payload=payload)
    header, carried = wire.encode_message(message)
    assert len(header) == wire.HEADER_LENGTH
    assert carried == payload
    assert wire.decode_message([header, carried]) == message


def test_a_payload_is_not_copied() -> None:
    payload = memoryview(bytearray(1000))
    message = Message(MessageType.BATCH, STREAM, 1, payload=payload)
    assert wire.encode_message(message)[1] is payload
    assert wire.decode_message(wire.encode_message(message)).payload is payload


@pytest.mark.parametrize("kind", [MessageType.HEARTBEAT, MessageType.GOODBYE])
def test_a_message_without_a_payload_has_one_frame(kind: MessageType) -> None:
    assert len(wire.encode_message(Message(kind, STREAM, 1))) == 1


def test_a_payload_that_is_missing_is_an_empty_one() -> None:
    header = header_of(Message(MessageType.BATCH, STREAM, 1, raw_length=10))
    assert decode_header(header).payload == b""


def test_a_header_may_come_as_a_view_of_a_receive_buffer() -> None:
    assert wire.decode_message([memoryview(header_of(HEARTBEAT))]) == HEARTBEAT


def test_every_field_of_a_header_is_where_the_specification_says() -> None:
    message = Message(
        MessageType.BATCH,
        StreamId(b"0123456789abcdef", 0x1112131415161718),
        0x2122232425262728,
        window=0x3132333435363738,
        linktype=0x4344,
        count=0x51525354,
        codec=0x61,
        raw_length=0x71727374,
        totals=b"T" * 128,
    )
    header = header_of(message)
    assert len(header) == 188
    assert header[0:4] == b"PZMQ"
    assert header[4:8] == bytes([1, 2, 0x61, 0])
    assert header[8:12] == bytes.fromhex("00004344")
    assert header[12:16] == bytes.fromhex("51525354")
    assert header[16:20] == bytes.fromhex("71727374")
    assert header[20:36] == b"0123456789abcdef"
    assert header[36:44] == bytes.fromhex("1112131415161718")
    assert header[44:52] == bytes.fromhex("2122232425262728")
    assert header[52:60] == bytes.fromhex("3132333435363738")
    assert header[60:188] == b"T" * 128


# The sender's counters.


def test_the_counters_have_the_slots_that_the_specification_gives_them() -> None:
    counters = SenderCounters(
        received=100, missed=20, missed_tail=3, overruns=4, stamped_here=5
    )
    counters.acknowledged = 6
    counters.dropped.update(
        {
            Reason.NOT_IP: 7,
            Reason.HIGH_WATERMARK: 8,
            Reason.SEND_QUEUE_FULL: 9,
            Reason.SHUTDOWN: 10,
            Reason.SPOOL_FULL: 12,
            Reason.SENDER_GONE: 13,
            Reason.DAMAGED: 14,
        }
    )
    totals = wire.encode_totals(counters, held=11, spooled=15)
    slots = struct.unpack(">16Q", totals)
    assert slots == (123, 20, 3, 4, *range(5, 16), 0)
    assert wire.logged_in(totals) == 123
    assert wire.acknowledged_in(totals) == 6
    assert wire.gone_in(totals) == 13


def test_counters_of_a_later_sender_are_passed_over() -> None:
    slots = (*range(1, 16), 99)
    totals = wire.decode_totals(struct.pack(">16Q", *slots))
    assert (totals.logged, totals.acknowledged) == (1, 6)
    assert (totals.held, totals.spooled) == (11, 15)
    assert totals.dropped == {
        Reason.NOT_IP: 7,
        Reason.HIGH_WATERMARK: 8,
        Reason.SEND_QUEUE_FULL: 9,
        Reason.SHUTDOWN: 10,
        Reason.SPOOL_FULL: 12,
        Reason.SENDER_GONE: 13,
        Reason.DAMAGED: 14,
    }


@given(st.binary(min_size=128, max_size=128))
@bounded
def test_any_128_octets_are_counters(octets: bytes) -> None:
    totals = wire.decode_totals(octets)
    assert totals.logged == int.from_bytes(octets[:8], "big")


# Replies.


def test_a_reply_is_refused_at_every_truncation_and_survives_every_octet() -> None:
    assert check_decoder(decode_frame, wire.encode_reply(REPLY), WireError) == REPLY


def test_a_reply_of_two_frames_is_refused() -> None:
    with pytest.raises(WireError):
        wire.decode_reply([wire.encode_reply(REPLY), b""])


def test_a_reply_of_another_version_is_unsupported() -> None:
    with pytest.raises(UnsupportedVersionError):
        decode_frame(_with_octet(wire.encode_reply(REPLY), 4, 2))


@pytest.mark.parametrize("kind", [0x01, 0x85, 0x00])
def test_an_unknown_reply_type_is_refused(kind: int) -> None:
    with pytest.raises(WireError, match=f"reply type {kind}"):
        decode_frame(_with_octet(wire.encode_reply(REPLY), 5, kind))


@pytest.mark.parametrize("at", [6, 7])
def test_a_reply_with_an_unknown_flag_is_refused(at: int) -> None:
    with pytest.raises(WireError, match="flags"):
        decode_frame(_with_octet(wire.encode_reply(REPLY), at, 1))


def test_a_receiver_that_wants_what_it_has_written_is_refused() -> None:
    frame = bytearray(wire.encode_reply(REPLY))
    struct.pack_into(">QQ", frame, 40, 9, 9)
    with pytest.raises(WireError, match="wants batch 9"):
        decode_frame(bytes(frame))


@given(
    reply_type=st.sampled_from(ReplyType),
    stream=STREAMS,
    places=st.lists(U64, min_size=2, max_size=2, unique=True).map(sorted),
    window=U64,
    moment=U64,
)
@bounded
def test_a_reply_comes_back_as_it_went(
    reply_type: ReplyType,
    stream: StreamId,
    places: list[int],
    window: int,
    moment: int,
) -> None:
    written, next_ = places
    is_clock = reply_type is ReplyType.CLOCK
    moments = (0, moment) if is_clock else (moment, 0)
    reply = Reply(reply_type, stream, written, next_, window, *moments)
    assert decode_frame(wire.encode_reply(reply)) == reply


def test_every_field_of_a_reply_is_where_the_specification_says() -> None:
    reply = Reply(
        ReplyType.FAREWELL,
        StreamId(b"0123456789abcdef", 0x1112131415161718),
        written=0x2122232425262728,
        next=0x3132333435363738,
        window=0x4142434445464748,
        receiver_started_ns=0x5152535455565758,
    )
    assert wire.encode_reply(reply) == (
        b"PZMQ\x01\x84\0\0"
        + bytes.fromhex("4142434445464748")
        + b"0123456789abcdef"
        + bytes.fromhex("1112131415161718")
        + bytes.fromhex("2122232425262728")
        + bytes.fromhex("3132333435363738")
        + bytes.fromhex("5152535455565758")
    )


@given(st.builds(Clocks, U64, U64, U64), st.binary(max_size=8))
@bounded
def test_clocks_come_back_as_they_went_whatever_follows(
    clocks: Clocks, later: bytes
) -> None:
    assert wire.decode_clocks(wire.encode_clocks(clocks) + later) == clocks


@given(st.binary(max_size=23))
@bounded
def test_what_is_too_short_says_nothing_of_clocks(octets: bytes) -> None:
    assert wire.decode_clocks(octets) is None


def test_every_clock_is_where_the_specification_says() -> None:
    assert wire.encode_clocks(Clocks(0x1112131415161718, 0x21222324, 0x31)) == (
        bytes.fromhex("1112131415161718")
        + bytes.fromhex("0000000021222324")
        + bytes.fromhex("0000000000000031")
    )


def test_a_clock_stands_where_other_replies_say_when_the_receiver_started() -> None:
    stream = StreamId(bytes(16), 0)
    clock = Reply(ReplyType.CLOCK, stream, 0, 1, 0, 0, clock_ns=77)
    assert wire.encode_reply(clock)[56:] == (77).to_bytes(8)
    assert decode_frame(wire.encode_reply(clock)) == clock


def test_a_batch_costs_more_than_its_payload() -> None:
    assert wire.cost_of(1000) == 1512


def _with_octet(octets: bytes, at: int, value: int) -> bytes:
    return octets[:at] + bytes([value]) + octets[at + 1 :]


def test_both_ends_count_the_same_for_a_message() -> None:
    assert wire.MESSAGE_COST == link_ffi.MESSAGE_COST
