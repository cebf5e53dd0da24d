"""Payloads compressed and decompressed: never more octets than were declared."""

import subprocess
import sys
import textwrap
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.block
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import ConfigError, FormatError
from pcap_zmq.formats.codec import (
    LEVELS,
    Codec,
    compressor,
    decompress,
    light_compressor,
)
from pcap_zmq.formats.wire import RAW_LENGTH_MAX
from tests.support.bombs import lz4_bomb, zlib_bomb, zstd_bomb
from tests.support.properties import bounded, thorough

COMPRESSED = [Codec.ZLIB, Codec.ZSTD, Codec.LZ4]
EVERY_LEVEL = [
    (codec, level)
    for codec, levels in LEVELS.items()
    for level in range(levels.minimum, levels.maximum + 1)
]
RAW = b"the same again and again, " * 40
MIB = 1 << 20
ROOT = Path(__file__).parents[2]


# What is refused.


@pytest.mark.parametrize("codec", [4, 255])
def test_an_unknown_codec_is_refused(codec: int) -> None:
    with pytest.raises(FormatError, match=f"codec {codec}"):
        decompress(codec, b"", 0)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("lie", [-len(RAW), -1, 1, 1000, MIB])
def test_a_declared_length_that_is_another_than_the_real_one_is_refused(
    codec: Codec, lie: int
) -> None:
    payload = compressor(codec)(RAW)
    with pytest.raises(FormatError):
        decompress(codec, payload, len(RAW) + lie)


@pytest.mark.parametrize("codec", COMPRESSED)
def test_every_truncation_of_a_payload_is_refused(codec: Codec) -> None:
    payload = compressor(codec)(RAW)
    for length in range(len(payload)):
        with pytest.raises(FormatError):
            decompress(codec, payload[:length], len(RAW))


@pytest.mark.parametrize("codec", [Codec.ZLIB, Codec.ZSTD])
@pytest.mark.parametrize("trailing", [b"\0", b"trailing octets"])
def test_octets_after_the_end_of_a_payload_are_refused(
    codec: Codec, trailing: bytes
) -> None:
    with pytest.raises(FormatError):
        decompress(codec, compressor(codec)(RAW) + trailing, len(RAW))


@pytest.mark.parametrize("codec", COMPRESSED)
def test_two_streams_in_one_payload_are_refused(codec: Codec) -> None:
    payload = compressor(codec)(RAW)
    with pytest.raises(FormatError):
        decompress(codec, payload + payload, 2 * len(RAW))


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_payload_with_any_octet_changed_gives_the_declared_length_or_is_refused(
    codec: Codec,
) -> None:
    payload = compressor(codec)(RAW)
    for at in range(len(payload)):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(payload)
            changed[at] ^= change
            _gives_the_length_or_is_refused(codec, bytes(changed), len(RAW))


def test_a_zlib_payload_with_another_checksum_is_refused() -> None:
    payload = compressor(Codec.ZLIB)(RAW)
    with pytest.raises(FormatError):
        decompress(Codec.ZLIB, payload[:-1] + bytes([payload[-1] ^ 1]), len(RAW))


def test_a_zstd_frame_that_does_not_say_its_length_is_refused() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(RAW)
    with pytest.raises(FormatError, match="another length"):
        decompress(Codec.ZSTD, frame, len(RAW))


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("trailing", [b"\0", b"\x01\0\0", RAW])
def test_a_zstd_frame_of_nothing_with_something_after_it_is_refused(
    checksum: bool, trailing: bytes
) -> None:
    """The library itself looks no further than a header that claims no data."""
    payload = zstandard.ZstdCompressor(write_checksum=checksum).compress(b"")
    assert decompress(Codec.ZSTD, payload, 0) == b""
    with pytest.raises(FormatError, match="not empty"):
        decompress(Codec.ZSTD, payload + trailing, 0)


def test_a_zstd_frame_with_an_enormous_window_is_refused() -> None:
    # Magic; a header with a content size of 2 octets (256 + n) and a window of 2 GiB.
    frame = bytes.fromhex("28b52ffd40") + bytes([21 << 3]) + bytes(2)
    with pytest.raises(FormatError, match="window"):
        decompress(Codec.ZSTD, frame, 256)


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_payload_of_another_codec_is_refused(codec: Codec) -> None:
    for other in COMPRESSED:
        if other is not codec:
            with pytest.raises(FormatError):
                decompress(codec, compressor(other)(RAW), len(RAW))


@given(st.integers(0, 255), st.binary(max_size=300), st.integers(0, 4096))
@thorough
def test_random_octets_give_the_declared_length_or_are_refused(
    codec: int, payload: bytes, raw_length: int
) -> None:
    _gives_the_length_or_is_refused(codec % 5, payload, raw_length)


@pytest.mark.parametrize("codec", COMPRESSED)
def test_an_empty_payload_is_no_compressed_one(codec: Codec) -> None:
    with pytest.raises(FormatError):
        decompress(codec, b"", 0)


# Bombs.


@pytest.mark.parametrize(
    ("codec", "bomb"),
    [
        (Codec.ZLIB, zlib_bomb),
        (Codec.ZSTD, zstd_bomb),
        (Codec.LZ4, lz4_bomb),
    ],
)
@pytest.mark.parametrize("raw_length", [0, 1000, RAW_LENGTH_MAX])
def test_a_bomb_is_refused_without_more_memory_than_was_declared(
    codec: Codec, bomb: Callable[[int], bytes], raw_length: int
) -> None:
    payload = bomb(64 * MIB)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            decompress(codec, payload, raw_length)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Growing by doubling, a buffer and its larger copy are there for a moment.
    assert peak <= 3 * raw_length + MIB


