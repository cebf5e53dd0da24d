"""Counts the instructions of each part of a program's run, by valgrind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from bench.instructions.parts import NOT_COUNTED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMEOUT_S = 120

# Of the main thread: ZeroMQ's own does what it does when the kernel lets it.
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


_ALIKE = {
    # The order of sets and the collisions in dicts are else others each time.
    "PYTHONHASHSEED": "0",
    # Else glibc moves it by what was freed before, and whether a buffer that grows is
    # copied goes by it.
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072",
}


class Counting:
    """A driver of `bench.instructions.drivers` at work. directory: of its own."""

    def __init__(self, driver: str, directory: Path) -> None:
        self._driver = driver
        self._profile = directory / "callgrind"
        self._said = directory / "parts"
        self._log = directory / "log"
        self._process = start(
            [sys.executable, "-m", "bench.instructions.drivers", directory, driver],
            self._profile,
            said=self._said,
            log=self._log,
        )

    def figures(self) -> dict[str, float]:
        """Waits for its end. Instructions per packet, the least of all repeats, since
        what disturbs adds some. RuntimeError where it fails."""
        finish(self._process, self._driver, self._log)
        least: dict[str, float] = {}
        so_far = 0
        for number, line in enumerate(self._said.read_text().splitlines(), 1):
            packets, name = line.split(" ", 1)
            if name != NOT_COUNTED:
                so_far += total(self._profile.with_name(f"callgrind.{number}-01"))
                if packets != "0":
                    each = so_far / int(packets)
                    least[name] = min(least.get(name, each), each)
                    so_far = 0
        return least


def start(
    argv: Sequence[str | Path], profile: Path, *, said: Path, log: Path
) -> subprocess.Popen[bytes]:
    """A program under callgrind."""
    options = (
        "--tool=callgrind",
        "--dump-before=getppid",
        "--separate-threads=yes",
        "--fair-sched=yes",
        f"--callgrind-out-file={profile}",
    )
    with said.open("wb") as out, log.open("wb") as errors:
        return subprocess.Popen(
            ["valgrind", *options, *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            env={**os.environ, **_ALIKE},
        )


def finish(process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    """Waits for it; RuntimeError where it fails."""
    try:
        code = process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise RuntimeError(f"{name}: not done after {TIMEOUT_S} s") from error
    if code != 0:
        raise RuntimeError(f"{name} failed:\n{log.read_text()[-2_000:]}")


def total(profile: Path) -> int:
    """The instructions of one part."""
    found = _TOTALS.search(profile.read_text())
    if found is None:
        raise RuntimeError(f"{profile} has no total")
    return int(found[1])
