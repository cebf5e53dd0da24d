"""Invariant: any frames are a question, an answer or a WireError; any answer's body is
a receiver's state or a WireError of one short line; and a state says the same when it
is written again, and can be shown on a terminal, where it only stands there.

Input: 1 octet: what follows is frames, each after its length in 2 octets, or a body.
"""

from pcap_zmq.cli.status import render
from pcap_zmq.errors import WireError
from pcap_zmq.formats import inquiry, ledger
from pcap_zmq.packet import Octets
from tests.fuzz.octets import Front

FRAMES_MAX = 3
MESSAGE_MAX = 300


def check(octets: bytes) -> None:
    front = Front(octets)
    if front.number() & 1:
        check_body(front.rest())
        return
    frames = list[Octets]()
    while not front.is_empty and len(frames) < FRAMES_MAX:
        frames.append(memoryview(front.piece()))
    check_question(frames)
    check_answer(frames)


def check_question(frames: list[Octets]) -> None:
    try:
        question = inquiry.decode_question(frames)
    except WireError:
        return
    assert inquiry.is_question(frames)
    assert inquiry.encode_question(question) == bytes(frames[0])


def check_answer(frames: list[Octets]) -> None:
    try:
        question, body = inquiry.decode_answer(frames)
    except WireError:
        return
    assert inquiry.encode_answer(question, bytes(body)) == list(map(bytes, frames))
    check_body(bytes(body))


def check_body(body: bytes) -> None:
    try:
        state = ledger.decode_state(memoryview(body))
    except WireError as error:
        message = str(error)
        assert len(message) <= MESSAGE_MAX
        assert message.isprintable()
        return
    assert ledger.decode_state(ledger.encode_state(state)) == state
    shown = render(state)
    assert all(line.isprintable() for line in shown.split("\n"))
