"""OUTPUT as it is written, and what it means: where packets go, and how.

Specification: docs/outputs.md. Text to values; nothing is opened, no path looked at.
"""

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pcap_zmq import options
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.quantity import (
    DURATION_UNITS,
    PLAIN_UNITS,
    SIZE_UNITS,
    describe_duration,
    describe_size,
    parse,
)
from pcap_zmq.metrics.address import Address, parse_address
from pcap_zmq.options import Bounds

_OPTION = re.compile(r",([a-z][a-z0-9-]*)=([^,]*)\Z")
_SCHEME = re.compile(r"([a-z][a-z0-9+-]*)://")


class Kind(enum.Enum):
    """What is at the end of an output; the value is what it is written with."""

    PATH = ""
    """What lies at the path: a FIFO, or a file; a FIFO where nothing does."""
    FIFO = "fifo:"
    FILE = "file:"
    STDOUT = "-"
    SERVER = "pcap-over-ip://"
    """Whoever connects gets the stream."""
    CHILD = "exec:"
    """A command of ours that reads the stream from its standard input."""


_PREFIXED = (Kind.FIFO, Kind.FILE, Kind.SERVER, Kind.CHILD)
_LARGEST = 1 << 63


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One output. target: a path, HOST:PORT, a command; empty for standard output."""

    kind: Kind
    target: str
    drops: bool = False
    """When its reader is slow: whether it goes without; else all wait for it."""
    queue: int = options.OUTPUT_QUEUE.default
    """Octets that wait for it before its reader is slow."""
    linktype: int | None = None
    """What packets are made to be of; None: as they come."""
    format: str = "pcap"
    size: int | None = None
    """Of a file: another one after so many octets."""
    age_ns: int | None = None
    """Of a file: another one after so long."""
    count: int | None = None
    """Of files: the oldest goes when there are more."""
    compress: str | None = None
    """Of a file, as it is written."""
    insecure: bool = False
    """Of a server: other hosts may read from it."""

    @property
    def name(self) -> str:
        """As it was written, without its options."""
        return "-" if self.kind is Kind.STDOUT else f"{self.kind.value}{self.target}"

    @property
    def address(self) -> Address:
        """Where a server listens. Raises ConfigError."""
        return parse_address(
            self.kind.value, self.target, host="", port=options.PCAP_OVER_IP_PORT
        )

    @property
    def has_path(self) -> bool:
        """Whether it is a FIFO or a file, by its path."""
        return self.kind in {Kind.PATH, Kind.FIFO, Kind.FILE}

    @property
    def rotates(self) -> bool:
        """Whether it is files that follow each other."""
        if self.kind is not Kind.FILE:
            return False
        given = (self.size, self.age_ns, self.count, self.compress)
        is_pattern = "%" in self.target.rpartition("/")[2]
        return is_pattern or any(value is not None for value in given)


DEFAULT = OutputSpec(Kind.STDOUT, "")


def parse_output(text: str, defaults: OutputSpec = DEFAULT) -> OutputSpec:
    """What an OUTPUT means. defaults: what holds where it says nothing. Raises
    ConfigError."""
    rest, given = text, dict[str, str]()
    while (found := _OPTION.search(rest)) is not None:
        key, value = found[1], found[2]
        if key not in _KEYS:
            raise ConfigError(
                f"OUTPUT {text!r}: {key!r} is no option; there are {', '.join(_KEYS)}"
            )
        if key in given:
            raise ConfigError(f"OUTPUT {text!r} says {key} twice")
        given[key] = value
        rest = rest[: found.start()]
    kind, target = _split(rest, text)
    spec = replace(defaults, kind=kind, target=target)
    for key, value in reversed(given.items()):
        spec = _KEYS[key].apply(spec, key, value, text)
    if kind is Kind.SERVER:
        _ = spec.address
        if given.get("when-slow") == "wait":
            raise ConfigError(
                f"OUTPUT {text!r}: a live stream waits for nobody; a reader that is "
                "slow is cut off when more than queue= waits for it"
            )
    return spec


def parse_command(command: str, defaults: OutputSpec = DEFAULT) -> OutputSpec:
    """The output that a command is, whatever is in it. Raises ConfigError."""
    if not command.strip():
        raise ConfigError("--exec is empty; write a command that reads packets")
    return replace(defaults, kind=Kind.CHILD, target=command)


def check_together(outputs: Iterable[OutputSpec]) -> None:
    """Raises ConfigError where no two of these can be: two that write to one place."""
    seen = set[str]()
    for spec in outputs:
        place = "-" if spec.kind is Kind.STDOUT else spec.target
        if place in seen and spec.kind is not Kind.CHILD:
            raise ConfigError(f"OUTPUT {spec.name} is there twice")
        seen.add(place)


def _split(rest: str, text: str) -> tuple[Kind, str]:
    # The other one may have options, and is none on a command line.
    if rest in {Kind.STDOUT.value, f"{Kind.FILE.value}-"}:
        return Kind.STDOUT, ""
    for kind in _PREFIXED:
        if rest.startswith(kind.value):
            target = rest.removeprefix(kind.value)
            break
    else:
        kind, target = Kind.PATH, rest
        scheme = _SCHEME.match(rest)
        if scheme is not None:
            known = ", ".join(k.value for k in _PREFIXED)
            raise ConfigError(
                f"OUTPUT {text!r}: {scheme[1]}:// is none that is known; there are "
                f"{known}, - and paths"
            )
    if not target.strip():
        raise ConfigError("OUTPUT is empty" + (f": {text!r}" if text else ""))
    return kind, target


# What may be said of an output.


@dataclass(frozen=True, slots=True)
class _Key:
    field: str
    read: Callable[[str], Any]
    """None: the value makes no sense."""
    wanted: str
    kinds: tuple[Kind, ...] = tuple(Kind)

    def apply(self, spec: OutputSpec, key: str, value: str, text: str) -> OutputSpec:
        if spec.kind not in self.kinds:
            fitting = " or ".join(kind.value for kind in self.kinds if kind.value)
            raise ConfigError(f"OUTPUT {text!r}: {key} is for {fitting} only")
        read = self.read(value)
        if read is None:
            raise ConfigError(
                f"OUTPUT {text!r}: {key}={value} cannot be; {self.wanted}"
            )
        return replace(spec, **{self.field: read})


def _quantity(units: Mapping[str, int], bounds: Bounds) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        number = parse(text, units)
        if number is None or not bounds.minimum <= number <= bounds.maximum:
            return None
        return number

    return read


def _choice(words: Mapping[str, Any]) -> Callable[[str], Any]:
    return words.get


def _linktype(text: str) -> int | None:
    number = linktypes.NAMES.get(text.lower())
    if number is None and re.fullmatch(r"[0-9]{1,5}", text):
        number = int(text)
    return number if number is not None and number <= linktypes.MAXIMUM else None


def _between(bounds: Bounds, describe: Callable[[int], str]) -> str:
    return f"write {describe(bounds.minimum)} to {describe(bounds.maximum)}"


def _one_of(words: Iterable[str]) -> str:
    return f"write {' or '.join(words)}"


WHEN_SLOW = {"wait": False, "drop": True}
_FORMATS = {name: name for name in options.FORMATS}
_COMPRESS = {name: name for name in options.COMPRESS}
_FILES = (Kind.FILE,)
_YES = {"yes": True, "no": False}

_KEYS = {
    "when-slow": _Key("drops", _choice(WHEN_SLOW), _one_of(WHEN_SLOW)),
    "queue": _Key(
        "queue",
        _quantity(SIZE_UNITS, options.OUTPUT_QUEUE),
        _between(options.OUTPUT_QUEUE, describe_size),
    ),
    "linktype": _Key("linktype", _linktype, f"{_one_of(linktypes.NAMES)} or a number"),
    "format": _Key("format", _choice(_FORMATS), _one_of(_FORMATS)),
    "size": _Key(
        "size",
        _quantity(SIZE_UNITS, options.FILE_SIZE),
        _between(options.FILE_SIZE, describe_size),
        _FILES,
    ),
    "age": _Key(
        "age_ns",
        _quantity(DURATION_UNITS, options.FILE_AGE_NS),
        _between(options.FILE_AGE_NS, describe_duration),
        _FILES,
    ),
    "count": _Key(
        "count",
        _quantity(PLAIN_UNITS, options.FILE_COUNT),
        _between(options.FILE_COUNT, str),
        _FILES,
    ),
    "insecure": _Key("insecure", _choice(_YES), _one_of(_YES), (Kind.SERVER,)),
    "compress": _Key("compress", _choice(_COMPRESS), _one_of(_COMPRESS), _FILES),
}
