"""The output of `nft -j list ruleset` as tables. A condition that is not understood
may hold or not.

Specification: libnftables-json(5).
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from pcap_zmq.doctor.judge.ruleset import (
    Backend,
    Chain,
    Condition,
    Ending,
    Field,
    Log,
    Rule,
    Span,
    Step,
    Table,
    Unknown,
    Value,
    Verdict,
)

_PAYLOADS = {
    "saddr": Field.SOURCE,
    "daddr": Field.DESTINATION,
    "protocol": Field.PROTOCOL,
    "nexthdr": Field.PROTOCOL,
    "sport": Field.SOURCE_PORT,
    "dport": Field.DESTINATION_PORT,
}
_METAS = {
    "l4proto": Field.PROTOCOL,
    "nfproto": Field.FAMILY,
    "iif": Field.COMES_IN,
    "iifname": Field.COMES_IN,
    "oif": Field.GOES_OUT,
    "oifname": Field.GOES_OUT,
}
_ADDRESSES = {Field.SOURCE, Field.DESTINATION}
_PROTOCOLS = {"6": "tcp", "17": "udp"}
_FAMILIES = {"ipv4": "ip", "ipv6": "ip6"}
_ENDINGS = {
    "accept": Ending.STOP,
    "drop": Ending.STOP,
    "reject": Ending.STOP,
    "queue": Ending.STOP,
    "return": Ending.RETURN,
    "jump": Ending.JUMP,
    "goto": Ending.GOTO,
}
_INNOCENT = {"counter", "log", "mangle", "notrack", "quota", "ct helper", "tproxy"}
"""Statements that always let the packet go on to the next one, for our purposes."""


def read(text: str) -> list[Table]:
    """Every table that is active. Raises ValueError for what is no JSON of nft's, or
    of a form that no version so far has had."""
    try:
        return _Reader(json.loads(text)["nftables"]).tables()
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"unknown to us: {error!r}") from error
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"no ruleset: {error}") from error


class _Reader:
    def __init__(self, objects: list[dict[str, Any]]) -> None:
        self._sets: dict[tuple[str, str, str], list[Any]] = {}
        self._tables: list[tuple[str, str]] = []
        self._chains: dict[tuple[str, str], dict[str, str | None]] = defaultdict(dict)
        self._rules: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(
            list
        )
        for kind, value in (pair for entry in objects for pair in entry.items()):
            self._take(kind, value)

    def _take(self, kind: str, value: Any) -> None:
        if kind == "table":
            # Some versions (1.0.6) give the table's name for its flag.
            if value.get("flags", ()) not in ("dormant", ["dormant"], value["name"]):
                self._tables.append((value["family"], value["name"]))
            return
        if kind not in ("chain", "rule", "set", "map"):
            return
        table = (value["family"], value["table"])
        if kind == "chain":
            self._chains[table][value["name"]] = value.get("hook")
        elif kind == "rule":
            self._rules[(*table, value["chain"])].append(value)
        else:
            self._sets[(*table, value["name"])] = value.get("elem", [])

    def tables(self) -> list[Table]:
        return [
            Table(
                Backend.NFT,
                *table,
                tuple(
                    Chain(name, hook, tuple(self._rules_of(table, name)))
                    for name, hook in self._chains[table].items()
                ),
            )
            for table in self._tables
        ]

    def _rules_of(self, table: tuple[str, str], chain: str) -> Iterator[Rule]:
        for value in self._rules[(*table, chain)]:
            expressions = value.get("expr", [])
            steps = [
                step
                for expression in expressions
                for kind, content in expression.items()
                for step in self._steps(table, kind, content)
            ]
            counts = [e["counter"] for e in expressions if "counter" in e]
            packets = counts[0].get("packets") if counts and counts[0] else None
            yield Rule(tuple(steps), int(value.get("handle", 0)), packets)

    def _steps(self, table: tuple[str, str], kind: str, content: Any) -> Iterator[Step]:
        if kind == "log":
            yield _log(content or {})
        elif kind == "match":
            yield from self._match(table, content)
        elif kind == "vmap":
            yield from self._verdicts(table, content)
        elif kind in _ENDINGS:
            yield _verdict(kind, content)
        elif kind not in _INNOCENT:
            yield Unknown()

    def _verdicts(
        self, table: tuple[str, str], content: dict[str, Any]
    ) -> Iterator[Step]:
        data = content.get("data")
        entries = self._elements(table, data)
        for entry in entries:
            verdict = entry[1] if isinstance(entry, list) else {}
            for kind, value in verdict.items():
                if kind in _ENDINGS:
                    uncertain = _verdict(kind, value)
                    yield Verdict(uncertain.ending, uncertain.target, certain=False)

    def _elements(self, table: tuple[str, str], right: Any) -> list[Any]:
        if isinstance(right, str) and right.startswith("@"):
            return self._sets.get((*table, right[1:]), [])
        if isinstance(right, dict) and "set" in right:
            inner = right["set"]
            return inner if isinstance(inner, list) else [inner]
        return [right]

    def _match(self, table: tuple[str, str], content: dict[str, Any]) -> Iterator[Step]:
        left, op = content.get("left"), content.get("op")
        field, implied = _field(left)
        yield from implied
        if field is None or op not in ("==", "!=", "in"):
            yield Unknown()
            return
        right = content.get("right")
        spans = [_span(field, value) for value in self._elements(table, right)]
        known = tuple(span for span in spans if span is not None)
        if len(known) < len(spans) or not known:
            yield Unknown()
        else:
            yield Condition(field, known, negated=op == "!=")


def _field(left: Any) -> tuple[Field | None, list[Step]]:
    """What is asked for, and what asking for it implies."""
    if not isinstance(left, dict):
        return None, []
    if "meta" in left:
        return _METAS.get(left["meta"].get("key")), []
    payload = left.get("payload", {})
    protocol, name = payload.get("protocol"), payload.get("field")
    implied: list[Step] = []
    if protocol in ("ip", "ip6"):
        implied.append(Condition(Field.FAMILY, (Span(protocol, protocol),)))
    elif protocol in ("tcp", "udp", "sctp", "dccp", "udplite"):
        implied.append(Condition(Field.PROTOCOL, (Span(protocol, protocol),)))
    elif protocol != "th":
        return None, []
    return _PAYLOADS.get(name), implied


def _span(field: Field, value: Any) -> Span | None:
    """None: not understood."""
    if isinstance(value, dict):
        if "elem" in value:  # an element with a timeout or a comment
            return _span(field, value["elem"].get("val"))
        if "range" in value:
            first, last = (_value(field, end) for end in value["range"])
            return None if first is None or last is None else Span(first, last)
        if "prefix" in value and field in _ADDRESSES:
            prefix = value["prefix"]
            network = ip_network(f"{prefix['addr']}/{prefix['len']}", strict=False)
            return Span(network[0], network[-1])
        return None
    single = _value(field, value)
    return None if single is None else Span(single, single)


def _value(field: Field, value: Any) -> Value | None:
    if field is Field.FAMILY:
        return _FAMILIES.get(value)
    if field in _ADDRESSES:
        try:
            return ip_address(value)
        except ValueError:
            return None
    if field in (Field.SOURCE_PORT, Field.DESTINATION_PORT):
        return value if isinstance(value, int) else None
    name = str(value)
    return _PROTOCOLS.get(name, name) if field is Field.PROTOCOL else name


def _verdict(kind: str, content: Any) -> Verdict:
    target = content.get("target", "") if isinstance(content, dict) else ""
    return Verdict(_ENDINGS[kind], target)


def _log(content: dict[str, Any]) -> Log:
    prefix = content.get("prefix", "")
    return Log(
        content.get("group"),
        prefix if isinstance(prefix, str) else "",
        content.get("queue-threshold", 0),
        content.get("snaplen", 0),
    )
