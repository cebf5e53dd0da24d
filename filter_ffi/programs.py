"""Makes of what filters ask the tests and steps that C takes.

A filter becomes a way through tests: each step asks one and goes on where the answer
says. Steps are made from the last one on, so every way goes forward.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from filter_ffi._filter import lib
from filter_ffi.flow_set import FlowSet
from filter_ffi.terms import (
    AllOf,
    AnyOf,
    Between,
    Bpf,
    Everything,
    InFlows,
    Macs,
    Not,
    Ports,
    Side,
    Subnets,
    Term,
    Test,
)

TAKE: int = lib.STEP_TAKE
LEAVE: int = lib.STEP_LEAVE

WITH_PORTS = (6, 17, 33, 132, 136)
"""TCP, UDP, DCCP, SCTP, UDP-Lite."""

_PORT_MAX = 0xFFFF
_PROTOCOL_MAX = 0xFF
_MAC_OCTETS = 6
_TIME_MAX = (1 << 63) - 1

Ranges: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A test as C has it; equal ones are one. The tuples are sorted, and their ranges
    do not touch."""

    kind: int
    side: Side = Side.EITHER
    ranges: Ranges = ()
    ranges6: Ranges = ()
    macs: tuple[int, ...] = ()
    expression: str = ""
    from_ns: int = 0
    until_ns: int = 0
    flows: int = 0
    """Which of the flow sets, by its number."""


@dataclass(slots=True)
class Programs:
    """All filters together."""

    tests: dict[Asked, int] = field(default_factory=dict)
    """Each test's number."""
    flow_sets: list[FlowSet] = field(default_factory=list)
    steps: list[tuple[int, int, int]] = field(default_factory=list)
    """Test, where to go where it holds, and where it does not."""
    firsts: list[int] = field(default_factory=list)
    """Where each filter begins."""
    steady: list[int] = field(default_factory=list)
    """Numbers of the filters that ask about nothing but addresses, ports and flows."""


def programs_of(filters: Mapping[str, Term]) -> Programs:
    """Raises ValueError for what no test can be."""
    made = Programs()
    firsts = [_way(made, term, TAKE, LEAVE) for term in filters.values()]
    made.steady = [n for n, term in enumerate(filters.values()) if _is_steady(term)]
    last = len(made.steps) - 1
    made.steps = [
        (test, _turned(yes, last), _turned(no, last))
        for test, yes, no in reversed(made.steps)
    ]
    made.firsts = [_turned(first, last) for first in firsts]
    return made


def _turned(place: int, last: int) -> int:
    return place if place >= LEAVE else last - place


def _way(made: Programs, term: Term, yes: int, no: int) -> int:
    """The first step of a term whose answer leads there or there."""
    match term:
        case Everything():
            return yes
        case Not():
            return _way(made, term.term, no, yes)
        case AllOf():
            for part in reversed(_cheap_first(term.terms)):
                yes = _way(made, part, yes, no)
            return yes
        case AnyOf():
            for part in reversed(_cheap_first(term.terms)):
                no = _way(made, part, yes, no)
            return no
        case _:
            asked = _asked(made, term)
            number = made.tests.setdefault(asked, len(made.tests))
            made.steps.append((number, yes, no))
            return len(made.steps) - 1


def _cheap_first(terms: Iterable[Term]) -> list[Term]:
    return sorted(terms, key=_cost)


def _cost(term: Term) -> int:
    match term:
        case Everything() | Between():
            return 0
        case Not():
            return _cost(term.term)
        case AllOf() | AnyOf():
            return max(map(_cost, term.terms), default=0)
        case InFlows():
            return 2
        case Bpf():
            return 3
        case _:
            return 1


def _is_steady(term: Term) -> bool:
    """Whether it says the same of all packets between the same ends."""
    match term:
        case Not():
            return _is_steady(term.term)
        case AllOf() | AnyOf():
            return all(map(_is_steady, term.terms))
        case Bpf() | Between() | Macs():
            return False
        case _:
            return True


def _asked(made: Programs, test: Test) -> Asked:
    match test:
        case Subnets():
            return _subnets(test)
        case Ports():
            spans = (span for each in test.spans for span in _spans(*each))
            return Asked(lib.FILTER_PORTS, test.side, ranges=merged(spans))
        case Macs():
            return Asked(lib.FILTER_MACS, test.side, macs=_macs(test.addresses))
        case InFlows():
            sets = made.flow_sets
            number = next((n for n, one in enumerate(sets) if one is test.flows), -1)
            if number < 0:
                number = len(sets)
                sets.append(test.flows)
            return Asked(lib.FILTER_FLOWS, flows=number)
        case Bpf():
            return Asked(lib.FILTER_BPF, expression=test.expression)
        case Between():
            return replace(
                Asked(lib.FILTER_TIME),
                from_ns=min(max(-_TIME_MAX, test.from_ns), _TIME_MAX),
                until_ns=min(max(-_TIME_MAX, test.until_ns), _TIME_MAX),
            )


def _subnets(test: Subnets) -> Asked:
    def ranges(version: int) -> Ranges:
        return merged(
            (int(network.network_address), int(network.broadcast_address))
            for network in test.networks
            if network.version == version
        )

    return Asked(lib.FILTER_SUBNETS, test.side, ranges=ranges(4), ranges6=ranges(6))


def _spans(first: int, last: int, protocol: int | None) -> Iterable[tuple[int, int]]:
    if not 0 <= first <= last <= _PORT_MAX:
        raise ValueError(f"no span of ports: {first} to {last}")
    if protocol is not None and not 0 <= protocol <= _PROTOCOL_MAX:
        raise ValueError(f"no protocol of IP: {protocol}")
    for one in WITH_PORTS if protocol is None else (protocol,):
        yield one << 16 | first, one << 16 | last


def _macs(addresses: Sequence[bytes]) -> tuple[int, ...]:
    for address in addresses:
        if len(address) != _MAC_OCTETS:
            raise ValueError(f"no hardware address: {address.hex(':')}")
    return tuple(sorted({int.from_bytes(address) for address in addresses}))


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same numbers, in as few ranges as can be, in order."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return tuple(found)
