"""A settings file: octets to one table of settings per command, or what is wrong.

A value says in text what the same option says on the command line, so it is left to the
command to understand it; here it is only seen to that there is a value of the right
shape under a name that is known.

Specification: TOML 1.0.0 (toml.io); docs/configuration.md.
"""

import enum
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pcap_zmq.errors import ConfigError

SIZE_MAX = 1 << 20
"""Octets of a file: a thousand times what anybody needs."""

Given = bool | str | list[str]
"""What a command takes for a setting."""


class Shape(enum.Enum):
    """What a setting takes."""

    FLAG = "true or false"
    ONE = "text or a number"
    MANY = "a list of texts or numbers"
    SOME = "text or a number, or a list of some"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file says. name: of the file, for messages."""

    name: str
    text: str
    tables: Mapping[str, object]

    def table(self, name: str) -> Mapping[str, object]:
        """The settings of one command; none where it has none."""
        table = self.tables.get(name, {})
        return table if isinstance(table, dict) else {}

    def place(self, table: str, key: str) -> str:
        """Where a setting stands: the file, its line and its table."""
        line = _line_of(self.text, (table, key))
        return f"{self.name}{line}: [{table}] {key}"


def decode(octets: bytes, name: str) -> Settings:
    """Raises ConfigError, with line and column, for what is no TOML."""
    # Here, so that --help does not load it.
    import tomllib

    if len(octets) > SIZE_MAX:
        raise ConfigError(f"{name} is no settings file: more than {SIZE_MAX} octets")
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: is no UTF-8") from error
    try:
        return Settings(name, text, tomllib.loads(text))
    except RecursionError as error:
        raise ConfigError(f"{name}: is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, or a number of endless digits
        raise ConfigError(f"{name}{_placed(str(error), text)}") from error


def complaints(
    settings: Settings, known: Mapping[str, Mapping[str, Shape]]
) -> Iterator[str]:
    """What does not fit the commands' settings, each in one line."""
    for name, table in settings.tables.items():
        line = _line_of(settings.text, (name,))
        if not isinstance(table, dict):
            yield f"{settings.name}{line}: {name} {_stray(name, known)}"
        elif name not in known:
            yield (
                f"{settings.name}{line}: there is no table [{name}]"
                f"{suggestion(name, known, '[{}]') or _those_there_are(known)}"
            )
        else:
            yield from _complaints_in(settings, name, table, known)


def given(value: object, shape: Shape) -> Given:
    """The value as the command line would have it. Raises ConfigError for one of
    another shape."""
    if shape is Shape.FLAG and isinstance(value, bool):
        return value
    if shape is Shape.ONE and _is_one(value):
        return _text_of(value)
    if shape is Shape.SOME and _is_one(value):
        return [_text_of(value)]
    is_list = isinstance(value, list) and all(map(_is_one, value))
    if shape in {Shape.MANY, Shape.SOME} and isinstance(value, list) and is_list:
        return [_text_of(one) for one in value]
    raise ConfigError(f"wants {shape.value}, not {_describe(value)}")


def suggestion(word: str, words: Iterable[str], form: str = "{}") -> str:
    """A question for the nearest of the words; nothing where none is near."""
    # Here, so that --help does not load it.
    from difflib import get_close_matches

    near = get_close_matches(word, list(words), n=1)
    return f"; did you mean {form.format(near[0])}?" if near else ""


def _complaints_in(
    settings: Settings,
    name: str,
    table: Mapping[str, object],
    known: Mapping[str, Mapping[str, Shape]],
) -> Iterator[str]:
    for key, value in table.items():
        shape = known[name].get(key)
        if shape is None:
            why = _elsewhere(key, known) or suggestion(
                key.lower().replace("_", "-"), known[name]
            )
            yield f"{settings.place(name, key)} is no setting{why}"
            continue
        try:
            given(value, shape)
        except ConfigError as error:
            yield f"{settings.place(name, key)} {error}"


def _stray(key: str, known: Mapping[str, Mapping[str, Shape]]) -> str:
    """Of a setting above all tables."""
    if key in known:
        return f"is a table: write [{key}], and its settings below"
    places = _elsewhere(key, known) or "; every setting does" + _those_there_are(known)
    return "stands in no table" + places


def _elsewhere(key: str, known: Mapping[str, Mapping[str, Shape]]) -> str:
    tables = [f"[{name}]" for name, shapes in known.items() if key in shapes]
    return f"; it belongs to {' or '.join(tables)}" if tables else ""


def _those_there_are(known: Iterable[str]) -> str:
    return f": {', '.join(f'[{name}]' for name in known)}"


def _is_one(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _text_of(value: object) -> str:
    try:
        return str(value)
    except ValueError as error:
        raise ConfigError("is a number of endless digits") from error


def _describe(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list" if all(map(_is_one, value)) else "a list of other things"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def _placed(fault: str, text: str) -> str:
    """What tomllib says, with the line and column in front as compilers have them."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", fault)
    if found:
        return f":{found[2]}:{found[3]}: {found[1]}"
    why = fault.removesuffix(" (at end of document)")
    line = "" if why == fault else f":{text.count(chr(10)) + 1}"
    return f"{line}: {why}"


def _line_of(text: str, path: tuple[str, ...]) -> str:
    """ ":" and the line on which a table or key begins; "" where it cannot be told.

    tomllib tells no lines, so it is asked which line makes the key appear.
    """
    lines = [f"{line}\n" for line in text.split("\n")]
    for index, line in enumerate(lines):
        if path[-1] not in line or _has("".join(lines[:index]), path) is not False:
            continue
        end = index + 1
        found = _has("".join(lines[:end]), path)
        # A value may take several lines.
        while found is None and end < len(lines):
            end += 1
            found = _has("".join(lines[:end]), path)
        if found:
            return f":{index + 1}"
    return ""


def _has(text: str, path: tuple[str, ...]) -> bool | None:
    """Whether TOML holds what the path leads to; None where it is no TOML."""
    import tomllib

    try:
        value: object = tomllib.loads(text)
    except ValueError:
        return None
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True
