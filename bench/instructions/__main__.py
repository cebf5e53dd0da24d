"""Compares instructions per packet with the figures that are kept: make bench-check.

usage: python -m bench.instructions [--accept]

Exit codes: 0 all are within tolerance, 1 one is not, 2 they cannot be compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.instructions import figures as kept_figures
from bench.instructions.callgrind import Counting, finish, start, total
from bench.instructions.drivers import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.instructions.figures import Figures

BIN = Path(sys.executable).parent
KEPT = Path(__file__).parent / "figures.json"
COMMANDS = ("pcap-zmq-send", "pcap-zmq-recv")
ACCEPT = "make bench-check ACCEPT=1"


def count(directory: Path) -> Figures:
    """All figures. RuntimeError where something fails."""
    works: list[Callable[[], Figures]] = [
        *(partial(_of_driver, name, directory) for name in DRIVERS),
        *(partial(_of_help, command, directory) for command in COMMANDS),
    ]
    # Two at a time: so many processors everybody has.
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(work) for work in works]
        found: Figures = {}
        for one in waiting:
            found |= one.result()
    return found


def _of_driver(name: str, directory: Path) -> Figures:
    """Instructions per packet."""
    own = directory / name
    own.mkdir()
    return Counting(name, own).figures()


def _of_help(command: str, directory: Path) -> Figures:
    """Instructions altogether, in millions."""
    profile, log = directory / f"{command}.callgrind", directory / f"{command}.log"
    said = directory / f"{command}.help"
    argv: list[str | Path] = [sys.executable, BIN / command, "--help"]
    finish(start(argv, profile, said=said, log=log), command, log)
    instructions = total(profile.with_name(f"{profile.name}-01"))
    return {f"{command} --help": instructions / 1e6}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="make bench-check")
    parser.add_argument("--accept", action="store_true", help="keep what is counted")
    parser.add_argument("--figures", type=Path, default=KEPT, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("bench-check: no valgrind: install the package valgrind", file=sys.stderr)
        return 2
    here = kept_figures.versions()
    with tempfile.TemporaryDirectory(prefix="bench-check-") as directory:
        try:
            counted = count(Path(directory))
        except RuntimeError as error:
            print(f"bench-check: {error}", file=sys.stderr)
            return 2
    if arguments.accept:
        kept_figures.keep(arguments.figures, here, counted)
        print("\n".join(kept_figures.table({}, counted)))
        print(f"bench-check: kept in {arguments.figures}")
        return 0
    return compare(arguments.figures, here, counted)


def compare(path: Path, here: dict[str, str], counted: dict[str, float]) -> int:
    """Says how the figures have moved; the exit code."""
    kept = next((one for one in kept_figures.read(path) if one.fits(here)), None)
    if kept is None:
        what = ", ".join(here[name] for name in kept_figures.SAME)
        print(f"bench-check: no figures for {what}; keep these with {ACCEPT}")
        # Where nothing may be skipped, what cannot be compared has not passed.
        return 2 if os.environ.get("TESTS_MAY_NOT_SKIP") else 0
    print("Instructions per packet (--help: millions altogether), and how they moved:")
    print("\n".join(kept_figures.table(kept.figures, counted)))
    wrong = kept_figures.complaints(kept.figures, counted)
    if not wrong:
        return 0
    share = f"{kept_figures.TOLERANCE:.0%}"
    print(f"bench-check: moved by more than {share}:", file=sys.stderr)
    for line in wrong:
        print(f"  {line}", file=sys.stderr)
    for line in kept.differences(here):
        print(f"  perhaps since {line}", file=sys.stderr)
    print(f"If that is as it should be: {ACCEPT}, and commit {path}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
