"""The output of iptables-save -c and ip6tables-save -c as tables. Nothing that it says
raises anything: what is not understood may hold or not.

Specification: iptables-save(8), iptables-extensions(8).
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

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
    Verdict,
)

_HOOKS = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
_GO_ON = {
    "NFLOG", "LOG", "ULOG", "MARK", "CONNMARK", "TOS", "DSCP", "TTL", "HL", "TCPMSS",
    "CT", "NOTRACK", "CHECKSUM", "CLASSIFY", "SET", "TRACE", "SECMARK", "CONNSECMARK",
    "TEE", "AUDIT", "RATEEST", "ECN", "LED", "IDLETIMER", "HMARK", "TCPOPTSTRIP",
}  # fmt: skip
"""Targets after which a packet goes on to the next rule."""

_PORTS = {
    "--sport": Field.SOURCE_PORT,
    "--sports": Field.SOURCE_PORT,
    "--dport": Field.DESTINATION_PORT,
    "--dports": Field.DESTINATION_PORT,
}
_ADDRESSES = {"-s": Field.SOURCE, "-d": Field.DESTINATION}
_RANGES = {"--src-range": Field.SOURCE, "--dst-range": Field.DESTINATION}
_INTERFACES = {"-i": Field.COMES_IN, "-o": Field.GOES_OUT}
_PROTOCOLS = {"6": "tcp", "17": "udp"}
_DIGITS_MAX = 20
"""Of 64 bits."""

_PLAIN_MODULES = {"tcp", "udp", "multiport", "iprange", "comment"}
"""Matches of which every option is understood; any other may hold or not."""


def read(text: str, backend: Backend) -> list[Table]:
    """Every table; the backend says whether of IPv4 or of IPv6."""
    v6 = backend in (Backend.IP6TABLES, Backend.IP6TABLES_LEGACY)
    family = "ip6" if v6 else "ip"
    tables: list[Table] = []
    name, chains = "", dict[str, list[Rule]]()
    for line in text.splitlines():
        if line.startswith("*"):
            name, chains = line[1:].strip(), {}
        elif line.startswith(":") and name:
            chains[line[1:].partition(" ")[0]] = []
        elif line == "COMMIT" and name:
            made = tuple(
                Chain(chain, chain.lower() if chain in _HOOKS else None, tuple(rules))
                for chain, rules in chains.items()
            )
            tables.append(Table(backend, family, name, made))
            name = ""
        elif name:
            parsed = _parse(line)
            if parsed is not None:
                chain, steps, packets = parsed
                rules = chains.setdefault(chain, [])
                rules.append(Rule(steps, len(rules) + 1, packets))
    return tables


def _parse(line: str) -> tuple[str, tuple[Step, ...], int | None] | None:
    packets: int | None = None
    if line.startswith("["):
        counts, _, line = line[1:].partition("] ")
        packets = _number(counts.partition(":")[0])
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    if len(words) < 2 or words[0] != "-A":
        return None
    parts = _Parts()
    parts.take(words[2:])
    return words[1], tuple(parts.steps()), packets


@dataclass
class _Parts:
    """A rule's conditions and its target, word by word."""

    conditions: list[Step] = field(default_factory=list)
    target: str = ""
    is_goto: bool = False
    options: dict[str, str] = field(default_factory=dict)

    def take(self, words: list[str]) -> None:
        negated = False
        at = 0
        while at < len(words):
            word, at = words[at], at + 1
            if word == "!":
                negated = True
                continue
            if self.target:
                # What follows the target are its own options.
                value = words[at] if at < len(words) else ""
                self.options[word] = value
                at += 1
                continue
            value = words[at] if at < len(words) else ""
            if word in ("-j", "-g"):
                self.target, self.is_goto = value, word == "-g"
                at += 1
            elif word == "-m":
                if value not in _PLAIN_MODULES:
                    self.conditions.append(Unknown())
                at += 1
            elif word == "--comment":
                at += 1
            elif (condition := _condition(word, value, negated)) is not None:
                self.conditions.append(condition)
                at += 1
            elif word.startswith("-"):
                # An option of a match; its values begin with no dash.
                self.conditions.append(Unknown())
                while at < len(words) and not words[at].startswith(("-", "!")):
                    at += 1
            negated = False

    def steps(self) -> Iterator[Step]:
        yield from self.conditions
        if self.target == "NFLOG":
            yield Log(
                self._number("--nflog-group"),
                self.options.get("--nflog-prefix", ""),
                self._number("--nflog-threshold"),
                self._number("--nflog-size"),
                self._number("--nflog-range"),
            )
        elif self.target == "LOG":
            yield Log(None, self.options.get("--log-prefix", ""))
        elif self.target == "RETURN":
            yield Verdict(Ending.RETURN)
        elif self.is_goto:
            yield Verdict(Ending.GOTO, self.target)
        elif self.target and self.target not in _GO_ON:
            # ACCEPT and its like, or a chain of the user's: the walk knows which.
            yield Verdict(Ending.JUMP, self.target)

    def _number(self, option: str) -> int:
        return _number(self.options.get(option, "0")) or 0


def _condition(word: str, value: str, negated: bool) -> Step | None:
    """None: not understood, and its values are not taken."""
    if word in _ADDRESSES:
        return _addresses(_ADDRESSES[word], [value], negated)
    if word in _RANGES:
        return _addresses(_RANGES[word], [value], negated)
    if word in _INTERFACES:
        name = value[:-1] + "*" if value.endswith("+") else value
        return Condition(_INTERFACES[word], (Span(name, name),), negated)
    if word == "-p":
        name = _PROTOCOLS.get(value, value)
        return Condition(Field.PROTOCOL, (Span(name, name),), negated)
    if word in _PORTS:
        spans = [_ports(part) for part in value.split(",")]
        known = tuple(span for span in spans if span is not None)
        if len(known) == len(spans):
            return Condition(_PORTS[word], known, negated)
        return Unknown()
    return None


def _ports(text: str) -> Span | None:
    first, colon, last = text.partition(":")
    if not colon:
        last = first
    lowest, highest = _number(first or "0"), _number(last or "65535")
    if lowest is None or highest is None:
        return None
    return Span(lowest, highest)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _DIGITS_MAX else None


def _addresses(where: Field, texts: list[str], negated: bool) -> Step:
    spans: list[Span] = []
    for text in texts:
        first, dash, last = text.partition("-")
        try:
            if dash:
                spans.append(Span(ip_address(first), ip_address(last)))
            else:
                network = ip_network(text, strict=False)
                spans.append(Span(network[0], network[-1]))
        except ValueError:
            return Unknown()
    return Condition(where, tuple(spans), negated)
