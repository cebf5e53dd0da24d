"""Packets onto an interface: how late they are, and how many go, beside tcpreplay."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.part import Plot, Section, Series, Verdict
from bench.pipes import tool
from bench.table import percentile, spread, table
from bench.wire import (
    ALL,
    ENDS,
    NEAR,
    Capture,
    cable,
    make_capture,
    received,
    seen_while,
    witness_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.part import Bench

PACKAGES = {"tcpreplay": "tcpreplay"}

US, MS, NS_PER_S = 1_000, 1_000_000, 1_000_000_000

OURS = "pcap-zmq replay"
AT_TIMES = {
    OURS: ["pcap-zmq", "replay"],
    "tcpreplay": ["tcpreplay", "-K"],
    "tcpreplay -T nano": ["tcpreplay", "-K", "-T", "nano"],
}
AT_TOP_SPEED = {
    OURS: ["pcap-zmq", "replay", "--topspeed"],
    "tcpreplay": ["tcpreplay", "-t"],
    "tcpreplay -K": ["tcpreplay", "-t", "-K"],
}
RATES, RATES_QUICK = (1_000, 20_000), (1_000,)
TOP_PACKETS, TOP_PACKETS_QUICK = 500_000, 5_000

# Against the drift of who sleeps from packet to packet.
PATIENCE_S = 120.0

TEXT = """\
Frames of 64, 590 and 1514 octets, 7 to 4 to 1, over veth, seen at its far end with the
kernel's times by {witness}. At packets' times: {seconds:g} s with so many packets a
second on average, at random distances (exponential); lateness in microseconds. Nobody
at the far end knows when it began, so whichever packet was least late counts as
punctual. Drift is what it took longer from the first packet to the last than it should
have, in milliseconds. tcpreplay has read the file before it begins (-K).

"""

TOP_TEXT = """
At top speed, {packets} packets, from the first to the last at the far end, thousands a
second (-K: the file is read before):

"""


@dataclass(slots=True)
class Timed:
    """How late packets were, in nanoseconds, a value a run."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    most: list[float] = field(default_factory=list)
    drift: list[float] = field(default_factory=list)
    unseen: int = 0

    def note(self, capture: Capture, seen: dict[int, int]) -> None:
        """One run more."""
        delays = {
            number: seen_ns - capture.times_ns[number]
            for number, seen_ns in seen.items()
        }
        least = min(delays.values())
        late = sorted(delay - least for delay in delays.values())
        self.p50.append(percentile(late, 50))
        self.p99.append(percentile(late, 99))
        self.most.append(late[-1])
        self.drift.append(delays[max(delays)] - delays[min(delays)])
        self.unseen += capture.count - len(seen)


def measure(bench: Bench) -> Section:
    """All in turn: at packets' times first, then as fast as they go."""
    rates = RATES_QUICK if bench.is_quick else RATES
    packets = TOP_PACKETS_QUICK if bench.is_quick else TOP_PACKETS
    with cable(bench):
        timed = _at_times(bench, rates)
        top, unsent = _at_top_speed(bench, packets)
    text = TEXT.format(witness=witness_of(bench), seconds=bench.seconds)
    return Section(
        "Replaying onto an interface",
        text
        + _timed_table(timed)
        + TOP_TEXT.format(packets=packets)
        + _top_table(top, unsent),
        [*_timed_verdicts(timed, rates), _top_verdict(top)],
        [_timed_plot(timed, rates), _top_plot(top)],
    )


def _at_times(bench: Bench, rates: Sequence[int]) -> dict[tuple[int, str], Timed]:
    timed = {(rate, name): Timed() for rate in rates for name in AT_TIMES}
    captures = {
        rate: make_capture(
            bench.directory / f"at-{rate}.pcap", max(2, int(rate * bench.seconds)), rate
        )
        for rate in rates
    }
    cases = {f"{rate} packets/s: {name}": (rate, name) for rate, name in timed}
    for run, case in bench.in_turn(list(cases)):
        bench.say(f"replay: run {run + 1} of {bench.runs}: {case}")
        rate, name = cases[case]
        seen = _send(bench, AT_TIMES[name], captures[rate], ALL)
        timed[rate, name].note(captures[rate], seen)
    return timed