def test_bombs_of_a_gibibyte_are_refused_where_there_is_no_room_for_them() -> None:
    """By a process of its own, whose memory the kernel limits: whatever a library
    allocates behind Python's back counts there too."""
    program = """
        import resource
        from pathlib import Path
        from pcap_zmq.errors import FormatError
        from pcap_zmq.formats.codec import Codec, compressor, decompress
        from pcap_zmq.formats.wire import RAW_LENGTH_MAX
        from tests.support.bombs import lz4_bomb, zlib_bomb, zstd_bomb

        payloads = {
            Codec.ZLIB: zlib_bomb(), Codec.ZSTD: zstd_bomb(), Codec.LZ4: lz4_bomb()
        }
        for codec in payloads:
            compressor(codec)(b"loads the library")
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 4 * RAW_LENGTH_MAX
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for codec, payload in payloads.items():
            try:
                decompress(codec, payload, RAW_LENGTH_MAX)
            except FormatError:
                print("refused", codec.name)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.split("\n") == [
        "refused ZLIB",
        "refused ZSTD",
        "refused LZ4",
        "",
    ], done.stderr


def test_the_bombs_are_what_they_are_said_to_be() -> None:
    length = 3 * MIB
    assert len(zlib.decompress(zlib_bomb(length))) == length
    zstd_raw = zstandard.ZstdDecompressor().decompress(zstd_bomb(length))
    assert len(zstd_raw) == length
    assert len(lz4.block.decompress(lz4_bomb(length), length)) == length


# What comes back.


@pytest.mark.parametrize(("codec", "level"), EVERY_LEVEL)
@given(raw=st.binary(max_size=2000) | st.just(RAW))
@bounded
def test_every_codec_at_every_level_gives_back_what_went_in(
    codec: Codec, level: int, raw: bytes
) -> None:
    assert decompress(codec, compressor(codec, level)(raw), len(raw)) == raw


@pytest.mark.parametrize("codec", Codec)
@given(raw=st.binary(max_size=2000) | st.just(RAW))
@bounded
def test_every_codec_gives_back_what_went_in_with_little_effort(
    codec: Codec, raw: bytes
) -> None:
    assert decompress(codec, light_compressor(codec)(raw), len(raw)) == raw


@pytest.mark.parametrize(("codec", "level"), EVERY_LEVEL)
def test_a_level_that_was_chosen_is_kept_where_little_effort_would_do(
    codec: Codec, level: int
) -> None:
    light, chosen = light_compressor(codec, level), compressor(codec, level)
    assert light(RAW) == chosen(RAW)


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_payload_comes_back_whatever_was_refused_before_it(codec: Codec) -> None:
    """What the library keeps from one payload to the next is no part of any."""
    payload = compressor(codec)(RAW)
    bad = [payload[:-1], payload + b"\0", payload[:20] + payload[21:], payload[::-1]]
    for refused in bad:
        with pytest.raises(FormatError):
            decompress(codec, refused, len(RAW))
        assert decompress(codec, payload, len(RAW)) == RAW
        assert decompress(codec, compressor(codec)(b""), 0) == b""


@pytest.mark.parametrize("codec", Codec)
def test_views_are_taken_like_bytes(codec: Codec) -> None:
    payload = compressor(codec)(memoryview(bytearray(RAW)))
    assert decompress(codec, memoryview(payload), len(RAW)) == RAW


@pytest.mark.parametrize("codec", Codec)
def test_the_largest_batch_comes_back(codec: Codec) -> None:
    raw = bytes(RAW_LENGTH_MAX)
    assert decompress(codec, compressor(codec)(raw), len(raw)) == raw


def test_an_uncompressed_payload_is_not_copied() -> None:
    payload = memoryview(RAW)
    assert decompress(Codec.NONE, payload, len(RAW)) is payload


@pytest.mark.parametrize("codec", COMPRESSED)
def test_the_default_level_saves_octets(codec: Codec) -> None:
    assert len(compressor(codec)(RAW)) < len(RAW) / 4


def test_any_zlib_reads_what_the_zlib_codec_writes() -> None:
    assert zlib.decompress(compressor(Codec.ZLIB)(RAW)) == RAW


@pytest.mark.parametrize("level", [-1, 0, 1, 9])
def test_the_zlib_codec_reads_what_any_zlib_writes(level: int) -> None:
    assert decompress(Codec.ZLIB, zlib.compress(RAW, level), len(RAW)) == RAW


def test_an_lz4_payload_has_no_length_in_front() -> None:
    assert lz4.block.decompress(compressor(Codec.LZ4)(RAW), len(RAW)) == RAW


# What cannot be had.


@pytest.mark.parametrize("codec", Codec)
def test_a_level_that_a_codec_has_not_is_refused_with_those_that_it_has(
    codec: Codec,
) -> None:
    levels = LEVELS[codec]
    for level in (levels.minimum - 1, levels.maximum + 1):
        with pytest.raises(ConfigError, match=f"{levels.minimum} to {levels.maximum}"):
            compressor(codec, level)


def test_a_codec_whose_library_is_missing_says_what_to_install() -> None:
    """In a process of its own, where the library cannot be found."""
    program = """
        import sys
        sys.modules["zstandard"] = None
        from pcap_zmq.errors import ConfigError
        from pcap_zmq.formats.codec import Codec, compressor, decompress
        for use in (
            lambda: compressor(Codec.ZSTD),
            lambda: decompress(Codec.ZSTD, b"", 0),
        ):
            try:
                use()
            except ConfigError as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.count("pip install 'pcap-zmq[zstd]'") == 2, done.stderr


def _gives_the_length_or_is_refused(
    codec: int, payload: bytes, raw_length: int
) -> None:
    try:
        raw = decompress(codec, payload, raw_length)
    except FormatError:
        return
    assert len(raw) == raw_length
