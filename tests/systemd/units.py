"""What the units say, for tests: settings, and the system calls that they allow."""

import shlex
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SENDER = UNITS / "pcap-zmq-send@.service"
RECEIVER = UNITS / "pcap-zmq-recv@.service"
RELAY = UNITS / "pcap-zmq-relay@.service"
TIMEOUT_S = 60


def settings(unit: Path, section: str = "Service") -> dict[str, list[str]]:
    """Each setting's values, in order: many may be given several times."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif current == section and "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def command(unit: Path) -> list[str]:
    """The program and its arguments, specifiers and all."""
    (line,) = settings(unit)["ExecStart"]
    return shlex.split(line)


@cache
def _of_group(name: str) -> frozenset[str]:
    """The calls of a group such as @file-system, and of those that it holds."""
    if not name.startswith("@"):
        return frozenset([name])
    argv = ["systemd-analyze", "syscall-filter", "--no-pager", name]
    shown = subprocess.run(
        argv, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    names = [line.strip() for line in shown.stdout.splitlines()[1:]]
    calls = [name for name in names if name and not name.startswith("#")]
    return frozenset().union(*map(_of_group, calls))


def allowed_calls(unit: Path) -> set[str]:
    """What SystemCallFilter= leaves: the first list allows, each further one adds to it
    or, with ~, takes away: systemd.exec(5). @default is always in it."""
    allowed = set(_of_group("@default"))
    for value in settings(unit)["SystemCallFilter"]:
        calls = frozenset().union(*map(_of_group, value.removeprefix("~").split()))
        if value.startswith("~"):
            allowed -= calls - _of_group("@default")
        else:
            allowed |= calls
    return allowed


def exposure(unit: Path) -> float:
    """What `systemd-analyze security` makes of it: 0 is nothing, 10 is everything."""
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    assert "Overall exposure level" in done.stdout, done.stderr
    line = next(line for line in done.stdout.splitlines() if "Overall" in line)
    return float(line.split(": ")[1].split()[0])
