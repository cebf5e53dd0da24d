"""Conditions as the C code takes them."""

import filter_ffi as c
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
    Port,
    Rules,
    Subnet,
)

_PACKED_AT_ONCE = 1 << 14


def terms_of(rules: Rules) -> dict[str, c.Term]:
    """Of filters without AS numbers."""
    terms = _Terms()
    return {name: terms.of(rule) for name, rule in rules.items()}


class _Terms:
    """Makes terms of conditions without AS numbers. What two filters share, as a long
    list of flows, is there once."""

    def __init__(self) -> None:
        self._sets: dict[int, tuple[InFlow, c.InFlows]] = {}

    def of(self, condition: Condition) -> c.Term:
        """Raises ValueError for what no filter can be."""
        match condition:
            case Subnet(values):
                # Of an AS number that nobody has there are none.
                return c.Subnets(values) if values else c.AnyOf(())
            case Port(values):
                return c.Ports(values)
            case Ether(values):
                return c.Macs(values)
            case Bpf(values):
                terms = tuple(c.Bpf(value) for value in values)
                return terms[0] if len(terms) == 1 else c.AnyOf(terms)
            case InFlow():
                return self._in_flows(condition)
            case Everything():
                return c.Everything()
            case All(parts):
                return c.AllOf(tuple(map(self.of, parts)))
            case Either(parts):
                return c.AnyOf(tuple(map(self.of, parts)))
            case Not(part):
                return c.Not(self.of(part))
            case Asn():
                raise AssertionError("AS numbers are to be resolved before")

    def _in_flows(self, condition: InFlow) -> c.InFlows:
        known = self._sets.get(id(condition))
        if known is not None:
            return known[1]
        flows = c.FlowSet()
        packed = list[bytes]()
        for flow in condition.values:
            packed.append(flow)
            if len(packed) == _PACKED_AT_ONCE:
                flows.add_packed(b"".join(packed))
                packed.clear()
        flows.add_packed(b"".join(packed))
        term = c.InFlows(flows)
        # With the condition, so that its id stays its own.
        self._sets[id(condition)] = condition, term
        return term
