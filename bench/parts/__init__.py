"""The parts of the benchmark, in the order of the report, and what each needs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.part import Bench, Section

NAMES = (
    "throughput",
    "memory",
    "compression",
    "capacity",
    "latency",
    "growth",
    "curve",
    "startup",
    "map",
    "filter",
    "replay",
)


class Part(Protocol):
    """What a module of this package holds."""

    PACKAGES: Mapping[str, str]
    """Programs that only this part runs, with the Debian packages that hold them."""

    def measure(self, bench: Bench) -> Section:
        """Measure it all; RuntimeError and TimeoutError where something failed."""


def load(name: str) -> Part:
    """One of `NAMES`; imported only when wanted, for what it imports itself."""
    part: Part = import_module(f"bench.parts.{name}")
    return part
