"""Stages as one: what the first makes of an item goes through the next."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from pcap_zmq.packet import Instant
from pcap_zmq.ports import HoldingStage, Stage

In = TypeVar("In")
Between = TypeVar("Between")
Out = TypeVar("Out")


class Through(Generic[In]):
    """What comes goes on as it is."""

    def feed(self, item: In, now: Instant) -> Iterable[In]:
        """Itself."""
        return (item,)


class Chain(Generic[In, Between, Out]):
    """Two stages, of which neither knows of the other."""

    def __init__(self, first: Stage[In, Between], second: Stage[Between, Out]) -> None:
        self._first = first
        self._second = second

    def feed(self, item: In, now: Instant) -> Iterable[Out]:
        """Everything, in order."""
        for between in self._first.feed(item, now):
            yield from self._second.feed(between, now)


class HoldingChain:
    """Any number of stages as one, of which one may hold what it was fed."""

    def __init__(
        self,
        before: Sequence[Stage[Any, Any]],
        holding: HoldingStage[Any, Any],
        after: Sequence[Stage[Any, Any]],
    ) -> None:
        self._before = before
        self._holding = holding
        self._after = after

    @property
    def held(self) -> Sequence[Any]:
        """What is in it."""
        return self._holding.held

    def feed(self, item: Any, now: Instant) -> Iterable[Any]:
        """What does not have to wait, in order."""
        for between in _through(self._before, [item], now):
            yield from _through(self._after, self._holding.feed(between, now), now)

    def due(self) -> int | None:
        """When something of it has to go on."""
        return self._holding.due()

    def flush(self, now: Instant) -> Iterable[Any]:
        """What is due."""
        return _through(self._after, self._holding.flush(now), now)

    def drain(self, now: Instant) -> Iterable[Any]:
        """All that is held."""
        return _through(self._after, self._holding.drain(now), now)


def as_one(stages: Sequence[Stage[Any, Any]]) -> Stage[Any, Any]:
    """Stages in the order of flow, at least one; at most one of them holds."""
    for place, stage in enumerate(stages):
        if isinstance(stage, HoldingStage):
            return HoldingChain(stages[:place], stage, stages[place + 1 :])
    return functools.reduce(Chain, stages)


def _through(
    stages: Sequence[Stage[Any, Any]], items: Iterable[Any], now: Instant
) -> Iterable[Any]:
    if not stages:
        return items
    return (
        made
        for item in items
        for made in _through(stages[1:], stages[0].feed(item, now), now)
    )
