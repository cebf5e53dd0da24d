"""The values that are exported: what is measured, under which name, and how much.

Names and labels are Prometheus': base units, `_total` for what only grows. Other
exporters make theirs of them.

Specification: https://prometheus.io/docs/practices/naming/.
"""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from pcap_zmq.packet import Instant


class Kind(enum.Enum):
    """What may be done with the numbers of a metric."""

    COUNTER = "counter"
    """Only grows: its rate says something."""
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


Labels: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A counter or gauge at one moment: a number for each set of label values."""

    metric: Metric
    samples: tuple[tuple[Labels, float], ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram at one moment."""

    metric: Metric
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """How many were not above each bound; last, all."""
    sum: float


Snapshot: TypeAlias = tuple[Family | Distribution, ...]
Observe: TypeAlias = Callable[[Instant], Snapshot]
"""Looks at live state, so only the loop may call it; what it gives never changes."""


def single(metric: Metric, number: float) -> Family:
    """The family of a metric without labels."""
    return Family(metric, (((), number),))


class Ratchet:
    """Keeps counters from going down.

    A counter that falls means a restart to those who read it, and its whole value is
    taken for growth. Ours fall by a little when packets turn out not to have been
    delivered, since their reader died: they stand still until made up for.
    """

    def __init__(self) -> None:
        self._highest: dict[str, dict[Labels, float]] = {}

    def hold(self, families: Iterable[Family | Distribution]) -> Snapshot:
        """The same, with each counter at the highest that it ever was."""
        highest: dict[str, dict[Labels, float]] = {}
        held = tuple(self._held(family, highest) for family in families)
        # Whoever is not there any more starts anew when it comes again.
        self._highest = highest
        return held

    def _held(
        self, family: Family | Distribution, highest: dict[str, dict[Labels, float]]
    ) -> Family | Distribution:
        metric = family.metric
        if isinstance(family, Distribution) or metric.kind is not Kind.COUNTER:
            return family
        last = self._highest.get(metric.name, {})
        samples = tuple(
            (labels, max(number, last.get(labels, number)))
            for labels, number in family.samples
        )
        highest[metric.name] = dict(samples)
        return Family(metric, samples)
