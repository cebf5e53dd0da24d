"""Writes the crafted seeds; those that a fuzzer found stay as they are.

Usage: python -m tests.fuzz.crafted
"""

from tests.fuzz import catalogue
from tests.fuzz.crafted import CRAFTED, write


def main() -> None:
    for name in CRAFTED:
        write(name, catalogue.SEEDS / name)


if __name__ == "__main__":
    main()
