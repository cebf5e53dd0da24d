"""Marks what is counted: each stretch of work is a part of callgrind's profile.

Before and after a stretch getppid() is called, which nothing else does: callgrind ends
a part there (--dump-before). For each part a line on standard output says what it was:
how many packets went by, and a figure's name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_COUNTED = "-"
"""The name of what lies between two stretches."""

REPEATS = 3
"""How often each stretch is counted; the least is kept."""


def part(name: str, packets: int) -> None:
    """Ends a part, and says what it was. packets: 0 where the next part of that name
    belongs to the same stretch, with all its packets."""
    os.getppid()
    print(packets, name, flush=True)


def stretches(name: str, packets: int, work: Callable[[], object]) -> None:
    """Does it as often as it is counted, and once before."""
    work()
    for _ in range(REPEATS):
        part(NOT_COUNTED, 0)
        work()
        part(name, packets)
