"""The time from a packet to the FIFO's reader, at several rates."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench.load import Load
from bench.part import Plot, Section, Series, Verdict
from bench.peers import TcpdumpSocat
from bench.pipes import PcapZmq
from bench.runs import measure as measure_run
from bench.table import NS_PER_MS, percentile, spread, table
from pcap_zmq.options import BATCH_AGE_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.part import Bench
    from bench.pipes import Pipe

PACKAGES: dict[str, str] = {}

LENGTH = 200
RATES = (100, 10_000, 200_000)
RATES_QUICK = RATES[:1]
PERCENTS = (50.0, 99.0, 99.9)

# Long enough for p99 to be one at the lowest rate.
SECONDS = 3.0
SECONDS_QUICK = 0.5

BATCH_AGE_MS = BATCH_AGE_NS.default / NS_PER_MS
REORDER = "50ms"
"""Of one sender, there is nothing to merge: what shows is the wait for others."""

# By percentile and rate, in milliseconds.
GOALS = {
    (50.0, RATES[0]): 15.0,
    **{(99.0, rate): BATCH_AGE_MS + 5 for rate in RATES},
}

TEXT = (
    f"From sending a packet of {LENGTH} octets to its reading from the FIFO, in "
    "milliseconds, uncompressed: in each run a percentile, and of these the median "
    "(least to most). pcap-zmq-send's batches are at most --batch-age, "
    f"{BATCH_AGE_MS:.0f} ms, old; "
    f"with --reorder {REORDER} the receiver lets each packet wait so long for other "
    "senders'; tcpdump has -U here, and leaves the kernel's timer at a second. A "
    "packet that was lost has no latency: the last column says how many were.\n\n"
)


def measure(bench: Bench) -> Section:
    pipes: dict[str, Callable[[], Pipe]] = {
        "pcap-zmq": PcapZmq,
        f"pcap-zmq --reorder {REORDER}": lambda: PcapZmq(
            receive_options=("--reorder", REORDER)
        ),
        "tcpdump -U and socat": lambda: TcpdumpSocat(
            unbuffered=True, is_root=bench.is_root
        ),
    }
    rates = RATES_QUICK if bench.is_quick else RATES
    found: dict[tuple[int, str, float], list[float]] = {}
    lost: dict[tuple[int, str], int] = {}
    seconds = SECONDS_QUICK if bench.is_quick else max(SECONDS, bench.seconds)
    cases = {
        f"{rate} packets/s: {name}": (rate, name) for rate in rates for name in pipes
    }
    for run, case in bench.in_turn(list(cases)):
        rate, name = cases[case]
        bench.say(f"latency: run {run + 1} of {bench.runs}: {case}")
        load = Load(LENGTH, seconds, rate, cpu=bench.cpu, stamped=True)
        outcome = measure_run(bench.host, pipes[name](), load)
        lost[rate, name] = lost.get((rate, name), 0) + outcome.lost
        delays = sorted(outcome.delays_ns)
        for percent in PERCENTS:
            delay_ms = percentile(delays, percent) / NS_PER_MS
            found.setdefault((rate, name, percent), []).append(delay_ms)
    rows = [
        [
            f"{rate}: {name}",
            *(spread(found[rate, name, percent]) for percent in PERCENTS),
            str(lost[rate, name]),
        ]
        for rate, name in cases.values()
    ]
    head = ["packets/s", *(f"p{percent:g}" for percent in PERCENTS), "lost"]
    verdicts = [
        Verdict(
            f"latency p{percent:g} at {rate} packets/s",
            median(found[rate, "pcap-zmq", percent]),
            goal,
            "ms",
            at_most=True,
        )
        for (percent, rate), goal in GOALS.items()
        if rate in rates
    ]
    series = [
        Series(f"{name}, p{percent:g}", [found[rate, name, percent] for rate in rates])
        for name in pipes
        for percent in PERCENTS
    ]
    plot = Plot(
        "latency",
        "From packet to FIFO",
        "packets a second",
        "milliseconds",
        rates,
        series,
        log_x=True,
        log_y=True,
        goal=BATCH_AGE_MS + 5,
        goal_label=f"goal for p99 of pcap-zmq: {BATCH_AGE_MS + 5:.0f} ms",
    )
    return Section("Latency", TEXT + table(head, rows), verdicts, [plot])
