"""Who runs on this host, and what they have open, as far as /proc shows it to us.

Specification: proc(5).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq.doctor.judge.groups import Process

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One that a process has open: what it leads to, as the link in /proc says."""

    pid: int
    number: int
    target: str

    def flags(self) -> int:
        """What it was opened with: open(2); 0 where it has gone meanwhile."""
        try:
            text = (PROC / f"{self.pid}/fdinfo/{self.number}").read_text()
        except OSError:
            return 0
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return int(fields.get("flags", "0"), 8)

    def inode(self) -> int:
        """Of what it leads to, whatever has become of its name; 0: it has gone."""
        try:
            return (PROC / f"{self.pid}/fd/{self.number}").stat().st_ino
        except OSError:
            return 0


@dataclass(frozen=True, slots=True)
class Descriptors:
    """of all processes; is_complete: none hid theirs from us."""

    found: tuple[Descriptor, ...]
    is_complete: bool


def descriptors() -> Descriptors:
    """Everything that is open and that we may see."""
    found: list[Descriptor] = []
    is_complete = True
    for pid in _pids():
        try:
            found += _descriptors_of(pid)
        except PermissionError:
            is_complete = False
        except OSError:
            continue  # it has ended
    return Descriptors(tuple(found), is_complete)


def process(pid: int) -> Process | None:
    """None where it has ended."""
    try:
        name = (PROC / f"{pid}/comm").read_text().strip()
        argv = (PROC / f"{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    words = tuple(word.decode(errors="replace") for word in argv if word)
    return Process(pid, _shown_name(name, words), words)


def _shown_name(name: str, argv: tuple[str, ...]) -> str:
    """An interpreter's name says little: the script's is better."""
    if name.startswith("python") and len(argv) > 1 and not argv[1].startswith("-"):
        return Path(argv[1]).name
    return name


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def _descriptors_of(pid: int) -> Iterator[Descriptor]:
    for entry in (PROC / f"{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        yield Descriptor(pid, int(entry.name), target)
