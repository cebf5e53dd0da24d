"""Filtering capture files: what an octet of them costs, beside tcpdump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.captures import prepare
from bench.duel import MB, Duel, duel_table
from bench.part import Plot, Section, Series, Verdict
from bench.parts.startup import run_to_end
from bench.pipes import tool
from bench.table import spread, table
from pcap_zmq.formats import linktype
from pcap_zmq.formats.savefile import FILE_HEADER_LENGTH, encode_file_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.part import Bench
    from bench.parts.startup import Start

PACKAGES = {"tcpdump": "tcpdump"}

GOAL = 1.0

LARGE_BYTES, LARGE_BYTES_QUICK = 1 << 30, 8 << 20
"""Of one file, which is in memory."""
NAMES, NAMES_QUICK = 8, 2
"""Under which it is read where little passes: so that a start counts for little, as
with the terabytes that people have."""

MOST = "tcp or udp"
FEW = "tcp port 1"
FILTERS = (1, 16, 256)
"""So many at once, each of a subnet and a port."""

TEXT = """\
MB are of 1,000,000 octets of files, all in memory, per second of processor time of one
process: user and system, its start and all. tcpdump is `tcpdump -r FILE -w FILE
EXPRESSION` (`-V LIST` for several files). Most: {most!r} of one file of {large} MB into
one. Few: {few!r} of {names} names of it. By named filters each packet is looked at
once, whatever their number; tcpdump would run as often.

"""


@dataclass(slots=True)
class Filtered(Duel):
    """The same files through the same filter by either."""

    expression: str

    def run(self, *, is_ours: bool, is_root: bool) -> None:
        """One of the two, once more."""
        output = self.paths[0].with_name("out")
        if is_ours:
            argv = [tool("pcap-zmq"), "filter", "--filter", self.expression]
            argv += [*map(str, self.paths), str(output)]
        else:
            # It gives up root, and could not write then.
            argv = ["tcpdump", *(["-Z", "root"] if is_root else [])]
            argv += [*self._theirs(), "-w", str(output), self.expression]
        try:
            (self.ours if is_ours else self.theirs).append(run_to_end(argv))
        finally:
            output.unlink(missing_ok=True)

    def _theirs(self) -> list[str]:
        if len(self.paths) == 1:
            return ["-r", str(self.paths[0])]
        listed = self.paths[0].with_name("list")
        listed.write_text("".join(f"{path}\n" for path in self.paths))
        return ["-V", str(listed)]


def measure(bench: Bench) -> Section:
    """Both in turn, then ours by more and more filters."""
    paths = _make(bench)
    duels = [Filtered("most", paths[:1], MOST), Filtered("few", paths, FEW)]
    for duel in duels:
        for turn, who in bench.in_turn(["pcap-zmq filter", "tcpdump"]):
            bench.say(f"filter: {duel.name}, run {turn + 1} of {bench.runs}: {who}")
            duel.run(is_ours=who != "tcpdump", is_root=bench.is_root)
    text = TEXT.format(
        most=MOST, few=FEW, large=duels[0].octets // MB, names=len(paths)
    )
    return Section(
        "Filtering capture files",
        text
        + duel_table(duels, "pcap-zmq filter", "tcpdump")
        + "\n"
        + _many_table(_many(bench, paths[0]), duels[0]),
        [
            Verdict(f"filter over tcpdump, {duel.name}", duel.times, GOAL, "times")
            for duel in duels
        ],
        [_plot(duels)],
    )


def _make(bench: Bench) -> list[Path]:
    """Names of a large file."""
    records = prepare(bench.captures, bench.directory).read_bytes()[FILE_HEADER_LENGTH:]
    folder = bench.directory / "filter"
    folder.mkdir()
    large = folder / "large"
    size = LARGE_BYTES_QUICK if bench.is_quick else LARGE_BYTES
    with large.open("wb") as file:
        file.write(encode_file_header(linktype.RAW))
        for _ in range(max(1, size // len(records))):
            file.write(records)
    names = NAMES_QUICK if bench.is_quick else NAMES
    paths = [folder / f"large-{number}" for number in range(names)]
    for path in paths:
        path.hardlink_to(large)
    return paths


def _many(bench: Bench, path: Path) -> dict[int, list[Start]]:
    """Ours by so many named filters, of which few take anything."""
    found: dict[int, list[Start]] = {count: [] for count in FILTERS}
    for count in FILTERS:
        rules = path.with_name(f"rules-{count}.toml")
        rules.write_text(
            "".join(
                f'[[f{number}.conditions]]\nkind = "subnet"\n'
                f'match = ["198.51.100.{number}"]\n'
                f'[[f{number}.conditions]]\nkind = "port"\nmatch = ["443/tcp"]\n'
                for number in range(count)
            )
        )
    for turn, name in bench.in_turn([str(count) for count in FILTERS]):
        bench.say(f"filter: {name} filters, run {turn + 1} of {bench.runs}")
        argv = [tool("pcap-zmq"), "filter", "--rules"]
        argv += [str(path.with_name(f"rules-{name}.toml")), str(path)]
        output = path.with_name(f"out-{name}-{turn}")
        found[int(name)].append(run_to_end([*argv, f"folder:{output}"]))
    return found


def _many_table(many: dict[int, list[Start]], duel: Duel) -> str:
    rows = [
        [str(count), spread(duel.rates(some), digits=0)] for count, some in many.items()
    ]
    return table(["named filters", "MB per CPU second"], rows)


def _plot(duels: Sequence[Duel]) -> Plot:
    return Plot(
        "filter",
        "Filtering capture files",
        "",
        "MB of files per CPU second",
        x=[duel.name for duel in duels],
        series=[
            Series("pcap-zmq filter", [duel.rates(duel.ours) for duel in duels]),
            Series("tcpdump", [duel.rates(duel.theirs) for duel in duels]),
        ],
    )
