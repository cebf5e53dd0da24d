"""Batches in, what is kept of them out: heads of flows, or whole flows, while there is
more than the high watermark."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from flow_ffi import FlowHeads, Kept, WholeFlows
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.policy.shed import FOLLOW, Plan, Shedding, plan_flows, plan_heads
from pcap_zmq.units import NS_PER_MS


class Keeper(Protocol):
    """Keeps what a plan says, and knows how one is made."""

    def make(self, rates: Sequence[float], goal: float) -> Plan:
        """The plan by which what came at these rates, by part, fits the goal."""

    def keep(self, batch: Batch, plan: Plan, now: Instant) -> Kept:
        """What is left of a batch."""

    def seen(self) -> list[int]:
        """Octets by part that came since this was asked last."""


class HeadKeeper:
    """Cuts the tails of flows. table_bytes: for what it remembers of them. seed: None
    makes one that nobody knows."""

    def __init__(self, table_bytes: int, seed: int | None = None) -> None:
        self._heads = FlowHeads(table_bytes, seed=seed)
        self.make = plan_heads
        self.seen = self._heads.seen

    def keep(self, batch: Batch, plan: Plan, now: Instant) -> Kept:
        return self._heads.shed(
            batch.linktype,
            batch.records,
            now.mono_ns // NS_PER_MS,
            plan.limit,
            plan.admitted,
        )


class FlowKeeper:
    """Drops flows whole, and always the same ones."""

    def __init__(self) -> None:
        self._flows = WholeFlows()
        self.make = plan_flows
        self.seen = self._flows.seen

    def keep(self, batch: Batch, plan: Plan, now: Instant) -> Kept:
        return self._flows.shed(batch.linktype, batch.records, plan.admitted)


class Shed:
    """Looks at no packet while less than a part of the high watermark comes."""

    def __init__(
        self, shedding: Shedding, keeper: Keeper, counters: SenderCounters
    ) -> None:
        self._shedding = shedding
        self._keeper = keeper
        self._counters = counters
        self.plan = FOLLOW

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]:
        """The batch, or what is kept of it; nothing where that is nothing."""
        shedding = self._shedding
        if not shedding.arrive(len(item.records), now.mono_ns):
            shedding.keep(len(item.records))
            return (item,)
        if shedding.is_plan_due(now.mono_ns):
            keeper = self._keeper
            self.plan = shedding.plan(keeper.make, keeper.seen(), now.mono_ns)
        kept = self._keeper.keep(item, self.plan, now)
        shedding.keep(len(kept.records))
        if kept.count == item.count:
            return (item,)
        self._counters.shed_tails += kept.tails
        self._counters.shed_flows += kept.flows
        self._counters.dropped[Reason.HIGH_WATERMARK] += kept.tails + kept.flows
        if not kept.count:
            return ()
        return (Batch(item.linktype, kept.records, kept.count, item.receipt),)
