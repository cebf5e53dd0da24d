"""CURVE on against off: what encryption and authentication cost on either side."""

from __future__ import annotations

import shutil
import subprocess
from statistics import median
from typing import TYPE_CHECKING

from bench.load import Load
from bench.part import Plot, Section, Series
from bench.pipes import PcapZmq, tool
from bench.runs import Outcome
from bench.runs import measure as measure_run
from bench.table import loss, ratio, spread, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.part import Bench

PACKAGES: dict[str, str] = {}

LENGTHS = (200, 1400)
"""The least of NFLOG's usual packets and a full one, whatever else is measured."""

OFF, ON, PRESSED = "without keys", "with keys", "with keys, zlib 1"
SIDES = {"sending": "sending_rate", "receiving": "receiving_rate"}

UNCOMPRESSED = ("--low-watermark", "0")
COMPRESSED = ("--low-watermark", "1KiB")

TEXT = """\
`pcap-zmq-send` to `pcap-zmq-recv`, flat out, as in the throughput. With keys, one
process encrypts and signs all (Curve25519, XSalsa20, Poly1305), and the other checks
and decrypts it. Millions of packets per second of processor time on that side; below,
the ratios of the medians, and what the keys cost for an octet, both sides together.
The generator's packets compress far better than real ones: the row with zlib shows only
that what is not sent need not be encrypted.
"""


def measure(bench: Bench) -> Section:
    """Both at two sizes, in turn."""
    send_keys, receive_keys = _make_keys(bench.directory / "curve")
    pipes: dict[str, Callable[[], PcapZmq]] = {
        OFF: PcapZmq,
        ON: lambda: PcapZmq([*UNCOMPRESSED, *send_keys], receive_keys),
        PRESSED: lambda: PcapZmq([*COMPRESSED, *send_keys], receive_keys),
    }
    lengths = LENGTHS[-1:] if bench.is_quick else LENGTHS
    cases = {
        f"{length} octets, {name}": (length, name)
        for length in lengths
        for name in pipes
    }
    outcomes: dict[tuple[int, str], list[Outcome]] = {}
    for run, case in bench.in_turn(list(cases)):
        length, name = cases[case]
        bench.say(f"curve: run {run + 1} of {bench.runs}: {case}")
        load = Load(length, bench.seconds, bench.rate, cpu=bench.cpu)
        outcome = measure_run(bench.host, pipes[name](), load)
        outcomes.setdefault((length, name), []).append(outcome)
    return Section(
        "CURVE",
        TEXT + "\n" + _table(lengths, outcomes),
        plots=[_plot(lengths, outcomes)],
    )


def _make_keys(directory: Path) -> tuple[list[str], list[str]]:
    """Options for the sender and for the receiver, who know each other."""
    allowed = directory / "allowed"
    directory.mkdir(mode=0o700)
    allowed.mkdir(mode=0o755)
    for name in ("sender", "receiver"):
        argv = [tool("pcap-zmq"), "keygen", "--name", name, str(directory)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"no keys: {done.stderr.strip()}")
    shutil.copy(directory / "sender.key", allowed)
    peer = directory / "receiver.key"
    return (
        ["--key", f"{directory}/sender.key_secret", "--peer-key", str(peer)],
        ["--key", f"{peer}_secret", "--allow", str(allowed)],
    )


def _table(
    lengths: Sequence[int], outcomes: dict[tuple[int, str], list[Outcome]]
) -> str:
    rows = []
    for length in lengths:
        off = outcomes[length, OFF]
        for name in (OFF, ON, PRESSED):
            some = outcomes[length, name]
            rows.append(
                [
                    f"{length}: {name}",
                    spread([o.logged_per_s for o in some], 1e3, 0),
                    *(
                        spread([getattr(o, rate) for o in some], 1e6)
                        for rate in SIDES.values()
                    ),
                    loss(some),
                ]
            )
        on = outcomes[length, ON]
        extra_ns = 1e9 * (_cost_s(on) - _cost_s(off))
        ratios = [f"**{ratio(on, off, rate):.2f}**" for rate in SIDES.values()]
        rows.append(
            [f"{length}: **with over without**", "", *ratios, f"{extra_ns:.2f} ns"]
        )
    head = ["octets", "1000 packets/s logged", *SIDES, "lost; cost of an octet"]
    return table(head, rows)


def _cost_s(outcomes: Sequence[Outcome]) -> float:
    """Processor time of both sides for an octet of a packet."""
    return median(
        (o.sending_cpu_s + o.receiving_cpu_s) / o.octets if o.octets else 0.0
        for o in outcomes
    )


def _plot(
    lengths: Sequence[int], outcomes: dict[tuple[int, str], list[Outcome]]
) -> Plot:
    places = [(length, side) for length in lengths for side in SIDES]
    return Plot(
        "curve",
        "CURVE on against off",
        "octets of a packet, and side",
        "millions of packets per CPU second",
        [f"{length}: {side}" for length, side in places],
        [
            Series(
                name,
                [
                    [getattr(o, SIDES[side]) / 1e6 for o in outcomes[length, name]]
                    for length, side in places
                ],
            )
            for name in (OFF, ON)
        ],
    )
