"""What Suricata has said, as a multiset of events, and where two of them differ.

An event is what eve.json says without what a run makes up itself: the ids of flows, and
the time of what no packet raised but the end of the capture, when Suricata looks once
more at what it holds, in any order. Several runs can be put together, as where flows
were spread over several Suricatas.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Events = Counter[str]
"""Each as JSON with its keys in order, so that equal ones are the same."""

MADE_UP = frozenset({"flow_id", "parent_id", "tunnel_id"})
TIMES = frozenset({"timestamp", "start", "end", "age", "ts", "pcap_cnt"})
"""What else depends on when, and as which, a packet was seen."""

RAISED_BY = "pcap_cnt"
"""The number of the packet that raised an event, if one did."""

NO_EVENTS = frozenset({"stats"})


class Difference(NamedTuple):
    """What is in the one and not in the other, each as often as there are more."""

    missing: Events
    added: Events

    def __bool__(self) -> bool:
        return bool(self.missing or self.added)

    def lines(self, most: int = 10) -> Iterator[str]:
        """For people: a line for each event, and no more than so many of a kind."""
        for sign, events in (("-", self.missing), ("+", self.added)):
            for event, count in list(events.items())[:most]:
                yield f"{sign} {count} x {event}"
            if len(events) > most:
                yield f"{sign} and {len(events) - most} more"


def read_events(paths: Iterable[Path], *, with_times: bool = True) -> Events:
    """All events of these eve.json files together. with_times: False leaves out what
    depends on when the packets were seen, and on how many others there were."""
    found: Events = Counter()
    for path in paths:
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["event_type"] not in NO_EVENTS:
                found[_canonical(event, with_times=with_times)] += 1
    return found


def compare(expected: Events, found: Events) -> Difference:
    """Nothing, where both have each event equally often."""
    return Difference(expected - found, found - expected)


def kinds(events: Events) -> Counter[str]:
    """How many there are of each type."""
    counted: Counter[str] = Counter()
    for event, count in events.items():
        counted[json.loads(event)["event_type"]] += count
    return counted


def _canonical(event: dict[str, Any], *, with_times: bool) -> str:
    dropped = MADE_UP if with_times else MADE_UP | TIMES
    if RAISED_BY not in event:
        dropped = dropped | {"timestamp"}
    return json.dumps(_without(event, dropped), sort_keys=True)


def _without(value: Any, dropped: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: _without(inner, dropped)
            for name, inner in value.items()
            if name not in dropped
        }
    if isinstance(value, list):
        return [_without(inner, dropped) for inner in value]
    return value
