"""Reads from /proc what a process has cost so far: processor time and memory.

Specification: proc(5); for schedstat Documentation/scheduler/sched-stats.rst.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
NS_PER_S = 1_000_000_000
KIB = 1024


def cpu_ns(pid: int) -> int:
    """Processor time of all threads that live, user and system, in nanoseconds.

    From schedstat, since the ticks in stat are 10 ms, a tenth of what a run may cost.
    """
    try:
        return sum(
            int((task / "schedstat").read_text().split()[0])
            for task in (PROC / str(pid) / "task").iterdir()
        )
    except FileNotFoundError:  # a kernel without CONFIG_SCHED_INFO
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])  # utime and stime: 14th and 15th
        return ticks * NS_PER_S // os.sysconf("SC_CLK_TCK")


def peak_memory_bytes(pid: int) -> int:
    """The most memory that the process has had resident since its program started."""
    status = (PROC / str(pid) / "status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * KIB


def octets_read(pid: int) -> int:
    """What the process has read so far, from whatever descriptor."""
    return int((PROC / str(pid) / "io").read_text().split()[1])
