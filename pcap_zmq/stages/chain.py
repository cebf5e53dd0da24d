"""Two stages as one: what the first makes of an item goes through the second."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from pcap_zmq.packet import Instant
from pcap_zmq.ports import Stage

In = TypeVar("In")
Between = TypeVar("Between")
Out = TypeVar("Out")


class Chain(Generic[In, Between, Out]):
    """Neither stage knows of the other."""

    def __init__(self, first: Stage[In, Between], second: Stage[Between, Out]) -> None:
        self._first = first
        self._second = second

    def feed(self, item: In, now: Instant) -> Iterable[Out]:
        """Everything, in order."""
        for between in self._first.feed(item, now):
            yield from self._second.feed(between, now)
