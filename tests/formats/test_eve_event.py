"""An event of Suricata names a flow, or says in a word what it lacks."""

import json
from typing import Any

import pytest

from pcap_zmq.clock import utc_ns
from pcap_zmq.errors import FormatError
from pcap_zmq.formats.condition_text import parse_flow
from pcap_zmq.formats.eve_event import EveEvent, decode_event

ALERT: dict[str, Any] = {
    "timestamp": "2023-11-14T22:13:30.000001+0000",
    "event_type": "alert",
    "src_ip": "192.0.2.1",
    "src_port": 5000,
    "dest_ip": "198.51.100.2",
    "dest_port": 443,
    "proto": "TCP",
}
AT_NS = 1_700_000_010_000_001_000


def decoded(event: object) -> EveEvent:
    return decode_event(json.dumps(event).encode(), utc_ns)


# Unhappy paths.


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff", "no JSON"),
        (b"[]", "no event"),
        (b"{}", "the event has no proto"),
        (b'{"proto":"TCP"}', "the event has no src_port"),
        (b"{}\n{}\n", "2 events where one is wanted"),
    ],
)
def test_what_is_no_event_is_refused_with_a_word(octets: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        decode_event(octets, utc_ns)


@pytest.mark.parametrize("key", [key for key in ALERT if key != "event_type"])
def test_an_event_that_lacks_something_is_refused(key: str) -> None:
    with pytest.raises(FormatError, match=f"the event has no {key}"):
        decoded({name: value for name, value in ALERT.items() if name != key})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"src_ip": "no address"}, "no IP address"),
        ({"src_ip": 5}, "no IP address"),
        ({"src_ip": "2001:db8::1"}, "two IP versions"),
        ({"src_port": -1}, "no port"),
        ({"src_port": 65_536}, "no port"),
        ({"dest_port": {}}, "no port"),
        ({"proto": "nonsense"}, "no IP protocol"),
        ({"timestamp": "yesterday"}, "which is no time"),
        ({"timestamp": 5}, "which is no time"),
        ({"flow": {"start": "then"}}, "its start is 'then'"),
        ({"tunnel": {"src_ip": "192.0.2.7"}}, "the event's tunnel has no proto"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(FormatError, match=why):
        decoded(ALERT | change)


# What it says.


def test_an_alert_names_its_flow_and_a_time_of_it() -> None:
    event = decoded(ALERT)
    assert event.flow == parse_flow("tcp 192.0.2.1:5000 198.51.100.2:443")
    assert event == EveEvent(flow=event.flow, at_ns=AT_NS)


def test_a_line_with_its_end_is_an_event() -> None:
    assert decode_event(json.dumps(ALERT).encode() + b"\n\n", utc_ns).at_ns == AT_NS


def test_an_event_over_several_lines_is_one() -> None:
    assert decode_event(json.dumps(ALERT, indent=2).encode(), utc_ns).at_ns == AT_NS


def test_the_beginning_of_the_flow_and_its_file_are_known_where_they_are_said() -> None:
    start = "2023-11-14T22:13:20.500000+0000"
    event = decoded(ALERT | {"flow": {"start": start}, "capture_file": "a/log.pcap.17"})
    assert event.begins_ns == 1_700_000_000_500_000_000
    assert (event.at_ns, event.ends_ns) == (AT_NS, None)
    assert event.capture_file == "a/log.pcap.17"


def test_an_event_of_a_flow_has_the_flows_times_and_not_its_own() -> None:
    """It is written when the flow has timed out, minutes after its last packet."""
    times = {
        "start": "2023-11-14T22:13:20.500000+0000",
        "end": "2023-11-14T22:13:21.500000+0000",
    }
    event = decoded(ALERT | {"event_type": "flow", "flow": times})
    assert (event.at_ns, event.ends_ns) == (
        1_700_000_000_500_000_000,
        1_700_000_001_500_000_000,
    )


def test_a_packet_in_a_tunnel_has_the_flow_around_it_too() -> None:
    outer = {
        "src_ip": "203.0.113.1",
        "src_port": 0,
        "dest_ip": "203.0.113.2",
        "dest_port": 0,
        "proto": "GRE",
        "depth": 1,
    }
    event = decoded(ALERT | {"tunnel": outer})
    assert event.outer == parse_flow("gre 203.0.113.1 203.0.113.2")
    assert event.flow == parse_flow("tcp 192.0.2.1:5000 198.51.100.2:443")


@pytest.mark.parametrize(
    ("proto", "source", "target", "text"),
    [
        ("ICMP", "192.0.2.1", "192.0.2.2", "icmp 192.0.2.1 192.0.2.2"),
        ("IPv6-ICMP", "2001:db8::1", "ff02::1", "icmpv6 2001:db8::1 ff02::1"),
        ("IPv6", "192.0.2.1", "192.0.2.2", "ipv6 192.0.2.1 192.0.2.2"),
    ],
)
def test_what_has_no_ports_needs_none(
    proto: str, source: str, target: str, text: str
) -> None:
    ends = {"proto": proto, "src_ip": source, "dest_ip": target}
    without = {k: v for k, v in ALERT.items() if "port" not in k}
    assert decoded(without | ends).flow == parse_flow(text)
