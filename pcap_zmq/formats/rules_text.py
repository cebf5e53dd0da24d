"""A file of filters as plain tables, lists and texts: YAML or TOML in, and out.

Specification: YAML 1.1 as PyYAML reads it, without anchors, tags and several documents
in one file; every scalar is a text, since YAML would take a MAC address for a number.
TOML 1.0.0.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.codec import library

SIZE_MAX = 16 << 20
"""Octets of a file; more flows than these hold are a list (CSV)."""

DEPTH_MAX = 64

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain]"
Path: TypeAlias = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Read:
    """What a file says. lines: where its tables begin, as far as that is known."""

    name: str
    value: Plain
    lines: Mapping[Path, int] = field(default_factory=dict)

    def place(self, path: Path) -> str:
        """The file, the line of the innermost table that a path leads through, and the
        path, which begins with a filter's name, as people read it."""
        line = ""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                line = f":{self.lines[path[:length]]}"
                break
        words = [
            repr(path[0]),
            *(str(w + 1 if isinstance(w, int) else w) for w in path[1:]),
        ]
        return f"{self.name}{line}: {' '.join(words)}"


def is_toml(name: str) -> bool:
    """By the name; anything else is YAML."""
    return name.lower().endswith(".toml")


def read(octets: bytes, name: str) -> Read:
    """Raises ConfigError for what is neither."""
    if len(octets) > SIZE_MAX:
        raise ConfigError(
            f"{name} has more than {SIZE_MAX >> 20} MiB: give what is long as a list "
            "(--keep, --drop)"
        )
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: is no UTF-8") from error
    try:
        return _read_toml(text, name) if is_toml(name) else _read_yaml(text, name)
    except RecursionError as error:
        raise ConfigError(f"{name} is nested too deeply") from error


def write(value: Mapping[str, Any], name: str) -> str:
    """The text of such a file. Each table below the first has a list, `conditions`."""
    if is_toml(name):
        return "\n".join(_toml_table(key, table) for key, table in value.items())
    yaml = library("yaml", "yaml")
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    options = {"sort_keys": False, "allow_unicode": True, "width": 10_000}
    text: str = yaml.dump(dict(value), Dumper=dumper, **options)
    return text


def _read_toml(text: str, name: str) -> Read:
    # Here, so that --help does not load it.
    import tomllib

    try:
        return Read(name, tomllib.loads(text))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _read_yaml(text: str, name: str) -> Read:
    yaml = library("yaml", "yaml")
    kind = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    loader = kind(text)
    try:
        _check_depth(yaml.parse(text, Loader=kind), name)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{name}{place}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {str(error).splitlines()[0]}") from error
    finally:
        loader.dispose()
    if node is None:
        return Read(name, {})
    walk = _Walk(name)
    return Read(name, walk.plain(node, ()), walk.lines)


def _check_depth(events: Iterable[Any], name: str) -> None:
    """Before nodes are made of it: PyYAML in C would use up the stack and be gone.
    Raises ConfigError, and whatever the events do."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > DEPTH_MAX + 2:
            line = event.start_mark.line + 1
            raise ConfigError(f"{name}:{line}: is nested too deeply")


class _Walk:
    """Nodes of PyYAML to plain values."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen = set[int]()
        self.lines: dict[Path, int] = {}

    def plain(self, node: Any, path: Path) -> Plain:
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            # What is there once may be meant a billion times.
            raise ConfigError(f"{self._name}:{line}: aliases are not for here")
        self._seen.add(id(node))
        if len(path) > DEPTH_MAX:
            raise ConfigError(f"{self._name}:{line}: is nested too deeply")
        if node.id == "scalar":
            return str(node.value)
        if node.id == "sequence":
            return [self.plain(each, (*path, at)) for at, each in enumerate(node.value)]
        self.lines[path] = line
        table: dict[str, Plain] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise ConfigError(f"{self._name}:{line}: a name has to be a text")
            if key.value in table:
                raise ConfigError(f"{self._name}:{line}: {key.value!r} is there twice")
            table[key.value] = self.plain(value, (*path, key.value))
        return table


def _toml_table(name: str, table: Mapping[str, Any]) -> str:
    head = f"[[{_toml_key(name)}.conditions]]"
    return "\n".join(
        f"{head}\n{_toml_lines(condition)}" for condition in table["conditions"]
    )


def _toml_lines(condition: Mapping[str, Any]) -> str:
    return "".join(
        f"{_toml_key(key)} = {_toml_value(value, is_long=True)}\n"
        for key, value in condition.items()
    )


def _toml_key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _toml_value(key)


def _toml_value(value: Any, *, is_long: bool = False) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            # JSON's quoting is TOML's, but for this one.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            parts = [_toml_value(each) for each in value]
            if is_long and len(parts) > 1:
                return "[\n" + "".join(f"    {part},\n" for part in parts) + "]"
            return f"[{', '.join(parts)}]"
    pairs = (f"{_toml_key(key)} = {_toml_value(each)}" for key, each in value.items())
    return f"{{ {', '.join(pairs)} }}"
