"""Waits until nothing is under way in this process but what its main thread does.

Specification: proc(5), /proc/PID/task/TID/stat and .../schedstat.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

LOOK_S = 0.02
LOOKS = 3
"""So many times in a row nothing must have happened: the machine may be busy."""

PATIENCE_S = 30.0

_TASKS = Path("/proc/self/task")


def until_quiet() -> None:
    """Returns when all other threads, ZeroMQ's among them, sleep and have not run for
    some time: what was sent within this process has arrived. RuntimeError where they
    never rest."""
    deadline = time.monotonic() + PATIENCE_S
    before, calm = _others(), 0
    while calm < LOOKS:
        if time.monotonic() > deadline:
            raise RuntimeError(f"threads still at work after {PATIENCE_S:.0f} s")
        time.sleep(LOOK_S)
        now = _others()
        is_calm = now == before and all(state == "S" for state, _ in now.values())
        before, calm = now, calm + 1 if is_calm else 0


def _others() -> dict[str, tuple[str, str]]:
    """The state of each other thread, and how often and how long it has run."""
    own = str(threading.get_native_id())
    found = {}
    for task in _TASKS.iterdir():
        if task.name != own:
            # The name before the state may hold anything, closing brackets too.
            state = (task / "stat").read_text().rpartition(") ")[2][0]
            found[task.name] = (state, (task / "schedstat").read_text())
    return found
