"""What is to be said of a batch once it is in the output, whoever's packets it has."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from link_ffi._link import ffi, lib
from link_ffi.lanes import Lane, Lanes


class Share(NamedTuple):
    """Of one stream: its lane's slot and generation, the batch's number there, its
    packets, and what its sender had missed and dropped when it sent it."""

    slot: int
    generation: int
    number: int
    packets: int
    lost: int = 0


class Shares:
    """The shares of a batch in their order, and how far they are in the output."""

    __slots__ = ("_c", "_lanes")

    def __init__(self, lanes: Lanes, c: Any) -> None:
        if not c:
            raise MemoryError
        self._lanes = lanes
        self._c = ffi.gc(c, lib.receipt_free)

    @classmethod
    def of(cls, lanes: Lanes, lane: Lane, number: int, packets: int) -> Self:
        """A batch that one lane has taken."""
        c = lib.receipt_new(1)
        shares = cls(lanes, c)
        lost = lib.lane_lost(lane)
        c.shares[0] = (lane.slot, lane.generation, number, packets, lost)
        return shares

    @property
    def written(self) -> int:
        """Packets of it that are in the output."""
        return int(self._c.written)

    def shares(self) -> Iterator[Share]:
        """In their order."""
        for share in self._c.shares[0 : self._c.count]:
            yield Share(
                share.slot,
                share.generation,
                share.number,
                share.packets,
                share.lost,
            )

    def count_written(self, packets: int) -> None:
        """So many more, in their order, are in the output; or, below 0, so many of the
        last ones turned out not to be."""
        lib.receipt_written(self._lanes.c, self._c, packets)

    def settle(self, now_ns: int) -> None:
        """It is in the output, or will never be: it is held no more, and its senders
        are owed acknowledgements."""
        lib.receipt_settle(self._lanes.c, self._c, now_ns)
