"""What makes no sense for a replay is refused before anything is opened."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pcap_zmq.errors import ConfigError
from pcap_zmq.policy.merge_plan import MergePlan
from pcap_zmq.stages.sift import Mtu
from pcap_zmq.tools.credentials import ClientKeys
from pcap_zmq.tools.output_spec import DEFAULT
from pcap_zmq.tools.replay import schedule_of
from pcap_zmq.tools.replay_config import Pace, ReplayConfig
from pcap_zmq.tools.way_out import WayOutConfig


def config(output: str = "file:/tmp/out.pcap", **values: Any) -> ReplayConfig:
    return ReplayConfig(WayOutConfig(output), **{"paths": ("a.pcap",), **values})


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"paths": ()}, "no PATHS"),
        ({"pace": Pace(speed=2, pps=5)}, "--speed and --pps contradict"),
        ({"pace": Pace(fit_ns=1, top=True)}, "--fit and --topspeed contradict"),
        ({"pace": Pace(pps=1, bits_per_s=1)}, "--pps and --mbps contradict"),
        ({"pace": Pace(speed=0)}, "--speed"),
        ({"pace": Pace(fit_ns=0)}, "--fit"),
        ({"pace": Pace(pps=0)}, "--pps"),
        ({"pace": Pace(bits_per_s=0)}, "--mbps"),
        ({"plan": MergePlan(loops=-1)}, "--loop"),
        ({"plan": MergePlan(from_ns=5, until_ns=5)}, "--from is not before --to"),
        ({"plan": MergePlan(from_ns=5, together=True)}, "--together moves files"),
        ({"plan": MergePlan(until_ns=5, together=True)}, "--together moves files"),
        ({"mtu": Mtu(20, cuts=False)}, "--skip-mtu 20"),
        ({"mtu": Mtu(1 << 20, cuts=True)}, "--cut-mtu"),
        ({"filter": "tcp prt 80"}, "'tcp prt 80' is no filter"),
        ({"linger_ns": -1}, "--linger"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        config(**values).check()


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("interface:", "names no interface"),
        ("interface:a/b", "names no interface"),
        ("interface:longer-than-any-is", "names no interface"),
        ("tcp://127.0.0.1", "has no host and port"),
        ("pcap-over-ip://127.0.0.1:1,when-slow=drop", "files can"),
    ],
)
def test_an_output_that_is_none_is_refused(output: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        config(output).check()


def test_times_cannot_be_stamped_onto_an_interface() -> None:
    with pytest.raises(ConfigError, match="packets on an interface carry none"):
        config("interface:eth0", stamps=True).check()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"paths": (), "index": Path("map.json")},
        {"pace": Pace(speed=1)},
        {"plan": MergePlan(loops=0, from_ns=1, until_ns=2)},
        {"plan": MergePlan(together=True)},
        {"filter": "ether host 02:00:00:00:00:01"},
        {"filter": "tcp port 80 and host 192.0.2.1"},
        {"mtu": Mtu(1500, cuts=True)},
    ],
)
def test_what_can_be_is_taken(values: dict[str, Any]) -> None:
    config(**values).check()
    config("interface:eth0", **values).check()


@pytest.mark.parametrize(
    ("pace", "gap_ns"),
    [
        # Of packets of 60 octets, 10 ms apart.
        (Pace(), 10_000_000),
        (Pace(speed=2_500_000), 4_000_000),
        (Pace(speed=500_000), 20_000_000),
        (Pace(pps=250_000), 4_000_000),
        (Pace(bits_per_s=480_000), 1_000_000),
        (Pace(top=True), 0),
    ],
)
def test_a_pace_says_when_packets_are_due(pace: Pace, gap_ns: int) -> None:
    from pcap_zmq.packet import Packet
    from tests.support.records import records_of

    times = [0, 10_000_000, 20_000_000]
    records = records_of([Packet(ns, 60, bytes(60)) for ns in times])
    schedule = schedule_of(pace, late_ns=1)
    schedule.begin(1_000, 0)
    for number in (0, 1):
        taken = schedule.take(records[number * 76 :], 1_000 + number * gap_ns)
        if gap_ns:
            assert (taken.count, taken.next_ns) == (1, 1_000 + (number + 1) * gap_ns)
        else:
            assert taken.next_ns is None
            return


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"overwrite": True}, "--overwrite"),
        ({"defaults": replace(DEFAULT, format="pcapng")}, "--format"),
        ({"keys": ClientKeys(key=Path("own"))}, "--key"),
    ],
)
def test_what_an_interface_has_no_use_for_is_refused(
    values: dict[str, Any], option: str
) -> None:
    way_out = WayOutConfig("interface:eth0", **values)
    with pytest.raises(ConfigError, match=f"{option} is for other OUTPUTs"):
        ReplayConfig(way_out, paths=("a.pcap",)).check()
