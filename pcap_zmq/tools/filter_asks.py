"""What a filter is asked for, put together: an expression, a file of filters, lists,
events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.conditions import (
    All,
    Bpf,
    Condition,
    Either,
    Everything,
    Not,
    Rules,
)

ALONE = ""
"""The name of what was asked for without one."""


@dataclass(frozen=True, slots=True)
class Asks:
    """expression: of pcap-filter(7). rules: a file of filters; names: which of them;
    empty: all. keep, drop: lists. eve: files of events, of which the flows of those of
    the types are kept, or dropped. per_flow: a filter for each flow of an event."""

    expression: str = ""
    rules: Path | None = None
    names: Sequence[str] = ()
    keep: Sequence[Path] = ()
    drop: Sequence[Path] = ()
    eve: Sequence[Path] = ()
    eve_events: Sequence[str] = ("alert",)
    drop_eve: Sequence[Path] = ()
    per_flow: bool = False

    @property
    def reads(self) -> bool:
        """Whether there is a file that says more."""
        return bool(self.rules or self.keep or self.drop or self.eve or self.drop_eve)

    def check(self) -> None:
        """Raises ConfigError."""
        if self.names and self.rules is None:
            raise ConfigError("--rule chooses from a file: name it by --rules")
        if self.per_flow and not self.eve:
            raise ConfigError("--per-flow is for the flows of --eve")
        if self.per_flow and self.rules is not None:
            raise ConfigError(
                "--per-flow makes filters of its own; not together with --rules"
            )
        if (self.eve or self.drop_eve) and not self.eve_events:
            raise ConfigError("--eve-events is empty: name types, such as alert")


@dataclass(slots=True)
class Asked:
    """What that comes to. rules: by name; `ALONE` where there is but one without.
    notes: what there is to say of the files."""

    rules: Rules
    notes: list[str] = field(default_factory=list)


def gather(asks: Asks) -> Asked:
    """A filter holds where its own conditions do, and the expression takes the packet,
    and one of the lists that keep has it, and none that drops. Raises ConfigError and
    ConfigPermissionError."""
    asks.check()
    expression: list[Condition] = []
    if asks.expression.strip():
        expression.append(Bpf((asks.expression,)))
    if not asks.reads:
        return Asked({ALONE: _together(Everything(), expression)})
    # Here, since one expression does without it.
    from pcap_zmq.tools import filter_lists as lists

    notes: list[str] = []
    kept = [lists.listed(path) for path in asks.keep]
    events = lists.events(asks.eve, asks.eve_events, notes)
    if asks.eve and not asks.per_flow:
        kept.append(lists.any_flow_of(events))
    common = expression
    if kept:
        common.append(kept[0] if len(kept) == 1 else Either(tuple(kept)))
    common += [Not(lists.listed(path)) for path in asks.drop]
    if asks.drop_eve:
        dropped = lists.events(asks.drop_eve, asks.eve_events, notes)
        common.append(Not(lists.any_flow_of(dropped)))
    rules: Rules = {ALONE: Everything()}
    if asks.per_flow:
        rules = lists.per_flow(events)
    elif asks.rules is not None:
        rules = lists.chosen(asks.rules, asks.names)
    return Asked({n: _together(own, common) for n, own in rules.items()}, notes)


def _together(own: Condition, common: Sequence[Condition]) -> Condition:
    parts = [*_conditions_of(own), *common]
    if not parts:
        return Everything()
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _conditions_of(rule: Condition) -> Sequence[Condition]:
    match rule:
        case Everything():
            return ()
        case All(parts):
            return parts
        case _:
            return (rule,)
