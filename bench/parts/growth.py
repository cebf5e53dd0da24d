"""One receiver and ever more senders at one rate: memory, processor time, fairness."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench.crowd import LENGTH, SMALL, Case, Crowd, run
from bench.part import Plot, Section, Series, Verdict
from bench.table import MIB, share, spread, table

if TYPE_CHECKING:
    from bench.part import Bench

PACKAGES: dict[str, str] = {}

KIB = 1 << 10

COUNTS, COUNTS_QUICK = (1, 10, 100, 1_000), (1, 100)
RATE, RATE_QUICK = 100_000, 20_000
"""Packets a second of all senders together."""

RECORD_HEADER = 16

# What pcap-zmq-send fills a batch with, and how long it waits for that, by default.
BATCH_BYTES = 1024 * KIB
BATCH_AGE_S = 0.02

CPU_GOAL = 0.5
BARE_GOAL = 0.5 / 0.39
"""Half a core was asked for where a bare loop took 0.39: on a slower machine, or a busy
one, this tells more."""
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
one. The bare loop (`bench/bare.py`) receives and writes each message with pyzmq, and
does nothing else: no acknowledgement, no check, no count.
"""


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
    largest, bare = _largest(crowds), list[Crowd]()
    for turn, name in bench.in_turn(list(cases)):
        case = cases[name]
        bench.say(
            f"growth: run {turn + 1} of {bench.runs}: {case.senders} senders, "
            f"batches of {case.batch}"
        )
        crowds[case].append(run(bench.host, case, rate, bench.seconds))
        if case == largest:
            bare.append(run(bench.host, case, rate, bench.seconds, is_bare=True))
    text = TEXT.format(
        rate=f"{rate:,.0f}", length=LENGTH, small=SMALL, messages=f"{rate / SMALL:,.0f}"
    )
    return Section(
        "Growth",
        text + "\n" + _table(crowds, bare),
        _verdicts(crowds, bare),
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


def _largest(crowds: dict[Case, list[Crowd]]) -> Case:
    return max((case for case in crowds if case.is_small), key=lambda c: c.senders)


def _table(crowds: dict[Case, list[Crowd]], bare: list[Crowd]) -> str:
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
    loop = [
        "the bare loop, as many senders",
        spread([c.messages / c.seconds for c in bare], digits=0),
        spread([c.receiver_share for c in bare]),
        spread([c.swarm_share for c in bare]),
        spread([c.grown_bytes for c in bare], MIB, 1),
        *["-"] * 5,
    ]
    return table(head, [*rows, loop])


def _verdicts(crowds: dict[Case, list[Crowd]], bare: list[Crowd]) -> list[Verdict]:
    largest = _largest(crowds)
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
            f"{name}, small batches: processor time, over a bare receiving loop's",
            median(crowd.receiver_share for crowd in some)
            / median(crowd.receiver_share for crowd in bare),
            BARE_GOAL,
            "times",
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
