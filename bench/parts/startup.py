"""How long each command takes to show its help and to be ready, and what it imports."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.part import Plot, Section, Series, Verdict
from bench.pipes import END_TIMEOUT_S, GROUP, PORT, READY_TIMEOUT_S, tool
from bench.table import spread, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.part import Bench
    from testbed.namespaces import Namespace

PACKAGES: dict[str, str] = {}

RUNS_MIN, RUNS_QUICK = 5, 1
"""Of each, after one that is not counted: whatever the load of the benchmark is."""

HELP_GOAL_MS = 150
SEND_HELP = "pcap-zmq-send --help"

MS = 1e-3
US = 1e-6
TOP = 8
SAID_MAX = 1 << 16

# What shows that little of it is ours to save: the interpreter with nothing to do, with
# the two libraries that every command needs, and another tool.
INTERPRETER = "python -c pass"
LIBRARIES = "python -c 'import click, zmq'"
HELPS = (
    SEND_HELP,
    "pcap-zmq-recv --help",
    "pcap-zmq --help",
    "pcap-zmq status --help",
    "pcap-zmq doctor --help",
    "pcap-zmq keygen --help",
    "pcap-zmq config --help",
)

HELPS_QUICK = 3

RECEIVES = "pcap-zmq-recv, until it listens"
SENDS = "pcap-zmq-send, until it has bound its group"
TCPDUMP = "tcpdump, until it has bound its group"

LAUNCHERS = ("sitecustomize", "usercustomize", "_distutils_hack", "_virtualenv")
"""What an environment of Python has of its own accord."""

_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)

# For the plot.
SHORT = {
    INTERPRETER: "python",
    LIBRARIES: "python, click, zmq",
    SEND_HELP: "send --help",
    "pcap-zmq-recv --help": "recv --help",
    "pcap-zmq --help": "pcap-zmq --help",
    RECEIVES: "recv, ready",
    SENDS: "send, ready",
    TCPDUMP: "tcpdump, ready",
}

IMPORTS_TEXT = """
Milliseconds of import time, by package and by module, those that took longest, once;
`python -X importtime`, which measures them, makes all slower.

"""

TEXT = """\
Milliseconds until a command has shown its help and ended, or has said that it is ready,
the files being in memory: {runs} times each, in turn, after one that is not counted.
"""


@dataclass(frozen=True, slots=True)
class Start:
    """What one start took."""

    wall_s: float
    cpu_s: float


def measure(bench: Bench) -> Section:
    """Every command in turn, then its imports."""
    runs = RUNS_QUICK if bench.is_quick else max(RUNS_MIN, bench.runs)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        readies = _readies(Path(name), is_root=bench.is_root)
        helps = HELPS[:HELPS_QUICK] if bench.is_quick else HELPS
        starts = _starts(bench.host, helps, readies)
        found: dict[str, list[Start]] = {what: [] for what in starts}
        for turn in range(runs + 1):
            bench.say(f"startup: run {turn} of {runs}")
            for what in starts if turn % 2 == 0 else reversed(starts):
                start = starts[what]()
                if turn > 0:
                    found[what].append(start)
        imported = {what: _imports(_argv(what), bench.host) for what in HELPS[:2]}
        imported |= {
            what: _imports(readies[what][0], bench.host, readies[what][1])
            for what in (SENDS, RECEIVES)
        }
    help_ms = median(start.wall_s for start in found[SEND_HELP]) / MS
    return Section(
        "Start-up",
        TEXT.format(runs=runs)
        + "\n"
        + _table(found)
        + IMPORTS_TEXT
        + _imports_tables(imported),
        [Verdict(f"start-up: {SEND_HELP}", help_ms, HELP_GOAL_MS, "ms", at_most=True)],
        [_plot(found)],
    )


def _readies(directory: Path, *, is_root: bool) -> dict[str, tuple[list[str], str]]:
    """What is started, and what it says when it is ready."""
    endpoint = f"tcp://127.0.0.1:{PORT}"
    receive = [tool("pcap-zmq-recv"), endpoint, str(directory / "fifo")]
    send = [tool("pcap-zmq-send"), "--linger", "0s", str(GROUP), endpoint]
    dump = f"tcpdump -Z root -i nflog:{GROUP} -w {directory / 'dump'}".split()
    readies = {
        RECEIVES: (receive, "listening on"),
        # It gives them up when its group is bound, and not before.
        SENDS: (send, "capability"),
    }
    return {**readies, TCPDUMP: (dump, "listening on")} if is_root else readies


def _starts(
    host: Namespace, helps: Sequence[str], readies: dict[str, tuple[list[str], str]]
) -> dict[str, Callable[[], Start]]:
    def ends(argv: Sequence[str]) -> Callable[[], Start]:
        return lambda: run_to_end(argv)

    def is_ready(argv: Sequence[str], word: str) -> Callable[[], Start]:
        return lambda: run_until(host, argv, word)[0]

    return {
        INTERPRETER: ends([sys.executable, "-c", "pass"]),
        LIBRARIES: ends([sys.executable, "-c", "import click, zmq"]),
        **{words: ends(_argv(words)) for words in helps},
        **{what: is_ready(argv, word) for what, (argv, word) in readies.items()},
    }


def _argv(words: str) -> list[str]:
    program, *rest = words.split()
    return [tool(program), *rest]


def run_to_end(argv: Sequence[str]) -> Start:
    """Raises RuntimeError where it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    complaint = process.stderr.read() if process.stderr is not None else ""
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    # It has been waited for, which Popen cannot know.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stderr is not None:
        process.stderr.close()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed: {complaint.strip()}")
    return Start(wall_s, usage.ru_utime + usage.ru_stime)


