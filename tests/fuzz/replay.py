"""Runs one target over files, without a fuzzer.

Usage: python -m tests.fuzz.replay TARGET FILE...
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import catalogue

SANITIZERS = "address,undefined"


def build(name: str, program: Path, compiler: str = "gcc") -> None:
    """Makes a program that replays inputs to a target in C."""
    driver = str(catalogue.HERE / "native" / "replay.c")
    command = catalogue.compile_command(name, compiler, SANITIZERS, driver)
    subprocess.run([*command, "-o", str(program)], check=True)


def main() -> None:
    name, *files = sys.argv[1:]
    if name in catalogue.NATIVE:
        with tempfile.TemporaryDirectory() as directory:
            program = Path(directory) / name
            build(name, program)
            done = subprocess.run([str(program), "0", *files], check=False)
        sys.exit(done.returncode)
    check = catalogue.check_of(name)
    for file in files:
        check(Path(file).read_bytes())


if __name__ == "__main__":
    main()
