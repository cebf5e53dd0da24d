"""Questions to a receiver and its answers, as octets.

Specification: docs/wire.md, section 11. They go over the same sockets as batches do. A
question is one frame, its head and perhaps details; an answer is a head and a body.
"""

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pcap_zmq.errors import UnsupportedVersionError, WireError
from pcap_zmq.formats.wire import MAGIC, VERSION
from pcap_zmq.packet import Octets

_HEAD = struct.Struct(">4sBBHQ")

HEAD_LENGTH = _HEAD.size
_KIND_AT = 5

ANSWER_MAX = 64 << 20
"""Most octets of an answer that an asker takes."""


class Kind(enum.IntEnum):
    """What is asked for."""

    STATUS = 0x10
    PACKETS = 0x11


QUESTION_MAX = HEAD_LENGTH + 8_192
"""Most octets of a question."""

_ANSWER = 0x80
"""An answer's type is its question's with this bit."""


@dataclass(frozen=True, slots=True)
class Question:
    """number: chosen by the asker, given back with the answer. details: empty for
    STATUS."""

    kind: Kind
    number: int
    details: bytes = b""


def is_question(frames: Sequence[Octets]) -> bool:
    """Whether these frames are a question rather than a sender's message, well-formed
    or not."""
    if len(frames) != 1 or len(frames[0]) < HEAD_LENGTH:
        return False
    return Kind.STATUS <= frames[0][_KIND_AT] < _ANSWER


def encode_question(question: Question) -> bytes:
    """Its one frame."""
    head = _HEAD.pack(MAGIC, VERSION, question.kind, 0, question.number)
    return head + question.details


def decode_question(frames: Sequence[Octets]) -> Question:
    """The question that these frames are. Raises WireError."""
    if len(frames) != 1 or len(frames[0]) > QUESTION_MAX:
        raise WireError("no question")
    kind, number = _decode_head(frames[0][:HEAD_LENGTH])
    question = Question(_kind_of(kind), number, bytes(frames[0][HEAD_LENGTH:]))
    if question.details and question.kind is Kind.STATUS:
        raise WireError("a question for the status has no details")
    return question


def encode_answer(question: Question, body: bytes) -> list[Octets]:
    """Its two frames."""
    kind = question.kind | _ANSWER
    return [_HEAD.pack(MAGIC, VERSION, kind, 0, question.number), body]


def decode_answer(frames: Sequence[Octets]) -> tuple[Question, Octets]:
    """What was asked, and the answer's body. Raises WireError."""
    if len(frames) != 2:
        raise WireError("no answer")
    kind, number = _decode_head(frames[0])
    if not kind & _ANSWER:
        raise WireError(f"type {kind:#x} is no answer's")
    if len(frames[1]) > ANSWER_MAX:
        raise WireError(f"an answer above {ANSWER_MAX} octets")
    return Question(_kind_of(kind & ~_ANSWER), number), frames[1]


def _decode_head(head: Octets) -> tuple[int, int]:
    if len(head) != HEAD_LENGTH:
        raise WireError("neither a question nor an answer")
    magic, version, kind, flags, number = _HEAD.unpack(head)
    if magic != MAGIC:
        raise WireError("no pcap-zmq inquiry")
    if version != VERSION:
        raise UnsupportedVersionError(f"wire version {version}, not {VERSION}")
    if flags:
        raise WireError(f"flags {flags:#x}")
    return kind, number


def _kind_of(kind: int) -> Kind:
    try:
        return Kind(kind)
    except ValueError as error:
        raise WireError(f"inquiry type {kind:#x}") from error
