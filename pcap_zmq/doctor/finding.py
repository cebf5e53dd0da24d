"""One thing that was looked at, what was found, and what to do about it."""

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    """It could not be looked at: nothing is known to be wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """check: what was looked at, one word. text: one line, no full stop. remedy: what
    to do, as lines that can be read or pasted; empty where there is nothing to do."""

    check: str
    verdict: Verdict
    text: str
    remedy: tuple[str, ...] = ()


def ok(check: str, text: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Verdict.OK, text)


def warning(check: str, text: str, *remedy: str) -> Finding:
    """It works, and not as well as it could."""
    return Finding(check, Verdict.WARNING, text, remedy)


def problem(check: str, text: str, *remedy: str) -> Finding:
    """It will not work."""
    return Finding(check, Verdict.PROBLEM, text, remedy)


def unknown(check: str, text: str, *remedy: str) -> Finding:
    """It could not be looked at."""
    return Finding(check, Verdict.UNKNOWN, text, remedy)
