"""What a part of the benchmark is given, and what it hands back."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.captures import prepare
from bench.load import CAPTURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from testbed.namespaces import Namespace, Network


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how to measure.

    host: a private network with nothing but its loopback, for one pipe at a time; what
    a part puts there (rules, routes) it may leave, and what it needs it sets itself.
    directory: for what lives as long as the benchmark; empty at first.
    captures: savefiles of real or realistic traffic; there is at least one.
    """

    network: Network
    host: Namespace
    is_root: bool
    runs: int
    """Of each thing that is measured, in turn."""
    seconds: float
    """Of load in a run."""
    is_quick: bool
    """Whether it should only be seen to work: a few seconds for a part."""
    sizes: tuple[int, ...]
    """IP packet lengths, in octets."""
    mixes: tuple[str, ...]
    """What is sent beside them: of IMIX and CAPTURES in bench/runs.py."""
    rate: float
    """Packets a second; 0: flat out."""
    cpu: int | None
    """Where the generator is to run; None: anywhere."""
    directory: Path
    captures: Sequence[Path]

    def say(self, text: str) -> None:
        """Progress, for who waits."""
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def traffic(self, word: int | str) -> int | str | Path:
        """What `bench.runs.Load` takes, of a size or mix as above."""
        if word == CAPTURES:
            return prepare(self.captures, self.directory)
        return word

    def in_turn(self, names: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Each name once a run, forth and back, so that what else the machine does
        meets all alike; the run's number, from 0, with it."""
        for run in range(self.runs):
            for name in names if run % 2 == 0 else reversed(names):
                yield run, name


@dataclass(frozen=True, slots=True)
class Verdict:
    """A measured value beside its goal.

    at_most: the value should not exceed the goal; else it should not be less.
    """

    name: str
    value: float
    goal: float
    unit: str = ""
    at_most: bool = False

    @property
    def is_reached(self) -> bool:
        return self.value <= self.goal if self.at_most else self.value >= self.goal


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or the bars of one colour: at each place of the plot's x all values
    that were measured there, of which the median, the least and the most are shown. No
    values at a place: nothing is shown there."""

    label: str
    values: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """What one picture shows.

    name: of its files, without their end. x: words (bars side by side) or numbers
    (lines). goal: a line across; goal_label says of what.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    x: Sequence[str] | Sequence[float]
    series: Sequence[Series]
    log_x: bool = False
    log_y: bool = False
    goal: float | None = None
    goal_label: str = "goal"


@dataclass(frozen=True, slots=True)
class Section:
    """What a part found. markdown: tables and prose, without the title."""

    title: str
    markdown: str
    verdicts: Sequence[Verdict] = ()
    plots: Sequence[Plot] = ()
