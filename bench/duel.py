"""The same capture files by our command and by another, in processor time."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.table import spread, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.parts.startup import Start

MB = 1_000_000


@dataclass(slots=True)
class Duel:
    """name: of what is done. ours, theirs: what each run took."""

    name: str
    paths: list[Path]
    ours: list[Start] = field(default_factory=list, kw_only=True)
    theirs: list[Start] = field(default_factory=list, kw_only=True)

    @property
    def octets(self) -> int:
        """Of all files."""
        return sum(path.stat().st_size for path in self.paths)

    @property
    def times(self) -> float:
        """How many times as fast as they we are."""
        ours, theirs = (
            median(start.cpu_s for start in some) for some in (self.ours, self.theirs)
        )
        return theirs / ours

    def rates(self, starts: Sequence[Start]) -> list[float]:
        """MB a second of processor time."""
        return [self.octets / start.cpu_s / MB for start in starts]


def duel_table(duels: Sequence[Duel], ours: str, theirs: str) -> str:
    """What either managed; ours, theirs: their names."""
    rows = [
        [
            duel.name,
            spread(duel.rates(duel.ours), digits=0),
            spread(duel.rates(duel.theirs), digits=0),
            f"**{duel.times:.2f}**",
        ]
        for duel in duels
    ]
    return table(["MB per CPU second", ours, theirs, "times"], rows)
