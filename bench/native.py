"""Builds the C programs of this directory when they are wanted and not there yet.

The load generator and the reader are in C so that they cost little beside what is
measured, on a machine that has hardly more processors than the pipeline has processes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"

FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")


def build(name: str) -> Path:
    """The program made of `name`.c and `name`_*.c; RuntimeError where it cannot be."""
    sources = [HERE / f"{name}.c", *sorted(HERE.glob(f"{name}_*.c"))]
    made_of = [*sources, *HERE.glob(f"{name}.h")]
    # Named after what it is made of, so that an old one is never taken for a new one.
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for source in made_of:
        digest.update(source.read_bytes())
    program = BUILD / f"{name}-{digest.hexdigest()[:12]}"
    if program.exists():
        return program
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("no C compiler: install the package gcc")
    BUILD.mkdir(parents=True, exist_ok=True)
    # Tests in several processes may want it at the same time.
    fresh = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [compiler, *FLAGS, "-o", str(fresh), *map(str, sources)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}.c cannot be compiled:\n{done.stderr.strip()}")
    fresh.replace(program)
    return program
