"""Frames of compressed files, whole and torn."""

import gzip
import io

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.formats.file_frames import ENDINGS, frame_compressor, whole_frames

CODECS = st.sampled_from(sorted(ENDINGS))
CONTENTS = st.lists(st.binary(min_size=1, max_size=200_000), min_size=1, max_size=4)


def undone(codec: str, octets: bytes) -> bytes:
    if codec == "gzip":
        return gzip.decompress(octets)
    reader = zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO(octets), read_across_frames=True
    )
    return bytes(reader.read())


def chunked(octets: bytes, size: int) -> list[bytes]:
    return [octets[at : at + size] for at in range(0, len(octets), size)]


@given(CODECS, CONTENTS, st.integers(1, 50_000))
def test_frames_back_to_back_are_one_file_and_whole(
    codec: str, contents: list[bytes], size: int
) -> None:
    compress = frame_compressor(codec)
    octets = b"".join(map(compress, contents))
    assert undone(codec, octets) == b"".join(contents)
    assert whole_frames(codec, chunked(octets, size)) == len(octets)


@given(CODECS, CONTENTS, st.binary(min_size=1, max_size=5_000), st.data())
def test_a_torn_frame_is_passed_over_wherever_it_is_torn(
    codec: str, contents: list[bytes], torn: bytes, data: st.DataObject
) -> None:
    compress = frame_compressor(codec)
    whole = b"".join(map(compress, contents))
    last = compress(torn)
    cut = data.draw(st.integers(0, len(last) - 1))
    octets = whole + last[:cut]
    assert whole_frames(codec, chunked(octets, 1 << 20)) == len(whole)


@given(CODECS, st.binary(max_size=5_000))
def test_any_octets_are_some_whole_frames_or_none(codec: str, octets: bytes) -> None:
    assert 0 <= whole_frames(codec, [octets]) <= len(octets)


@pytest.mark.parametrize("codec", sorted(ENDINGS))
def test_what_comes_after_frames_is_not_counted(codec: str) -> None:
    octets = frame_compressor(codec)(b"packets")
    assert whole_frames(codec, [octets, b"rubbish"]) == len(octets)
    assert whole_frames(codec, []) == 0
