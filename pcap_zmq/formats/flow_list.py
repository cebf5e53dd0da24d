"""Lists of flows and hosts: CSV, or events of Suricata, to what a filter asks.

A list may be long, so it is taken line by line. Specification: docs/filter.md, "Lists";
RFC 4180 without line breaks in fields; Suricata's EVE JSON output.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.condition_text import (
    parse_address,
    parse_network,
    parse_port,
    parse_protocol,
)
from pcap_zmq.formats.conditions import (
    WITH_PORTS,
    All,
    Condition,
    Either,
    Flow,
    InFlow,
    Network,
    NoValueError,
    Port,
    Ports,
    Subnet,
    flow,
)

_COLUMNS = {
    1: ("address",),
    3: ("address", "protocol", "port"),
    5: ("source", "target", "protocol", "source_port", "target_port"),
}
"""What the fields mean where no header says so, by how many there are."""

_HEADS = {
    "ip": "address",
    "address": "address",
    "subnet": "address",
    "host": "address",
    "src": "source",
    "src_ip": "source",
    "source": "source",
    "source_ip": "source",
    "saddr": "source",
    "id.orig_h": "source",
    "dst": "target",
    "dest": "target",
    "dst_ip": "target",
    "dest_ip": "target",
    "destination_ip": "target",
    "destination": "target",
    "daddr": "target",
    "id.resp_h": "target",
    "proto": "protocol",
    "protocol": "protocol",
    "port": "port",
    "sport": "source_port",
    "src_port": "source_port",
    "source_port": "source_port",
    "id.orig_p": "source_port",
    "dport": "target_port",
    "dst_port": "target_port",
    "dest_port": "target_port",
    "destination_port": "target_port",
    "id.resp_p": "target_port",
}
"""What a header's names mean; columns of other names say nothing here."""


@dataclass(slots=True)
class Listed:
    """What a list names."""

    flows: set[Flow] = field(default_factory=set)
    networks: set[Network] = field(default_factory=set)
    services: dict[Ports, set[Network]] = field(default_factory=dict)
    """Ports, and the hosts that they are wanted with."""

    def condition(self) -> Condition:
        """Holds for packets of any of it; of nothing, for none."""
        parts: list[Condition] = []
        if self.networks:
            parts.append(_subnet(self.networks))
        for ports, networks in sorted(self.services.items(), key=str):
            parts.append(All((Port((ports,)), _subnet(networks))))
        if self.flows or not parts:
            parts.append(InFlow(frozenset(self.flows)))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))


def _subnet(networks: Iterable[Network]) -> Subnet:
    return Subnet(tuple(sorted(networks, key=lambda n: (n.version, n))))


class ListError(FormatError):
    """A line of a list makes no sense; `line` is its number."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line
        self.why = why


def decode_csv(lines: Iterable[bytes]) -> Listed:
    """An address or subnet a line; or host, protocol, port; or source, destination,
    protocol, source port, destination port; or other columns below a header that names
    them. Empty lines and those with # in front do not count. Raises ListError."""
    listed = Listed()
    columns: Sequence[str] = ()
    for number, fields in _rows(lines):
        try:
            if not columns:
                columns, is_header = _columns_of(fields)
                if is_header:
                    continue
            _take(listed, columns, fields)
        except NoValueError as error:
            raise ListError(number, str(error)) from error
    return listed


def _rows(lines: Iterable[bytes]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not text or text.startswith("#"):
                continue
            fields = text.split(",")
            if '"' in text or len(text) > csv.field_size_limit():
                (fields,) = csv.reader([text], skipinitialspace=True)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ListError(number, f"is no CSV: {error}") from error
        yield number, [each.strip() for each in fields]


def _columns_of(first: list[str]) -> tuple[Sequence[str], bool]:
    """What the fields of each line mean, and whether the first line says so itself."""
    named = [_HEADS.get(name.lower(), "") for name in first]
    known = {name for name in named if name}
    forms = [form for form in _COLUMNS.values() if known.issuperset(form)]
    if forms:
        # The most that can be said; another column of that name says nothing more.
        return named, True
    columns = _COLUMNS.get(len(first))
    if columns is None or known:
        raise NoValueError(
            f"{','.join(first)!r}: write an address, or address,protocol,port, or "
            "source,destination,protocol,source port,destination port; or a header "
            "with src_ip,dest_ip,proto,src_port,dest_port"
        )
    return columns, False


def _take(listed: Listed, columns: Sequence[str], fields: list[str]) -> None:
    if len(fields) != len(columns):
        raise NoValueError(f"has {len(fields)} fields where {len(columns)} are wanted")
    said = dict(zip(reversed(columns), reversed(fields), strict=True))
    if "source" in said and "target" in said:
        protocol = parse_protocol(said["protocol"])
        source_port = target_port = 0
        if protocol in WITH_PORTS:
            source_port = parse_port(said["source_port"])
            target_port = parse_port(said["target_port"])
        source, target = parse_address(said["source"]), parse_address(said["target"])
        listed.flows.add(flow(protocol, source, source_port, target, target_port))
        return
    network = parse_network(said["address"])
    if "port" not in said:
        listed.networks.add(network)
        return
    protocol = parse_protocol(said["protocol"])
    if protocol not in WITH_PORTS:
        raise NoValueError(f"{said['protocol']} has no ports")
    port = parse_port(said["port"])
    ports = Ports(port, port, protocol)
    listed.services.setdefault(ports, set()).add(network)


_FLOW_ID_MAX = (1 << 64) - 1
"""It may become a folder's name."""


@dataclass(slots=True)
class Events:
    """What a file of events names."""

    flows: dict[Flow, str] = field(default_factory=dict)
    """Each with the number that Suricata gave it first; "" where it gave none."""
    events: int = 0
    """Of the types that were asked for."""
    without_flow: int = 0
    """Of them, those that name no two ends, as of what is no IP."""
    malformed: int = 0
    """Lines that are no event: a file that is still written ends in one."""


def decode_eve(lines: Iterable[bytes], types: Iterable[str]) -> Events:
    """The flows of events of these types. Never raises: a line that is no event
    counts."""
    wanted = frozenset(types)
    # Most events are of other types, and to look for a word is cheap.
    words = [json.dumps(each).encode() for each in wanted]
    found = Events()
    for line in lines:
        if any(word in line for word in words):
            _take_event(found, line, wanted)
    return found


def _take_event(found: Events, line: bytes, wanted: frozenset[str]) -> None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        found.malformed += 1
        return
    if not isinstance(event, dict) or event.get("event_type") not in wanted:
        return
    found.events += 1
    try:
        ends = flow_of_event(event)
    except (KeyError, NoValueError):
        found.without_flow += 1
        return
    number = event.get("flow_id")
    is_number = type(number) is int and 0 <= number <= _FLOW_ID_MAX
    found.flows.setdefault(ends, str(number) if is_number else "")


def flow_of_event(event: Mapping[str, object]) -> Flow:
    """Of the ends that it names, in Suricata's fields. Raises KeyError and
    NoValueError."""
    protocol = parse_protocol(str(event["proto"]))
    ports = [0, 0]
    if protocol in WITH_PORTS:
        ports = [parse_port(str(event[key])) for key in ("src_port", "dest_port")]
    source, target = (parse_address(str(event[key])) for key in ("src_ip", "dest_ip"))
    return flow(protocol, source, ports[0], target, ports[1])
