"""Runs each way of shedding at each overload, and counts what is left."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.shedding.detect import Detector, Found, is_alert
from bench.shedding.replay import Gateway, octets_of
from bench.shedding.traffic import merged
from flow_ffi import flow_hash
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.policy.shed import How

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pcap_zmq.packet import Packet

OVERLOADS = (1, 2, 4, 8, 16)
"""How many times as much comes as the high watermark has."""


@dataclass(frozen=True, slots=True)
class Left:
    """What one run left, each as a part of what there was."""

    octets: float
    packets: float
    flows: float
    """Complete: with every packet."""
    alerts: float
    events: float
    """Of applications."""
    made_up: int
    """Events that were not there before."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What there was, and what was left of it, by how and overload: a value a run."""

    captures: int
    packets: int
    octets: int
    flows: int
    alerts: int
    events: int
    seconds: int
    left: dict[tuple[How, int], list[Left]]


def measure(
    captures: Sequence[Path], seconds: int, runs: int, directory: Path
) -> Measurement:
    """seconds: how long the traffic of all captures takes. directory: empty. Raises
    RuntimeError where Suricata fails."""
    packets = merged(captures, seconds)
    detector = Detector(directory)
    whole = _Whole(packets, detector.find(packets))
    left: dict[tuple[How, int], list[Left]] = {}
    for run in range(runs):
        for overload in OVERLOADS:
            for how in How:
                print(f"shedding: {run} {overload} {how.value}", file=sys.stderr)
                gateway = Gateway(how, whole.octets // seconds // overload)
                kept = gateway.kept(packets)
                found = whole.left(kept, detector.find(kept))
                left.setdefault((how, overload), []).append(found)
    alerts, events = whole.counts
    return Measurement(
        captures=len(captures),
        packets=len(packets),
        octets=whole.octets,
        flows=len(whole.flows),
        alerts=alerts,
        events=events,
        seconds=seconds,
        left=left,
    )


class _Whole:
    """All that there was, for comparison."""

    def __init__(self, packets: Sequence[Packet], found: Found) -> None:
        self.octets = octets_of(packets)
        self.flows = _flows(packets)
        self._packets = len(packets)
        self._found = found
        self.counts = _counts(found)

    def left(self, kept: Sequence[Packet], found: Found) -> Left:
        flows = _flows(kept)
        complete = sum(flows[flow] == count for flow, count in self.flows.items())
        still = _counts(self._found & found)
        alerts, events = (
            now / before if before else 1.0
            for now, before in zip(still, self.counts, strict=True)
        )
        return Left(
            octets=octets_of(kept) / self.octets,
            packets=len(kept) / self._packets,
            flows=complete / len(self.flows),
            alerts=alerts,
            events=events,
            made_up=(found - self._found).total(),
        )


def _flows(packets: Sequence[Packet]) -> Counter[int]:
    return Counter(flow_hash(RAW, packet.data, inner=True) for packet in packets)


def _counts(found: Found) -> tuple[int, int]:
    alerts = sum(count for key, count in found.items() if is_alert(key))
    return alerts, found.total() - alerts
