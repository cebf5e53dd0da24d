"""One run: real packets through one pipe, and what it delivered and cost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import cost, native
from bench.cost import NS_PER_S
from bench.load import generate
from bench.pipes import GROUP
from testbed.rules import is_quiet, packets_logged
from testbed.waiting import first_line, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.load import Load
    from bench.pipes import Pipe
    from testbed.namespaces import Namespace

DRAIN_TIMEOUT_S = 30.0
STALL_TIMEOUT_S = 30.0

# Longer than anything in either pipe waits for company, but the kernel's own timer,
# which is waited for.
STILL_S = 0.3


@dataclass(slots=True)
class Outcome:
    """What came of one run."""

    sent: int = 0
    sent_octets: int = 0
    """Of IP packets."""
    logged: int = 0
    delivered: int = 0
    octets: int = 0
    """Of the IP packets delivered."""
    torn: int = 0
    seconds: float = 0.0
    generator_cpu_s: float = 0.0
    reader_cpu_s: float = 0.0
    sending_cpu_s: float = 0.0
    receiving_cpu_s: float = 0.0
    sender_peak_bytes: int = 0
    receiver_peak_bytes: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    delays_ns: list[int] = field(default_factory=list)

    @property
    def logged_per_s(self) -> float:
        return self.logged / self.seconds if self.seconds else 0.0

    @property
    def sending_rate(self) -> float:
        """Packets delivered per second of processor time on the sending side."""
        return self.delivered / self.sending_cpu_s if self.sending_cpu_s else 0.0

    @property
    def receiving_rate(self) -> float:
        """Packets delivered per second of processor time on the receiving side."""
        return self.delivered / self.receiving_cpu_s if self.receiving_cpu_s else 0.0

    @property
    def lost(self) -> int:
        return self.logged - self.delivered


def measure(host: Namespace, pipe: Pipe, load: Load) -> Outcome:
    """One load through the pipe to its end. Processor time is from when all is ready
    until the last packet is in the FIFO: neither start nor end is in it."""
    with _directory(pipe) as directory:
        reader = _start_reader(host, directory, ["-l"] if load.stamped else [])
        try:
            pipe.start(host, directory, directory / "fifo")
            before = _costs(pipe, reader)
            outcome = run_load(host, load)
            _drain(host, reader)
            _check_alive(pipe)
            outcome.sending_cpu_s, outcome.receiving_cpu_s, outcome.reader_cpu_s = (
                (now - then) / NS_PER_S
                for now, then in zip(_costs(pipe, reader), before, strict=True)
            )
            _note_peaks(pipe, outcome)
            outcome.logged = packets_logged(host, GROUP)
            pipe.end()
            said, _ = reader.communicate(timeout=DRAIN_TIMEOUT_S)
        finally:
            _kill(reader)
        read = json.loads(said)
        outcome.delivered, outcome.torn = read["packets"], read["torn"]
        outcome.octets = read["packet_octets"]
        outcome.delays_ns = read["delays_ns"]
        outcome.counters = pipe.counters()
        return outcome


def fill(
    host: Namespace, pipe: Pipe, load: Load, *, stall_octets: int | None
) -> Outcome:
    """As much as there is to send into a pipe that lets out nothing, for its memory.

    stall_octets: after how many the reader reads no more; None: there is no reader.
    """
    with _directory(pipe) as directory:
        reader = None
        if stall_octets is not None:
            reader = _start_reader(host, directory, ["-s", str(stall_octets)])
        try:
            pipe.start(host, directory, directory / "fifo")
            outcome = run_load(host, load)
            if reader is not None and reader.stdout is not None:
                line = first_line(reader.stdout, STALL_TIMEOUT_S, "a full FIFO")
                if line != "stalled":
                    raise RuntimeError(f"the reader ended early: {line}")
            wait_until(lambda: is_quiet(host, GROUP), DRAIN_TIMEOUT_S, "the kernel")
            _check_alive(pipe)
            _note_peaks(pipe, outcome)
            outcome.logged = packets_logged(host, GROUP)
            # Nothing more is wanted of the reader, and the rest need not wait for it.
            for process in (reader, *pipe.receivers):
                _kill(process)
            pipe.end()
        finally:
            _kill(reader)
        outcome.counters = pipe.counters()
        return outcome


@contextlib.contextmanager
def _directory(pipe: Pipe) -> Iterator[Path]:
    """A directory for one run. Whatever happens, nothing of the pipe outlives it; where
    something fails, what was said last in its logs goes with the error."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        try:
            yield directory
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            for log in sorted(directory.glob("*.log")):
                last = log.read_text().splitlines()[-1:]
                error.add_note(f"{log.name}: {''.join(last)}")
            raise
        finally:
            for process in (*pipe.senders, *pipe.receivers):
                _kill(process)


def _kill(process: subprocess.Popen[Any] | None) -> None:
    if process is None:
        return
    if process.poll() is None:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _start_reader(
    host: Namespace, directory: Path, options: Sequence[str]
) -> subprocess.Popen[Any]:
    fifo = directory / "fifo"
    os.mkfifo(fifo, 0o600)
    argv = [str(native.build("discard")), *options, str(fifo)]
    return host.popen(argv, stdout=subprocess.PIPE)


def run_load(host: Namespace, load: Load) -> Outcome:
    """The generator alone, beside whoever reads the group; nobody needs to."""
    done = generate(host, load)
    return Outcome(
        sent=done["packets"],
        sent_octets=done["octets"],
        seconds=done["seconds"],
        generator_cpu_s=done["cpu_seconds"],
    )


def _drain(host: Namespace, reader: subprocess.Popen[Any]) -> None:
    """Until the kernel has given everything out and the reader gets nothing more."""
    wait_until(lambda: is_quiet(host, GROUP), DRAIN_TIMEOUT_S, "the kernel's buffers")
    last, since = -1, 0.0

    def is_still() -> bool:
        nonlocal last, since
        now, octets = time.monotonic(), cost.octets_read(reader.pid)
        if octets != last:
            last, since = octets, now
        return now - since >= STILL_S

    wait_until(is_still, DRAIN_TIMEOUT_S, "the FIFO's reader")


def _check_alive(pipe: Pipe) -> None:
    """RuntimeError where something ended before its time: its cost is gone with it."""
    for process in (*pipe.senders, *pipe.receivers):
        if process.poll() is not None:
            code = process.returncode
            raise RuntimeError(f"ended early, with {code}: {process.args!r}")


def _costs(pipe: Pipe, reader: subprocess.Popen[Any]) -> tuple[int, int, int]:
    return (
        sum(cost.cpu_ns(process.pid) for process in pipe.senders),
        sum(cost.cpu_ns(process.pid) for process in pipe.receivers),
        cost.cpu_ns(reader.pid),
    )


def _note_peaks(pipe: Pipe, outcome: Outcome) -> None:
    outcome.sender_peak_bytes = sum(
        cost.peak_memory_bytes(process.pid) for process in pipe.senders
    )
    outcome.receiver_peak_bytes = sum(
        cost.peak_memory_bytes(process.pid) for process in pipe.receivers
    )
