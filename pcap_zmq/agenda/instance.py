"""What a dispatcher is called among others, and whether one of this host still runs.

Specification: proc_pid_stat(5), pid_namespaces(7), kill(2).
"""

import itertools
import os
from pathlib import Path

PID_MAX = 1 << 22
"""Of 64-bit Linux: proc(5), pid_max."""

_PROC = Path("/proc")

_numbers = itertools.count()
"""A process may have several."""


def new_name() -> str:
    """HOST:PID:START.NUMBER:WORLD, without blanks: nobody else has it, ever. WORLD: in
    which its process id means something, this boot and this namespace."""
    pid = os.getpid()
    start = f"{_start_of(pid)}.{next(_numbers)}"
    return f"{os.uname().nodename}:{pid}:{start}:{_world()}"


def is_running(name: str) -> bool | None:
    """None: it is not of this host, or its processes are not ours to see."""
    try:
        node, pid, start, world = name.rsplit(":", 3)
        number = int(pid)
    except ValueError:
        return None
    is_possible = 0 < number <= PID_MAX
    if not is_possible or (node, world) != (os.uname().nodename, _world()):
        return None
    started = _start_of(number)
    if started is None:
        # It may not be ours to see.
        return None if _is_taken(number) else False
    return started == start.partition(".")[0]


def _start_of(pid: int) -> str | None:
    """When it was started, in ticks since the boot; "": it has ended; None: there is
    none, or it cannot be seen."""
    try:
        status = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name, in brackets, may hold anything.
    state, *rest = status.rpartition(")")[2].split()
    # A zombie does nothing any more.
    return "" if state in {"Z", "X"} else rest[18]


def _is_taken(pid: int) -> bool:
    """Whether there is a process with this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _world() -> str:
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot[:8]}-{(_PROC / 'self/ns/pid').stat().st_ino:x}"
