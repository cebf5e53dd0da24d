"""Looking through capture files: what an octet of them costs, beside capinfos."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.captures import prepare
from bench.duel import MB, Duel, duel_table
from bench.part import Plot, Section, Series, Verdict
from bench.parts.startup import run_to_end
from bench.pipes import tool
from bench.table import spread, table
from pcap_ffi import whole_records
from pcap_zmq.formats import linktype
from pcap_zmq.formats.savefile import FILE_HEADER_LENGTH, encode_file_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.part import Bench
    from bench.parts.startup import Start

PACKAGES = {"capinfos": "wireshark-common"}

GOAL = 3.0
SCALING_GOAL = 0.75
"""Of what so many workers could do at best, on so many processors."""

LARGE_BYTES, LARGE_BYTES_QUICK = 256 << 20, 8 << 20
"""Of one file, which is in memory."""
NAMES, NAMES_PLAIN, NAMES_QUICK = 6, 48, 2
"""Under which it is read, with hashes and without: so that a start counts for little,
as with the terabytes that people have."""
SMALL_BYTES = 256 << 10
SMALL_FILES, SMALL_FILES_QUICK = 4_000, 20

OURS = ("map", "--workers", "1", "--format", "csv")
THEIRS = ("capinfos", "-T", "-m", "-Q")
# Each option is one thing to say; all but the hashes.
THEIRS_PLAIN = (*THEIRS, "-cdaesSuxyzo")

TEXT = """\
MB are of 1,000,000 octets of files, all in memory, per second of processor time of one
process: user and system, its start and all. capinfos says all that it can and computes
three hashes (SHA-256, SHA-1, RIPEMD-160), pcap-zmq map one of them (SHA-256); plain is
without any hash, by `--no-hash` and by options of capinfos, and still with rates over
time, order and truncation. Large files are of {large} MB, small ones of {small} kB. Of
compressed files the octets count as they lie there; undoing takes most of the time.

"""


@dataclass(slots=True)
class Mapped(Duel):
    """The same files for either."""

    hashes: bool = True
    goal: float | None = GOAL

    def run(self, *, is_ours: bool) -> None:
        """One of the two, once more."""
        if is_ours:
            argv = [tool("pcap-zmq"), *OURS, *([] if self.hashes else ["--no-hash"])]
        else:
            argv = list(THEIRS if self.hashes else THEIRS_PLAIN)
        took = run_to_end([*argv, *map(str, self.paths)])
        (self.ours if is_ours else self.theirs).append(took)


def measure(bench: Bench) -> Section:
    """Each set of files by both in turn, then ours with more workers."""
    duels = _make(bench)
    for duel in duels:
        for turn, who in bench.in_turn(["pcap-zmq map", "capinfos"]):
            bench.say(f"map: {duel.name}, run {turn + 1} of {bench.runs}: {who}")
            duel.run(is_ours=who != "capinfos")
    large, small = duels[0], duels[2]
    scaled = _scaled(bench, large.paths)
    text = TEXT.format(
        large=large.octets // len(large.paths) // MB,
        small=small.octets // len(small.paths) // 1_000,
    )
    return Section(
        "Looking through capture files",
        text
        + duel_table(duels, "pcap-zmq map", "capinfos")
        + "\n"
        + _scaling_table(scaled, large.octets),
        [*_verdicts(duels), *_scaling_verdicts(scaled)],
        [_plot(duels)],
    )


def _make(bench: Bench) -> list[Mapped]:
    """The files of each set; several names of one where the same is read again."""
    records = prepare(bench.captures, bench.directory).read_bytes()[FILE_HEADER_LENGTH:]
    folder = bench.directory / "map"
    folder.mkdir()
    quick = bench.is_quick
    head = encode_file_header(linktype.RAW)
    large = folder / "large"
    with large.open("wb") as file:
        file.write(head)
        size = LARGE_BYTES_QUICK if quick else LARGE_BYTES
        for _ in range(max(1, size // len(records))):
            file.write(records)
    compressed = folder / "compressed"
    compressed.write_bytes(gzip.compress(large.read_bytes(), 1))
    small = folder / "small"
    small.write_bytes(head + records[: whole_records(records, SMALL_BYTES)])
    names = NAMES_QUICK if quick else NAMES
    names_plain = NAMES_QUICK if quick else NAMES_PLAIN
    smalls = _named(small, SMALL_FILES_QUICK if quick else SMALL_FILES)
    return [
        Mapped("large files", _named(large, names)),
        Mapped("large files, plain", _named(large, names_plain, "plain"), hashes=False),
        Mapped("small files", smalls),
        Mapped("small files, plain", smalls, hashes=False, goal=None),
        Mapped("a large file, gzip", _named(compressed, 1), goal=None),
        Mapped(
            "the same, plain", _named(compressed, 1, "plain"), hashes=False, goal=None
        ),
    ]


def _named(path: Path, count: int, word: str = "name") -> list[Path]:
    """So many names of a file."""
    names = [path.with_name(f"{path.name}-{word}-{number}") for number in range(count)]
    for name in names:
        name.hardlink_to(path)
    return names


def _scaled(bench: Bench, paths: Sequence[Path]) -> dict[int, list[Start]]:
    """Ours with one worker, and with one a processor."""
    most = len(os.sched_getaffinity(0))
    scaled: dict[int, list[Start]] = {n: [] for n in sorted({1, min(2, most), most})}
    for turn, name in bench.in_turn([str(count) for count in scaled]):
        bench.say(f"map: workers {name}, run {turn + 1} of {bench.runs}")
        argv = [tool("pcap-zmq"), "map", "--workers", name, *map(str, paths)]
        scaled[int(name)].append(run_to_end(argv))
    return scaled


def _scaling_table(scaled: dict[int, list[Start]], octets: int) -> str:
    rows = [
        [
            str(count),
            spread([octets / start.wall_s / MB for start in some], digits=0),
            spread([start.wall_s for start in some]),
        ]
        for count, some in scaled.items()
    ]
    return "Large files, with hashes:\n\n" + table(["workers", "MB/s", "seconds"], rows)


def _verdicts(duels: Sequence[Mapped]) -> list[Verdict]:
    return [
        Verdict(f"map over capinfos, {duel.name}", duel.times, duel.goal, "times")
        for duel in duels
        if duel.goal is not None
    ]


def _scaling_verdicts(scaled: dict[int, list[Start]]) -> list[Verdict]:
    most = max(scaled)
    if most == 1:
        return []
    one, all_of_them = (
        median(start.wall_s for start in scaled[count]) for count in (1, most)
    )
    return [
        Verdict(
            f"map, {most} workers over one, on {most} processors",
            one / all_of_them,
            SCALING_GOAL * most,
            "times",
        )
    ]


def _plot(duels: Sequence[Mapped]) -> Plot:
    return Plot(
        "map",
        "Looking through capture files",
        "",
        "MB of files per CPU second",
        x=[duel.name for duel in duels],
        series=[
            Series("pcap-zmq map", [duel.rates(duel.ours) for duel in duels]),
            Series("capinfos", [duel.rates(duel.theirs) for duel in duels]),
        ],
    )
