"""One event of Suricata to what tells the packets of its flow from others.

Specification: Suricata's EVE JSON output.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.conditions import Flow, NoValueError
from pcap_zmq.formats.flow_list import flow_of_event

EVENT_MAX = 16 << 20
"""Octets of one: Suricata's longest, with payload and packets, are far below."""

_OF_FLOWS = frozenset({"flow", "netflow"})
"""Types of events that are written when a flow has ended: so their own time says
nothing of its packets."""


@dataclass(frozen=True, slots=True)
class EveEvent:
    """flow: of its packet. outer: of the packet that this one was in; None: it was in
    none. Times are in nanoseconds since the epoch.

    at_ns: one that its packets are around. begins_ns: when its flow began, and ends_ns:
    when it ended, where that is known. capture_file: what Suricata was writing its
    packets to, a path as Suricata saw it."""

    flow: Flow
    at_ns: int
    outer: Flow | None = None
    begins_ns: int | None = None
    ends_ns: int | None = None
    capture_file: str | None = None


def decode_event(octets: bytes, moment: Callable[[str], int]) -> EveEvent:
    """moment: makes nanoseconds of a time in ISO 8601, and raises ValueError. Raises
    FormatError for what is no event, or none that has a flow."""
    event = _read(octets)
    flow = _flow(event, "the event")
    tunnel = event.get("tunnel")
    outer = None
    if isinstance(tunnel, dict):
        outer = _flow(tunnel, "the event's tunnel")
    about = event
    is_of_flow = event.get("event_type") in _OF_FLOWS
    for key in ("flow", "netflow"):
        if isinstance(event.get(key), dict):
            about = event[key]
    begins_ns = _time(about, "start", moment)
    ends_ns = _time(about, "end", moment) if is_of_flow else None
    at_ns = begins_ns if is_of_flow else None
    if at_ns is None:
        at_ns = _time(event, "timestamp", moment)
    if at_ns is None:
        raise FormatError("the event has no timestamp")
    name = event.get("capture_file")
    return EveEvent(
        flow=flow,
        at_ns=at_ns,
        outer=outer,
        begins_ns=begins_ns,
        ends_ns=ends_ns,
        capture_file=name if isinstance(name, str) and name else None,
    )


def _read(octets: bytes) -> dict[str, Any]:
    lines = [line for line in octets.splitlines() if line.strip()]
    if len(lines) > 1 and all(line.startswith(b"{") for line in lines):
        raise FormatError(
            f"{len(lines)} events where one is wanted; the flows of many are for "
            "pcap-zmq filter --eve"
        )
    try:
        event = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise FormatError("no JSON") from error
    if not isinstance(event, dict):
        raise FormatError("no event: a JSON object is one")
    return event


def _flow(event: Mapping[str, Any], what: str) -> Flow:
    try:
        return flow_of_event(event)
    except KeyError as error:
        raise FormatError(f"{what} has no {error.args[0]}") from error
    except NoValueError as error:
        raise FormatError(f"{what} is of no flow: {error}") from error


def _time(
    event: Mapping[str, Any], key: str, moment: Callable[[str], int]
) -> int | None:
    text = event.get(key)
    if text is None:
        return None
    try:
        return moment(str(text))
    except ValueError as error:
        raise FormatError(f"its {key} is {text!r:.60}, which is no time") from error
