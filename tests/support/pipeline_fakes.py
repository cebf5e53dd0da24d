"""A source, a stage, a sink and a clock, whole and simple, for tests of the pipeline.

Time moves only where the pipeline waits, to the next moment at which anybody wants a
turn. A pipeline that would wait for ever fails the test at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pcap_zmq.packet import Instant
from pcap_zmq.poll import READABLE, Poller, Stop, Watch

MS = 1_000_000
TURNS_MAX = 100_000

# Descriptors that nobody opens: one that is always ready, and the signal's.
READY, STOP = 1_000_001, 1_000_002


@dataclass(frozen=True)
class Item:
    """So many packets; the receipt is what the source wants back."""

    count: int = 1
    receipt: Any = None


class ManualClock:
    """Tells what the test, or the poller below, has set."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * MS

    def now(self) -> Instant:
        return Instant(self.now_ns, self.now_ns)


class Flag(Stop):
    """A stop that no signal sets and that needs no descriptors."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True

    def watch(self) -> Watch:
        return Watch(STOP, READABLE)


class SteppingPoller(Poller):
    """Goes to the next moment at which something is due, and asks no descriptor."""

    def __init__(self, clock: ManualClock, stop: Stop) -> None:
        self._clock = clock
        self._stop = stop
        self.stop_at_ns: int | None = None
        """When a signal comes, which it does while the pipeline waits."""
        self.turns = 0
        self.watched: list[set[Any]] = []

    def wait(self, watches: Iterable[Watch], timeout_ns: int | None) -> None:
        watched = {watch.pollable for watch in watches}
        self.watched.append(watched)
        self.turns += 1
        assert self.turns < TURNS_MAX, "the pipeline turns for ever"
        if READY in watched or (STOP in watched and self._stop.is_set):
            timeout_ns = 0
        now_ns = self._clock.now_ns
        if self.stop_at_ns is not None and STOP in watched:
            until_stop_ns = max(0, self.stop_at_ns - now_ns)
            if timeout_ns is None or until_stop_ns <= timeout_ns:
                timeout_ns = until_stop_ns
                self._stop.set()
        assert timeout_ns is not None, "the pipeline would wait for ever"
        # A turn takes time, as it does outside.
        self._clock.now_ns = now_ns + max(timeout_ns, 1)


class ListSource:
    """Gives its items in order; a number is so many nanoseconds of nothing."""

    def __init__(self, script: Iterable[Item | int], clock: ManualClock) -> None:
        self._script = list(script)
        self._clock = clock
        self._waits_until_ns: int | None = None
        self.given: list[Item] = []
        self.settled: list[object] = []
        self.wanted: list[bool] = []
        self.stops = 0
        self.serves = 0
        self.is_closed = False

    def serve(self, now: Instant) -> None:
        self.serves += 1

    def due(self) -> int | None:
        return self._waits_until_ns

    def watch(self, wanted: bool) -> Iterable[Watch]:
        self.wanted.append(wanted)
        if wanted and self._script and self._waits_until_ns is None:
            yield Watch(READY, READABLE)

    def read(self, now: Instant) -> Item | None:
        if self._waits_until_ns is not None:
            if now.mono_ns < self._waits_until_ns:
                return None
            self._waits_until_ns = None
        if not self._script:
            return None
        entry = self._script.pop(0)
        if isinstance(entry, Item):
            self.given.append(entry)
            return entry
        self._waits_until_ns = now.mono_ns + entry
        return None

    def settle(self, receipt: object, now: Instant) -> None:
        self.settled.append(receipt)

    def stop(self, now: Instant) -> None:
        self.stops += 1
        self._script.clear()
        self._waits_until_ns = None

    def is_exhausted(self) -> bool:
        return not self._script

    def close(self) -> None:
        self.is_closed = True


class Splitter:
    """Makes of each item as many as the list says next; then one of each."""

    def __init__(self, parts: Iterable[int] = ()) -> None:
        self._parts = list(parts)
        self.made: list[Item] = []

    def feed(self, item: Item, now: Instant) -> Iterable[Item]:
        parts = self._parts.pop(0) if self._parts else 1
        made = [
            Item(item.count, (item.receipt, part) if parts > 1 else item.receipt)
            for part in range(parts)
        ]
        self.made += made
        return made


class Keeper(Splitter):
    """Holds what it is fed for so long, and gives two items at a time at most."""

    def __init__(self, keeps_ns: int) -> None:
        super().__init__()
        self._keeps_ns = keeps_ns
        self._kept: list[tuple[int, Item]] = []
        self.given_ns: list[int] = []
        """When each item was given."""

    @property
    def held(self) -> Sequence[Item]:
        return [item for _, item in self._kept]

    def feed(self, item: Item, now: Instant) -> Iterable[Item]:
        self._kept += [(now.mono_ns, made) for made in super().feed(item, now)]
        return ()

    def due(self) -> int | None:
        return self._kept[0][0] + self._keeps_ns if self._kept else None

    def flush(self, now: Instant) -> Iterable[Item]:
        due = [ns for ns, _ in self._kept if ns + self._keeps_ns <= now.mono_ns]
        return self._give(min(2, len(due)), now)

    def drain(self, now: Instant) -> Iterable[Item]:
        return self._give(2, now)

    def _give(self, count: int, now: Instant) -> Iterable[Item]:
        given, self._kept = self._kept[:count], self._kept[count:]
        assert given, "asked before anything was due"
        self.given_ns += [now.mono_ns] * len(given)
        return [item for _, item in given]


class MoodySink:
    """Takes items as its list of answers says; then takes all. After a "not now" it
    wants a turn a millisecond later."""

    def __init__(
        self, answers: Sequence[bool] = (), *, finishes_after_ns: int | None = 0
    ) -> None:
        self._answers = list(answers)
        self._finishes_after_ns = finishes_after_ns
        self._now_ns = 0
        self._due_ns: int | None = None
        self._finished_ns: int | None = None
        self.offered: list[Item] = []
        self.taken: list[Item] = []
        self._arrived: list[Any] = []
        self.deadlines: list[int | None] = []
        self.wanted: list[bool] = []
        self.abandons = 0
        self.serves = 0
        self.is_closed = False

    def serve(self, now: Instant) -> None:
        self.serves += 1
        self._now_ns = now.mono_ns
        if self._due_ns is not None and now.mono_ns >= self._due_ns:
            self._due_ns = None

    def due(self) -> int | None:
        dues = [due for due in (self._due_ns, self._finished_ns) if due is not None]
        return min(dues, default=None)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        self.wanted.append(wanted)
        return ()

    def offer(self, item: Item, now: Instant) -> bool:
        assert not self.deadlines, "offered after the finish"
        self.offered.append(item)
        if self._answers and not self._answers.pop(0):
            self._due_ns = now.mono_ns + MS
            return False
        self.taken.append(item)
        if item.receipt is not None:
            self._arrived.append(item.receipt)
        return True

    def arrived(self) -> Sequence[Any]:
        arrived, self._arrived = self._arrived, []
        return arrived

    def finish(self, deadline_ns: int | None) -> None:
        self.deadlines.append(deadline_ns)
        if self._finished_ns is None and self._finishes_after_ns is not None:
            self._finished_ns = self._now_ns + self._finishes_after_ns

    def is_finished(self) -> bool:
        return self._finished_ns is not None and self._now_ns >= self._finished_ns

    def abandon(self) -> None:
        self.abandons += 1

    def close(self) -> None:
        self.is_closed = True


class Timer:
    """Wants a turn every so often, and may do something in one of them."""

    def __init__(self, every_ns: int, clock: ManualClock) -> None:
        self._every_ns = every_ns
        self._due_ns = clock.now_ns + every_ns
        self.turns = 0

    def serve(self, now: Instant) -> None:
        if now.mono_ns >= self._due_ns:
            self._due_ns = now.mono_ns + self._every_ns
            self.turns += 1

    def watch(self) -> Iterable[Watch]:
        return ()

    def due(self) -> int | None:
        return self._due_ns


class Alarm:
    """Sets the flag in the middle of a turn, as a signal does that comes just then."""

    def __init__(self, at_ns: int, stop: Stop) -> None:
        self._at_ns: int | None = at_ns
        self._stop = stop

    def serve(self, now: Instant) -> None:
        if self._at_ns is not None and now.mono_ns >= self._at_ns:
            self._at_ns = None
            self._stop.set()

    def watch(self) -> Iterable[Watch]:
        return ()

    def due(self) -> int | None:
        return self._at_ns
