"""What a receiver keeps of each stream for the ordinary course; no socket, no clock."""

import enum
from collections.abc import Iterator
from typing import Protocol

from link_ffi._link import ffi, lib

_MANY = 1_024
_ALL = 1 << 16
_NEVER = (1 << 63) - 1

PEER_LENGTH = 5
"""Octets of the routing ids that ZeroMQ makes: a zero and a number."""

BATCHES_MIN: int = lib.LANE_BATCHES_MIN
"""Batches of a stream that are remembered beyond a window's worth, at most."""

MESSAGE_COST: int = lib.LANE_MESSAGE_COST
"""Octets that a batch costs beyond its payload."""


class Verdict(enum.IntEnum):
    """What became of a batch."""

    TAKEN = lib.LANE_TAKEN
    REPEATED = lib.LANE_REPEATED
    """It came before."""
    AHEAD = lib.LANE_AHEAD
    """One before it is missing."""
    FULL = lib.LANE_FULL
    """All streams together hold too much."""
    BEYOND = lib.LANE_BEYOND
    """Its stream holds more than its window."""


class Lane(Protocol):
    """One stream's: `struct lane`, of the memory of its Lanes until it is removed.
    Numbers are as in docs/wire.md; packets as in docs/ledger.md."""

    slot: int
    generation: int
    """Of the slot: who had it before is somebody else."""
    next: int
    """Number of the batch that is wanted."""
    written: int
    """Number of the last one in the output, as are all before it."""
    held_bytes: int
    window: int
    reserved: int
    """The largest window that the sender may still go by."""
    heard_ns: int
    is_here: bool
    packets_received: int
    packets_written: int
    acknowledged: int
    """Packets of ours that the sender has found acknowledged, as we count."""
    said_before: int
    """What the sender said when it had found `acknowledged_before` of ours so."""
    acknowledged_before: int
    is_owed: bool
    """An acknowledgement, now or soon."""
    is_eager: bool
    """Its sender has nothing more to say before it is acknowledged: at once, then."""
    is_open: bool
    """`Intake` may take what is plain of it."""
    batches_count: int
    batches_settled: int
    """Of those remembered, the ones in the output: the first."""


class Lanes:
    """All of a receiver's. held_max: octets; above it nothing is taken. delay_ns: how
    long an acknowledgement may wait for company."""

    def __init__(self, held_max: int, delay_ns: int) -> None:
        self.c = ffi.gc(lib.lanes_new(held_max, delay_ns), lib.lanes_free)
        if not self.c:
            raise MemoryError
        self._slots = ffi.new("uint32_t[]", _MANY)

    @property
    def held_bytes(self) -> int:
        """Taken and not settled, as windows count it."""
        return int(self.c.held_bytes)

    def add(self, stream: bytes, number: int) -> Lane:
        """stream: 24 octets, as on the wire. number: of the batch that is wanted."""
        lane = lib.lanes_add(self.c)
        if not lane:
            raise MemoryError
        ffi.memmove(lane.id, stream, lib.LANE_ID)
        lane.next, lane.written = number, number - 1
        added: Lane = lane
        return added

    def remove(self, lane: Lane) -> None:
        """It is forgotten, and with it what is still to be said of it."""
        lib.lanes_remove(self.c, lane)

    def take(
        self, lane: Lane, number: int, payload_length: int, packets: int
    ) -> Verdict:
        """A batch came; where it is taken it is counted as received, and held."""
        return Verdict(lib.lane_take(self.c, lane, number, payload_length, packets))

    def spoke(self, lane: Lane) -> None:
        """Something was said to its sender, as good as an acknowledgement."""
        lib.lane_spoke(self.c, lane)

    def open(self, lane: Lane, peer: bytes, fd: int, key: str) -> None:
        """From now on it may be taken from this connection by `Intake` alone. peer:
        ZeroMQ's routing id; any but one of the form that it makes stays closed. A peer
        can claim another's: what tells who speaks is the descriptor and the key."""
        if len(peer) == PEER_LENGTH and peer[0] == 0:
            number = int.from_bytes(peer[1:]) | 1 << 32
            lib.lane_open(self.c, lane, number, fd, key.encode())

    def close(self, lane: Lane) -> None:
        """Each message of it is to be judged again."""
        lib.lane_close(self.c, lane)

    def take_unevenness(self) -> bool:
        """Whether somebody's share of the queue has come free since this was asked."""
        is_uneven, self.c.is_uneven = self.c.is_uneven, 0
        return bool(is_uneven)

    def owed(self, now_ns: int) -> Iterator[int]:
        """Slots of those whose acknowledgement is due; each is owed no more then."""
        while count := lib.lanes_owed(self.c, now_ns, self._slots, _MANY):
            yield from self._slots[0:count]

    def owes(self) -> bool:
        """Whether any acknowledgement is owed, due or not."""
        return bool(lib.lanes_due(self.c) != _NEVER)

    def due(self) -> int | None:
        """When the next one is (mono_ns)."""
        due = int(lib.lanes_due(self.c))
        return None if due == _NEVER else max(0, due)

    def share_out(self, queue_bytes: int) -> None:
        """Sets the window of each that is here to its share of a queue, as far as that
        allows now, and owes it to those whose window has changed. A share is a power
        of two of the queue, so that most comings and goings change nobody's."""
        lib.lanes_share_out(self.c, queue_bytes)

    def close_all(self) -> None:
        """Who may speak has changed: each is to be judged again."""
        lib.lanes_close_all(self.c)

    def heard_since(self, since_ns: int) -> list[tuple[int, int]]:
        """Descriptors of the open ones on which something came, with when it did."""
        fds, times = ffi.new("int[]", _ALL), ffi.new("int64_t[]", _ALL)
        count = lib.lanes_heard_since(self.c, since_ns, fds, times, _ALL)
        return list(zip(fds[0:count], times[0:count], strict=True))


def hear(lane: Lane, totals: bytes, now_ns: int) -> None:
    """A message came with these counters: what of ours has its sender found
    acknowledged?"""
    lib.lane_hear(lane, totals, now_ns)


def start_over(lane: Lane, number: int, said: int) -> None:
    """Its sender cannot know what became of the batches before this one, and takes
    `said` packets for acknowledged: of that, what it did not hear from us is not
    ours."""
    lib.lane_start_over(lane, number, said)


def totals_of(lane: Lane) -> bytes:
    """What its sender said last."""
    return bytes(ffi.buffer(lane.totals))  # type: ignore[attr-defined]
