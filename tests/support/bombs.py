"""Small payloads that would become very large ones, one for each codec."""

import zlib

import zstandard

GIB = 1 << 30
_CHUNK = bytes(1 << 20)


def zlib_bomb(length: int = GIB) -> bytes:
    stream = zlib.compressobj(1)
    parts = [stream.compress(_CHUNK) for _ in range(length // len(_CHUNK))]
    return b"".join([*parts, stream.flush()])


def zstd_bomb(length: int = GIB) -> bytes:
    """Its frame says how long it is: the one that says nothing is refused anyway."""
    stream = zstandard.ZstdCompressor(level=1).compressobj(size=length)
    parts = [stream.compress(_CHUNK) for _ in range(length // len(_CHUNK))]
    return b"".join([*parts, stream.flush()])


def lz4_bomb(length: int = GIB) -> bytes:
    """One octet, repeated by one match whose length is written in steps of 255; then
    the literals that must end a block."""
    matched = length - 1 - 5
    steps, rest = divmod(matched - 4 - 15, 255)
    match = b"\x1f\0\x01\0" + b"\xff" * steps + bytes([rest])
    return match + b"\x50" + bytes(5)
