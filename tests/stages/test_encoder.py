"""Batches become payloads: as the shaper says, and never longer than they were."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.codec import Codec, decompress
from pcap_zmq.packet import Batch, EncodedBatch, Instant, Packet
from pcap_zmq.policy.gain import SMALL, TRIED_EVERY
from pcap_zmq.policy.shaper import Shaper
from pcap_zmq.stages.encoder import Encoder
from tests.support.properties import bounded
from tests.support.records import NOW, NS_PER_S, RAW, batch_of, packets, plain_packets

COMPRESSED = [Codec.ZLIB, Codec.ZSTD, Codec.LZ4]
ALWAYS = 1
"""A low watermark that any batch is above."""


def encoder(
    codec: Codec = Codec.ZLIB, *, low: int = ALWAYS, high: int = 0
) -> tuple[Encoder, SenderCounters]:
    counters = SenderCounters()
    return Encoder(Shaper(low, high), codec, None, counters), counters


def encrypted_batch() -> Batch:
    """Of 1,400 octets each, so much like each other as those of one connection are."""
    start_ns = 1_700_000_000 * NS_PER_S
    header = bytes(range(52))
    return batch_of(
        [
            Packet(start_ns + n * 3_000, 1_400, header + os.urandom(1_348))
            for n in range(40)
        ]
    )


def feed(encoder: Encoder, batch: Batch, now: Instant = NOW) -> list[EncodedBatch]:
    return list(encoder.feed(batch, now))


def test_a_level_that_the_codec_has_not_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="--level 9"):
        Encoder(Shaper(0, 0), Codec.ZLIB, 9, SenderCounters())


def test_what_the_shaper_drops_is_counted_and_gone() -> None:
    stage, counters = encoder(high=1_000)
    batch = batch_of(plain_packets(100))
    fed = [feed(stage, batch) for _ in range(5)]
    passed = sum(len(outcome) for outcome in fed)
    assert counters.batches == passed < 5
    assert counters.dropped == {Reason.HIGH_WATERMARK: 100 * (5 - passed)}
    assert counters.raw_bytes == passed * len(batch.records)


@pytest.mark.parametrize("codec", COMPRESSED)
def test_what_does_not_shrink_goes_as_it_is(codec: Codec) -> None:
    stage, counters = encoder(codec)
    batch = Batch(RAW, os.urandom(10_000), 3)
    (encoded,) = feed(stage, batch)
    assert encoded.codec == Codec.NONE
    assert encoded.payload is batch.records
    assert counters.compressed_batches == 0


@pytest.mark.parametrize("codec", COMPRESSED)
def test_what_hardly_shrinks_goes_as_it_is(codec: Codec) -> None:
    """Full packets of an encrypted connection: what shrinks is their headers."""
    stage, counters = encoder(codec)
    for _ in range(10):
        batch = encrypted_batch()
        (encoded,) = feed(stage, batch)
        assert encoded.codec == Codec.NONE
        assert encoded.payload is batch.records
    assert (counters.compressed_batches, counters.incompressible_batches) == (0, 10)


@pytest.mark.parametrize("codec", COMPRESSED)
def test_encrypted_traffic_that_turns_to_text_is_compressed_again(codec: Codec) -> None:
    stage, counters = encoder(codec)
    for _ in range(5 * TRIED_EVERY):
        feed(stage, encrypted_batch())
    assert counters.compressed_batches == 0
    text = batch_of(plain_packets(100))
    codecs = [feed(stage, text)[0].codec for _ in range(2 * TRIED_EVERY)]
    first = codecs.index(codec)
    # Not at once: nobody had looked at what came.
    assert 0 < first < TRIED_EVERY
    assert set(codecs[first:]) == {codec}


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_batch_that_fits_into_one_packet_is_not_compressed(codec: Codec) -> None:
    stage, counters = encoder(codec)
    batch = Batch(RAW, bytes(SMALL - 1), 3)
    (encoded,) = feed(stage, batch)
    assert encoded.payload is batch.records
    assert counters.incompressible_batches == 0


def test_an_empty_batch_goes_as_it_is() -> None:
    stage, _ = encoder()
    (encoded,) = feed(stage, Batch(RAW, b"", 0))
    assert (encoded.codec, encoded.payload, encoded.raw_length) == (Codec.NONE, b"", 0)


def test_below_the_low_watermark_records_are_not_even_copied() -> None:
    stage, _ = encoder(low=1 << 30)
    batch = batch_of(plain_packets(10))
    (encoded,) = feed(stage, batch)
    assert encoded.payload is batch.records


def test_the_codec_none_never_compresses() -> None:
    stage, counters = encoder(Codec.NONE)
    batch = batch_of(plain_packets(100))
    (encoded,) = feed(stage, batch)
    assert encoded.payload is batch.records
    assert counters.compressed_batches == 0


@pytest.mark.parametrize("codec", COMPRESSED)
def test_above_the_low_watermark_records_are_compressed(codec: Codec) -> None:
    stage, counters = encoder(codec)
    batch = batch_of(plain_packets(100))
    (encoded,) = feed(stage, batch)
    assert encoded.codec is codec
    assert len(encoded.payload) < len(batch.records) / 2
    assert decompress(codec, encoded.payload, encoded.raw_length) == batch.records
    assert (counters.batches, counters.compressed_batches) == (1, 1)
    assert counters.payload_bytes == len(encoded.payload)


def test_everything_else_of_a_batch_goes_through_unchanged() -> None:
    stage, _ = encoder()
    receipt = object()
    (encoded,) = feed(stage, Batch(239, b"x" * 100, 7, receipt))
    assert (encoded.linktype, encoded.count, encoded.raw_length) == (239, 7, 100)
    assert encoded.receipt is receipt


@given(
    st.lists(st.tuples(st.lists(packets(), max_size=20), st.integers(0, NS_PER_S))),
    st.sampled_from(Codec),
    st.sampled_from([0, ALWAYS, 5_000]),
    st.sampled_from([0, 1_000, 10_000]),
)
@bounded
def test_packets_are_encoded_or_counted_as_dropped(
    batches: list[tuple[list[Packet], int]], codec: Codec, low: int, high: int
) -> None:
    stage, counters = encoder(codec, low=low, high=high)
    mono_ns, offered, passed = NOW.mono_ns, 0, 0
    for content, wait_ns in batches:
        mono_ns += wait_ns
        batch = batch_of(content)
        offered += batch.count
        for encoded in feed(stage, batch, Instant(mono_ns, NOW.wall_ns)):
            passed += encoded.count
            assert len(encoded.payload) <= len(batch.records)
            raw = decompress(encoded.codec, encoded.payload, encoded.raw_length)
            assert raw == batch.records
    went = counters.compressed_batches + counters.incompressible_batches
    assert went <= counters.batches
    assert offered == passed + counters.dropped[Reason.HIGH_WATERMARK]
