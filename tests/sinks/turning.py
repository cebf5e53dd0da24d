"""Gives a sink its turns as the pipeline does, until something has come true."""

from collections.abc import Callable, Iterable
from typing import Any

from pcap_zmq.clock import NS_PER_S, SystemClock
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Poller
from pcap_zmq.ports import Sink
from testbed.waiting import wait_until
from tests.pipes import packets

PATIENCE_S = 30.0
LONGEST_NS = NS_PER_S // 20


class Receipt:
    """Counts as a receipt of the link does, for one sender."""

    def __init__(self) -> None:
        self.written = 0
        self.dropped = 0

    def count_written(self, packets: int) -> int:
        self.written += packets
        return packets

    def count_dropped(self, reason: Any, packets: int) -> int:
        self.dropped += packets
        return packets


def batch_of(numbers: range, size: int = 200, receipt: Any = None) -> Batch:
    """A batch of numbered packets."""
    return Batch(RAW, packets.records(numbers, size), len(numbers), receipt)


class Turning:
    """A sink and the time; what has arrived is kept."""

    def __init__(self, sink: Sink[Batch]) -> None:
        self.sink = sink
        self.arrived: list[Any] = []
        self._clock = SystemClock()
        self._poller = Poller()

    @property
    def now(self) -> Instant:
        return self._clock.now()

    def turn(self, *, wanted: bool = False) -> None:
        """One turn, and a wait for whatever makes another one worthwhile."""
        self._serve()
        self._wait(wanted=wanted)

    def _serve(self) -> None:
        self.sink.serve(self.now)
        self.arrived += self.sink.arrived()

    def _wait(self, *, wanted: bool = False) -> None:
        due_ns = self.sink.due()
        rest_ns = LONGEST_NS
        if due_ns is not None:
            rest_ns = max(0, min(rest_ns, due_ns - self.now.mono_ns))
        self._poller.wait(self.sink.watch(wanted), rest_ns)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Turns until it is true; gives back what it was."""

        def turned() -> Any:
            self._serve()
            found = condition()
            if not found:
                self._wait()
            return found

        return wait_until(turned, PATIENCE_S, what)

    def offer(self, item: Batch) -> bool:
        taken = self.sink.offer(item, self.now)
        self.arrived += self.sink.arrived()
        return taken

    def give(self, items: Iterable[Batch]) -> None:
        """Offers each until it is taken."""
        for item in items:

            def taken(item: Batch = item) -> bool:
                if self.offer(item):
                    return True
                self.turn(wanted=True)
                return False

            wait_until(taken, PATIENCE_S, "the sink to take a batch")

    def finish(self, within_ns: int | None = None) -> None:
        """To its end."""
        deadline_ns = None if within_ns is None else self.now.mono_ns + within_ns
        self.sink.finish(deadline_ns)
        self.until(self.sink.is_finished, "the sink to finish")
