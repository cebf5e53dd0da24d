"""Measures what an IDS still finds when there is too much traffic: make shedding.

usage: python -m bench.shedding [--captures DIR] [--seconds N] [--runs N] [--output DIR]

Exit codes: 0 measured, 1 Suricata failed, 2 something is missing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench.captures import find
from bench.plots import draw
from bench.shedding.measure import Measurement, measure
from bench.shedding.report import plots, report

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="make shedding")
    parser.add_argument(
        "--captures", type=Path, help="savefiles; by default those beside the checkout"
    )
    parser.add_argument(
        "--seconds", type=int, default=30, help="how long all of them take together"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, help=f"for example {RESULTS}")
    arguments = parser.parse_args()
    captures = find(arguments.captures)
    if not captures:
        print("shedding: no captures: name a folder", file=sys.stderr)
        return 2
    if shutil.which("suricata") is None:
        print("shedding: no suricata: install the package suricata", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="shedding-") as directory:
        try:
            measured = measure(
                captures, arguments.seconds, arguments.runs, Path(directory)
            )
        except RuntimeError as error:
            print(f"shedding: {error}", file=sys.stderr)
            return 1
    _tell(measured, arguments.output)
    return 0


def _tell(measured: Measurement, output: Path | None) -> None:
    text = report(measured)
    print(text)
    if output is not None:
        (output / "shedding.md").write_text(text)
        for plot in plots(measured):
            draw(plot, output)


if __name__ == "__main__":
    sys.exit(main())
