"""Runs the benchmarks and prints what came of them, as Markdown."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from bench import native
from bench.pipes import SOCAT_BLOCK_BYTES, PcapZmq, Pipe, TcpdumpSocat
from bench.runs import LENGTH_MAX, LENGTH_MIN, Load, Outcome, fill, measure
from bench.table import (
    MIB,
    loss,
    milliseconds,
    percentile,
    ratio,
    spread,
    table,
    verdict,
)
from testbed.namespaces import SEARCH_PATH, Network, why_unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from testbed.namespaces import Namespace

RESULTS = Path(__file__).resolve().parent / "results"

SIZES = (64, 200, 1400)

# By size of packet: sending and receiving, ours over theirs, at least.
GOALS = {200: (3.0, 1.2), 1400: (1.5, 1.2)}

QUEUE_BYTES = 64 * MIB
MEMORY_BYTES = 60 * MIB

# Enough to fill both queues and every pipe on the way, twice.
FILL_OCTETS = 4 * QUEUE_BYTES
FILL_TIMEOUT_S = 15.0
STALL_OCTETS = MIB

SECONDS_MAX = 30

LONE_RATE = 100
COMPRESSED_LENGTH = 200

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
    """The exit code: 0 even where a goal is missed; the machine may be busy."""
    options = _options(argv)
    why = _why_not()
    if why is not None:
        print(f"bench: {why}", file=sys.stderr)
        return 3
    # SIGINT too: who starts us in the background may have it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        report = _report(options)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    print(report)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(report)
        _say(f"written to {options.output}")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="pcap-zmq beside tcpdump and socat, on real packets",
    )
    add = parser.add_argument
    add("--runs", type=_positive, help="of each pipe and size, in turn [3; quick: 1]")
    add("--quick", action="store_true", help="under a minute, and as much less exact")
    add("--seconds", type=float, help="of load in a run [2; quick: 0.5]")
    add("--sizes", type=_sizes, help="IP packet lengths [64,200,1400]", default=SIZES)
    add("--rate", type=float, default=0, help="packets/s; 0: flat out [0]")
    add("--pin", type=int, metavar="CPU", help="where the generator runs [anywhere]")
    parts = ("throughput", "memory", "latency")
    add("--only", action="append", choices=parts, help="this part [all]")
    results = RESULTS / "latest.md"
    add("--output", type=Path, help=f"the report's file [{results.name} in results/]")
    add("--no-output", action="store_true", help="only print the report")
    options = parser.parse_args(argv)
    if options.runs is None:
        options.runs = 1 if options.quick else 3
    if options.seconds is None:
        options.seconds = 0.5 if options.quick else 2.0
    if not 0 < options.seconds <= SECONDS_MAX:
        parser.error(f"--seconds is outside 0 to {SECONDS_MAX}")
    options.only = options.only or parts
    if options.output is None and not options.quick:
        options.output = results
    if options.no_output:
        options.output = None
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"not 1 or more: {text}")
    return value


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in text.split(","))
    for size in sizes:
        if not LENGTH_MIN <= size <= LENGTH_MAX:
            raise argparse.ArgumentTypeError(
                f"{size} is outside {LENGTH_MIN} to {LENGTH_MAX}"
            )
    return sizes


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _why_not() -> str | None:
    missing = {
        package
        for tool, package in PACKAGES.items()
        if shutil.which(tool, path=SEARCH_PATH) is None
    }
    if missing:
        return f"install the packages {', '.join(sorted(missing))}"
    return why_unavailable()


def _report(options: argparse.Namespace) -> str:
    for name in ("loadgen", "discard"):
        native.build(name)
    started = time.monotonic()
    load_before = os.getloadavg()[0]
    with Network() as network:
        host = network.add("bench")
        options.is_root = not network.user_namespace
        if not options.is_root:
            _say("not root: dumpcap takes tcpdump's place; the goals are for tcpdump")
        parts = []
        if "throughput" in options.only:
            parts.append(_throughput(host, options))
        if "memory" in options.only:
            parts.append(_memory(host, options))
        if "latency" in options.only:
            parts.append(_latency(host, options))
    taken_s = time.monotonic() - started
    return "\n".join([_preface(options, load_before, taken_s), *parts])


def _throughput(host: Namespace, options: argparse.Namespace) -> str:
    pipes: dict[str, Callable[[], Pipe]] = {
        "A": PcapZmq,
        "B": lambda: TcpdumpSocat(is_root=options.is_root),
        "C": lambda: TcpdumpSocat(
            block_bytes=SOCAT_BLOCK_BYTES, is_root=options.is_root
        ),
    }
    outcomes: dict[tuple[str, int], list[Outcome]] = {}
    for run in range(options.runs):
        for length in options.sizes:
            # In turn, so that what else the machine does meets all alike.
            for letter in "ABC" if run % 2 == 0 else "CBA":
                _say(f"run {run + 1} of {options.runs}: {length} octets, {letter}")
                load = Load(length, options.seconds, options.rate, cpu=options.pin)
                outcome = measure(host, pipes[letter](), load)
                outcomes.setdefault((letter, length), []).append(outcome)
    rows, details = [], []
    for length in options.sizes:
        for letter, make in pipes.items():
            name, some = make().name, outcomes[letter, length]
            rows.append(
                [
                    f"{length}: {letter}, {name.replace('|', 'and')}",
                    spread([o.logged_per_s for o in some], 1e3, 0),
                    spread([o.sending_rate for o in some], 1e6),
                    spread([o.receiving_rate for o in some], 1e6),
                    loss(some),
                ]
            )
            details.append([f"{length}: {letter}", *_details(some)])
        ours = outcomes["A", length]
        for letter, goals in (("B", GOALS.get(length, (0, 0))), ("C", (0, 0))):
            theirs = outcomes[letter, length]
            ratios = [
                ratio(ours, theirs, side) for side in ("sending_rate", "receiving_rate")
            ]
            rows.append(
                [
                    f"{length}: **A / {letter}**",
                    f"{ratio(ours, theirs, 'logged_per_s'):.2f}",
                    *(
                        f"**{verdict(value, goal)}**" if goal else f"**{value:.2f}**"
                        for value, goal in zip(ratios, goals, strict=True)
                    ),
                    "nothing" if all(o.lost == 0 for o in ours) else "MISSED",
                ]
            )
    head = ["octets", "1000 packets/s logged", "sending", "receiving", "lost"]
    text = (
        "## Throughput\n\n"
        "Sending and receiving are millions of packets delivered per second of "
        "processor time on that side; median (least to most). In brackets after a "
        "ratio of medians: the least it should be. A should lose nothing.\n\n"
    )
    head_more = [
        "octets",
        "generator",
        "sending",
        "receiving",
        "reader",
        "both ends say",
    ]
    return (
        text
        + table(head, rows)
        + "\nProcessor seconds per second of load (medians), and the counters of the "
        "last run:\n\n" + table(head_more, details)
    )


def _details(outcomes: Sequence[Outcome]) -> list[str]:
    def median_share(attribute: str) -> str:
        values = [getattr(o, attribute) / o.seconds for o in outcomes]
        return spread(values).partition(" ")[0]

    last = outcomes[-1]
    said = ", ".join(f"{name} {number}" for name, number in last.counters.items())
    return [
        median_share("generator_cpu_s"),
        median_share("sending_cpu_s"),
        median_share("receiving_cpu_s"),
        median_share("reader_cpu_s"),
        f"sent {last.sent}, logged {last.logged}, {said}, read {last.delivered}"
        + (f", TORN {last.torn} octets" if last.torn else ""),
    ]


def _memory(host: Namespace, options: argparse.Namespace) -> str:
    lengths = options.sizes[-1:] if options.quick else (200, 1400)
    cases: list[tuple[str, Outcome]] = []
    for length in lengths:
        _say(f"memory: {length} octets")
        flat_out = Load(length, options.seconds)
        packets = FILL_OCTETS // (length + 16)
        filling = Load(length, FILL_TIMEOUT_S, packets=packets)
        outcome = measure(host, PcapZmq(), flat_out)
        cases.append((f"{length}: flat out", outcome))
        outcome = fill(host, PcapZmq(), filling, stall_octets=STALL_OCTETS)
        cases.append((f"{length}: the reader stalls", outcome))
        alone = PcapZmq(["--low-watermark", "0", "--linger", "0s"], with_receiver=False)
        outcome = fill(host, alone, filling, stall_octets=None)
        cases.append((f"{length}: no receiver", outcome))
    outcome = measure(
        host,
        PcapZmq(["--low-watermark", "1KiB"]),
        Load(COMPRESSED_LENGTH, options.seconds),
    )
    cases.append((f"{COMPRESSED_LENGTH}: flat out, compressed", outcome))
    bound = MEMORY_BYTES + QUEUE_BYTES
    rows = [
        [
            name,
            _memory_cell(outcome.sender_peak_bytes, bound),
            _memory_cell(outcome.receiver_peak_bytes, bound),
            str(outcome.counters["sender dropped"]),
        ]
        for name, outcome in cases
    ]
    head = ["octets", "sender, MiB", "receiver, MiB", "dropped: queue full"]
    return (
        "## Memory\n\n"
        f"Peak resident set (VmHWM); each should be under 60 MiB and its queue, "
        f"{QUEUE_BYTES // MIB} MiB. Packets dropped show that the sender's queue "
        "was full. The receiver gives one sender no more than a share of its own.\n\n"
    ) + table(head, rows)


def _memory_cell(peak: int, bound: int) -> str:
    if peak == 0:
        return "-"
    word = "" if peak < bound else f" (MISSED: {bound // MIB})"
    return f"{peak / MIB:.1f}{word}"


def _latency(host: Namespace, options: argparse.Namespace) -> str:
    seconds = 1.5 if options.quick else 5.0
    rows = []
    theirs = TcpdumpSocat(unbuffered=True, is_root=options.is_root)
    for pipe in (PcapZmq(), theirs):
        _say(f"latency: {pipe.name}")
        outcome = measure(host, pipe, Load(SIZES[1], seconds, LONE_RATE, stamped=True))
        delays = outcome.delays_ns
        quantiles = [milliseconds(percentile(delays, p)) for p in (50, 99, 100)]
        rows.append([pipe.name.replace("|", "and"), str(len(delays)), *quantiles])
    return (
        "## Latency\n\n"
        f"Of {LONE_RATE} packets a second, from sending to the FIFO's reader, in "
        "milliseconds. tcpdump has -U here, and leaves the kernel's timer at a second; "
        "pcap-zmq-send's options are the defaults.\n\n"
    ) + table(["pipe", "packets", "p50", "p99", "most"], rows)


def _preface(options: argparse.Namespace, load_before: float, taken_s: float) -> str:
    capture = "tcpdump -s 0 -B 32768" if options.is_root else "dumpcap -P -B 32"
    size = "of 1 run" if options.runs == 1 else f"of {options.runs} interleaved runs"
    pace = f"{options.rate:.0f} packets/s" if options.rate else "flat out"
    quick = " (quick)" if options.quick else ""
    versions = [
        f"pcap-zmq {_version('pcap-zmq')}",
        f"Python {platform.python_version()}",
        f"pyzmq {_version('pyzmq')}",
        _first_line("tcpdump", "--version"),
        _socat_version(),
        _first_line("nft", "--version"),
    ]
    return (
        f"# pcap-zmq beside tcpdump and socat{quick}\n\n"
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {taken_s:.0f} s, medians {size} of "
        f"{options.seconds:g} s, {pace}, load average before: {load_before:.2f}\n"
        f"- {_processor()}, {os.cpu_count()} processors, Linux {platform.release()}\n"
        f"- {', '.join(versions)}\n"
        "- A: `pcap-zmq-send --low-watermark 0 --high-watermark 0` to `pcap-zmq-recv`; "
        f"B: `{capture} -w -` into `socat -u`, into `socat -u` to the same; C: B with "
        f"`-b {SOCAT_BLOCK_BYTES}`, 32 times socat's own block; all "
        "over TCP on loopback into a FIFO of 1 MiB, read by one and the same reader\n"
        "- UDP from one socket by sendmmsg over loopback, in a private network: logged "
        "in the output hook, where the kernel logs most, dropped in prerouting\n"
        f"- net.core.rmem_max {_rmem_max()}: it bounds tcpdump's receive buffer, which "
        "wants 32 MiB, and not that of pcap-zmq-send as root\n"
    )


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _rmem_max() -> str:
    return Path("/proc/sys/net/core/rmem_max").read_text().strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _first_line(*command: str) -> str:
    path = shutil.which(command[0], path=SEARCH_PATH) or command[0]
    done = subprocess.run(
        [path, *command[1:]], capture_output=True, text=True, check=False
    )
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else f"{command[0]} (no version)"


def _socat_version() -> str:
    done = subprocess.run(["socat", "-V"], capture_output=True, text=True, check=False)
    found = re.search(r"socat version (\S+)", done.stdout)
    return f"socat {found[1]}" if found else "socat"


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
