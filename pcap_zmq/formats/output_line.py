"""One of several outputs as a receiver tells of it: what it got, and where that is.

Specification: docs/ledger.md, "The outputs".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_COUNT_MAX = 1 << 96
_NUMBERS = ("taken", "written", "held", "readers", "replayed")
_FLAGS = ("drops", "is_copy", "has_failed")


@dataclass(frozen=True, slots=True)
class OutputLine:
    """taken == written + held + the sum of dropped, in packets."""

    name: str
    taken: int
    written: int
    held: int
    dropped: Mapping[str, int]
    """By reason."""
    readers: int
    replayed: int
    drops: bool
    """When its reader is slow; else all wait for it."""
    is_copy: bool
    """The senders' lines go by another output."""
    has_failed: bool
    """It takes no more for good."""

    @property
    def unaccounted(self) -> int:
        """What the equation lacks."""
        return self.taken - self.written - self.held - sum(self.dropped.values())


def encode_output(line: OutputLine) -> dict[str, Any]:
    """For JSON."""
    return {
        "name": line.name,
        **{name: getattr(line, name) for name in (*_NUMBERS, *_FLAGS)},
        "dropped": {reason: n for reason, n in line.dropped.items() if n},
        "unaccounted": line.unaccounted,
    }


def decode_output(said: Mapping[str, Any]) -> OutputLine:
    """What `encode_output` made; later versions may say more. Raises ValueError,
    KeyError or TypeError."""
    dropped = {str(reason): _number(n) for reason, n in dict(said["dropped"]).items()}
    numbers: dict[str, Any] = {name: _number(said[name]) for name in _NUMBERS}
    flags: dict[str, Any] = {name: _of(said, name, bool) for name in _FLAGS}
    name = _of(said, "name", str)
    return OutputLine(name=name, dropped=dropped, **numbers, **flags)


def _of(said: Mapping[str, Any], name: str, kind: type) -> Any:
    value = said[name]
    if type(value) is not kind:
        raise TypeError(f"{name!r} is {value!r}")
    return value


def _number(value: object) -> int:
    if type(value) is not int or abs(value) > _COUNT_MAX:
        raise ValueError(f"{value!r} is no count")
    return value
