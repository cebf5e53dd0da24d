"""Whether a dispatcher of this host still runs, on real processes."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from pcap_zmq.agenda.instance import is_running, new_name

_PROGRAM = """
from pcap_zmq.agenda.instance import new_name
print(new_name(), flush=True)
input()
"""


def test_no_two_have_one_name() -> None:
    names = {new_name() for _ in range(3)}
    assert len(names) == 3
    assert all(is_running(name) for name in names)
    assert not any(" " in name for name in names)


def test_one_runs_until_it_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        assert is_running(name) is True
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        # A zombie, whose number nobody else can have.
        assert is_running(name) is False
        process.wait()
        assert is_running(name) is False


def test_another_process_with_its_number_is_another() -> None:
    host, pid, start, world = new_name().rsplit(":", 3)
    ticks, _, number = start.partition(".")
    assert is_running(f"{host}:{pid}:{int(ticks) - 1}.{number}:{world}") is False


@pytest.mark.parametrize(
    "change",
    [
        lambda host, pid, start, world: f"{host}x:{pid}:{start}:{world}",
        lambda host, pid, start, world: f"{host}:{pid}:{start}:{world}0",
        lambda host, pid, start, world: f"{host}:{10**30}:{start}:{world}",
        lambda host, pid, start, world: f"{host}:-1:{start}:{world}",
        lambda host, pid, start, world: f"{host}:x:{start}:{world}",
        lambda host, pid, start, world: "",
    ],
)
def test_of_other_hosts_nothing_is_known(change: Callable[..., str]) -> None:
    assert is_running(change(*new_name().rsplit(":", 3))) is None
