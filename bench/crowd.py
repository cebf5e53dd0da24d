"""One crowd of senders at one receiver: a run from its first word to its last."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import cost, native
from bench.cost import NS_PER_S
from bench.pipes import (
    END_TIMEOUT_S,
    PORT,
    READY_TIMEOUT_S,
    TCP_LISTEN,
    has_socket,
    start_process,
    tool,
)
from testbed.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from testbed.namespaces import Namespace

LENGTH = 200
"""Octets of an IP packet."""

EACH_S = 0.004
"""A load lasts at least so long for each sender."""

SETTLES_S = 0.5
"""How long acknowledgements are waited for that will never come."""

SMALL = 2
"""Packets in a batch of those who send a packet now and then."""


@dataclass(frozen=True, slots=True)
class Case:
    """So many senders, and how many packets each puts into a batch."""

    senders: int
    batch: int

    @property
    def is_small(self) -> bool:
        return self.batch == SMALL


@dataclass(frozen=True, slots=True)
class Crowd:
    """What came of one run."""

    made: int
    """Packets that were to be sent."""
    lost: int
    """Those of them that did not come out of the FIFO."""
    least: int
    most: int
    stalled: int
    late: int
    messages: int
    seconds: float
    """Until all was acknowledged."""
    load_s: float
    """Of the load itself: about the same, unless the receiver fell behind."""
    receiver_cpu_s: float
    swarm_cpu_s: float
    grown_bytes: int

    @property
    def receiver_share(self) -> float:
        """Of a core."""
        return self.receiver_cpu_s / self.load_s

    @property
    def swarm_share(self) -> float:
        """Of a core."""
        return self.swarm_cpu_s / self.load_s

    @property
    def evenness(self) -> float:
        """Of the sender with least to the one with most: 1 is even."""
        return self.least / self.most if self.most else 0.0


def run(
    host: Namespace, case: Case, rate: float, seconds: float, *, is_bare: bool = False
) -> Crowd:
    """One crowd from its first word to its last. is_bare: at the bare loop of
    bench/bare.py, which acknowledges nothing, rather than at pcap-zmq-recv."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        contextlib.ExitStack() as running,
    ):
        directory = Path(name)
        fifo = directory / "fifo"
        os.mkfifo(fifo, 0o600)

        def start(argv: Sequence[object], **options: Any) -> subprocess.Popen[Any]:
            log = directory / f"{Path(str(argv[0])).name}.log"
            process = start_process(host, argv, log, **options)
            running.enter_context(_ending(process))
            return process

        reader = start([native.build("discard"), fifo], stdout=subprocess.PIPE)
        endpoint = f"tcp://127.0.0.1:{PORT}"
        ours = [tool("pcap-zmq-recv"), "--once", "--report", "0"]
        bare = [sys.executable, "-m", "bench.bare"]
        receiver = start([*(bare if is_bare else ours), endpoint, fifo])
        wait_until(
            lambda: has_socket(host, TCP_LISTEN), READY_TIMEOUT_S, "the receiver"
        )
        listening_bytes = cost.peak_memory_bytes(receiver.pid)
        argv = _swarm(case, rate, seconds)
        if is_bare:
            argv[1:1] = ["-w", SETTLES_S]
        swarm = start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _expect(swarm, "up")
        before_ns = cost.cpu_ns(receiver.pid)
        _expect(swarm, "done")
        spent_ns = cost.cpu_ns(receiver.pid) - before_ns
        peak_bytes = cost.peak_memory_bytes(receiver.pid)
        said = _line(swarm)
        if swarm.wait(END_TIMEOUT_S) != 0 and not is_bare:
            raise RuntimeError(f"not every sender could leave: {said}")
        if is_bare:
            receiver.kill()
        told = json.loads(said)
        read, _ = reader.communicate(timeout=END_TIMEOUT_S)
        made = told["acknowledged"] + told["unacknowledged"]
        return Crowd(
            made=made,
            lost=made - json.loads(read)["packets"],
            least=told["acknowledged_min"],
            most=told["acknowledged_max"],
            stalled=told["stalled"],
            late=told["late"],
            messages=told["messages"],
            seconds=told["seconds"],
            load_s=made / rate,
            receiver_cpu_s=spent_ns / NS_PER_S,
            swarm_cpu_s=told["cpu_seconds"],
            grown_bytes=peak_bytes - listening_bytes,
        )


def _swarm(case: Case, rate: float, seconds: float) -> list[object]:
    program = native.build("swarm")
    sending = ["-n", case.senders, "-r", rate / case.senders, "-b", case.batch]
    # A sender with large batches has to make some; and what comes after the last of
    # many, an acknowledgement for each, shall be little beside the rest.
    made_s = 2 * case.batch * case.senders / rate
    seconds = max(seconds, made_s, case.senders * EACH_S)
    return [program, *sending, "-l", LENGTH, "-t", seconds, "127.0.0.1", PORT]


def _expect(swarm: subprocess.Popen[Any], word: str) -> None:
    line = _line(swarm)
    if line != word:
        raise RuntimeError(f"the swarm said not {word} but {line}")


def _line(swarm: subprocess.Popen[Any]) -> str:
    """What it says next. It has deadlines of its own for everything, so this does not
    wait for ever."""
    if swarm.stdout is None or swarm.stderr is None:
        raise AssertionError("asked for pipes, got none")
    line: str = swarm.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"the swarm failed: {swarm.stderr.read().strip()}")
    return line


@contextlib.contextmanager
def _ending(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Whatever happens, it does not outlive the run."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
