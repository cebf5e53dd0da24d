"""Builds the C programs of this directory when they are wanted and not there yet.

The load generator and the reader are in C so that they cost little beside what is
measured, on a machine that has hardly more processors than the pipeline has processes.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"

FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")


def build(name: str) -> Path:
    """The program made of `name`.c; RuntimeError where it cannot be made."""
    source = HERE / f"{name}.c"
    # Named after what it is made of, so that an old one is never taken for a new one.
    digest = hashlib.sha256(" ".join(FLAGS).encode() + source.read_bytes()).hexdigest()
    program = BUILD / f"{name}-{digest[:12]}"
    if program.exists():
        return program
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("no C compiler: install the package gcc")
    BUILD.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(".new")
    done = subprocess.run(
        [compiler, *FLAGS, "-o", str(fresh), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{source.name} cannot be compiled:\n{done.stderr.strip()}")
    fresh.replace(program)
    return program
