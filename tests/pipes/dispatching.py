"""A dispatcher as a process, and whoever tells it what to do."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcap_zmq.formats.control import Reply
from pcap_zmq.tools.queue import QueueConfig, ask
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import BIN, PATIENCE_S, Tool, Tools


@dataclass(frozen=True, slots=True)
class Told:
    """What pcap-zmq queue said."""

    code: int
    out: str
    err: str


def queue(control: Path, do: str, *files: str | Path) -> Reply:
    """Tells a dispatcher something, as pcap-zmq queue does, within this process."""
    is_for_all = "--all" in files
    names = tuple(str(file) for file in files if file != "--all")
    return ask(QueueConfig(control, do, names, is_for_all))


def queue_command(control: Path, *arguments: str | Path) -> Told:
    """The command itself."""
    argv = [str(BIN / "pcap-zmq"), "queue", "--control", str(control)]
    done = subprocess.run(
        [*argv, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Told(done.returncode, done.stdout, done.stderr)


def dispatch(tools: Tools, *arguments: str | Path, **options: Any) -> Tool:
    """A dispatcher."""
    return tools.start("pcap-zmq", "dispatch", *arguments, **options)


def counted(tool: Tool, name: str) -> int:
    """A number of its totals."""
    (line,) = (line for line in tool.said().splitlines() if line.startswith("totals"))
    number = re.search(rf"\b{name} (\d+)", line)
    assert number is not None, line
    return int(number[1])


def files(folder: Path, *counts: int, size: int = 200) -> list[Path]:
    """Savefiles of so many packets each, numbered through."""
    paths, first = [], 0
    for place, count in enumerate(counts):
        path = folder / f"part{place}.pcap"
        packets.write(path, range(first, first + count), size)
        paths.append(path)
        first += count
    return paths


def read_all(streams: list[bytes]) -> list[int]:
    """The numbers of the whole packets of streams that follow each other."""
    return [number for stream in streams for number in packets.numbers(stream)]


def wait_for(tool: Tool, path: Path) -> None:
    """Until it is there, or the tool has ended."""

    def is_there() -> bool:
        assert tool.process.poll() is None, tool.said()
        return path.exists()

    wait_until(is_there, PATIENCE_S, str(path))
