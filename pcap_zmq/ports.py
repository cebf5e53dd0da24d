"""What a source, a stage and a sink must offer for the pipeline to join them."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch

T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class Timed(Protocol):
    """What wants a turn from time to time."""

    def serve(self, now: Instant) -> None:
        """Does what has become possible or due, apart from moving batches."""

    def due(self) -> int | None:
        """When (mono_ns) it wants a turn at the latest; None: only when woken."""


class Attendant(Timed, Protocol):
    """What stands beside the flow and never touches it: reports, a door keeper. It gets
    a turn when it is due or what it watches is ready, as it said after its last one."""

    def watch(self) -> Iterable[Watch]:
        """What would give it a turn before `due`."""


class Edge(Timed, Protocol):
    """What touches the world. Nothing of it waits; the pipeline does."""

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """What would make another turn worthwhile before `due`.

        wanted: a source's item would be taken; a sink has one that waits for it.
        """

    def close(self) -> None:
        """Releases everything; twice is harmless."""


class Source(Edge, Protocol[T_co]):
    """Where data comes from."""

    def read(self, now: Instant) -> T_co | None:
        """The next item; None: nothing now."""

    def settle(self, receipt: object, now: Instant) -> None:
        """The item of this receipt has been written."""

    def stop(self, now: Instant) -> None:
        """Takes nothing new from the world; what it has can still be read."""

    def is_exhausted(self) -> bool:
        """Nothing will ever be read again."""


class Stage(Protocol[T_contra, T_co]):
    """Values in, values out; touches nothing."""

    def feed(self, item: T_contra, now: Instant) -> Iterable[T_co]:
        """What becomes of one item, in order; nothing where it was dropped."""


@runtime_checkable
class HoldingStage(Stage[T_contra, T_co], Protocol[T_contra, T_co]):
    """A stage that may keep what it was fed, and give it later."""

    @property
    def held(self) -> Sequence[Any]:
        """What is in it: items with a count and a receipt, for whoever accounts for
        packets."""

    def due(self) -> int | None:
        """When (mono_ns) something of it has to go on; None: it holds nothing."""

    def flush(self, now: Instant) -> Iterable[T_co]:
        """What is due, or a part of that: `due` says whether there is more."""

    def drain(self, now: Instant) -> Iterable[T_co]:
        """The same of all that it holds: no more will be fed."""


class Sink(Edge, Protocol[T_contra]):
    """Where data goes."""

    def offer(self, item: T_contra, now: Instant) -> bool:
        """Takes the item; False: not now, still yours, offer the same one again. What
        raises has not taken it."""

    def arrived(self) -> Sequence[object]:
        """Receipts of items that have arrived, or never will, since this was asked
        last: with the offer, or later."""

    def finish(self, deadline_ns: int | None) -> None:
        """No more will be offered; hand over what is held, and take leave when that is
        done or the deadline is there. May be called again with another deadline."""

    def is_finished(self) -> bool:
        """After `finish`: all that was offered has arrived."""

    def abandon(self) -> None:
        """Time is up: give up what is held, and count it."""
