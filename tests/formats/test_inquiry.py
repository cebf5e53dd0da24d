"""Questions and answers: refused at every truncation, and total over any octets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import UnsupportedVersionError, WireError
from pcap_zmq.formats import wire
from pcap_zmq.formats.inquiry import (
    ANSWER_MAX,
    HEAD_LENGTH,
    Kind,
    Question,
    decode_answer,
    decode_question,
    encode_answer,
    encode_question,
    is_question,
)
from tests.support.properties import bounded

QUESTION = Question(Kind.STATUS, 77)
FRAME = encode_question(QUESTION)


def test_a_question_has_the_octets_that_the_specification_gives_it() -> None:
    assert bytes.fromhex("505a4d5101100000") + (77).to_bytes(8) == FRAME


def test_an_answer_has_the_octets_that_the_specification_gives_it() -> None:
    head, body = encode_answer(QUESTION, b"{}")
    assert head == bytes.fromhex("505a4d5101900000") + (77).to_bytes(8)
    assert body == b"{}"


def test_the_details_of_a_question_come_back() -> None:
    question = Question(Kind.PACKETS, 77, b"which")
    assert is_question([encode_question(question)])
    assert decode_question([encode_question(question)]) == question


@pytest.mark.parametrize("frame", [FRAME + b"?", FRAME[:5] + b"\x11" + bytes(9_000)])
def test_a_question_is_refused_with_details_that_it_has_not(frame: bytes) -> None:
    with pytest.raises(WireError):
        decode_question([frame])


@pytest.mark.parametrize("length", range(HEAD_LENGTH))
def test_a_question_is_refused_at_every_truncation(length: int) -> None:
    assert not is_question([FRAME[:length]])
    with pytest.raises(WireError):
        decode_question([FRAME[:length]])


@pytest.mark.parametrize(
    ("place", "octet", "error"),
    [
        (0, 0x51, WireError),
        (4, 2, UnsupportedVersionError),
        (5, 0x12, WireError),
        (5, 0x90, WireError),
        (6, 1, WireError),
        (7, 1, WireError),
    ],
)
def test_a_question_with_a_wrong_octet_is_refused(
    place: int, octet: int, error: type[WireError]
) -> None:
    frame = bytearray(FRAME)
    frame[place] = octet
    with pytest.raises(error):
        decode_question([frame])


def test_no_message_of_a_sender_passes_for_a_question() -> None:
    assert wire.HEADER_LENGTH != HEAD_LENGTH
    assert not is_question([bytes(wire.HEADER_LENGTH)])
    assert not is_question([FRAME, b""])


def test_a_question_is_no_answer() -> None:
    with pytest.raises(WireError, match="no answer"):
        decode_answer([FRAME, b""])


def test_an_answer_comes_back_with_its_question() -> None:
    asked, body = decode_answer(encode_answer(QUESTION, b"body"))
    assert (asked, bytes(body)) == (QUESTION, b"body")


def test_an_answer_that_is_too_long_is_refused() -> None:
    head, _ = encode_answer(QUESTION, b"")
    with pytest.raises(WireError, match="above"):
        decode_answer([head, bytes(ANSWER_MAX + 1)])


@given(st.lists(st.binary(max_size=40), max_size=3))
@bounded
def test_any_frames_are_a_question_or_refused(frames: list[bytes]) -> None:
    try:
        question = decode_question(list(frames))
    except WireError:
        return
    assert [encode_question(question)] == frames
