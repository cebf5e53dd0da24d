"""What a dispatcher remembers over its end: the queue, and how far each file has come.

Specification: docs/dispatch.md, "The checkpoint".
"""

import enum
import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field
from typing import Any

from pcap_zmq.errors import FormatError

MAGIC = b"pcap-zmq dispatch checkpoint 1\n"
SLOT_LENGTH = 96
SLOTS = 2
"""One is written while the other holds what was so far."""

SLOT_OFFSETS = tuple(len(MAGIC) + n * SLOT_LENGTH for n in range(SLOTS))
MOVING = struct.Struct("=QQq")
"""Serial, packets before the batch, octets of it: `disk/moving.py`."""

MOVING_AT = 224
LINES_AT = 256
"""What comes before has a place of its own, and is written over itself."""


_NUMBER_MAX = (1 << 63) - 1
_VERDICTS = frozenset({"", "allow", "deny", "skip"})


class Where(enum.Enum):
    """What has become of a file of the queue."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    """It is the next one, and nobody has said whether it may go."""
    PLAYING = "playing"
    PROCESSED = "processed"
    BROKEN = "broken"
    DENIED = "denied"
    SKIPPED = "skipped"

    @property
    def is_over(self) -> bool:
        """Nothing more will happen to it."""
        return self not in {Where.QUEUED, Where.CLAIMED, Where.PLAYING}


@dataclass(slots=True)
class Item:
    """A file of the queue. verdict: what was said of it; "": nothing yet. packets: in
    the output, once it is over. why: it broke, for people."""

    number: int
    path: str
    where: Where = Where.QUEUED
    verdict: str = ""
    packets: int = 0
    why: str = ""


@dataclass(slots=True)
class Play:
    """A file (or several as one) that is not, or no longer, wholly in the output.

    serial: no two of a checkpoint share it. arrived: so many packets are in the output,
    its first; octets: and so many of the packet records after them. mark: what the file
    is known by; "": nothing. is_told: the agenda
    was told that it is done, and then a reader died with the rest unread. is_over:
    forget it.
    """

    serial: int
    key: str
    paths: list[str]
    arrived: int = 0
    octets: int = 0
    mark: str = ""
    is_told: bool = False
    is_over: bool = False


@dataclass(slots=True)
class Seen:
    """A file of a folder that is watched: how it begins; "": it is gone."""

    path: str
    begins: str


@dataclass(slots=True)
class Link:
    """The stream to a receiver, which knows it by these: `StreamId`. batch_bytes: how
    it is divided; another program may divide it otherwise."""

    sender: str
    started_ns: int
    batch_bytes: int
    version: str


NO_LINK = Link("", 0, 0, "")
"""Packets go to no receiver."""


@dataclass(frozen=True, slots=True)
class Slot:
    """arrived: packets of the play of this serial. batches, packets: of the whole
    stream to a receiver, that it has acknowledged."""

    serial: int = 0
    arrived: int = 0
    batches: int = 0
    packets: int = 0


@dataclass(slots=True)
class Memory:
    """All of it."""

    items: dict[int, Item] = field(default_factory=dict)
    plays: dict[int, Play] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    is_paused: bool = False
    link: Link | None = None
    slot: Slot = Slot()

    def take(self, line: "Line") -> None:
        """What a line says replaces what an earlier one said of the same."""
        match line:
            case Item():
                self.items[line.number] = line
            case Play(is_over=True):
                self.plays.pop(line.serial, None)
            case Play():
                self.plays[line.serial] = line
            case Seen(begins=""):
                self.seen.pop(line.path, None)
            case Seen():
                self.seen[line.path] = line.begins
            case Link():
                self.link = line
            case bool():
                self.is_paused = line

    def lines(self) -> list["Line"]:
        """The fewest that say all of it."""
        seen = [Seen(path, begins) for path, begins in self.seen.items()]
        link = [] if self.link is None else [self.link]
        said: list[Line] = [*self.items.values(), *self.plays.values(), *seen]
        return [*said, *link, self.is_paused]


Line = Item | Play | Seen | Link | bool
"""bool: whether it is paused."""


def encode_line(line: Line) -> bytes:
    """One thing that has changed."""
    match line:
        case Item():
            said: dict[str, Any] = {"item": {**asdict(line), "where": line.where.value}}
        case Play():
            said = {"play": asdict(line)}
        case Seen():
            said = {"seen": asdict(line)}
        case Link():
            said = {"link": asdict(line)}
        case _:
            said = {"paused": line}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def decode(octets: bytes) -> Memory:
    """What a whole file says; of a last line that is torn, nothing. Raises FormatError
    with the place of the line."""
    if not octets.startswith(MAGIC) or len(octets) < LINES_AT:
        raise FormatError("it is no checkpoint of pcap-zmq dispatch")
    memory, head = Memory(), octets[:LINES_AT]
    *whole, _ = octets[LINES_AT:].split(b"\n")
    at = LINES_AT
    for text in whole:
        try:
            memory.take(_decode_line(text))
        except (
            AttributeError,
            KeyError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise FormatError(
                f"the line at octet {at} says nothing that is known"
            ) from error
        at += len(text) + 1
    slots = (decode_slot(head[at:][:SLOT_LENGTH]) for at in SLOT_OFFSETS)
    _, memory.slot = max(
        filter(None, slots), key=lambda found: found[0], default=(0, Slot())
    )
    play = memory.plays.get(memory.slot.serial)
    if play is not None and play.arrived != memory.slot.arrived:
        play.arrived, play.octets = memory.slot.arrived, 0
    serial, start, at = MOVING.unpack_from(head, MOVING_AT)
    play = memory.plays.get(serial)
    if play is not None and play.arrived == start and at > 0:
        play.octets = at
    return memory


def _decode_line(text: bytes) -> Line:
    ((kind, said),) = json.loads(text).items()
    match kind:
        case "item":
            item = Item(**{**said, "where": Where(said["where"])})
            _check(item.number, item.packets, texts=(item.path, item.verdict, item.why))
            if item.verdict not in _VERDICTS:
                raise ValueError(item.verdict)
            return item
        case "play":
            play = Play(**said)
            if not isinstance(play.paths, list) or not play.paths:
                raise ValueError("no paths")
            _check(
                play.serial,
                play.arrived,
                play.octets,
                texts=(play.key, play.mark, *play.paths),
            )
            return play
        case "seen":
            seen = Seen(**said)
            _check(texts=(seen.path, seen.begins))
            return seen
        case "link":
            link = Link(**said)
            _check(
                link.started_ns,
                link.batch_bytes,
                texts=(link.sender, link.version),
            )
            bytes.fromhex(link.sender)
            return link
        case "paused":
            return bool(said)
        case _:
            raise ValueError(kind)


def _check(*numbers: int, texts: tuple[str, ...]) -> None:
    if not all(type(n) is int and 0 <= n <= _NUMBER_MAX for n in numbers):
        raise ValueError("a number")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text")


def encode_head(slot: Slot) -> bytes:
    """Of a checkpoint that is written anew: nothing is under way."""
    head = (MAGIC + encode_slot(0, slot)).ljust(MOVING_AT) + MOVING.pack(0, 0, 0)
    return head.ljust(LINES_AT - 1) + b"\n"


def encode_slot(generation: int, slot: Slot) -> bytes:
    """How far a play has come; the slot of the highest generation counts."""
    numbers = (generation, slot.serial, slot.arrived, slot.batches, slot.packets)
    said = " ".join(f"{number:016x}" for number in numbers)
    return f"{said} {_digest(said.encode())}".encode().ljust(SLOT_LENGTH - 1) + b"\n"


def decode_slot(octets: bytes) -> tuple[int, Slot] | None:
    """With its generation; None: it is torn, or was never written."""
    said, _, check = octets.strip().rpartition(b" ")
    if check.decode("ascii", "replace") != _digest(said):
        return None
    try:
        generation, *numbers = (int(word, 16) for word in said.split())
        return generation, Slot(*numbers)
    except (TypeError, ValueError):
        return None


def _digest(octets: bytes) -> str:
    return hashlib.blake2b(octets, digest_size=4).hexdigest()
