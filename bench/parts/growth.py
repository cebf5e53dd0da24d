"""One receiver and ever more senders at one rate: memory, processor time, fairness."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import cost, native
from bench.part import Plot, Section, Series, Verdict
from bench.pipes import (
    END_TIMEOUT_S,
    PORT,
    READY_TIMEOUT_S,
    TCP_LISTEN,
    has_socket,
    start_process,
    tool,
)
from bench.table import MIB, share, spread, table
from testbed.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.part import Bench
    from testbed.namespaces import Namespace

PACKAGES: dict[str, str] = {}

KIB = 1 << 10
NS_PER_S = 1_000_000_000

COUNTS, COUNTS_QUICK = (1, 10, 100, 1_000), (1, 100)
RATE, RATE_QUICK = 100_000, 20_000
"""Packets a second of all senders together."""

LENGTH = 200
RECORD_HEADER = 16
SMALL = 2
"""Packets in a batch, however many senders there are."""

# What pcap-zmq-send fills a batch with, and how long it waits for that, by default.
BATCH_BYTES = 256 * KIB
BATCH_AGE_S = 0.02

CPU_GOAL = 0.5
MEMORY_GOAL_KIB = 100
FAIR_GOAL = 0.9
FAIR_AFTER_S = 1.0
"""Less load than that tells more about when acknowledgements came."""

TEXT = """\
So many senders, one process that speaks the wire on as many TCP connections
(`bench/swarm.c`), to one `pcap-zmq-recv` with its default options, into a FIFO; {rate}
packets a second of {length} octets together, uncompressed. Small batches hold {small}
packets, so that the receiver gets {messages} messages a second; natural ones what
`pcap-zmq-send` would gather at that rate in its batch age of 20 ms. Processor time is
that from when all are connected until all is acknowledged, per second of load: above 1
the receiver falls behind, and has fewer messages a second. Memory is VmHWM, the most
until then, less what the receiver had before the first came. Least to most is the
fewest packets of one sender that were acknowledged when the load ended, to the most of
one.
"""


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


def measure(bench: Bench) -> Section:
    """Every number of senders with small batches and with natural ones."""
    rate = bench.rate or (RATE_QUICK if bench.is_quick else RATE)
    wanted = (
        [Case(count, SMALL) for count in COUNTS_QUICK]
        if bench.is_quick
        else cases_at(rate)
    )
    cases = {f"{case.senders}, {case.batch}": case for case in wanted}
    crowds: dict[Case, list[Crowd]] = {case: [] for case in cases.values()}
    for turn, name in bench.in_turn(list(cases)):
        case = cases[name]
        bench.say(
            f"growth: run {turn + 1} of {bench.runs}: {case.senders} senders, "
            f"batches of {case.batch}"
        )
        crowds[case].append(run(bench.host, case, rate, bench.seconds))
    text = TEXT.format(
        rate=f"{rate:,.0f}", length=LENGTH, small=SMALL, messages=f"{rate / SMALL:,.0f}"
    )
    return Section(
        "Growth",
        text + "\n" + _table(crowds),
        _verdicts(crowds),
        _plots(crowds),
    )


def cases_at(rate: float) -> list[Case]:
    """Small batches, then natural ones where those are others; at so many packets a
    second of all together."""
    cases = [Case(count, SMALL) for count in COUNTS]
    for count in COUNTS:
        waiting = int(rate / count * BATCH_AGE_S)
        room = BATCH_BYTES // (RECORD_HEADER + LENGTH)
        natural = Case(count, max(1, min(waiting, room)))
        if natural not in cases:
            cases.append(natural)
    return cases


def run(host: Namespace, case: Case, rate: float, seconds: float) -> Crowd:
    """One crowd from its first word to its last."""
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
        receiver = start(
            [tool("pcap-zmq-recv"), "--once", "--report", "0", endpoint, fifo]
        )
        wait_until(
            lambda: has_socket(host, TCP_LISTEN), READY_TIMEOUT_S, "pcap-zmq-recv"
        )
        listening_bytes = cost.peak_memory_bytes(receiver.pid)
        swarm = start(
            _swarm(case, rate, seconds), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        _expect(swarm, "up")
        before_ns = cost.cpu_ns(receiver.pid)
        _expect(swarm, "done")
        spent_ns = cost.cpu_ns(receiver.pid) - before_ns
        peak_bytes = cost.peak_memory_bytes(receiver.pid)
        said = _line(swarm)
        if swarm.wait(END_TIMEOUT_S) != 0:
            raise RuntimeError(f"not every sender could leave: {said}")
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
    # A sender with large batches has to make at least one.
    seconds = max(seconds, 2 * case.batch * case.senders / rate)
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


def _table(crowds: dict[Case, list[Crowd]]) -> str:
    head = [
        "senders: batches",
        "messages/s",
        "receiver, of a core",
        "senders, of a core",
        "memory, MiB",
        "KiB a sender",
        "least to most",
        "stalled",
        "late",
        "lost",
    ]
    rows = [
        [
            f"{case.senders:,}: {case.batch} packets",
            spread([c.messages / c.seconds for c in some], digits=0),
            spread([c.receiver_share for c in some]),
            spread([c.swarm_share for c in some]),
            spread([c.grown_bytes for c in some], MIB, 1),
            spread([c.grown_bytes / case.senders for c in some], KIB, 0),
            spread([c.evenness for c in some], digits=3),
            str(sum(c.stalled for c in some)),
            share(sum(c.late for c in some), sum(c.messages for c in some)),
            share(sum(c.lost for c in some), sum(c.made for c in some)),
        ]
        for case, some in crowds.items()
    ]
    return table(head, rows)


def _verdicts(crowds: dict[Case, list[Crowd]]) -> list[Verdict]:
    largest = max((case for case in crowds if case.is_small), key=lambda c: c.senders)
    some, name = crowds[largest], f"{largest.senders:,} senders"
    grown = median(crowd.grown_bytes for crowd in some) / largest.senders
    verdicts = [
        Verdict(
            f"{name}, small batches: processor time of the receiver",
            median(crowd.receiver_share for crowd in some),
            CPU_GOAL,
            "of a core",
            at_most=True,
        ),
        Verdict(
            f"{name}, small batches: memory of the receiver",
            grown / KIB,
            MEMORY_GOAL_KIB,
            "KiB a sender",
            at_most=True,
        ),
        Verdict(
            f"{name}, small batches: lost",
            sum(crowd.lost for crowd in some),
            0,
            "packets",
            at_most=True,
        ),
    ]
    if all(crowd.load_s >= FAIR_AFTER_S for crowd in some):
        evenness = min(crowd.evenness for crowd in some)
        what = f"{name}, small batches: packets of who has least, of who has most"
        verdicts.append(Verdict(what, evenness, FAIR_GOAL))
    return verdicts


def _plots(crowds: dict[Case, list[Crowd]]) -> list[Plot]:
    counts = sorted({case.senders for case in crowds})

    def series(label: str, *, is_small: bool, of: str, scale: float) -> Series:
        def values(count: int) -> list[float]:
            some = crowds.get(Case(count, SMALL), [])
            if not is_small:
                # Where the natural batch is a small one, there is only that.
                others = (c for c in crowds if c.senders == count and not c.is_small)
                some = next((crowds[case] for case in others), some)
            return [getattr(crowd, of) / scale for crowd in some]

        return Series(label, [values(count) for count in counts])

    def both(of: str, scale: float) -> list[Series]:
        return [
            series(f"batches of {SMALL}", is_small=True, of=of, scale=scale),
            series("natural batches", is_small=False, of=of, scale=scale),
        ]

    return [
        Plot(
            "growth-cpu",
            "Senders at one rate together: processor time of the receiver",
            "senders",
            "share of a core",
            counts,
            both("receiver_share", 1),
            log_x=True,
            goal=CPU_GOAL,
        ),
        Plot(
            "growth-memory",
            "Senders at one rate together: memory of the receiver",
            "senders",
            "MiB more than before the first",
            counts,
            both("grown_bytes", MIB),
            log_x=True,
        ),
    ]
