"""The most packets a second that this machine carries whole, both ends included."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench.load import IMIX, Load
from bench.part import Plot, Section, Series, Verdict
from bench.pipes import PcapZmq
from bench.runs import Outcome, run_load
from bench.runs import measure as measure_run
from bench.table import loss, spread, table

if TYPE_CHECKING:
    from bench.part import Bench

PACKAGES: dict[str, str] = {}

WORDS: tuple[int | str, ...] = (64, 200, 1400, 9000, IMIX)
WORDS_QUICK: tuple[int | str, ...] = (9000,)

# Where flat out loses, between nothing and that: to a thirty-second, below which the
# machine's own noise decides.
BISECTIONS = 5
# A rate is without loss when so many runs in a row are.
CLEAN_RUNS = 2

LARGE = 9000
LARGE_GOAL_MB_S = 600.0
# What is sent at a rate comes in lumps; so much less than wanted is still the rate.
RATE_SHARE = 0.98

# Nobody reads: what the generator alone reaches is steady, and only for comparison.
ALONE_SECONDS = 0.5

TEXT = (
    "The generator, pcap-zmq-send, pcap-zmq-recv and the FIFO's reader together on "
    "this machine, uncompressed. Alone: the generator with the same rules and nobody "
    "in the group, so that the kernel logs nothing. Flat out: the whole path at the "
    "generator's own maximum, which it has to share the processors for. Where that "
    "loses packets, the highest rate without loss is found by bisection. MB are 10^6 "
    "octets of IP packets; median (least to most).\n\n"
)


def measure(bench: Bench) -> Section:
    words = WORDS_QUICK if bench.is_quick else WORDS
    alone: dict[int | str, list[Outcome]] = {word: [] for word in words}
    flat_out: dict[int | str, list[Outcome]] = {word: [] for word in words}
    cases = {str(word): word for word in words}
    for run, case in bench.in_turn(list(cases)):
        bench.say(f"capacity: run {run + 1} of {bench.runs}: {case}")
        word = cases[case]
        load = Load(word, min(ALONE_SECONDS, bench.seconds), cpu=bench.cpu)
        alone[word].append(run_load(bench.host, load))
        flat_out[word].append(_carry(bench, word))
    rows, most = [], {}
    for word in words:
        found = flat_out[word]
        if any(outcome.lost for outcome in found):
            most[word] = _bisect(bench, word, found)
        else:
            most[word] = [outcome.logged_per_s for outcome in found]
        rows.append(
            [
                str(word),
                spread([_sent_per_s(outcome) for outcome in alone[word]], 1e3, 0),
                spread([outcome.logged_per_s for outcome in found], 1e3, 0),
                spread([_octets_per_s(outcome) for outcome in found], 1e6, 0),
                loss(found),
                spread(most[word], 1e3, 0),
            ]
        )
    head = [
        "octets",
        "alone, 1000/s",
        "flat out, 1000/s",
        "MB/s",
        "lost",
        "most without loss, 1000/s",
    ]
    text, verdicts = _large(bench)
    plot = Plot(
        "capacity",
        "The most packets without loss, whole path on one machine",
        "octets of an IP packet",
        "1000 packets a second",
        [str(word) for word in words],
        [
            Series(
                "generator alone",
                [[_sent_per_s(o) / 1e3 for o in alone[word]] for word in words],
            ),
            Series(
                "whole path, without loss",
                [[rate / 1e3 for rate in most[word]] for word in words],
            ),
        ],
    )
    return Section("Capacity", TEXT + table(head, rows) + text, verdicts, [plot])


def _carry(bench: Bench, word: int | str, rate: float = 0) -> Outcome:
    load = Load(bench.traffic(word), bench.seconds, rate, cpu=bench.cpu)
    return measure_run(bench.host, PcapZmq(), load)


def _bisect(bench: Bench, word: int | str, found: list[Outcome]) -> list[float]:
    """The highest rates without loss, one for each clean run; 0 where there is none."""
    low, high = 0.0, median([outcome.logged_per_s for outcome in found])
    best = [0.0]
    for _ in range(1 if bench.is_quick else BISECTIONS):
        rate = (low + high) / 2
        bench.say(f"capacity: {word} at {rate:.0f} packets/s")
        clean: list[float] = []
        while len(clean) < CLEAN_RUNS:
            outcome = _carry(bench, word, rate)
            if outcome.lost:
                break
            clean.append(outcome.logged_per_s)
        if len(clean) == CLEAN_RUNS:
            low, best = rate, clean
        else:
            high = rate
    return best


def _large(bench: Bench) -> tuple[str, list[Verdict]]:
    """At so many octets a second there should be no loss, whatever flat out does."""
    rate = LARGE_GOAL_MB_S * 1e6 / LARGE
    outcomes = []
    for run in range(bench.runs):
        bench.say(
            f"capacity: run {run + 1} of {bench.runs}: {LARGE_GOAL_MB_S:.0f} MB/s"
        )
        outcomes.append(_carry(bench, LARGE, rate))
    reached = median(
        [outcome.sent_octets / outcome.seconds / 1e6 for outcome in outcomes]
    )
    lost = sum(outcome.lost for outcome in outcomes)
    text = (
        f"\nPackets of {LARGE} octets at {LARGE_GOAL_MB_S:.0f} MB/s: "
        f"{spread([_octets_per_s(outcome) for outcome in outcomes], 1e6, 0)} MB/s "
        f"delivered, lost: {loss(outcomes)}.\n"
    )
    name = f"lost at {LARGE} octets and {LARGE_GOAL_MB_S:.0f} MB/s"
    verdicts = [Verdict(name, lost, 0, "packets", at_most=True)]
    if reached < RATE_SHARE * LARGE_GOAL_MB_S:
        # Else nothing lost would be no news.
        name = f"sent at {LARGE} octets"
        verdicts.append(Verdict(name, reached, LARGE_GOAL_MB_S, "MB/s"))
    return text, verdicts


def _sent_per_s(outcome: Outcome) -> float:
    return outcome.sent / outcome.seconds


def _octets_per_s(outcome: Outcome) -> float:
    return outcome.octets / outcome.seconds
