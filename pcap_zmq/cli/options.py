"""Sizes, rates, durations and their kin as click types, each typed once."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.quantity import (
    DURATION_UNITS,
    PLAIN_UNITS,
    QUANTITY,
    SIZE_UNITS,
    describe_duration,
    describe_size,
    parse,
)
from pcap_zmq.options import KEEP_AGED_BYTES, KEEP_BYTES, KEEP_NS, Bounds, Keep

Command = TypeVar("Command", bound=Callable[..., Any])


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
        number = parse(str(value).removesuffix(self._suffix), self._units)
        if number is None:
            self.fail(
                f"{value!r} is no {self.name}; write it as {self.default_text}",
                param,
                ctx,
            )
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


def size(bounds: Bounds) -> Quantity:
    """Octets: 64MiB, 256KiB, 1000000."""
    return Quantity("size", SIZE_UNITS, bounds, describe_size)


def rate(bounds: Bounds) -> Quantity:
    """Octets per second: 5MiB/s."""
    return Quantity(
        "rate", SIZE_UNITS, bounds, lambda n: describe_size(n) + "/s", suffix="/s"
    )


def duration(bounds: Bounds) -> Quantity:
    """Nanoseconds: 250ms, 2s, 5m; a bare number is seconds."""
    return Quantity("duration", DURATION_UNITS, bounds, describe_duration)


def number(bounds: Bounds) -> Quantity:
    """A plain number."""
    return Quantity("number", PLAIN_UNITS, bounds, str)


class KeepType(click.ParamType):  # type: ignore[type-arg]
    """256MiB; or 60s, which has a bound in octets, too."""

    name = "keep"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Keep:
        if isinstance(value, Keep):
            return value
        match = QUANTITY.fullmatch(str(value))
        if match is not None and match[2].lower() in {"ms", "s", "min", "h"}:
            age_ns = duration(KEEP_NS).convert(value, param, ctx)
            return Keep(KEEP_AGED_BYTES, age_ns)
        return Keep(size(KEEP_BYTES).convert(value, param, ctx))


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


class Words(click.ParamType):  # type: ignore[type-arg]
    """Text; several in a variable as a shell has them, so that quotes keep blanks."""

    name = "text"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        return str(value)

    def split_envvar_value(self, rv: str) -> list[str]:
        # Here, so that --help does not load it.
        import shlex

        try:
            return shlex.split(rv)
        except ValueError:
            return rv.split()


class Lines(Words):
    """Text; several in a variable one a line."""

    def split_envvar_value(self, rv: str) -> list[str]:
        return [line for line in rv.splitlines() if line.strip()]
