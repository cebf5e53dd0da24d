"""Makes one Markdown report of what the parts found: the goals first, then each."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import SOCAT_BLOCK_BYTES
from bench.table import table
from testbed.namespaces import SEARCH_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.part import Plot, Section, Verdict

RMEM_MAX = Path("/proc/sys/net/core/rmem_max")

# Programs with the argument that makes them say their version.
PROGRAMS = {
    "tcpdump": "--version",
    "nft": "--version",
    "zstd": "--version",
    "pigz": "--version",
    "ulogd": "--version",
    "tcpreplay": "--version",
}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a report says about how it was made."""

    is_quick: bool
    is_root: bool
    runs: int
    seconds: float
    rate: float
    load_before: float
    taken_s: float
    captures: str


def render(sections: Sequence[Section], how: Circumstances, *, plotted: bool) -> str:
    """The whole report. plotted: whether the files of the plots are beside it."""
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    parts = [_preface(how)]
    if verdicts:
        parts.append("## Goals\n\n" + goals(verdicts))
    for section in sections:
        text = f"## {section.title}\n\n{section.markdown}"
        if plotted and section.plots:
            text += "\n" + "\n".join(map(_link, section.plots)) + "\n"
        parts.append(text)
    return "\n".join(parts)


def goals(verdicts: Sequence[Verdict]) -> str:
    """A table of what was wanted and what was found."""
    rows = [
        [
            verdict.name,
            f"{_figure(verdict.value)} {verdict.unit}".strip(),
            f"{'at most' if verdict.at_most else 'at least'} {_figure(verdict.goal)}",
            "reached" if verdict.is_reached else "**MISSED**",
        ]
        for verdict in verdicts
    ]
    return table(["what", "measured", "goal", ""], rows)


def _figure(value: float) -> str:
    if value == int(value):
        return str(int(value))
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def _link(plot: Plot) -> str:
    return f"![{plot.title}]({plot.name}.png) ([SVG]({plot.name}.svg))\n"


def _preface(how: Circumstances) -> str:
    capture = "tcpdump -s 0 -B 32768" if how.is_root else "dumpcap -P -B 32"
    size = "of 1 run" if how.runs == 1 else f"of {how.runs} interleaved runs"
    pace = f"{how.rate:.0f} packets/s" if how.rate else "flat out"
    quick = " (quick)" if how.is_quick else ""
    versions = [
        f"pcap-zmq {_version('pcap-zmq')}",
        f"Python {platform.python_version()}",
        f"pyzmq {_version('pyzmq')}",
        _socat_version(),
        *(_first_line(program, argument) for program, argument in PROGRAMS.items()),
    ]
    return (
        f"# pcap-zmq beside what people chain together for this{quick}\n\n"
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {how.taken_s:.0f} s, medians "
        f"{size} of {how.seconds:g} s, {pace} unless said otherwise, load average "
        f"before: {how.load_before:.2f}\n"
        f"- {_processor()}, {os.cpu_count()} processors, Linux {platform.release()}\n"
        f"- {', '.join(versions)}\n"
        "- Ours: `pcap-zmq-send --low-watermark 0 --high-watermark 0` to "
        f"`pcap-zmq-recv`; theirs: `{capture} -w -` into `socat -u`, into `socat -u` "
        f"to the same, and with `-b {SOCAT_BLOCK_BYTES}`, 32 times socat's own "
        "block; all over TCP on loopback into a FIFO of 1 MiB, read by one and the "
        "same reader. netsniff-ng is not here: it cannot bind a group of NFLOG\n"
        "- Packets from one socket by sendmmsg, in a private network: logged in the "
        "output hook and dropped as soon as the kernel can, before loopback or behind; "
        "IMIX: 7 of 64, 4 of 576 and 1 of 1500 octets; "
        f"captures: {how.captures}, their IPv4 packets\n"
        f"- net.core.rmem_max {RMEM_MAX.read_text().strip()}: it bounds tcpdump's "
        "receive buffer, which wants 32 MiB, and not that of pcap-zmq-send as root\n"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def _said(*command: str) -> str:
    path = shutil.which(command[0], path=SEARCH_PATH)
    if path is None:
        return f"{command[0]} (not installed)"
    argv = [path, *command[1:]]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout or done.stderr


def _first_line(*command: str) -> str:
    lines = _said(*command).splitlines()
    return lines[0].strip(" *") if lines else f"{command[0]} (no version)"


def _socat_version() -> str:
    found = re.search(r"socat version (\S+)", _said("socat", "-V"))
    return f"socat {found[1]}" if found else "socat"
