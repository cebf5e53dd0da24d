"""Compressed files are told and undone, whatever the steps, and never all at once."""

import contextlib
import gzip
import lzma
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.compressed import MAGIC_MAX, PIECE, Kind, Undo, kind_of
from tests.support.properties import bounded

COMPRESS: dict[Kind, Callable[[bytes], bytes]] = {
    Kind.GZIP: gzip.compress,
    Kind.XZ: lzma.compress,
    Kind.ZSTD: zstandard.ZstdCompressor(write_checksum=True).compress,
    Kind.LZ4: lz4.frame.compress,
}
SOME = bytes(range(256)) * 40
KINDS = pytest.mark.parametrize("kind", list(Kind))

# What one small step of zstd may give: docstring of the module.
STEP_MAX = 64 << 20


def undone(kind: Kind, octets: bytes, step: int = 1 << 16) -> tuple[bytes, bool]:
    """What it holds, and whether it is whole."""
    undo = Undo(kind)
    steps = [octets[at : at + step] for at in range(0, len(octets), step)]
    pieces = [piece for chunk in steps for piece in undo.feed(chunk)]
    return b"".join(pieces), undo.is_whole


@KINDS
@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_file_that_ends_in_the_middle_is_not_whole(kind: Kind, cut: int) -> None:
    octets = COMPRESS[kind](SOME)
    out, is_whole = undone(kind, octets[:-cut])
    assert not is_whole
    assert SOME.startswith(out)


@KINDS
def test_other_octets_after_the_magic_number_are_refused(kind: Kind) -> None:
    with pytest.raises(FormatError, match=kind.name.lower()):
        undone(kind, kind.value + b"\xff" * 100)


@KINDS
def test_a_damaged_file_is_refused_or_ends_in_the_middle(kind: Kind) -> None:
    octets = bytearray(COMPRESS[kind](SOME))
    octets[len(octets) // 2] ^= 0xFF
    try:
        out, is_whole = undone(kind, bytes(octets))
    except FormatError:
        return
    # LZ4's own checksum is off by default.
    assert not is_whole or out != SOME


@KINDS
@bounded
@given(st.binary(max_size=200))
def test_any_octets_after_the_magic_number_are_undone_or_refused(
    kind: Kind, octets: bytes
) -> None:
    with contextlib.suppress(FormatError):
        undone(kind, kind.value + octets, step=7)


@KINDS
def test_a_bomb_comes_in_pieces(kind: Kind) -> None:
    bomb = COMPRESS[kind](bytes(256 << 20))
    most = total = 0
    undo = Undo(kind)
    for piece in undo.feed(bomb):
        most, total = max(most, len(piece)), total + len(piece)
    assert (total, undo.is_whole) == (256 << 20, True)
    assert most <= (STEP_MAX if kind is Kind.ZSTD else PIECE)


@KINDS
@pytest.mark.parametrize("step", [1, 2, 1000, 1 << 16])
@pytest.mark.parametrize("times", [1, 2])
def test_several_back_to_back_are_one(kind: Kind, step: int, times: int) -> None:
    octets = COMPRESS[kind](SOME) * times
    assert undone(kind, octets, step) == (SOME * times, True)


@KINDS
def test_very_many_of_nearly_nothing_are_one(kind: Kind) -> None:
    """Behind each of them all the rest was copied, of a MiB for seconds."""
    one = COMPRESS[kind](b"x")
    count = (1 << 18) // len(one)
    assert undone(kind, one * count, 1 << 20) == (b"x" * count, True)


@KINDS
def test_padding_between_and_after_is_passed_over(kind: Kind) -> None:
    octets = COMPRESS[kind](SOME) + bytes(4)
    assert undone(kind, octets * 2, 3) == (SOME * 2, True)


@KINDS
def test_nothing_is_a_file_of_nothing(kind: Kind) -> None:
    assert undone(kind, COMPRESS[kind](b"")) == (b"", True)


@KINDS
def test_a_kind_is_told_by_its_first_octets(kind: Kind) -> None:
    assert kind_of(COMPRESS[kind](SOME)[:MAGIC_MAX]) is kind
    assert kind_of(kind.value[:-1]) is None
    assert kind_of(b"\xd4\xc3\xb2\xa1\x02\x00") is None
