"""Packets per second of processor time on either side, flat out, beside the peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.load import Load
from bench.part import Plot, Section, Series, Verdict
from bench.peers import SOCAT_BLOCK_BYTES, Ancestor, TcpdumpSocat, Ulogd
from bench.pipes import PcapZmq
from bench.runs import Outcome
from bench.runs import measure as measure_run
from bench.table import loss, ratio, spread, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.part import Bench
    from bench.pipes import Pipe

PACKAGES = {"ulogd": "ulogd2, ulogd2-pcap"}

OURS = "pcap-zmq"
THEIRS = "tcpdump and socat"
TUNED = f"tcpdump and socat -b {SOCAT_BLOCK_BYTES}"
ULOGD = "ulogd2"
ANCESTOR = "the ancestor's method"

SIDES = {"sending": "sending_rate", "receiving": "receiving_rate"}

# By side, peer and size of packet: ours over theirs, at least.
GOALS = {
    ("sending", THEIRS, 200): 5.0,
    ("sending", THEIRS, 1400): 2.2,
    ("receiving", THEIRS, 200): 1.8,
    ("receiving", THEIRS, 1400): 1.8,
    ("sending", ANCESTOR, 200): 20.0,
    ("sending", ULOGD, 200): 1.0,
    ("sending", ULOGD, 1400): 1.0,
}

# Where nothing may be lost flat out; nor where the peer loses nothing.
LOSSLESS = (64, 200, 1400)

# These two show what they show at one size or two, and take their time.
ONLY_AT = {TUNED: (200, 1400), ANCESTOR: (200,)}

TEXT = (
    "Sending and receiving are millions of packets delivered per second of processor "
    "time on that side, flat out and uncompressed; median (least to most), and below "
    "the ratios of the medians. ulogd2 writes into the FIFO itself: nothing carries "
    "its packets to another host, so its figure is for capture alone.\n\n"
)


def measure(bench: Bench) -> Section:
    pipes = _pipes(is_root=bench.is_root)
    outcomes: dict[tuple[int | str, str], list[Outcome]] = {}
    words: list[int | str] = [*bench.sizes, *bench.mixes]
    cases = {
        f"{word}: {name}": (word, name)
        for word in words
        for name in pipes
        if word in ONLY_AT.get(name, (word,))
    }
    for run, case in bench.in_turn(list(cases)):
        word, name = cases[case]
        bench.say(f"throughput: run {run + 1} of {bench.runs}: {case}")
        load = Load(bench.traffic(word), bench.seconds, bench.rate, cpu=bench.cpu)
        outcome = measure_run(bench.host, pipes[name](), load)
        outcomes.setdefault((word, name), []).append(outcome)
    return Section(
        "Throughput",
        TEXT + _tables(words, outcomes),
        _verdicts(words, outcomes),
        _plots(words, list(pipes), outcomes),
    )


def _pipes(*, is_root: bool) -> dict[str, Callable[[], Pipe]]:
    return {
        OURS: PcapZmq,
        THEIRS: lambda: TcpdumpSocat(is_root=is_root),
        TUNED: lambda: TcpdumpSocat(block_bytes=SOCAT_BLOCK_BYTES, is_root=is_root),
        ULOGD: Ulogd,
        ANCESTOR: Ancestor,
    }


def _tables(
    words: Sequence[int | str], outcomes: dict[tuple[int | str, str], list[Outcome]]
) -> str:
    rows, details = [], []
    for word in words:
        some = {name: found for (at, name), found in outcomes.items() if at == word}
        for name, found in some.items():
            receiving = [o.receiving_rate for o in found]
            rows.append(
                [
                    f"{word}: {name}",
                    spread([o.logged_per_s for o in found], 1e3, 0),
                    spread([o.sending_rate for o in found], 1e6),
                    spread(receiving, 1e6) if any(receiving) else "-",
                    loss(found),
                ]
            )
            details.append([f"{word}: {name}", *_details(found)])
        for name, found in some.items():
            if name != OURS:
                rows.append(_ratios(word, name, some[OURS], found))
    head = ["octets", "1000 packets/s logged", *SIDES, "lost"]
    more = ["octets", "generator", *SIDES, "reader", "both ends say"]
    return (
        table(head, rows)
        + "\nProcessor seconds per second of load (medians), and the counters of the "
        "last run:\n\n" + table(more, details)
    )


def _ratios(
    word: int | str, name: str, ours: Sequence[Outcome], theirs: Sequence[Outcome]
) -> list[str]:
    sides = [
        f"**{ratio(ours, theirs, attribute):.2f}**"
        if any(getattr(o, attribute) for o in theirs)
        else "-"
        for attribute in SIDES.values()
    ]
    logged = f"{ratio(ours, theirs, 'logged_per_s'):.2f}"
    return [f"{word}: **over {name}**", logged, *sides, ""]


def _details(outcomes: Sequence[Outcome]) -> list[str]:
    def median_share(attribute: str) -> str:
        values = [getattr(o, attribute) / o.seconds for o in outcomes]
        return spread(values).partition(" ")[0]

    last = outcomes[-1]
    said = "".join(f"{name} {number}, " for name, number in last.counters.items())
    return [
        median_share("generator_cpu_s"),
        median_share("sending_cpu_s"),
        median_share("receiving_cpu_s"),
        median_share("reader_cpu_s"),
        f"sent {last.sent}, logged {last.logged}, {said}read {last.delivered}"
        + (f", TORN {last.torn} octets" if last.torn else ""),
    ]


def _verdicts(
    words: Sequence[int | str], outcomes: dict[tuple[int | str, str], list[Outcome]]
) -> list[Verdict]:
    verdicts = []
    for (side, name, size), goal in GOALS.items():
        if (size, name) in outcomes:
            ours, theirs = outcomes[size, OURS], outcomes[size, name]
            value = ratio(ours, theirs, SIDES[side])
            what = f"{side}, {size} octets, over {name}"
            verdicts.append(Verdict(what, value, goal, "times"))
    for word in words:
        lost, their_lost = (
            sum(outcome.lost for outcome in outcomes[word, name])
            for name in (OURS, THEIRS)
        )
        if word in LOSSLESS or their_lost == 0:
            kind = f"{word} octets" if isinstance(word, int) else word
            what = f"lost flat out, {kind}"
            verdicts.append(Verdict(what, lost, 0, "packets", at_most=True))
    return verdicts


def _plots(
    words: Sequence[int | str],
    names: Sequence[str],
    outcomes: dict[tuple[int | str, str], list[Outcome]],
) -> list[Plot]:
    x = [str(word) for word in words]

    def plot(name: str, title: str, y: str, value: Callable[[Outcome], float]) -> Plot:
        series = [
            Series(
                label, [[value(o) for o in outcomes.get((w, label), [])] for w in words]
            )
            for label in names
        ]
        # Who has nothing to show has no place in the legend either.
        shown = [some for some in series if any(map(any, some.values))]
        return Plot(name, title, "octets of an IP packet", y, x, shown)

    over = [
        Series(
            f"{side}, over {name}",
            [
                [
                    getattr(ours, rate) / getattr(theirs, rate)
                    for ours, theirs in zip(
                        outcomes[word, OURS],
                        outcomes.get((word, name), []),
                        strict=False,
                    )
                    if getattr(theirs, rate)
                ]
                for word in words
            ],
        )
        for side, rate, name in (
            ("sending", "sending_rate", THEIRS),
            ("sending", "sending_rate", ULOGD),
            ("receiving", "receiving_rate", THEIRS),
        )
    ]
    per_cpu = "million packets per CPU second"
    return [
        Plot(
            "ratios",
            "pcap-zmq over the others, run by run",
            "octets of an IP packet",
            "times their packets per CPU second",
            x,
            over,
            goal=1.0,
            goal_label="as many as theirs",
        ),
        plot("sending", "Sending", per_cpu, lambda o: o.sending_rate / 1e6),
        plot("receiving", "Receiving", per_cpu, lambda o: o.receiving_rate / 1e6),
        plot(
            "loss",
            "Lost of what the kernel logged, flat out",
            "percent of packets",
            lambda o: 100 * o.lost / o.logged if o.logged else 0.0,
        ),
    ]
