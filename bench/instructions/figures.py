"""Instructions per packet, kept with the versions that they were taken with."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import zmq

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TOLERANCE = 0.05
"""How far a figure may move."""

_PACKAGES = ("pyzmq", "cffi", "click", "isal", "zstandard", "lz4")
SAME = ("machine", "python", "libzmq")
"""What has to be the same for figures to be compared at all."""

Figures = dict[str, float]


def versions() -> dict[str, str]:
    """Of what has a part in a figure, here."""
    found = {
        "machine": platform.machine(),
        "python": f"{platform.python_version()} {platform.python_compiler()}",
        "libzmq": zmq.zmq_version(),
        "libc": " ".join(platform.libc_ver()),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """The figures of one machine."""

    versions: Mapping[str, str]
    figures: Mapping[str, float]

    def fits(self, here: Mapping[str, str]) -> bool:
        """Whether figures taken here can be compared with these."""
        return all(self.versions.get(name) == here[name] for name in SAME)

    def differences(self, here: Mapping[str, str]) -> Iterator[str]:
        """What else is not as it was, a line each."""
        for name, now in here.items():
            before = self.versions.get(name, "none")
            if before != now:
                yield f"{name} is {now}, and was {before}"


def read(path: Path) -> list[Kept]:
    """All that are kept; none where there is no file."""
    if not path.exists():
        return []
    return [
        Kept(one["versions"], one["figures"]) for one in json.loads(path.read_text())
    ]


def keep(path: Path, here: Mapping[str, str], figures: Mapping[str, float]) -> None:
    """Instead of those that they can be compared with, beside all others."""
    others = [kept for kept in read(path) if not kept.fits(here)]
    # Four digits: more of them would only change from run to run.
    rounded = {name: float(f"{value:.4g}") for name, value in figures.items()}
    written = [
        {"versions": dict(kept.versions), "figures": dict(kept.figures)}
        for kept in (*others, Kept(here, rounded))
    ]
    path.write_text(json.dumps(written, indent=2) + "\n")


def complaints(
    kept: Mapping[str, float], counted: Mapping[str, float]
) -> Sequence[str]:
    """Which figures moved too far, in either direction, and which have gone or come."""
    wrong = []
    for name in sorted({*kept, *counted}):
        if name not in counted:
            wrong.append(f"{name}: kept, and not counted any more")
        elif name not in kept:
            wrong.append(f"{name}: counted, and not kept")
        elif abs(counted[name] / kept[name] - 1) > TOLERANCE:
            change = counted[name] / kept[name] - 1
            wrong.append(
                f"{name}: {change:+.1%}, from {kept[name]:g} to {counted[name]:.4g}"
            )
    return wrong


def table(kept: Mapping[str, float], counted: Mapping[str, float]) -> Iterator[str]:
    """All figures, a line each."""
    for name, value in counted.items():
        before = kept.get(name)
        moved = f"{value / before - 1:+8.1%}" if before else "     new"
        yield f"{name:24} {value:14.1f} {moved}"
