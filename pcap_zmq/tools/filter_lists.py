"""Reads the files that say what a filter keeps: filters, lists, events."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pcap_zmq.errors import ConfigError, FormatError
from pcap_zmq.formats.conditions import Condition, InFlow, Rules
from pcap_zmq.formats.filter_rules import decode
from pcap_zmq.formats.flow_list import Events, ListError, decode_csv, decode_eve
from pcap_zmq.formats.rules_text import SIZE_MAX
from pcap_zmq.formats.settings import suggestion
from pcap_zmq.tools.line_file import lines_of, opened


def chosen(path: Path, names: Sequence[str]) -> Rules:
    """The filters of a file; names: only these. Raises ConfigError and
    ConfigPermissionError."""
    with opened(path) as file:
        octets = file.read(SIZE_MAX + 1)
    rules = decode(octets, str(path))
    for wanted in names:
        if wanted not in rules:
            raise ConfigError(
                f"{path} has no filter {wanted!r}{suggestion(wanted, rules)}; it has "
                f"{', '.join(rules)}"
            )
    return {each: rules[each] for each in names or rules}


def listed(path: Path) -> Condition:
    """What a list names. Raises ConfigError and ConfigPermissionError."""
    try:
        with opened(path) as file:
            return decode_csv(lines_of(file)).condition()
    except ListError as error:
        raise ConfigError(f"{path}:{error.line}: {error.why}") from error
    except FormatError as error:
        raise ConfigError(f"{path}: {error}") from error


def events(paths: Iterable[Path], types: Sequence[str], notes: list[str]) -> Events:
    """Those of all these files; notes: what there is to say of each. Raises ConfigError
    and ConfigPermissionError."""
    every = Events()
    for path in paths:
        try:
            with opened(path) as file:
                found = decode_eve(lines_of(file), types)
        except FormatError as error:
            raise ConfigError(f"{path}: {error}") from error
        for flow, number in found.flows.items():
            every.flows.setdefault(flow, number)
        notes.append(_note(path, types, found))
    return every


def any_flow_of(found: Events) -> InFlow:
    """Holds for packets of all their flows."""
    return InFlow(frozenset(found.flows))


def per_flow(found: Events) -> Rules:
    """A filter for each flow, named by Suricata's number; flows of one number are one.
    Raises ConfigError where there are none."""
    flows: dict[str, set[bytes]] = {}
    for place, (flow, number) in enumerate(found.flows.items(), 1):
        name = f"flow-{number}" if number else f"event-{place}"
        flows.setdefault(name, set()).add(flow)
    if not flows:
        raise ConfigError("--per-flow: the events name no flow")
    return {name: InFlow(frozenset(some)) for name, some in flows.items()}


def _note(path: Path, types: Sequence[str], found: Events) -> str:
    kinds = " and ".join(types)
    note = f"{path}: {found.events} events ({kinds}) of {len(found.flows)} flows"
    if found.without_flow:
        note += f"; {found.without_flow} of them name no two ends"
    if found.malformed:
        note += f"; {found.malformed} lines are no event"
    return note
