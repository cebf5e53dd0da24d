"""Runs one target in Python under atheris, which takes libFuzzer's arguments.

Usage: python -m tests.fuzz.guided TARGET [ARGUMENT...]
"""

import logging
import shlex
import sys

import atheris

from tests.fuzz import catalogue


def main() -> None:
    name = sys.argv.pop(1)
    watched = ["pcap_zmq", "pcap_ffi", "tests.fuzz.targets"]
    with atheris.instrument_imports(include=watched):
        check = catalogue.check_of(name)
    # What is said of each oddity would be most of what is done.
    logging.disable()
    # When it merges, libFuzzer runs itself again by this name, through a shell.
    itself = shlex.join([sys.executable, "-m", "tests.fuzz.guided", name])
    atheris.Setup([itself, *sys.argv[1:]], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
