"""Named filters: a file of them to conditions, and conditions to such a file.

The one grammar of whoever reads filters and whoever writes them. Specification:
docs/filter.md, "Filters".
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import condition_text as text
from pcap_zmq.formats.conditions import (
    All,
    Asn,
    Bpf,
    Condition,
    Either,
    Ether,
    Everything,
    InFlow,
    Not,
    NoValueError,
    Port,
    Rules,
    Subnet,
)
from pcap_zmq.formats.rules_text import Path, Plain, Read, read, write
from pcap_zmq.formats.settings import suggestion

DEPTH_MAX = 16
"""Conditions within conditions."""

NAME_MAX = 200
"""Octets: it becomes the name of a folder."""

_NAME = re.compile(r"[^/\0-\x1f\x7f]+")


class _Kind(NamedTuple):
    """A kind of test: its values from text, and as they are written."""

    test: Callable[[Sequence[Any]], Condition]
    parse: Callable[[str], Any]
    describe: Callable[[Any], str | int]
    needs_some: bool = True


_KINDS: dict[str, _Kind] = {
    "subnet": _Kind(
        lambda values: Subnet(tuple(values)), text.parse_network, text.describe_network
    ),
    "port": _Kind(
        lambda values: Port(tuple(values)), text.parse_ports, text.describe_ports
    ),
    "ether": _Kind(
        lambda values: Ether(tuple(values)), text.parse_ether, text.describe_ether
    ),
    "asn": _Kind(lambda values: Asn(tuple(values)), text.parse_asn, int),
    "bpf": _Kind(lambda values: Bpf(tuple(values)), text.parse_bpf, str),
    # A list that somebody else makes may be empty.
    "flow": _Kind(
        lambda values: InFlow(frozenset(values)),
        text.parse_flow,
        text.describe_flow,
        needs_some=False,
    ),
}
_RAW = "raw"
_LISTS: dict[str, type[All] | type[Either]] = {
    "all": All,
    "any": Either,
    "conditions": All,
}
_KINDS_OF: dict[type[Condition], str] = {
    Subnet: "subnet",
    Port: "port",
    Ether: "ether",
    Asn: "asn",
    Bpf: "bpf",
    InFlow: "flow",
}


def decode(octets: bytes, name: str) -> dict[str, Condition]:
    """The filters of a file. name: of the file; where it ends in .toml it is TOML, else
    YAML. Raises ConfigError with the place of what is wrong."""
    return rules_of(read(octets, name))


def rules_of(given: Read) -> dict[str, Condition]:
    """The same of what was read already."""
    if not isinstance(given.value, dict):
        raise ConfigError(
            f"{given.name} holds no filters: each is a name with its conditions"
        )
    if not given.value:
        raise ConfigError(f"{given.name} holds no filters")
    rules = {}
    for name, value in given.value.items():
        check_name(name, given.place((name,)))
        rules[name] = _Reader(given).condition(value, (name,))
    return rules


def encode(rules: Rules, name: str) -> str:
    """The text of a file of this name, that `decode` makes the same of. Raises
    ConfigError where the library for YAML is not installed."""
    return write({each: _rule(condition) for each, condition in rules.items()}, name)


def check_name(name: str, place: str) -> None:
    """Raises ConfigError for what cannot be a folder's."""
    is_long = len(name.encode(errors="surrogateescape")) > NAME_MAX
    if is_long or name.startswith(".") or _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{place}: {name!r} cannot name a filter, as packets go to a folder of "
            f"that name: no /, no . in front, at most {NAME_MAX} octets"
        )


class _Reader:
    def __init__(self, given: Read) -> None:
        self._given = given

    def condition(self, value: Plain, path: Path, depth: int = 0) -> Condition:
        if depth > DEPTH_MAX:
            raise self._wrong(path, f"more than {DEPTH_MAX} conditions in each other")
        if not isinstance(value, dict):
            raise self._wrong(path, "is no condition: a table with kind and match")
        forms = [key for key in ("kind", "not", *_LISTS) if key in value]
        if len(forms) != 1:
            raise self._wrong(path, "wants one of kind, all, any, not and conditions")
        form = forms[0]
        known = ("kind", "match", "negate") if form == "kind" else (form,)
        for key in value:
            if key not in known:
                raise self._wrong(
                    path, f"{key!r} is not for here{suggestion(key, known)}"
                )
        if form == "kind":
            return self._test(value, path)
        inner = value[form]
        if form == "not":
            return Not(self.condition(inner, (*path, form), depth + 1))
        if not isinstance(inner, list) or not inner:
            raise self._wrong((*path, form), "wants a list of conditions")
        parts = tuple(
            self.condition(each, (*path, form, at), depth + 1)
            for at, each in enumerate(inner)
        )
        return parts[0] if len(parts) == 1 else _LISTS[form](parts)

    def _test(self, value: dict[str, Plain], path: Path) -> Condition:
        name = value["kind"]
        test: Condition
        if name == _RAW:
            if value.get("match", []) not in ([], ""):
                raise self._wrong(path, "kind raw is for every packet: no match")
            test = Everything()
        else:
            kind = _KINDS.get(name) if isinstance(name, str) else None
            if kind is None:
                kinds = [*_KINDS, _RAW]
                raise self._wrong(
                    path,
                    f"there is no kind {name!r}{suggestion(str(name), kinds)}; there "
                    f"are {', '.join(kinds)}",
                )
            test = self._values(kind, value.get("match", []), path)
        return Not(test) if self._is_negated(value, path) else test

    def _values(self, kind: _Kind, match: Plain, path: Path) -> Condition:
        words = match if isinstance(match, list) else [match]
        if not words and kind.needs_some:
            raise self._wrong(path, "matches nothing: match wants a list of values")
        values = []
        for word in words:
            if isinstance(word, bool) or not isinstance(word, str | int):
                raise self._wrong(path, "match wants texts and numbers")
            try:
                values.append(kind.parse(str(word).strip()))
            except NoValueError as error:
                raise self._wrong(path, str(error)) from error
        return kind.test(values)

    def _is_negated(self, value: dict[str, Plain], path: Path) -> bool:
        negate = value.get("negate", False)
        if isinstance(negate, str):
            # YAML's, as all that it says is text here.
            negate = {"true": True, "false": False, "yes": True, "no": False}.get(
                negate.lower(), negate
            )
        if not isinstance(negate, bool):
            raise self._wrong(path, "negate wants true or false")
        return negate

    def _wrong(self, path: Path, why: str) -> ConfigError:
        return ConfigError(f"{self._given.place(path)}: {why}")


def _rule(condition: Condition) -> dict[str, Any]:
    parts = condition.parts if isinstance(condition, All) else (condition,)
    return {"conditions": [_plain(part) for part in parts]}


def _plain(condition: Condition) -> dict[str, Any]:
    match condition:
        case All(parts):
            return {"all": [_plain(part) for part in parts]}
        case Either(parts):
            return {"any": [_plain(part) for part in parts]}
        case Everything():
            return {"kind": _RAW}
        case Not(part):
            inner = _plain(part)
            is_plain_test = "kind" in inner and "negate" not in inner
            if not is_plain_test:
                return {"not": inner}
            return {"kind": inner["kind"], "negate": True} | inner
        case _:
            name = _KINDS_OF[type(condition)]
            words = [_KINDS[name].describe(value) for value in condition.values]
            if isinstance(condition, InFlow):
                # A set has no order; a file shall be the same each time.
                words.sort()
            return {"kind": name, "match": words}
