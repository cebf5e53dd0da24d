"""Compressed files: told by their first octets, and undone a piece at a time.

Specification: RFC 1952 (gzip), RFC 8878 (zstd), the .xz file format 1.2.1, the LZ4
frame format 1.6.4. A file may be several of these back to back.
"""

import enum
import lzma
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from isal import igzip_lib

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.codec import library

PIECE = 1 << 18
"""Octets that come out at once, at most: a small file may hold very much."""

_STEP = 1 << 15
_ZSTD_STEP = 1 << 11
"""The library gives all that these octets hold: 128 KiB for four of them at most."""

_XZ_MEMORY = 256 << 20
"""More than any level of xz asks for."""


class Kind(enum.Enum):
    """By what a file begins with."""

    GZIP = b"\x1f\x8b"
    XZ = b"\xfd7zXZ\0"
    ZSTD = b"\x28\xb5\x2f\xfd"
    LZ4 = b"\x04\x22\x4d\x18"


_MAGICS = tuple((kind.value, kind) for kind in Kind)
MAGIC_MAX = max(len(magic) for magic, _ in _MAGICS)


def kind_of(beginning: bytes) -> Kind | None:
    """None: not compressed, as far as is known here."""
    return next((kind for magic, kind in _MAGICS if beginning.startswith(magic)), None)


class _Stream(Protocol):
    """One of those back to back, as the libraries offer it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class Undo:
    """The octets of a compressed file in, what they hold out. piece: octets that come
    out at once, at most; zstd does not heed it. Raises ConfigError where the library is
    not installed."""

    def __init__(self, kind: Kind, piece: int = PIECE) -> None:
        self.name = kind.name.lower()
        """For people."""
        self._piece = piece
        self._new, self._error = _library_of(kind)
        self._stream = self._new()
        self._is_between = True

    @property
    def is_whole(self) -> bool:
        """What was fed so far does not end in the middle."""
        return self._is_between

    def feed(self, octets: bytes) -> Iterator[bytes]:
        """What becomes of the next octets, in pieces. Raises FormatError."""
        # Of streams back to back, what is behind each of them is copied.
        for at in range(0, len(octets), _STEP):
            yield from self._feed(octets[at : at + _STEP])

    def _feed(self, octets: bytes) -> Iterator[bytes]:
        while octets:
            if self._is_between:
                # Padding, as of tapes: no magic number begins so.
                octets = octets.lstrip(b"\0")
                if not octets:
                    return
            self._is_between = False
            yield self._step(octets)
            while not self._stream.eof and not self._stream.needs_input:
                yield self._step(b"")
            octets = b""
            if self._stream.eof:
                octets = self._stream.unused_data
                self._stream, self._is_between = self._new(), True

    def _step(self, octets: bytes) -> bytes:
        try:
            return self._stream.decompress(octets, self._piece)
        except self._error as error:
            raise FormatError(f"{self.name}: {error}") from error


def _library_of(
    kind: Kind,
) -> tuple[Callable[[], _Stream], type[Exception] | tuple[type[Exception], ...]]:
    """What begins a stream, and what it raises."""
    match kind:
        case Kind.GZIP:
            flag = igzip_lib.DECOMP_GZIP
            # The library's types say that it were an instance.
            error: Any = igzip_lib.error
            return lambda: igzip_lib.IgzipDecompressor(flag=flag), error
        case Kind.XZ:
            return lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), lzma.LZMAError
        case Kind.ZSTD:
            zstandard = library("zstandard", "zstd")
            return lambda: _Zstd(zstandard), zstandard.ZstdError
        case Kind.LZ4:
            frame = library("lz4.frame", "lz4")
            return frame.LZ4FrameDecompressor, RuntimeError


class _Zstd:
    """A zstd frame with a bound on what comes out at once."""

    def __init__(self, zstandard: Any) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._waiting = b""
        self.eof = False
        self.unused_data = b""

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        data = self._waiting + data
        out: bytes = self._frame.decompress(data[:_ZSTD_STEP])
        self._waiting = data[_ZSTD_STEP:]
        if self._frame.eof:
            self.eof = True
            self.unused_data = self._frame.unused_data + self._waiting
            self._waiting = b""
        return out
