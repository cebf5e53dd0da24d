"""Payloads become batches of whole, valid packet records, or are counted."""

import dataclasses
import logging
import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import CAPLEN_MAX, count_records
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.formats.wire import RAW_LENGTH_MAX
from pcap_zmq.packet import Batch, EncodedBatch, Packet
from pcap_zmq.stages.decoder import Decoder
from tests.support.bombs import zlib_bomb
from tests.support.properties import bounded, thorough
from tests.support.records import (
    NOW,
    RAW,
    encoded,
    packets,
    plain_packets,
    records_of,
)

ETHERNET = 1
PACKETS = plain_packets(5)
U32 = st.integers(0, (1 << 32) - 1)


@dataclasses.dataclass
class Owner:
    """A receipt, for all that a decoder knows of one."""

    name: str
    dropped: Counter[Reason] = dataclasses.field(default_factory=Counter)

    def count_written(self, packets: int) -> int:
        raise AssertionError("a decoder writes nothing")

    def count_dropped(self, reason: Reason, packets: int) -> int:
        self.dropped[reason] += packets
        return packets

    def __str__(self) -> str:
        return self.name


class Desk:
    """A decoder and its counters."""

    def __init__(
        self, linktype: int | None = None, *, nanoseconds: bool = True
    ) -> None:
        self.counters = ReceiverCounters()
        self.decoder = Decoder(linktype, nanoseconds, str, self.counters)

    def feed(self, item: EncodedBatch) -> Batch:
        (batch,) = self.decoder.feed(item, NOW)
        return batch

    def refuses(self, item: EncodedBatch, reason: Reason = Reason.MALFORMED) -> None:
        """An empty batch goes on in its place, with its receipt."""
        receipt = Owner("")
        batch = self.feed(dataclasses.replace(item, receipt=receipt))
        assert (batch.records, batch.count) == (b"", 0)
        assert batch.receipt is receipt
        assert self.counters.dropped == {reason: item.count}
        assert receipt.dropped == {reason: item.count}
        assert self.counters.raw_bytes == 0


# Lies.


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("lie", [-1, 1])
def test_a_lie_about_the_raw_length_is_found_out(codec: Codec, lie: int) -> None:
    item = encoded(PACKETS, codec)
    Desk().refuses(dataclasses.replace(item, raw_length=item.raw_length + lie))


@pytest.mark.parametrize("lie", [-5, -1, 1, 1 << 20])
def test_a_lie_about_the_packet_count_is_found_out(lie: int) -> None:
    item = encoded(PACKETS)
    Desk().refuses(dataclasses.replace(item, count=item.count + lie))


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZLIB, Codec.ZSTD, Codec.LZ4, 4])
def test_a_lie_about_the_codec_is_found_out(codec: int) -> None:
    item = encoded(PACKETS, Codec.LZ4 if codec != Codec.LZ4 else Codec.ZSTD)
    Desk().refuses(dataclasses.replace(item, codec=codec))


def test_a_length_above_the_bound_is_refused_before_anything_is_decompressed() -> None:
    length = RAW_LENGTH_MAX + 1
    item = EncodedBatch(RAW, 1, Codec.LZ4, length, b"\x1f\0\x01\0" + b"\xff" * 100)
    Desk().refuses(item)
    Desk().refuses(dataclasses.replace(item, raw_length=(1 << 32) - 1))


def test_a_bomb_is_refused() -> None:
    Desk().refuses(EncodedBatch(RAW, 1, Codec.ZLIB, 1_000, zlib_bomb(64 << 20)))


def test_a_torn_packet_record_is_refused() -> None:
    records = records_of(PACKETS)[:-1]
    Desk().refuses(EncodedBatch(RAW, 5, Codec.NONE, len(records), records))


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("a second of more than a second", (0, 1_000_000_000, 4, 4)),
        ("more kept than there was", (0, 0, 4, 3)),
        ("longer than a reader takes", (0, 0, CAPLEN_MAX + 1, CAPLEN_MAX + 1)),
        ("longer than the batch", (0, 0, 5, 5)),
    ],
)
def test_a_packet_record_that_a_reader_would_choke_on_is_refused(
    name: str, record: tuple[int, int, int, int]
) -> None:
    length = record[2] if record[2] > CAPLEN_MAX else 4
    records = struct.pack("<IIII", *record) + bytes(length)
    Desk().refuses(EncodedBatch(RAW, 1, Codec.NONE, len(records), records))


# Link types.


def test_a_batch_of_another_link_type_is_dropped_for_that_reason() -> None:
    Desk(RAW).refuses(encoded(PACKETS, linktype=ETHERNET), Reason.LINKTYPE)


