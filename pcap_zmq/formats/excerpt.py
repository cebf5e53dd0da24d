"""Which of the packets that a receiver has kept somebody wants, and those packets.

Specification: docs/wire.md, section 11.
"""

import enum
import struct
from dataclasses import dataclass

from pcap_zmq.errors import WireError
from pcap_zmq.packet import Octets

_WANTED = struct.Struct(">HHIqqQQ")
_EXCERPT = struct.Struct(">HHIqqQQIIQ")

EVER_NS = (1 << 63) - 1
"""Later than any packet."""

NEWEST = (1 << 64) - 1
"""As `end`: what has come by now."""

UNKNOWN_LINKTYPE = 0xFFFF_FFFF


class _Flag(enum.IntFlag):
    FROM_IS_AGO = 1
    UNTIL_IS_AGO = 2
    PROBE = 4


class _Said(enum.IntFlag):
    MICROSECONDS = 1
    REFUSED = 2
    KEEPS_NOTHING = 4


class Refusal(enum.Enum):
    """Why there are no packets."""

    NOT_YOURS = "not yours"
    KEEPS_NOTHING = "nothing is kept"


@dataclass(frozen=True, slots=True)
class Wanted:
    """from_ns <= time < until_ns (since the epoch, or that long before now by the
    receiver's clock), from packet number `start` on up to `end`, as its filter says
    (classic BPF; empty: all). is_probe: no packets, only what there is."""

    from_ns: int = 0
    until_ns: int = EVER_NS
    is_from_ago: bool = False
    is_until_ago: bool = False
    start: int = 0
    end: int = NEWEST
    filter: bytes = b""
    is_probe: bool = False
    linktype: int | None = None
    """Of the packets; None: that of the oldest."""

    def at(self, wall_ns: int) -> "Wanted":
        """The same, with times since the epoch."""
        return Wanted(
            max(0, wall_ns - self.from_ns) if self.is_from_ago else self.from_ns,
            max(0, wall_ns - self.until_ns) if self.is_until_ago else self.until_ns,
            start=self.start,
            end=self.end,
            filter=self.filter,
            is_probe=self.is_probe,
            linktype=self.linktype,
        )


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some of the packets that were wanted. first: the number of the oldest that is
    kept. reached: where to go on; `end` when that is all. Times and `end` are as the
    receiver has understood them."""

    from_ns: int
    until_ns: int
    first: int
    reached: int
    end: int
    linktype: int | None
    nanoseconds: bool
    records: Octets = b""
    count: int = 0
    others: int = 0
    """Packets of another link type, left out, whatever their time."""
    refusal: Refusal | None = None


def encode_wanted(wanted: Wanted) -> bytes:
    """The details of its question."""
    flags = (
        _Flag.FROM_IS_AGO * wanted.is_from_ago
        | _Flag.UNTIL_IS_AGO * wanted.is_until_ago
        | _Flag.PROBE * wanted.is_probe
    )
    linktype = UNKNOWN_LINKTYPE if wanted.linktype is None else wanted.linktype
    head = _WANTED.pack(
        flags, 0, linktype, wanted.from_ns, wanted.until_ns, wanted.start, wanted.end
    )
    return head + wanted.filter


def decode_wanted(details: Octets) -> Wanted:
    """What its question's details say. Raises WireError."""
    if len(details) < _WANTED.size:
        raise WireError("a question for packets that is cut short")
    flags, zero, linktype, *numbers = _WANTED.unpack(details[: _WANTED.size])
    if flags > max(_Flag) * 2 - 1 or zero:
        raise WireError(f"a question for packets with flags {flags:#x}")
    from_ns, until_ns, start, end = numbers
    if from_ns < 0 or until_ns < 0:
        raise WireError("a question for packets from before there were any")
    return Wanted(
        from_ns,
        until_ns,
        is_from_ago=bool(flags & _Flag.FROM_IS_AGO),
        is_until_ago=bool(flags & _Flag.UNTIL_IS_AGO),
        start=start,
        end=end,
        filter=bytes(details[_WANTED.size :]),
        is_probe=bool(flags & _Flag.PROBE),
        linktype=None if linktype == UNKNOWN_LINKTYPE else linktype,
    )


def encode_excerpt(excerpt: Excerpt) -> bytes:
    """The body of its answer."""
    said = _Said(0)
    if not excerpt.nanoseconds:
        said |= _Said.MICROSECONDS
    if excerpt.refusal is Refusal.NOT_YOURS:
        said |= _Said.REFUSED
    elif excerpt.refusal is Refusal.KEEPS_NOTHING:
        said |= _Said.KEEPS_NOTHING
    linktype = UNKNOWN_LINKTYPE if excerpt.linktype is None else excerpt.linktype
    head = _EXCERPT.pack(
        said,
        0,
        linktype,
        excerpt.from_ns,
        excerpt.until_ns,
        excerpt.first,
        excerpt.reached,
        excerpt.count,
        excerpt.others,
        excerpt.end,
    )
    return head + excerpt.records


def decode_excerpt(body: Octets) -> Excerpt:
    """What its answer's body says; the records are still to be counted. Raises
    WireError."""
    if len(body) < _EXCERPT.size:
        raise WireError("an excerpt that is cut short")
    said, zero, linktype, *numbers = _EXCERPT.unpack(body[: _EXCERPT.size])
    from_ns, until_ns, first, reached, count, others, end = numbers
    if said > max(_Said) * 2 - 1 or zero:
        raise WireError(f"an excerpt with flags {said:#x}")
    refusal = None
    if said & _Said.REFUSED:
        refusal = Refusal.NOT_YOURS
    elif said & _Said.KEEPS_NOTHING:
        refusal = Refusal.KEEPS_NOTHING
    return Excerpt(
        from_ns,
        until_ns,
        first,
        reached,
        end,
        None if linktype == UNKNOWN_LINKTYPE else linktype,
        not said & _Said.MICROSECONDS,
        memoryview(body)[_EXCERPT.size :],
        count,
        others,
        refusal,
    )
