"""Runs the parts of the benchmark in order and writes their report, as Markdown."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench import captures, native, plots
from bench.load import CAPTURES, IMIX, LENGTH_MAX, LENGTH_MIN
from bench.part import Bench, Section
from bench.parts import NAMES, load
from bench.report import Circumstances, render
from testbed.namespaces import SEARCH_PATH, Network, why_unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

RESULTS = Path(__file__).resolve().parent / "results"

SIZES = "64,200,1400,9000,imix,captures"
SIZES_QUICK = "200,1400,captures"

RUNS = 5
SECONDS, SECONDS_QUICK = 2.0, 0.3
SECONDS_MAX = 30

# What every part runs. Those of one part are in its PACKAGES.
PACKAGES = {
    "tcpdump": "tcpdump",
    "socat": "socat",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "cc": "gcc",
}
if os.geteuid() != 0:
    PACKAGES["dumpcap"] = "wireshark-common"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 even where a goal is missed, the machine may be busy; 1 where
    something could not be measured."""
    options = _options(argv)
    why = _why_not(options)
    if why is not None:
        print(f"bench: {why}", file=sys.stderr)
        return 3
    # SIGINT too: who starts us in the background may have it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="pcap-zmq beside what people chain together, on real packets",
    )
    add = parser.add_argument
    add("--only", action="append", choices=NAMES, help="this part, or several [all]")
    add("--runs", type=_positive, help=f"of each thing, in turn [{RUNS}; quick: 1]")
    add("--quick", action="store_true", help="in two minutes, and as much less exact")
    seconds = f"of load in a run [{SECONDS:g}; quick: {SECONDS_QUICK:g}]"
    add("--seconds", type=float, help=seconds)
    sizes = f"IP packet lengths, imix, captures [{SIZES}; quick: {SIZES_QUICK}]"
    add("--sizes", type=_sizes, help=sizes)
    add("--rate", type=float, default=0, help="packets/s; 0: flat out [0]")
    add("--pin", type=int, metavar="CPU", help="where the generator runs [anywhere]")
    beside = "savefiles to send [../shared/pcaps, or some are made]"
    add("--captures", type=Path, metavar="DIR", help=beside)
    output = (
        "the report's file; plots go beside it [of all parts: bench/results/latest.md]"
    )
    add("--output", type=Path, metavar="FILE", help=output)
    add("--no-output", action="store_true", help="only print the report")
    options = parser.parse_args(argv)
    options.runs = options.runs or (1 if options.quick else RUNS)
    if options.seconds is None:
        options.seconds = SECONDS_QUICK if options.quick else SECONDS
    if not 0 < options.seconds <= SECONDS_MAX:
        parser.error(f"--seconds is outside 0 to {SECONDS_MAX}")
    if options.sizes is None:
        options.sizes = _sizes(SIZES_QUICK if options.quick else SIZES)
    if options.captures is not None and not captures.find(options.captures):
        parser.error(f"--captures: no savefiles in {options.captures}")
    # What is kept in the repository is of a whole run.
    if options.output is None and not options.quick and not options.only:
        options.output = RESULTS / "latest.md"
    if options.no_output:
        options.output = None
    # In the order of the report, and each once.
    options.only = [name for name in NAMES if name in (options.only or NAMES)]
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"not 1 or more: {text}")
    return value


def _sizes(text: str) -> list[int | str]:
    sizes: list[int | str] = []
    for word in text.split(","):
        if word in (IMIX, CAPTURES):
            sizes.append(word)
            continue
        if not LENGTH_MIN <= int(word) <= LENGTH_MAX:
            raise argparse.ArgumentTypeError(
                f"{word} is outside {LENGTH_MIN} to {LENGTH_MAX}"
            )
        sizes.append(int(word))
    return sizes


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _why_not(options: argparse.Namespace) -> str | None:
    wanted = dict(PACKAGES)
    for name in options.only:
        wanted |= load(name).PACKAGES
    missing = {
        package
        for tool, package in wanted.items()
        if shutil.which(tool, path=SEARCH_PATH) is None
    }
    if missing:
        return f"install the packages {', '.join(sorted(missing))}"
    if options.output is not None and find_spec("matplotlib") is None:
        return "plots need matplotlib: pip install 'pcap-zmq[bench]', or --no-output"
    return why_unavailable()


def _run(options: argparse.Namespace) -> int:
    for name in ("loadgen", "discard"):
        native.build(name)
    started = time.monotonic()
    load_before = os.getloadavg()[0]
    with (
        Network() as network,
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
    ):
        found = captures.find(options.captures)
        bench = Bench(
            network=network,
            host=network.add("bench"),
            is_root=not network.user_namespace,
            runs=options.runs,
            seconds=options.seconds,
            is_quick=options.quick,
            sizes=tuple(size for size in options.sizes if isinstance(size, int)),
            mixes=tuple(size for size in options.sizes if isinstance(size, str)),
            rate=options.rate,
            cpu=options.pin,
            directory=Path(directory),
            captures=found or [captures.make(Path(directory))],
        )
        if not bench.is_root:
            bench.say(
                "not root: dumpcap takes tcpdump's place; the goals are for tcpdump"
            )
        measured = [_measure(name, bench) for name in options.only]
    sections = [section for section in measured if section is not None]
    how = Circumstances(
        is_quick=options.quick,
        is_root=bench.is_root,
        runs=options.runs,
        seconds=options.seconds,
        rate=options.rate,
        load_before=load_before,
        taken_s=time.monotonic() - started,
        captures=f"{len(found)} real ones" if found else "one made here",
    )
    report = render(sections, how, plotted=options.output is not None)
    print(report)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(report)
        drawn = [
            path
            for section in sections
            for plot in section.plots
            for path in plots.draw(plot, options.output.parent)
        ]
        bench.say(f"written to {options.output}, with {len(drawn)} files of plots")
    return 0 if len(sections) == len(options.only) else 1


def _measure(name: str, bench: Bench) -> Section | None:
    """None where the part failed, and said so: the others are worth having."""
    try:
        return load(name).measure(bench)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        notes = "; ".join(getattr(error, "__notes__", []))
        bench.say(f"{name} FAILED: {error}{f' ({notes})' if notes else ''}")
        return None


if __name__ == "__main__":
    sys.exit(main())
