"""What a dispatcher hears of Redis: values, from the clerk's thread to the loop."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claimed:
    """A file is ours. path: as it was queued."""

    key: str
    path: bytes
    is_allowed: bool


@dataclass(frozen=True, slots=True)
class Empty:
    """A file was wanted and none is queued; is_over: nor could one of another's come
    back."""

    is_over: bool


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody said "allow", "deny" or "skip" of one of ours; or "lost" it is, to the
    dispatcher `by`."""

    key: str
    word: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """The server knows what has become of a file."""

    key: str


@dataclass(frozen=True, slots=True)
class Seen:
    """How the queue is."""

    queued: int
    is_suspended: bool


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that an operator should know. values: for the message."""

    message: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Away:
    """The server gives no answer; why: in one line."""

    why: str


@dataclass(frozen=True, slots=True)
class Back:
    """It does again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """There is nobody any more who talks to it: a mistake of ours."""


Event = Claimed | Empty | Said | Heard | Seen | Complaint | Away | Back | Ended
