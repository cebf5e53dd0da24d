"""Filters ready to run: AS numbers as subnets, and a sieve for each stream of packets.

Loads only what these filters need: one expression needs little.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.conditions import Bpf, Condition, Rules, as_numbers
from pcap_zmq.stages.sieve import ManyFilters, OneExpression, Preparation, Sieve

NewSieve: TypeAlias = Callable[[], Sieve]


def without_asns(rules: Rules, database: Path | None) -> dict[str, Condition]:
    """The same with the subnets of AS numbers in their place, so that no packet is
    looked up. Raises ConfigError where there is no database, or none of that kind."""
    wanted = {number for rule in rules.values() for number in as_numbers(rule)}
    if not wanted:
        return dict(rules)
    if database is None:
        raise ConfigError(
            "a filter asks for AS numbers: name a MaxMind database of them by --asn-db"
        )
    from pcap_zmq.tools.asn import resolved, subnets_of

    subnets = subnets_of(database, wanted)
    return {name: resolved(rule, subnets) for name, rule in rules.items()}


def sieves_for(rules: Rules, preparation: Preparation) -> NewSieve:
    """What makes one; what they share is made once. rules: without AS numbers. Raises
    ConfigError for filters that cannot be run."""
    if preparation.is_nothing and len(rules) == 1:
        (rule,) = rules.values()
        if isinstance(rule, Bpf) and len(rule.values) == 1:
            expression = rule.values[0]
            return lambda: OneExpression(expression)
    from pcap_zmq.tools.filter_terms import terms_of

    terms = terms_of(rules)

    def new() -> Sieve:
        try:
            return ManyFilters(terms, preparation)
        except ValueError as error:
            raise ConfigError(f"these filters cannot be run: {error}") from error

    return new
