"""A sender whose batches are ready made, always the same ones.

usage: python -m bench.instructions.scripted ENDPOINT
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from bench.instructions.traffic import LOADS
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.packet import Batch
from pcap_zmq.poll import Stop
from pcap_zmq.tools.send import Send
from pcap_zmq.tools.send_config import SavefileOptions, SendConfig
from pcap_zmq.units import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcap_zmq.counters import SenderCounters
    from pcap_zmq.packet import Instant
    from pcap_zmq.poll import Watch

WARM_UP = 5
STRETCH = 100
BATCHES = WARM_UP + STRETCH
REPEATS = 3
"""Each load comes so often: so many batches that are not counted, then a stretch."""

LOOK_NS = 10 * NS_PER_MS
"""How often it is looked for acknowledgements, where nothing else happens."""


class ScriptedSource:
    """Has all batches of all loads: outside of stretches each when those before it are
    acknowledged, else at any time.

    reached: told the name of a load and how many batches of it are done with.
    """

    linktype = RAW
    warnings = ()
    failure = None
    held_packets = 0

    def __init__(
        self,
        counters: SenderCounters,
        reached: Callable[[str, int], None],
    ) -> None:
        self._due: int | None = None
        self._counters = counters
        self._reached = reached
        self._batches = self._all()
        self._next = next(self._batches, None)
        self._awaited: tuple[str, int] | None = None

    def _all(self) -> Iterator[tuple[Batch, tuple[str, int]]]:
        for load in LOADS * REPEATS:
            records = load.records()
            for number in range(1, BATCHES + 1):
                yield Batch(RAW, records, load.packets), (load.name, number)

    def read(self, now: Instant) -> Batch | None:
        """The next one."""
        self.serve(now)
        if self._awaited is not None or self._next is None:
            return None
        batch, self._awaited = self._next
        self._next = next(self._batches, None)
        self._counters.received += batch.count
        return batch

    def serve(self, now: Instant) -> None:
        """Looks whether the last one is done with."""
        counters = self._counters
        is_done = counters.acknowledged == counters.received or not self._waits()
        if self._awaited and is_done:
            self._reached(*self._awaited)
            self._awaited = None
        # The sender takes acknowledgements in passing: so it has to pass.
        waits = self._awaited and self._waits()
        self._due = now.mono_ns + LOOK_NS if waits else None

    def _waits(self) -> bool:
        """So that nothing is under way when a stretch begins, and when it ends."""
        return self._awaited is not None and (
            self._awaited[1] <= WARM_UP or self._awaited[1] == BATCHES
        )

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Waits for nothing but time."""
        return ()

    def due(self) -> int | None:
        """When to look again."""
        return self._due

    def settle(self, receipt: object, now: Instant) -> None:
        """Nothing waits for it."""

    def stop(self, now: Instant) -> None:
        """Takes no more."""
        self._next = None

    def is_exhausted(self) -> bool:
        """Whether all is acknowledged."""
        return self._next is None and self._awaited is None

    def close(self) -> None:
        """Holds nothing."""


class Scripted(Send):
    """The sending tool with such a source."""

    def __init__(self, endpoint: str, source: Callable[..., ScriptedSource]) -> None:
        nowhere = SavefileOptions("/dev/null")
        super().__init__(SendConfig(nowhere, endpoint, low_watermark=0, name="bench"))
        self._script = source

    def _open_source(self) -> ScriptedSource:  # type: ignore[override]  # as good
        return self._script(self.counters)


def send(endpoint: str, source: Callable[..., ScriptedSource]) -> None:
    """All loads, to the receiver there. source: takes the counters."""
    with Scripted(endpoint, source) as tool:
        tool.run(Stop())
        if tool.counters.acknowledged != REPEATS * BATCHES * sum(x.packets for x in LOADS):
            raise AssertionError(tool.totals())


if __name__ == "__main__":
    send(
        sys.argv[1], partial(ScriptedSource, reached=lambda *_: None)
    )
