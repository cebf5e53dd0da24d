"""A checkpoint says what was, whatever its last line is like."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.checkpoint import (
    LINES_AT,
    MOVING,
    MOVING_AT,
    SLOT_LENGTH,
    SLOT_OFFSETS,
    Item,
    Line,
    Link,
    Memory,
    Play,
    Seen,
    Slot,
    Where,
    decode,
    decode_slot,
    encode_head,
    encode_line,
    encode_slot,
)

PLAY = Play(3, "7", ["/a.pcap", "/b.pcap"], 100)

LINES: list[Line] = [
    Item(1, "/a\n.pcap", Where.PROCESSED, "allow", 5),
    Item(2, "/b\udcff.pcap", Where.BROKEN, "allow", 4, "it ends"),
    PLAY,
    Seen("/c.pcap", "0123"),
    Link("0123", 4, 5, "6"),
    True,
]


def file_of(lines: list[Line]) -> bytes:
    """A checkpoint with these."""
    return encode_head(Slot()) + b"".join(map(encode_line, lines))


def with_slot(octets: bytes, place: int, slot: bytes) -> bytes:
    """The checkpoint with that in one of its slots."""
    at = SLOT_OFFSETS[place]
    return octets[:at] + slot + octets[at + SLOT_LENGTH :]


def with_moving(octets: bytes, serial: int, start: int, at: int) -> bytes:
    """The checkpoint of one who was moving a batch."""
    moving = MOVING.pack(serial, start, at)
    return octets[:MOVING_AT] + moving + octets[MOVING_AT + MOVING.size :]


def test_what_is_written_is_read() -> None:
    memory = decode(file_of(LINES))
    assert memory.lines() == LINES
    assert decode(file_of(memory.lines())) == memory


def test_a_later_line_replaces_an_earlier_one() -> None:
    over = Play(3, "7", ["/a.pcap"], 200, is_told=True, is_over=True)
    later: list[Line] = [
        Item(1, "/a.pcap", Where.SKIPPED),
        over,
        Seen("/c.pcap", ""),
        False,
    ]
    memory = decode(file_of([*LINES, *later]))
    assert memory.items[1].where is Where.SKIPPED
    assert (memory.plays, memory.seen, memory.is_paused) == ({}, {}, False)


def test_of_a_last_line_that_is_torn_nothing_is_known() -> None:
    octets = file_of(LINES)
    last = encode_line(LINES[-1])
    for left in range(1, len(last) + 1):
        assert not decode(octets[:-left]).is_paused


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"item":{}}',
        b'{"item":{"number":-1,"path":"/a","where":"queued"}}',
        b'{"item":{"number":1,"path":2,"where":"queued"}}',
        b'{"item":{"number":1,"path":"/a","where":"elsewhere"}}',
        b'{"play":{"serial":1,"key":"1","paths":[1]}}',
        b'{"play":{"serial":1,"key":"1","paths":"/a"}}',
        b'{"play":{"serial":1,"key":"1","paths":[]}}',
        b'{"play":{"serial":9223372036854775808,"key":"1","paths":["/a"]}}',
        b'{"item":{"number":1,"path":"/a","where":"queued","verdict":"yes"}}',
        b'{"tea":{}}',
        b"[" * 100_000,
    ],
)
def test_a_line_in_the_middle_that_says_nothing_known_is_told(line: bytes) -> None:
    with pytest.raises(FormatError, match=f"octet {LINES_AT + 16} "):
        decode(file_of([True]) + line + b"\n" + encode_line(True))


def test_what_is_no_checkpoint_is_none() -> None:
    for octets in (b"", b"\n" * LINES_AT, encode_head(Slot())[:-1]):
        with pytest.raises(FormatError, match="no checkpoint"):
            decode(octets)


def test_the_newest_slot_counts_and_a_torn_one_does_not() -> None:
    octets = with_slot(file_of(LINES), 0, encode_slot(8, Slot(3, 150)))
    octets = with_slot(octets, 1, encode_slot(9, Slot(3, 160)))
    assert decode(octets).plays[3].arrived == 160
    torn = encode_slot(10, Slot(3, 170))[:40] + encode_slot(8, Slot(3, 150))[40:]
    assert decode(with_slot(octets, 0, torn)).plays[3].arrived == 160


def test_a_slot_of_another_play_says_nothing() -> None:
    octets = with_slot(file_of(LINES), 0, encode_slot(8, Slot(2, 150)))
    assert decode(octets).plays[3].arrived == 100


def test_octets_under_way_count_after_what_has_arrived() -> None:
    """Those of a batch that has arrived since, or of another play, are old."""
    octets = with_moving(file_of(LINES), 3, 100, 4321)
    assert decode(octets).plays[3].octets == 4321
    assert decode(with_moving(octets, 2, 100, 4321)).plays[3].octets == 0
    octets = with_slot(octets, 0, encode_slot(1, Slot(3, 101)))
    assert decode(octets).plays[3].octets == 0


def test_octets_of_a_run_before_count_until_more_has_arrived() -> None:
    line = Play(3, "7", ["/a.pcap"], 100, octets=77)
    assert decode(file_of([line])).plays[3].octets == 77
    octets = with_slot(file_of([line]), 0, encode_slot(1, Slot(3, 101)))
    assert decode(octets).plays[3].octets == 0


@given(some.binary(max_size=80))
def test_a_slot_is_right_or_nothing(octets: bytes) -> None:
    found = decode_slot(octets)
    assert found is None or encode_slot(*found).strip() == octets.strip()


@given(some.integers(0, 1 << 63), some.integers(0, 1 << 63))
def test_a_slot_that_is_whole_says_what_it_was_told(serial: int, arrived: int) -> None:
    slot = Slot(serial, arrived, arrived // 2, arrived // 3)
    octets = encode_slot(1, slot)
    assert len(octets) == SLOT_LENGTH
    assert decode_slot(octets) == (1, slot)
    assert decode(encode_head(slot)).slot == slot


@given(some.binary(max_size=300))
def test_any_octets_are_a_memory_or_an_error(octets: bytes) -> None:
    try:
        memory = decode(encode_head(Slot()) + octets)
    except FormatError:
        return
    assert isinstance(memory, Memory)
