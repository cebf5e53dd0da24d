"""Whether Suricata says the same from behind the pipe as of the capture: make fidelity.

usage: python -m fidelity [--pipe-only] [FOLDER | SAVEFILE]...

Without a folder: the captures beside the checkout, or some that are made. Exit codes: 0
all events are the same, 1 some are not, 2 it cannot be asked.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import captures as found_captures
from fidelity import made
from fidelity.events import Difference, Events, compare, kinds, read_events
from fidelity.replay import write_ip_packets
from fidelity.runs import Failed, directly, through_the_kernel, through_the_pipe
from pcap_zmq.errors import SavefileError
from testbed.namespaces import why_unavailable
from testbed.suricata import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHOWN = ("alert", "flow", "http", "dns", "tls", "fileinfo", "anomaly")
"""The kinds of events that have a column; all others share one."""


@dataclass(frozen=True)
class Verdict:
    """What was found of one capture. by_kernel: None where that was not asked."""

    name: str
    events: Events
    by_pipe: Difference
    packets: int = 0
    kernel_events: int = 0
    by_kernel: Difference | None = None

    @property
    def is_same(self) -> bool:
        """Nothing differs."""
        return not self.by_pipe and not self.by_kernel


def judge(capture: Path, directory: Path, *, with_kernel: bool) -> Verdict:
    """Asks Suricata two or four times. Raises Failed."""
    _check(capture)
    expected = read_events([directly(capture, directory / "direct")])
    came = read_events([through_the_pipe(capture, directory / "pipe")])
    by_pipe = compare(expected, came)
    if not with_kernel:
        return Verdict(capture.name, expected, by_pipe)
    raw = directory / "packets.pcap"
    packets = write_ip_packets(capture, raw)
    # When they were captured is up to the gateway that replays them.
    wanted = read_events([directly(raw, directory / "raw")], with_times=False)
    events = through_the_kernel(raw, packets, directory / "kernel")
    by_kernel = compare(wanted, read_events([events], with_times=False))
    return Verdict(capture.name, expected, by_pipe, packets, wanted.total(), by_kernel)


def table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """In Markdown, a line for each capture."""
    columns = ("capture", *SHOWN, "other", "by the pipe", "by NFLOG", "")
    yield "| " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * (len(SHOWN) + 1) + "---|---|---|"
    for verdict in verdicts:
        counted = kinds(verdict.events)
        shown = [counted.pop(kind, 0) for kind in SHOWN]
        cells = [verdict.name, *shown, counted.total(), said(verdict.by_pipe)]
        if verdict.by_kernel is None:
            cells += ["not asked", ""]
        else:
            events = f"{verdict.kernel_events} events of {verdict.packets} packets"
            cells += [said(verdict.by_kernel), events]
        yield "| " + " | ".join(map(str, cells)) + " |"


def said(difference: Difference) -> str:
    """In two words."""
    if not difference:
        return "equal"
    return f"{difference.missing.total()} missing, {difference.added.total()} more"


def _check(capture: Path) -> None:
    """Suricata itself would need a minute to say that it is none."""
    try:
        next(found_captures.packets_of(capture), None)
    except (OSError, SavefileError) as error:
        raise Failed(f"no capture: {error}") from error


def find(places: Sequence[Path], directory: Path) -> list[Path]:
    """The captures in folders, or themselves; made ones where there are none."""
    if not places:
        return found_captures.find(None) or [made.write(directory)]
    captures: list[Path] = []
    for place in places:
        captures += found_captures.find(place) if place.is_dir() else [place]
    return captures


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="make fidelity")
    parser.add_argument("places", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--pipe-only", action="store_true")
    arguments = parser.parse_args()
    reason = None if arguments.pipe_only else why_unavailable()
    if not Witness.is_installed():
        reason = "suricata is not installed"
    if reason is not None:
        print(f"fidelity: {reason}", file=sys.stderr)
        return 2
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="fidelity-") as name:
        directory = Path(name)
        for number, capture in enumerate(find(arguments.places, directory)):
            print(f"fidelity: {capture.name}", file=sys.stderr, flush=True)
            try:
                verdict = judge(
                    capture,
                    directory / str(number),
                    with_kernel=not arguments.pipe_only,
                )
            except (Failed, TimeoutError) as error:
                print(f"fidelity: {capture.name}: {error}", file=sys.stderr)
                return 2
            verdicts.append(verdict)
    print("\n".join(table(verdicts)))
    for verdict in verdicts:
        for way, difference in (
            ("the pipe", verdict.by_pipe),
            ("NFLOG", verdict.by_kernel),
        ):
            if difference:
                print(f"\n{verdict.name}, by {way}:", *difference.lines(), sep="\n")
    return 0 if all(verdict.is_same for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