def test_the_first_batch_says_what_link_type_the_stream_has() -> None:
    desk = Desk()
    desk.feed(encoded(PACKETS, linktype=ETHERNET))
    assert desk.decoder.linktype == ETHERNET
    assert desk.feed(encoded(PACKETS, linktype=RAW)).count == 0
    assert desk.feed(encoded(PACKETS, linktype=ETHERNET)).count == len(PACKETS)


def test_a_malformed_batch_does_not_say_what_link_type_the_stream_has() -> None:
    desk = Desk()
    desk.feed(dataclasses.replace(encoded(PACKETS, linktype=ETHERNET), count=77))
    assert desk.feed(encoded(PACKETS, linktype=RAW)).count == len(PACKETS)


def test_what_goes_on_in_place_of_a_dropped_batch_has_the_streams_link_type() -> None:
    batch = Desk(RAW).feed(encoded(PACKETS, linktype=ETHERNET))
    assert batch.linktype == RAW


# What is said of it.


def test_a_sender_is_complained_of_once_for_each_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(RAW)
    other = encoded(PACKETS, linktype=ETHERNET, receipt=Owner("sender a"))
    malformed = dataclasses.replace(
        encoded(PACKETS, receipt=Owner("sender a")), count=77
    )
    with caplog.at_level(logging.WARNING):
        for item in (other, malformed, other, malformed):
            desk.feed(item)
        desk.feed(dataclasses.replace(other, receipt=Owner("sender b")))
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "sender a",
        "sender a",
        "sender b",
    ]
    assert "ethernet (1) does not fit the stream's raw (101)" in caplog.text


def test_complaints_do_not_fill_the_memory_or_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(RAW)
    item = encoded(PACKETS[:1], linktype=ETHERNET)
    with caplog.at_level(logging.WARNING):
        for number in range(10_500):
            desk.feed(dataclasses.replace(item, receipt=Owner(str(number))))
    assert len(caplog.records) == 10_000
    assert desk.counters.dropped[Reason.LINKTYPE] == 10_500


# What goes through.


@pytest.mark.parametrize("codec", Codec)
def test_a_batch_comes_back_whole(codec: Codec) -> None:
    desk = Desk()
    receipt = Owner("")
    batch = desk.feed(encoded(PACKETS, codec, receipt=receipt))
    assert batch == Batch(RAW, records_of(PACKETS), len(PACKETS), receipt)
    assert desk.counters.raw_bytes == len(records_of(PACKETS))
    assert desk.counters.dropped.total() == 0


def test_an_empty_batch_goes_on_with_its_receipt() -> None:
    receipt = Owner("")
    assert Desk().feed(encoded([], receipt=receipt)) == Batch(RAW, b"", 0, receipt)


def test_uncompressed_records_are_not_copied() -> None:
    item = encoded(PACKETS)
    assert Desk().feed(item).records is item.payload


@given(st.lists(packets(), max_size=20), st.sampled_from(Codec))
@bounded
def test_microseconds_are_nanoseconds_without_the_last_three_digits(
    content: list[Packet], codec: Codec
) -> None:
    item = encoded(content, codec)
    before = bytes(item.payload)
    batch = Desk(nanoseconds=False).feed(item)
    assert item.payload == before
    seconds = [divmod(packet.ts_ns, 1_000_000_000) for packet in content]
    # A record of microseconds, read as if they were nanoseconds.
    read = [divmod(p.ts_ns, 1_000_000_000) for p in iter_packets(batch.records)]
    assert read == [(whole, ns // 1_000) for whole, ns in seconds]
    data = [packet.data for packet in iter_packets(batch.records)]
    assert data == [packet.data for packet in content]


ANYTHING = st.builds(
    EncodedBatch,
    linktype=st.sampled_from([RAW, ETHERNET]) | U32,
    count=st.integers(0, 3) | U32,
    codec=st.integers(0, 5),
    raw_length=st.integers(0, 200) | U32,
    payload=st.binary(max_size=100) | st.lists(packets(), max_size=3).map(records_of),
    receipt=st.builds(Owner, st.text()),
)


@given(st.lists(ANYTHING | st.just(encoded(PACKETS)), max_size=20))
@thorough
def test_whatever_comes_one_batch_goes_on_and_every_packet_is_counted(
    items: list[EncodedBatch],
) -> None:
    desk = Desk()
    forwarded = 0
    for item in items:
        batch = desk.feed(item)
        assert batch.receipt == item.receipt
        assert count_records(batch.records) == batch.count
        assert not batch.count or batch.linktype == desk.decoder.linktype
        forwarded += batch.count
    received = sum(item.count for item in items)
    assert received == forwarded + desk.counters.dropped.total()