def run_until(host: Namespace, argv: Sequence[str], word: str) -> tuple[Start, str]:
    """Until it has said the word on standard error, and what it said until then; raises
    RuntimeError where it does not. With the programs that put it into the network,
    which take 2 ms or so."""
    began = time.perf_counter()
    process: subprocess.Popen[Any] = host.popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if process.stderr is None:
        raise AssertionError("asked for a pipe, got none")
    said, descriptor = "", process.stderr.fileno()
    try:
        while word not in said:
            left_s = began + READY_TIMEOUT_S - time.perf_counter()
            ready, _, _ = select.select([descriptor], [], [], max(0.0, left_s))
            octets = os.read(descriptor, SAID_MAX) if ready else b""
            if not octets:
                raise RuntimeError(f"{argv[0]} was never ready: {said.strip()}")
            said += octets.decode(errors="replace")
        return Start(time.perf_counter() - began, _cpu_s(process.pid)), said
    finally:
        process.terminate()
        process.wait(END_TIMEOUT_S)
        process.stderr.close()


def _cpu_s(pid: int) -> float:
    """Of a process with all its threads, those that have ended too, in ticks of 10 ms.
    Specification: proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _imports(argv: Sequence[str], host: Namespace, word: str = "") -> Counter[str]:
    """Microseconds in each module, without what it imports itself; until the word is
    said, or else until the end. Specification: python(1), -X importtime."""
    argv = [sys.executable, "-X", "importtime", *argv]
    if word:
        _, said = run_until(host, argv, word)
    else:
        said = host.run(argv).stderr
    spent: Counter[str] = Counter()
    for own_us, name in _IMPORT.findall(said):
        spent[name] += int(own_us)
    return spent


def _package(module: str) -> str:
    package = module.partition(".")[0]
    is_launcher = package in LAUNCHERS or package.startswith("__editable__")
    if package in sys.stdlib_module_names or is_launcher:
        return "Python's own"
    return package


def _table(found: dict[str, list[Start]]) -> str:
    rows = [
        [
            what,
            spread([start.wall_s for start in some], MS, 0),
            spread([start.cpu_s for start in some], MS, 0),
        ]
        for what, some in found.items()
    ]
    return table(["", "ms", "processor time, ms"], rows)


def _imports_tables(imported: dict[str, Counter[str]]) -> str:
    names = [SHORT[what] for what in imported]
    packages = {what: Counter[str]() for what in imported}
    for what, modules in imported.items():
        for module, spent_us in modules.items():
            packages[what][_package(module)] += spent_us
    sums = [f"**{sum(spent.values()) * US / MS:.0f}**" for spent in imported.values()]
    by_package = table(["package", *names], [*_top(packages), ["**all**", *sums]])
    return by_package + "\n" + table(["module", *names], _top(imported))


def _top(imported: dict[str, Counter[str]]) -> list[list[str]]:
    """Rows for what took longest in all columns together."""
    total: Counter[str] = Counter()
    for spent in imported.values():
        total.update(spent)
    return [
        [name, *(f"{spent[name] * US / MS:.1f}" for spent in imported.values())]
        for name, _ in total.most_common(TOP)
    ]


def _plot(found: dict[str, list[Start]]) -> Plot:
    shown = {SHORT[what]: some for what, some in found.items() if what in SHORT}
    return Plot(
        "startup",
        "Start-up",
        "",
        "ms",
        list(shown),
        [
            Series("until done or ready", _milliseconds(shown, "wall_s")),
            Series("processor time", _milliseconds(shown, "cpu_s")),
        ],
        goal=HELP_GOAL_MS,
        goal_label=f"goal of {SEND_HELP}",
    )


def _milliseconds(shown: dict[str, list[Start]], of: str) -> list[list[float]]:
    return [[getattr(start, of) / MS for start in some] for some in shown.values()]
