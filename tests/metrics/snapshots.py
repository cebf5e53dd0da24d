"""Snapshots, looked into; and lines of a ledger to make some of."""

from pcap_zmq.formats.ledger import Line, Tally
from pcap_zmq.metrics.family import Distribution, Labels, Snapshot
from pcap_zmq.packet import Instant

NOW = Instant(mono_ns=5_000_000_000, wall_ns=1_700_000_000_000_000_000)


def later(seconds: float) -> Instant:
    """So long after NOW."""
    passed_ns = round(seconds * 1e9)
    return Instant(NOW.mono_ns + passed_ns, NOW.wall_ns + passed_ns)


def numbers(snapshot: Snapshot) -> dict[str, dict[Labels, float]]:
    """All but histograms, by name and label values."""
    return {
        family.metric.name: dict(family.samples)
        for family in snapshot
        if not isinstance(family, Distribution)
    }


def line(name: str, tally: Tally | None = None, *, is_here: bool = True) -> Line:
    """One sender in a ledger."""
    return Line(
        name=name,
        key="",
        address="",
        sender=name.encode().hex(),
        started_ns=1,
        since_ns=1,
        seen_ns=2,
        is_here=is_here,
        runs=1,
        repeated=0,
        malformed=0,
        rate=3,
        tally=tally or Tally(),
    )
