"""Sizes, rates, durations and their kin as click types, each typed once."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.options import GIB, KIB, MIB, Bounds
from pcap_zmq.units import NS_PER_MS, NS_PER_S

Command = TypeVar("Command", bound=Callable[..., Any])

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": KIB,
    "kb": 1_000,
    "kib": KIB,
    "m": MIB,
    "mb": 1_000_000,
    "mib": MIB,
    "g": GIB,
    "gb": 1_000_000_000,
    "gib": GIB,
}
_DURATION_UNITS = {
    "": NS_PER_S,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}
_QUANTITY = re.compile(r"\s*(\d{1,20}(?:\.\d{1,20})?)\s*([a-zA-Z]*)\s*")


class Quantity(click.ParamType):  # type: ignore[type-arg]  # only newer ones have
    """A number with a unit, within bounds; becomes the number of smallest units."""

    def __init__(
        self,
        name: str,
        units: dict[str, int],
        bounds: Bounds,
        describe: Callable[[int], str],
        suffix: str = "",
    ) -> None:
        self.name = name
        self.bounds = bounds
        self._units = units
        self._describe = describe
        self._suffix = suffix

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        match = _QUANTITY.fullmatch(str(value).removesuffix(self._suffix))
        if match is None or match[2].lower() not in self._units:
            self.fail(
                f"{value!r} is no {self.name}; write it as {self.default_text}",
                param,
                ctx,
            )
        number = round(float(match[1]) * self._units[match[2].lower()])
        if not self._is_within(number):
            self.fail(f"{value} is out of bounds: {self.bounds_text}", param, ctx)
        return number

    @property
    def default_text(self) -> str:
        """The default as a person writes it."""
        return self._describe(self.bounds.default)

    @property
    def bounds_text(self) -> str:
        """The bounds as a person reads them."""
        low, high = (
            self._describe(self.bounds.minimum),
            self._describe(self.bounds.maximum),
        )
        return f"{'0 or ' if self.bounds.zero else ''}{low} to {high}"

    def _is_within(self, number: int) -> bool:
        bounds = self.bounds
        is_zero = bounds.zero and number == 0
        return is_zero or bounds.minimum <= number <= bounds.maximum


def describe_size(octets: int) -> str:
    """In the largest unit that leaves a whole number."""
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
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


def size(bounds: Bounds) -> Quantity:
    """Octets: 64MiB, 256KiB, 1000000."""
    return Quantity("size", _SIZE_UNITS, bounds, describe_size)


def rate(bounds: Bounds) -> Quantity:
    """Octets per second: 5MiB/s."""
    return Quantity(
        "rate", _SIZE_UNITS, bounds, lambda n: describe_size(n) + "/s", suffix="/s"
    )


def duration(bounds: Bounds) -> Quantity:
    """Nanoseconds: 250ms, 2s, 5m; a bare number is seconds."""
    return Quantity("duration", _DURATION_UNITS, bounds, describe_duration)


def number(bounds: Bounds) -> Quantity:
    """A plain number."""
    return Quantity("number", {"": 1}, bounds, str)


def quantity_option(
    name: str, kind: Quantity, help_text: str, *, default: str | None = ""
) -> Callable[[Command], Command]:
    """An option whose help ends in its default and bounds, both from the bounds
    themselves. default: "" is the bounds' own; None: described in the help text."""
    shown = f"default {kind.default_text}, " if default == "" else ""
    return click.option(
        name,
        type=kind,
        default=kind.bounds.default if default == "" else None,
        metavar=kind.name.upper(),
        help=f"{help_text} [{shown}{kind.bounds_text}]",
    )


class Linktype(click.ParamType):  # type: ignore[type-arg]
    """A LINKTYPE name or number."""

    name = "linktype"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        text = str(value).lower()
        if text in linktypes.NAMES:
            return linktypes.NAMES[text]
        if re.fullmatch(r"[0-9]{1,5}", text) and int(text) <= linktypes.MAXIMUM:
            return int(text)
        names = ", ".join(linktypes.NAMES)
        raise click.BadParameter(
            f"{value!r} is no link type; write {names} or a number", ctx, param
        )
