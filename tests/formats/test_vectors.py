"""The frozen vectors of each wire version: decoded, and header frames encoded again."""

from pathlib import Path

import pytest

from pcap_ffi import count_records
from pcap_zmq.counters import Reason
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import Codec, decompress
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.formats.wire import (
    Clocks,
    Message,
    MessageType,
    Reply,
    ReplyType,
    StreamId,
)
from pcap_zmq.packet import Octets

V1 = Path(__file__).parents[1] / "vectors" / "wire-v1"

STREAM = StreamId(bytes(range(16)), 1_700_000_000_123_456_789)
WINDOW = 33_554_432
RECEIVER_STARTED_NS = 1_690_000_000_987_654_321

# Name: type, sequence, codec.
BATCHES = {
    "batch-none": (42, Codec.NONE),
    "batch-zlib": (43, Codec.ZLIB),
    "batch-zstd": (44, Codec.ZSTD),
    "batch-lz4": (45, Codec.LZ4),
}
OTHERS = {
    "hello": (MessageType.HELLO, 42),
    "heartbeat": (MessageType.HEARTBEAT, 44),
    "heartbeat-clock": (MessageType.HEARTBEAT, 45),
    "goodbye": (MessageType.GOODBYE, 46),
}
CLOCKS = Clocks(1_700_000_005_000_000_001, 86_400_000_000_007, 999_000_000)
PAYLOADS = {
    "hello": "gateway-zürich".encode(),
    "heartbeat-clock": wire.encode_clocks(CLOCKS),
}
REPLIES = {
    "welcome": Reply(ReplyType.WELCOME, STREAM, 41, 42, WINDOW, RECEIVER_STARTED_NS),
    "clock": Reply(ReplyType.CLOCK, STREAM, 43, 46, WINDOW, 0, 86_400_000_000_007),
    "ack": Reply(ReplyType.ACK, STREAM, 43, 46, 1, RECEIVER_STARTED_NS),
    "farewell": Reply(ReplyType.FAREWELL, STREAM, 45, 46, 0, RECEIVER_STARTED_NS),
}


def frames_of(name: str) -> list[Octets]:
    paths = [V1 / f"{name}.header.bin", V1 / f"{name}.payload.bin"]
    return [path.read_bytes() for path in paths if path.exists()]


def test_no_vector_is_without_a_test() -> None:
    names = {path.name.split(".")[0] for path in V1.glob("*.bin")}
    assert names == {"records", *BATCHES, *OTHERS, *REPLIES}


@pytest.mark.parametrize("name", [*BATCHES, *OTHERS])
def test_a_message_is_encoded_again_byte_for_byte(name: str) -> None:
    frames = frames_of(name)
    assert wire.encode_message(wire.decode_message(frames)) == frames


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_decoded_to_the_same_packet_records(name: str) -> None:
    sequence, codec = BATCHES[name]
    message = wire.decode_message(frames_of(name))
    assert message.type is MessageType.BATCH
    assert message.stream == STREAM
    assert (message.sequence, message.codec) == (sequence, codec)
    assert (message.linktype, message.count, message.window) == (101, 3, WINDOW)
    records = decompress(message.codec, message.payload, message.raw_length)
    assert records == (V1 / "records.bin").read_bytes()
    assert count_records(records) == message.count


@pytest.mark.parametrize("name", OTHERS)
def test_another_message_is_decoded(name: str) -> None:
    kind, sequence = OTHERS[name]
    message = wire.decode_message(frames_of(name))
    assert message == Message(
        kind,
        STREAM,
        sequence,
        window=WINDOW,
        linktype=101,
        totals=message.totals,
        payload=PAYLOADS.get(name, b""),
    )


def test_a_heartbeat_tells_the_time() -> None:
    payload = (V1 / "heartbeat-clock.payload.bin").read_bytes()
    assert wire.decode_clocks(payload) == CLOCKS


@pytest.mark.parametrize("name", [*BATCHES, *OTHERS])
def test_every_message_carries_the_counters(name: str) -> None:
    totals = wire.decode_totals(wire.decode_message(frames_of(name)).totals)
    assert totals == wire.SenderTotals(
        logged=1_000_000,
        missed=7,
        missed_tail=2,
        overruns=3,
        stamped_here=40,
        acknowledged=900_000,
        held=0,
        spooled=0,
        dropped={
            Reason.NOT_IP: 5,
            Reason.HIGH_WATERMARK: 60,
            Reason.SEND_QUEUE_FULL: 70,
            Reason.SHUTDOWN: 8,
            Reason.SPOOL_FULL: 0,
            Reason.SENDER_GONE: 0,
            Reason.DAMAGED: 0,
        },
    )


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_decoded_and_encoded_again_byte_for_byte(name: str) -> None:
    frame = (V1 / f"{name}.reply.bin").read_bytes()
    assert wire.decode_reply([frame]) == REPLIES[name]
    assert wire.encode_reply(REPLIES[name]) == frame


def test_the_packet_records_hold_what_the_readme_says() -> None:
    packets = list(iter_packets((V1 / "records.bin").read_bytes()))
    described = [(p.ts_ns, len(p.data), p.origlen, p.data[0] >> 4) for p in packets]
    assert described == [
        (1_700_000_000_123_456_789, 92, 92, 4),
        (1_700_000_000_999_999_999, 112, 112, 6),
        (1_700_000_001_000_000_000, 96, 1428, 4),
    ]
