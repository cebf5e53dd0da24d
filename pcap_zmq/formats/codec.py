"""The codecs of a payload, each by its number on the wire.

Decompression is bounded by the length that the message declares, whatever the octets
say: specification in docs/wire.md, "Payload".
"""

import contextlib
import enum
import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isal import isal_zlib

from pcap_zmq.errors import ConfigError, FormatError
from pcap_zmq.packet import Octets


class Codec(enum.IntEnum):
    """Their numbers on the wire."""

    NONE = 0
    ZLIB = 1
    ZSTD = 2
    LZ4 = 3


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels that a codec has; a higher one costs more and saves more."""

    minimum: int
    default: int
    maximum: int


LEVELS = {
    Codec.NONE: Levels(0, 0, 0),
    Codec.ZLIB: Levels(0, 1, 3),
    Codec.ZSTD: Levels(1, 1, 19),
    Codec.LZ4: Levels(0, 0, 12),
}

_ZSTD_LIGHT = -1
"""zstd's next lower level: it finds the same repetitions and codes no single octets."""

_ZSTD_WINDOW_MAX = 1 << 27
"""What zstd's own tools accept unasked: more memory than that is an attack."""

# RFC 8878: the last block, raw and empty; and the checksum of nothing.
_ZSTD_NO_BLOCK = b"\x01\0\0"
_ZSTD_NO_SUM = b"\x99\xe9\xd8\x51"

Compress = Callable[[Octets], bytes]


def compressor(codec: Codec, level: int | None = None) -> Compress:
    """A function that compresses one payload; for one thread, since it may keep memory
    from call to call. Raises ConfigError for a level that the codec has not, or a codec
    whose library is not installed."""
    levels = LEVELS[codec]
    level = levels.default if level is None else level
    if not levels.minimum <= level <= levels.maximum:
        raise ConfigError(
            f"--level {level}: {codec.name.lower()} has levels {levels.minimum} to "
            f"{levels.maximum}"
        )
    match codec:
        case Codec.NONE:
            return bytes
        case Codec.ZLIB:
            # ISA-L's level 0 still compresses: it is the fastest of its four.
            return functools.partial(isal_zlib.compress, level=level)
        case Codec.ZSTD:
            return _zstd_compressor(level)
        case Codec.LZ4:
            block = library("lz4.block", "lz4")
            mode = "high_compression" if level else "default"
            return functools.partial(
                block.compress, mode=mode, compression=level, store_size=False
            )


def light_compressor(codec: Codec, level: int | None = None) -> Compress:
    """The same with less effort, for what hardly shrinks: where the codec has such a
    level, and nobody has chosen another."""
    if codec is Codec.ZSTD and level is None:
        return _zstd_compressor(_ZSTD_LIGHT)
    return compressor(codec, level)


def _zstd_compressor(level: int) -> Compress:
    zstandard = library("zstandard", "zstd")
    compress: Compress = zstandard.ZstdCompressor(level=level).compress
    return compress


def decompress(codec: int, payload: Octets, raw_length: int) -> Octets:
    """Exactly `raw_length` octets. Raises FormatError where the payload is anything
    else, without having made more than that. For one thread at a time."""
    match codec:
        case Codec.NONE:
            raw: Octets = payload
        case Codec.ZLIB:
            raw = _decompress_zlib(payload, raw_length)
        case Codec.ZSTD:
            raw = _decompress_zstd(payload, raw_length)
        case Codec.LZ4:
            raw = _decompress_lz4(payload, raw_length)
        case _:
            raise FormatError(f"codec {codec} is unknown")
    if len(raw) != raw_length:
        raise FormatError(f"{len(raw)} octets where {raw_length} were declared")
    return raw


def _decompress_zlib(payload: Octets, raw_length: int) -> bytes:
    stream = isal_zlib.decompressobj()
    try:
        # One octet more than declared shows a payload that would not have ended.
        raw: bytes = stream.decompress(payload, raw_length + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # typed as an instance
        raise FormatError(f"zlib: {error}") from error
    if not stream.eof or stream.unused_data:
        raise FormatError("zlib: the payload does not end where its data do")
    return raw


def _decompress_zstd(payload: Octets, raw_length: int) -> bytes:
    zstandard = library("zstandard", "zstd")
    try:
        parameters = zstandard.get_frame_parameters(payload)
        # The library takes the size that the frame claims before any bound of ours.
        if parameters.content_size != raw_length:
            raise FormatError("zstd: the frame is of another length than declared")
        if parameters.window_size > _ZSTD_WINDOW_MAX:
            raise FormatError(f"zstd: a window of {parameters.window_size} octets")
        if not raw_length:
            # The library looks at nothing beyond a header that claims no data.
            return _nothing_of_zstd(payload, parameters.has_checksum)
        raw: bytes = _zstd_decompressor().decompress(
            payload, max_output_size=raw_length, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        # What it has allocated for a frame that does not end goes with it.
        _zstd_decompressor.cache_clear()
        raise FormatError(f"zstd: {error}") from error
    return raw


@functools.cache
def _zstd_decompressor() -> Any:
    """One for all: to make one costs more than to decompress a small batch."""
    return library("zstandard", "zstd").ZstdDecompressor()


def _nothing_of_zstd(payload: Octets, has_checksum: bool) -> bytes:
    """No octets, from a frame that says so and holds one empty block."""
    body = bytes(payload[library("zstandard", "zstd").frame_header_size(payload) :])
    if body != _ZSTD_NO_BLOCK + (_ZSTD_NO_SUM if has_checksum else b""):
        raise FormatError("zstd: a frame of no length that is not empty")
    return b""


def _decompress_lz4(payload: Octets, raw_length: int) -> bytes:
    block = library("lz4.block", "lz4")
    try:
        raw: bytes = block.decompress(payload, uncompressed_size=raw_length)
    except block.LZ4BlockError as error:
        raise FormatError(f"lz4: {error}") from error
    return raw


def load_libraries() -> None:
    """Imports now the libraries that are installed, rather than when a payload comes:
    for who is about to become another, who may not read where they lie."""
    for module, extra in (("zstandard", "zstd"), ("lz4.block", "lz4")):
        with contextlib.suppress(ConfigError):
            library(module, extra)


# Neither library publishes types.
@functools.cache
def library(module: str, extra: str) -> Any:
    """Imported when first needed: only some users have them."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{extra} needs a library: pip install 'pcap-zmq[{extra}]'"
        ) from error
