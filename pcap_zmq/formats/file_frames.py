"""Compressed files as we write them: frames back to back, each to be read by itself.

Specification: RFC 8878 (zstd), RFC 1952 (gzip, which calls them members), the .xz file
format 1.2.1 (streams), the LZ4 frame format 1.6.4. All say that what such frames hold
belongs together, so every reader takes them for one file; and wherever one ends, the
file may end.
"""

import functools
import lzma
from collections.abc import Iterable

from isal import isal_zlib

from pcap_zmq.formats.codec import Compress, library

ENDINGS = {"zstd": ".zst", "gzip": ".gz"}
"""What files end in that were compressed so, and that `whole_frames` can mend."""

ALL_ENDINGS = ENDINGS | {"xz": ".xz", "lz4": ".lz4"}
"""With those that are only there when they are whole."""

FRAME_MAX = 64 << 20
"""More octets than we ever put into a frame, on either side."""

_FILE_ZSTD_LEVEL = 3
_FILE_ZLIB_LEVEL = 2
_FILE_XZ_PRESET = 1
"""Higher ones find little more in a frame, and take much longer."""
_GZIP = 31
"""zlib's window bits for a gzip member."""


def frame_compressor(name: str) -> Compress:
    """A function that makes a frame of a file that ends in `ALL_ENDINGS[name]`; for one
    thread. Raises ConfigError where the library is not installed."""
    if name == "gzip":
        return functools.partial(
            isal_zlib.compress, level=_FILE_ZLIB_LEVEL, wbits=_GZIP
        )
    if name == "xz":
        return functools.partial(lzma.compress, preset=_FILE_XZ_PRESET)
    compress: Compress
    if name == "lz4":
        compress = library("lz4.frame", "lz4").compress
        return compress
    zstandard = library("zstandard", "zstd")
    compress = zstandard.ZstdCompressor(
        level=_FILE_ZSTD_LEVEL, write_checksum=True
    ).compress
    return compress


def whole_frames(name: str, chunks: Iterable[bytes]) -> int:
    """How many octets at the beginning of a file of one of `ENDINGS` are whole frames,
    whatever comes after them."""
    length_of = _gzip_frame_length if name == "gzip" else _zstd_frame_length
    pending, passed = b"", 0
    for chunk in chunks:
        pending += chunk
        at = 0
        while at < len(pending):
            length = length_of(memoryview(pending)[at:])
            if not length:
                break
            at += length
        pending, passed = pending[at:], passed + at
        if len(pending) > FRAME_MAX:
            break
    return passed


def _gzip_frame_length(octets: memoryview) -> int:
    """0: no whole one."""
    stream = isal_zlib.decompressobj(wbits=_GZIP)
    try:
        stream.decompress(octets, FRAME_MAX)
    except isal_zlib.error:  # type: ignore[misc]  # typed as an instance
        return 0
    return len(octets) - len(stream.unused_data) if stream.eof else 0


def _zstd_frame_length(octets: memoryview) -> int:
    """0: no whole one. Walks the blocks: RFC 8878, 3.1.1.2."""
    zstandard = library("zstandard", "zstd")
    try:
        at = zstandard.frame_header_size(octets)
        checksum = 4 * zstandard.get_frame_parameters(octets).has_checksum
    except zstandard.ZstdError:
        return 0
    while at + 3 <= len(octets):
        block = int.from_bytes(octets[at : at + 3], "little")
        is_last, kind, size = block & 1, block >> 1 & 3, block >> 3
        # One octet stands for a run of them (RLE).
        at += 3 + (1 if kind == 1 else size)
        if kind == 3:
            return 0
        if is_last:
            at += checksum
            return at if at <= len(octets) else 0
    return 0
