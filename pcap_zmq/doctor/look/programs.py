"""Runs other programs that only list something, and takes down what they say."""

import os
import shutil
import subprocess
from dataclasses import dataclass

# nft, ip and their like are there, and on Debian not on a user's PATH.
SEARCH_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)

TIMEOUT_S = 20.0
"""A set of 100,000 rules takes nft some seconds to list."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a program said, and whether it was content."""

    output: str
    complaint: str
    is_done: bool

    @property
    def why(self) -> str:
        """Its complaint, in one line."""
        lines = [line.strip() for line in self.complaint.splitlines() if line.strip()]
        return lines[0] if lines else "it failed and did not say why"


def find(name: str) -> str | None:
    """Where a program is; None where it is not installed."""
    return shutil.which(name, path=SEARCH_PATH)


def run(*argv: str) -> Said | None:
    """Runs a program to its end; None where it is not installed."""
    path = find(argv[0])
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *argv[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return Said("", f"no answer within {TIMEOUT_S:.0f} s", is_done=False)
    except OSError as error:
        return Said("", error.strerror or str(error), is_done=False)
    return Said(
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
        is_done=done.returncode == 0,
    )
