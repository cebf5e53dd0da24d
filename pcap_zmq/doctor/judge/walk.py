"""Which rules a packet of which not everything is known will meet.

Theory of operation. Every answer has three values: True, surely; False, surely not;
None, perhaps. A condition on what is not known of the packet, or that is not understood
here, is None. A packet that surely arrives at a rule whose every condition surely holds
is surely logged by it; one `accept` before it that surely holds and it surely is not.

Where a packet goes on after one base chain, in the next one of the same or a later
hook, is not followed: each is walked by itself, as if the packet came there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, TypeAlias

from pcap_zmq.doctor.judge.ruleset import (
    Chain,
    Condition,
    Ending,
    Field,
    Log,
    Rule,
    Span,
    Table,
    Unknown,
    Value,
    Verdict,
)

Sure: TypeAlias = bool | None
"""True: surely. None: perhaps. False: surely not."""

Probe: TypeAlias = Mapping[Field, Value]
"""What is known of a packet."""


class Logged(NamedTuple):
    """A rule that a packet meets, and on which hook."""

    table: Table
    chain: str
    rule: Rule
    log: Log
    hook: str
    is_sure: bool

    @property
    def where(self) -> str:
        """The rule's place, for people."""
        return self.table.where(self.chain, self.rule.number)


def walk(table: Table, probe: Probe, hooks: frozenset[str]) -> Iterator[Logged]:
    """Every rule of the table that would log this packet on one of these hooks."""
    if table.family in ("ip", "ip6"):
        if probe.get(Field.FAMILY, table.family) != table.family:
            return
        probe = {**probe, Field.FAMILY: table.family}
    chains = {chain.name: chain for chain in table.chains}
    for base in table.chains:
        if base.hook is not None and base.hook in hooks:
            journey = _Journey(chains, probe)
            journey.through(base, True)
            for (chain, _), (rule, is_sure) in journey.logged.items():
                for log in rule.logs:
                    yield Logged(table, chain, rule, log, base.hook, is_sure)


def holds(condition: Condition | Unknown, probe: Probe) -> Sure:
    """Whether a condition is true of the packet."""
    if isinstance(condition, Unknown):
        return None
    value = probe.get(condition.field)
    if value is None:
        return None
    return any(_covers(span, value) for span in condition.spans) != condition.negated


def _covers(span: Span, value: Value) -> bool:
    match span.first, span.last, value:
        case str(first), _, str(name):
            if first.endswith("*"):
                return name.startswith(first[:-1])
            return name == first
        case int(first), int(last), int(number):
            return first <= number <= last
        case IPv4Address() as first, IPv4Address() as last, IPv4Address() as address:
            return first <= address <= last
        case IPv6Address() as first, IPv6Address() as last, IPv6Address() as address:
            return first <= address <= last
    return False


def _both(one: Sure, other: Sure) -> Sure:
    if one is False or other is False:
        return False
    return True if one and other else None


class _Outcome(NamedTuple):
    """Of a packet that reaches a verdict: whether it goes on after the rule, and
    whether it leaves the chain for where it was jumped to from."""

    goes_on: Sure
    returns: Sure


@dataclass
class _Passage:
    """A packet's way through one chain, given that it comes there."""

    here: Sure = True
    may_return: bool = False
    may_stop: bool = False

    def take(self, outcome: _Outcome, matches: Sure) -> None:
        """The packet, if it comes to the verdict's rule, surely or perhaps meets it."""
        self.may_return |= outcome.returns is not False
        self.may_stop |= not (outcome.goes_on or outcome.returns)
        if matches:
            self.here = _both(self.here, outcome.goes_on)
        elif outcome.goes_on is not True:
            self.here = None

    @property
    def comes_out(self) -> Sure:
        """At its end, or by a return."""
        if self.here is False and not self.may_return:
            return False
        return None if self.may_stop else True


@dataclass
class _Journey:
    chains: Mapping[str, Chain]
    probe: Probe
    logged: dict[tuple[str, int], tuple[Rule, bool]] = field(default_factory=dict)
    _known: dict[tuple[str, bool], Sure] = field(default_factory=dict)

    def through(self, chain: Chain, is_sure: bool) -> Sure:
        """Whether a packet that comes to a chain comes out of it. is_sure: it does come
        there. Each chain is walked twice at most, as rule sets jump to the same ones
        from thousands of places."""
        key = (chain.name, is_sure)
        if key not in self._known:
            # The kernel forbids loops of chains; this only keeps us from one.
            self._known[key] = None
            self._known[key] = self._walk(chain, is_sure)
        return self._known[key]

    def _walk(self, chain: Chain, is_sure: bool) -> Sure:
        passage = _Passage()
        for rule in chain.rules:
            if passage.here is False:
                break
            self._meet(chain, rule, passage, is_sure)
        return passage.comes_out

    def _meet(self, chain: Chain, rule: Rule, passage: _Passage, is_sure: bool) -> None:
        """What becomes of the packet at one rule, noting what is logged on the way."""
        is_here = is_sure and passage.here is True
        matches: Sure = True
        for step in rule.steps:
            if isinstance(step, Log):
                self._note(chain, rule, is_here and matches is True)
            elif isinstance(step, Verdict):
                if not step.certain:
                    matches = None
                outcome = self._outcome(step, is_here and matches is True)
                passage.take(outcome, matches)
                if step.certain:
                    return
            else:
                matches = _both(matches, holds(step, self.probe))
            if matches is False:
                return

    def _outcome(self, verdict: Verdict, is_sure: bool) -> _Outcome:
        target = self.chains.get(verdict.target)
        match verdict.ending:
            case Ending.RETURN:
                return _Outcome(False, True)
            case Ending.JUMP if target is not None:
                return _Outcome(self.through(target, is_sure), False)
            case Ending.GOTO if target is not None:
                return _Outcome(False, self.through(target, is_sure))
        # ACCEPT, DROP and what else is no chain.
        return _Outcome(False, False)

    def _note(self, chain: Chain, rule: Rule, is_sure: bool) -> None:
        key = (chain.name, rule.number)
        _, was_sure = self.logged.get(key, (rule, False))
        self.logged[key] = (rule, was_sure or is_sure)