def _at_top_speed(
    bench: Bench, packets: int
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Packets a second of each, and how many the far end did not get."""
    capture = make_capture(bench.directory / "top.pcap", packets, packets)
    rates: dict[str, list[float]] = {name: [] for name in AT_TOP_SPEED}
    unsent = dict.fromkeys(AT_TOP_SPEED, 0)
    for run, name in bench.in_turn(list(AT_TOP_SPEED)):
        bench.say(f"replay: run {run + 1} of {bench.runs}: {name}, top speed")
        before = received(bench)
        seen = _send(bench, AT_TOP_SPEED[name], capture, ENDS)
        unsent[name] += max(0, packets - (received(bench) - before))
        took_ns = max(1, seen[max(seen)] - seen[min(seen)])
        if len(seen) == 2:
            rates[name].append((packets - 1) * NS_PER_S / took_ns)
    for name, found in rates.items():
        if not found:
            raise RuntimeError(f"{name}: the first or the last packet was lost")
    return rates, unsent


def _send(
    bench: Bench, argv: Sequence[str], capture: Capture, which: str
) -> dict[int, int]:
    program, *options = argv
    if program == "tcpreplay":
        options += ["-q", "-i", NEAR, str(capture.path)]
    else:
        program = tool(program)
        options += [str(capture.path), f"interface:{NEAR}"]

    def run() -> None:
        bench.host.run([program, *options], timeout_s=PATIENCE_S)

    return seen_while(run, bench, which)


def _timed_table(timed: dict[tuple[int, str], Timed]) -> str:
    rows = [
        [
            f"{rate}: {name}",
            spread(found.p50, US, 1),
            spread(found.p99, US, 1),
            spread(found.most, US, 0),
            spread(found.drift, MS, 1),
            str(found.unseen),
        ]
        for (rate, name), found in timed.items()
    ]
    head = ["packets/s", "p50", "p99", "most", "drift", "not seen"]
    return table(head, rows)


def _top_table(top: dict[str, list[float]], unsent: dict[str, int]) -> str:
    rows = [[name, spread(top[name], 1e3, 0), str(unsent[name])] for name in top]
    return table(["", "1000/s", "lost on veth"], rows)


def _timed_verdicts(
    timed: dict[tuple[int, str], Timed], rates: Sequence[int]
) -> list[Verdict]:
    """Beside the best of theirs."""
    return [
        Verdict(
            f"replay, {percent} of lateness at {rate} packets/s; goal: tcpreplay's",
            _median_us(timed[rate, OURS], percent),
            min(
                _median_us(timed[rate, name], percent)
                for name in AT_TIMES
                if name != OURS
            ),
            "us",
            at_most=True,
        )
        for rate in rates
        for percent in ("p50", "p99")
    ]


def _median_us(found: Timed, percent: str) -> float:
    values: list[float] = getattr(found, percent)
    return median(values) / US


def _top_verdict(top: dict[str, list[float]]) -> Verdict:
    theirs = max(median(top[name]) for name in top if name != OURS)
    name = "replay at top speed over tcpreplay"
    return Verdict(name, median(top[OURS]) / theirs, 1.0, "times")


def _timed_plot(timed: dict[tuple[int, str], Timed], rates: Sequence[int]) -> Plot:
    return Plot(
        "lateness",
        "How late packets are",
        "",
        "microseconds",
        [
            f"{rate} packets/s, {percent}"
            for rate in rates
            for percent in ("p50", "p99")
        ],
        [
            Series(
                name,
                [
                    [value / US for value in values]
                    for rate in rates
                    for values in (timed[rate, name].p50, timed[rate, name].p99)
                ],
            )
            for name in AT_TIMES
        ],
        log_y=True,
    )


def _top_plot(top: dict[str, list[float]]) -> Plot:
    return Plot(
        "topspeed",
        "Replay at top speed over veth",
        "",
        "1000 packets a second",
        list(top),
        [
            Series(
                "at the far end", [[rate / 1e3 for rate in top[name]] for name in top]
            )
        ],
    )
