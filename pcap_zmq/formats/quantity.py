"""Sizes, rates and durations as people write them: text to so many smallest units."""

import re
from collections.abc import Mapping

from pcap_zmq.units import NS_PER_MS, NS_PER_S

_KIB = 1 << 10
_MIB = 1 << 20
_GIB = 1 << 30

SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": _KIB,
    "kb": 1_000,
    "kib": _KIB,
    "m": _MIB,
    "mb": 1_000_000,
    "mib": _MIB,
    "g": _GIB,
    "gb": 1_000_000_000,
    "gib": _GIB,
}
DURATION_UNITS = {
    "": NS_PER_S,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}
PLAIN_UNITS = {"": 1}

QUANTITY = re.compile(r"\s*(\d{1,20}(?:\.\d{1,20})?)\s*([a-zA-Z]*)\s*")


def parse(text: str, units: Mapping[str, int]) -> int | None:
    """The number of smallest units; None where the text is no such quantity."""
    match = QUANTITY.fullmatch(text)
    if match is None or match[2].lower() not in units:
        return None
    return round(float(match[1]) * units[match[2].lower()])


def describe_size(octets: int) -> str:
    """In the largest unit that leaves a whole number."""
    for unit, size in (("GiB", _GIB), ("MiB", _MIB), ("KiB", _KIB)):
        if octets and octets % size == 0:
            return f"{octets // size}{unit}"
    return f"{octets}"


def describe_duration(nanoseconds: int) -> str:
    """In hours, seconds or milliseconds, whichever is whole."""
    if nanoseconds and nanoseconds % (3600 * NS_PER_S) == 0:
        return f"{nanoseconds // (3600 * NS_PER_S)}h"
    if nanoseconds % NS_PER_S == 0:
        return f"{nanoseconds // NS_PER_S}s"
    return f"{nanoseconds // NS_PER_MS}ms"
