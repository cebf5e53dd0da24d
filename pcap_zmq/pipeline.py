"""The loop: moves values from a source through a stage to a sink.

Theory of operation. A turn serves the edges, moves what can be moved, and waits for
whatever would make another turn worthwhile. What the sink does not take now is held
here, a batch or so; meanwhile nothing is read, or, where the source cannot wait, what
comes is dropped and counted. What a stage holds it gives when it is due, or as soon as
the source has stopped. The end comes in the order of flow: the source is stopped or
runs dry, what it had goes on, the stage is drained, the sink finishes, within the
linger time if a signal asked for the end.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from pcap_zmq.packet import Instant
from pcap_zmq.poll import Poller, Stop, Watch
from pcap_zmq.ports import Attendant, HoldingStage, Sink, Source, Stage

PARTING = 5
"""One part in so many of the linger time is left for the sink to take leave."""

ITEMS_A_TURN = 8
"""So that acknowledgements are seen to even when batches never stop coming."""

ATTENDED_NS = 50_000_000
"""Attendants that nothing wakes are asked when they want a turn no more often than
this: batches may need hundreds of turns a second."""


class Counted(Protocol):
    """What flows is counted in packets and may carry a receipt for its source."""

    @property
    def count(self) -> int: ...
    @property
    def receipt(self) -> object: ...


def count_packets(items: Iterable[Counted]) -> int:
    """Packets in all of them."""
    return sum(item.count for item in items)


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> Instant: ...


In = TypeVar("In")
Out = TypeVar("Out", bound=Counted)


class Pipeline(Generic[In, Out]):
    """Joins a source, a stage and a sink; owns none of them.

    drop: counts an item that is lost because the sink does not take it now; None: the
    item waits, and nothing more is read. delivered: is told of each item that the sink
    has taken; None: nobody wants to know. What is held when the linger time has passed
    stays in `held`, for the tool to account for.
    """

    def __init__(
        self,
        source: Source[In],
        stage: Stage[In, Out],
        sink: Sink[Out],
        *,
        drop: Callable[[Out], None] | None,
        linger_ns: int,
        clock: Clock,
        poller: Poller,
        delivered: Callable[[Out], None] | None = None,
    ) -> None:
        self._source = source
        self._stage = stage
        self._holding = stage if isinstance(stage, HoldingStage) else None
        self._sink = sink
        self._drop = drop
        self._delivered = delivered
        self._linger_ns = linger_ns
        self._clock = clock
        self._poller = poller
        self._attendants: tuple[Attendant, ...] = ()
        self._attendants_watch: list[Watch] = []
        self._stop_watch: tuple[Watch, ...] = ()
        self._attend_ns = 0
        self._attendants_due_ns: int | None = None
        self._held: deque[Out] = deque()
        self._deadline_ns: int | None = None
        self._parting_ns: int | None = None
        self._is_finishing = False
        self._has_more = False

    @property
    def held(self) -> Sequence[Any]:
        """What is between the source and the sink."""
        if self._holding is None:
            return tuple(self._held)
        return (*self._held, *self._holding.held)

    def run(self, stop: Stop, attendants: Iterable[Attendant] = ()) -> None:
        """Until the source is exhausted and the sink has finished, or the linger time
        has passed since `stop` was set. Attendants get a turn when it is due or when
        what they watch is ready."""
        self._attendants = tuple(attendants)
        try:
            self._run(stop)
        finally:
            # What arrived in the last turn is still to be acknowledged.
            now = self._clock.now()
            self._settle(now)
            self._source.serve(now)

    def _run(self, stop: Stop) -> None:
        while not self._turn(stop):
            now_ns = self._clock.now().mono_ns
            due_ns = now_ns if self._has_more else self._due()
            timeout_ns = None if due_ns is None else max(0, due_ns - now_ns)
            self._poller.wait(self._watches(stop), timeout_ns)

    def _turn(self, stop: Stop) -> bool:
        """True when the end has been reached."""
        now = self._clock.now()
        if stop.is_set and self._deadline_ns is None:
            self._deadline_ns = now.mono_ns + self._linger_ns
            self._parting_ns = self._deadline_ns - self._linger_ns // PARTING
            self._source.stop(now)
            if self._is_finishing:
                self._sink.finish(self._parting_ns)
        self._source.serve(now)
        self._sink.serve(now)
        self._settle(now)
        self._attend(now)
        self._move(now)
        if not self._is_finishing and self._is_over(now):
            self._is_finishing = True
            self._sink.finish(self._parting_ns)
            self._sink.serve(now)
        if self._is_finishing and self._sink.is_finished():
            return True
        if self._deadline_ns is not None and now.mono_ns >= self._deadline_ns:
            self._sink.abandon()
            return True
        return False

    def _is_over(self, now: Instant) -> bool:
        """Nothing more will come, or there is just enough time left to take leave."""
        is_empty = not self._held and self._stage_due() is None
        if is_empty and self._source.is_exhausted():
            return True
        return self._parting_ns is not None and now.mono_ns >= self._parting_ns

    def _move(self, now: Instant) -> None:
        self._has_more = False
        if self._is_finishing:
            return
        for _ in range(ITEMS_A_TURN):
            if not self._deliver(now) or not self._take(now):
                return
        # What a source has read from the world already wakes nobody.
        self._has_more = self._deliver(now)

    def _take(self, now: Instant) -> bool:
        """What the stage has held long enough, or one item from the source through the
        stage; False where there is neither. Here and not in the loop, since a source
        may use an item's memory again, once nobody refers to it, for the next."""
        if self._holding is not None and self._take_held(self._holding, now):
            return True
        item = self._source.read(now)
        if item is None:
            return False
        self._held.extend(self._stage.feed(item, now))
        return True

    def _take_held(self, stage: HoldingStage[In, Out], now: Instant) -> bool:
        due_ns = stage.due()
        if due_ns is None:
            return False
        # Nobody waits for what might still come once nothing does.
        is_ending = self._deadline_ns is not None or self._source.is_exhausted()
        if is_ending:
            self._held.extend(stage.drain(now))
        elif now.mono_ns >= due_ns:
            self._held.extend(stage.flush(now))
        return bool(self._held)

    def _deliver(self, now: Instant) -> bool:
        """Offers what is held; False while some of it has to wait."""
        while self._held:
            # While it is on offer it is the sink's: nobody shall count it twice.
            item = self._held.popleft()
            try:
                is_taken = self._sink.offer(item, now)
            except BaseException:
                self._held.appendleft(item)
                raise
            if is_taken:
                if self._delivered is not None:
                    self._delivered(item)
                self._settle(now)
            elif self._drop is None:
                self._held.appendleft(item)
                return False
            else:
                self._drop(item)
        return True

    def _settle(self, now: Instant) -> None:
        for receipt in self._sink.arrived():
            self._source.settle(receipt, now)

    def _attend(self, now: Instant) -> None:
        if not self._attendants:
            return
        # A signal may be for one of them.
        watched = (*self._attendants_watch, *self._stop_watch)
        is_woken = any(watch.is_ready for watch in watched)
        if now.mono_ns < self._attend_ns and not is_woken:
            return
        dues = []
        for attendant in self._attendants:
            attendant.serve(now)
            dues.append(attendant.due())
        self._attendants_due_ns = _earliest(dues)
        asked_ns = now.mono_ns + ATTENDED_NS
        self._attend_ns = _earliest((self._attendants_due_ns, asked_ns)) or 0
        self._attendants_watch = [
            watch for attendant in self._attendants for watch in attendant.watch()
        ]

    def _stage_due(self) -> int | None:
        return None if self._holding is None else self._holding.due()

    def _due(self) -> int | None:
        """When the next turn is due, whatever happens meanwhile."""
        dues = [self._sink.due(), self._attendants_due_ns]
        if not self._is_finishing:
            # Later what they have due is not read any more.
            dues.append(self._source.due())
            if not self._held:
                dues.append(self._stage_due())
        if self._deadline_ns is not None:
            dues.append(self._deadline_ns)
        if self._parting_ns is not None and not self._is_finishing:
            dues.append(self._parting_ns)
        return _earliest(dues)

    def _watches(self, stop: Stop) -> list[Watch]:
        watches = [*self._attendants_watch]
        self._stop_watch = () if self._deadline_ns is not None else (stop.watch(),)
        watches += self._stop_watch
        watches += self._source.watch(wanted=not self._held)
        watches += self._sink.watch(wanted=bool(self._held))
        return watches


def _earliest(dues: Iterable[int | None]) -> int | None:
    return min((due for due in dues if due is not None), default=None)
