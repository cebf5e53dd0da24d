"""Several outputs as one sink: every packet to each of them, or each flow to one.

Theory of operation. Each output has a branch with a queue of its own. A batch is taken
when every branch has room for it (those that drop always have), and has arrived when
all that got any of it have written or dropped it. Its packets are counted once by the
ledger: at the output that gets them, or, where all do, at the first.

Where flows are spread, a batch becomes one for each output, of memory of its own, and
its receipt as many. Flows are spread over the outputs that there are, however slow;
what was meant for one that has failed for good goes to the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from pcap_zmq.errors import OutputError
from pcap_zmq.formats.runs import Copy, Runs
from pcap_zmq.formats.stream import Receipt
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Watch
from pcap_zmq.sinks.branch import Branch

if TYPE_CHECKING:
    from flow_ffi import FlowSpread


@dataclass(frozen=True, slots=True)
class HeldPackets:
    """Some that are in an output's queue."""

    count: int
    receipt: Any


class Spreading(Protocol):
    """What is to be done with a batch, and when it has arrived."""

    def take(self, item: Batch, now: Instant) -> None:
        """Gives the branches what is theirs."""

    def arrived(self) -> Sequence[Any]:
        """Receipts of batches that are everywhere where they shall be."""

    def held(self) -> Iterator[HeldPackets]:
        """As the ledger counts them."""


class Outputs:
    """Owns its branches. spreading: `Copies` or `Flows`, of the same branches. Raises
    OutputError where all have failed, or one that all have to wait for."""

    def __init__(self, branches: Sequence[Branch], spreading: Spreading) -> None:
        self.branches = branches
        self._spreading = spreading
        self._failure: OutputError | None = None

    @property
    def held(self) -> Sequence[HeldPackets]:
        """What was taken, each packet where the ledger counts it."""
        return tuple(self._spreading.held())

    def serve(self, now: Instant) -> None:
        """All of them get their turn."""
        for branch in self.branches:
            branch.serve(now)
        self._check()

    def due(self) -> int | None:
        """When the first of them wants a turn."""
        dues = (branch.due() for branch in self.branches)
        return min((due for due in dues if due is not None), default=None)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """What any of them waits for: also while nothing more is wanted of us, since
        each has its own queue."""
        for branch in self.branches:
            yield from branch.watch()

    def offer(self, item: Batch, now: Instant) -> bool:
        """True once all have it, or what of it is theirs."""
        if not all(branch.has_room() for branch in self.branches):
            return False
        try:
            self._spreading.take(item, now)
        except OutputError as error:
            # The branches have it, and account for it; the next turn ends with this.
            self._failure = error
        return True

    def arrived(self) -> Sequence[Any]:
        """Of batches that are in every output, or never will be."""
        return self._spreading.arrived()

    def finish(self, deadline_ns: int | None) -> None:
        """What waits is still written, each at its own pace."""
        for branch in self.branches:
            branch.finish(deadline_ns)

    def is_finished(self) -> bool:
        """After `finish`: all of them are."""
        return all(branch.is_finished() for branch in self.branches)

    def abandon(self) -> None:
        """What waits for those that drop is dropped; the rest is still its senders'."""
        for branch in self.branches:
            branch.abandon()

    def close(self) -> None:
        """Every one, whatever becomes of the others."""
        for branch in self.branches:
            branch.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        failures = [branch.failure for branch in self.branches]
        last = failures[-1]
        if last is not None and all(failure is not None for failure in failures):
            raise OutputError(f"{last}; no output is left") from last


# Every packet to each of them.


@dataclass(slots=True)
class _Copied:
    """A batch that several branches have, and how many pieces of it in all."""

    receipt: Any
    waits_for: int = 0


class Copies:
    """Every packet to every branch; the ledger goes by the first."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self._branches = branches
        # By the receipt of each piece, which is kept here so that no other has its id.
        self._pieces: dict[int, tuple[Any, _Copied]] = {}

    def take(self, item: Batch, now: Instant) -> None:
        copied = _Copied(item.receipt)
        for branch in self._branches:
            mine = item
            if branch is not self._branches[0]:
                mine = replace(item, receipt=_copy_of(item.receipt))
            pieces = branch.prepare(mine, now)
            if item.receipt is not None:
                copied.waits_for += len(pieces)
                for piece in pieces:
                    self._pieces[id(piece.receipt)] = piece.receipt, copied
            branch.take(pieces, now)

    def arrived(self) -> Sequence[Any]:
        arrived = []
        for branch in self._branches:
            for receipt in branch.arrived():
                _, copied = self._pieces.pop(id(receipt))
                copied.waits_for -= 1
                if not copied.waits_for:
                    arrived.append(copied.receipt)
        return arrived

    def held(self) -> Iterator[HeldPackets]:
        for held in self._branches[0].held:
            yield HeldPackets(held.count, held.receipt)


def _copy_of(receipt: Any) -> Any:
    """Another one for the same packets; also of what is nobody's, to know it again."""
    if isinstance(receipt, Receipt | Runs):
        return Copy.like(receipt)
    return None if receipt is None else Copy((), ())


# Each flow to one of them.


class Flows:
    """Both directions of each flow to one and the same branch."""

    def __init__(self, branches: Sequence[Branch], spread: "FlowSpread") -> None:
        self._branches = branches
        self._spread = spread
        self._arrived: list[Any] = []
        self._has_announced = False

    def take(self, item: Batch, now: Instant) -> None:
        if not item.records:
            self._pass_on(item, now)
            return
        live = {
            number: branch
            for number, branch in enumerate(self._branches)
            if branch.failure is None
        }
        runs = () if item.receipt is None else tuple(item.receipt.runs())
        segments = [packets for _, packets in runs] or [item.count]
        parts = self._spread.spread(item.linktype, item.records, segments, tuple(live))
        for branch, part in zip(live.values(), parts, strict=True):
            if not part.records:
                continue
            receipt = None
            if runs:
                counted = zip(runs, part.counts, strict=True)
                receipt = Runs.of((whose, n) for (whose, _), n in counted if n)
            batch = Batch(item.linktype, part.records, part.count, receipt)
            branch.take(branch.prepare(batch, now), now)

    def _pass_on(self, item: Batch, now: Instant) -> None:
        """No packets: it has arrived; but all hear of the first link type."""
        for branch in () if self._has_announced else self._branches:
            announced = branch.prepare(replace(item, receipt=None), now)
            branch.take(announced, now)
        self._has_announced = True
        if item.receipt is not None:
            self._arrived.append(item.receipt)

    def arrived(self) -> Sequence[Any]:
        arrived, self._arrived = self._arrived, []
        for branch in self._branches:
            arrived += branch.arrived()
        return arrived

    def held(self) -> Iterator[HeldPackets]:
        for branch in self._branches:
            for held in branch.held:
                yield HeldPackets(held.count, held.receipt)
