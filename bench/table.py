"""Turns outcomes into Markdown tables: medians, spreads, ratios."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.runs import Outcome

MIB = 1 << 20
NS_PER_MS = 1_000_000


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all but the first column to the right."""
    ruler = ["---", *["---:"] * (len(head) - 1)]
    # A bar in a cell would be the start of another one.
    lines = (
        " | ".join(cell.replace("|", "\\|") for cell in line)
        for line in (head, ruler, *rows)
    )
    return "".join(f"| {line} |\n" for line in lines)


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 2) -> str:
    """Median, and where there are several, the least and the most."""
    middle = f"{median(values) / scale:.{digits}f}"
    if len(values) == 1:
        return middle
    low, high = (f"{end(values) / scale:.{digits}f}" for end in (min, max))
    return f"{middle} ({low} to {high})"


def share(part: int, whole: int) -> str:
    """A part in percent: 0 only where it is 0."""
    if part == 0:
        return "0"
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.2f} %" if abs(percent) >= 0.005 else "< 0.01 %"


def loss(outcomes: Sequence[Outcome]) -> str:
    """Lost packets of all runs together: of what the kernel logged, and of what was
    sent where that is not the same."""
    logged = sum(outcome.logged for outcome in outcomes)
    sent = sum(outcome.sent for outcome in outcomes)
    lost = sum(outcome.lost for outcome in outcomes)
    if sent == logged:
        return share(lost, logged)
    not_delivered = sent - logged + lost
    return f"{share(lost, logged)} of logged, {share(not_delivered, sent)} of sent"


def ratio(ours: Sequence[Outcome], theirs: Sequence[Outcome], attribute: str) -> float:
    """Of the medians."""
    ours_median, theirs_median = (
        median([getattr(outcome, attribute) for outcome in outcomes])
        for outcomes in (ours, theirs)
    )
    return ours_median / theirs_median if theirs_median else float("inf")


def percentile(values: Sequence[int], percent: float) -> int:
    """The least of the sorted values that so many percent do not exceed."""
    # Tenths of a percent as whole numbers, lest 99.9 becomes a little more.
    rank = -(-len(values) * round(percent * 10) // 1000)
    return values[max(0, rank - 1)]
