"""Compressed, on captures: what an octet costs and saves, beside the usual chains."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from bench.compressed import WIRE_OCTETS, CompressedChain, CompressedPcapZmq
from bench.load import CAPTURES, Load
from bench.part import Plot, Section, Series, Verdict
from bench.runs import Outcome
from bench.runs import measure as run
from bench.table import loss, spread, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.part import Bench
    from bench.pipes import Pipe

PACKAGES = {"zstd": "zstd", "gzip": "gzip", "pigz": "pigz"}

MB = 1_000_000

PACE = 30_000
"""Packets a second that every chain can carry on two processors: what it costs where
there is time to wait between two batches."""

ZSTD, ZSTD_CHAIN = "zstd 1", "| zstd -1"
ZLIB, ZLIB_CHAIN = "zlib 1", "| gzip -1"

QUICK = (ZLIB, ZSTD, ZLIB_CHAIN, ZSTD_CHAIN)
"""What there are goals for."""

ZSTD_GOAL = 1.4
ZLIB_GOAL = 6.0
RATIO_GOAL = 0.97

TEXT = """\
The captures' IPv4 packets, over and over. MB are of 1,000,000 octets of IP packets
delivered; a ratio is those octets to the octets that TCP carried, framing and all: the
two sides write different records, tcpdump those of LINKTYPE_NFLOG, with some tens of
octets of netfilter's attributes in front of each packet, pcap-zmq the packet alone.
Chains are `tcpdump -s 0 -B 32768 -w - | ... | socat -u` to `socat -u | ... > FIFO`,
with pipes of 1 MiB and socat's blocks at 256 KiB; what their compressors keep back
until the end is in the ratio and not in the time.
"""


def pipes(*, is_root: bool) -> dict[str, Callable[[], Pipe]]:
    """What is compared, ours first."""

    def ours(codec: str, level: int | None = None) -> Callable[[], Pipe]:
        return lambda: CompressedPcapZmq(codec, level)

    def chain(compressor: str, decompressor: str) -> Callable[[], Pipe]:
        return lambda: CompressedChain(compressor, decompressor, is_root=is_root)

    return {
        ZLIB: ours("zlib", 1),
        ZSTD: ours("zstd", 1),
        "zstd": ours("zstd"),
        "zstd 3": ours("zstd", 3),
        "lz4 0": ours("lz4", 0),
        ZLIB_CHAIN: chain("gzip -1 -c", "gzip -dc"),
        ZSTD_CHAIN: chain("zstd -1 -q -c", "zstd -q -dc"),
        "| pigz": chain("pigz -c", "pigz -dc"),
    }


def measure(bench: Bench) -> Section:
    """Everything in turn as fast as it goes, and once at a rate that all can carry."""
    load = Load(bench.traffic(CAPTURES), bench.seconds, bench.rate, cpu=bench.cpu)
    outcomes = _outcomes(bench, load, bench.runs)
    speed = f"{bench.rate:g} packets/s" if bench.rate else "Flat out"
    text = [TEXT, f"{speed}:\n", _table(bench, outcomes)]
    if not bench.is_quick:
        paced = _outcomes(bench, replace(load, rate=PACE), runs=1)
        text += [f"{PACE} packets/s, once:\n", _table(bench, paced)]
    return Section("Compressed", "\n".join(text), _verdicts(outcomes), _plots(outcomes))


def _outcomes(bench: Bench, load: Load, runs: int) -> dict[str, list[Outcome]]:
    compared = pipes(is_root=bench.is_root)
    if bench.is_quick:
        compared = {name: compared[name] for name in QUICK}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in compared}
    speed = f"{load.rate:g} packets/s" if load.rate else "flat out"
    for turn, name in replace(bench, runs=runs).in_turn(list(compared)):
        bench.say(f"compression: {speed}, run {turn + 1} of {runs}: {name}")
        outcomes[name].append(run(bench.host, compared[name](), load))
    return outcomes


def _table(bench: Bench, outcomes: dict[str, list[Outcome]]) -> str:
    compared = pipes(is_root=bench.is_root)
    head = ["", "MB/s sent", "sending, MB per CPU second", "receiving", "ratio", "lost"]
    rows = [
        [
            compared[name]().name,
            spread([o.sent_octets / o.seconds for o in some], MB, 0),
            spread([_sending(o) for o in some], MB, 0),
            spread([_receiving(o) for o in some], MB, 0),
            spread([ratio(o) for o in some], digits=3),
            loss(some),
        ]
        for name, some in outcomes.items()
    ]
    return table(head, rows)


def _verdicts(outcomes: dict[str, list[Outcome]]) -> list[Verdict]:
    def times(of: Callable[[Outcome], float], name: str, other: str) -> float:
        one, two = (median(map(of, outcomes[which])) for which in (name, other))
        return one / two if two else 0.0

    sending = "MB per CPU second of the sending side"
    return [
        Verdict(
            f"compressed, zstd 1 over {ZSTD_CHAIN}: {sending}",
            times(_sending, ZSTD, ZSTD_CHAIN),
            ZSTD_GOAL,
            "times",
        ),
        Verdict(
            f"compressed, zstd 1 over {ZSTD_CHAIN}: ratio",
            times(ratio, ZSTD, ZSTD_CHAIN),
            RATIO_GOAL,
            "times",
        ),
        Verdict(
            f"compressed, zlib 1 over {ZLIB_CHAIN}: {sending}",
            times(_sending, ZLIB, ZLIB_CHAIN),
            ZLIB_GOAL,
            "times",
        ),
    ]


def _plots(outcomes: dict[str, list[Outcome]]) -> list[Plot]:
    def series(label: str, of: Callable[[Outcome], float], scale: float) -> Series:
        return Series(
            label, [[of(o) / scale for o in some] for some in outcomes.values()]
        )

    def plot(name: str, title: str, y_label: str, shown: Sequence[Series]) -> Plot:
        return Plot(name, title, "", y_label, x=list(outcomes), series=shown)

    return [
        plot(
            "compression-cost",
            "Captures, compressed: what a CPU second carries",
            "MB of IP packets per CPU second",
            [series("sending", _sending, MB), series("receiving", _receiving, MB)],
        ),
        plot(
            "compression-ratio",
            "Captures, compressed: what is saved",
            "octets of IP packets per octet over TCP",
            [series("ratio", ratio, 1)],
        ),
    ]


def _sending(outcome: Outcome) -> float:
    """Octets of IP packets per second of processor time."""
    cost_s = outcome.sending_cpu_s
    return outcome.octets / cost_s if cost_s else 0.0


def _receiving(outcome: Outcome) -> float:
    cost_s = outcome.receiving_cpu_s
    return outcome.octets / cost_s if cost_s else 0.0


def ratio(outcome: Outcome) -> float:
    """Octets of IP packets delivered per octet that TCP carried."""
    wire = outcome.counters[WIRE_OCTETS]
    return outcome.octets / wire if wire else 0.0
