"""Lists of flows: CSV in its forms, and Suricata's events."""

import json
from ipaddress import ip_address, ip_network

import pytest

from pcap_zmq.formats.conditions import (
    All,
    Either,
    InFlow,
    Network,
    Port,
    Ports,
    Subnet,
    flow,
)
from pcap_zmq.formats.flow_list import Events, ListError, decode_csv, decode_eve

ONE, OTHER = ip_address("192.0.2.1"), ip_address("198.51.100.2")


def csv(text: str) -> object:
    return decode_csv(text.encode().splitlines()).condition()


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("10.0.0.0/33", 1, "is no subnet"),
        ("# hosts\n\n192.0.2.1\nnobody", 4, "'nobody' is no subnet"),
        ("192.0.2.1,tcp", 1, "write an address, or"),
        ("192.0.2.1,tcp,443\n192.0.2.1", 2, "has 1 fields where 3 are wanted"),
        ("192.0.2.1,icmp,8", 1, "icmp has no ports"),
        ("192.0.2.1,tcp,65536", 1, "'65536' is no port"),
        ("192.0.2.1,tcp,http", 1, "'http' is no port"),
        ("192.0.2.1,198.51.100.2,tcp,1,", 1, "'' is no port"),
        ("192.0.2.1,::1,tcp,1,2", 1, "of two IP versions"),
        ("192.0.2.0/24,198.51.100.2,tcp,1,2", 1, "is no IP address"),
        ("src_ip,dest_ip,proto", 1, "a header with src_ip,dest_ip,proto,src_port"),
        ("192.0.2.1,\xff", 1, "write an address"),
    ],
)
def test_a_line_that_makes_no_sense_is_told(
    text: str, line: int, complaint: str
) -> None:
    with pytest.raises(ListError) as caught:
        csv(text)
    assert caught.value.line == line
    assert complaint in str(caught.value)


@pytest.mark.parametrize("line", [b"\xff", b"x" * 200_000])
def test_octets_that_are_no_csv_are_told(line: bytes) -> None:
    with pytest.raises(ListError, match="line 2: is no CSV"):
        decode_csv([b"192.0.2.1", line])


def test_hosts_and_subnets_are_one_a_line() -> None:
    text = "\ufeff# known\n198.51.100.0/24\n\n 192.0.2.1 \n2001:db8::/32\n192.0.2.1"
    networks = ("192.0.2.1/32", "198.51.100.0/24", "2001:db8::/32")
    assert csv(text) == Subnet(tuple(map(ip_network, networks)))


def test_hosts_with_ports_are_wanted_together() -> None:
    text = "192.0.2.1,tcp,443\n192.0.2.2,TCP,443\n2001:db8::1, 17, 53"
    assert csv(text) == Either(
        (
            All(
                (Port((Ports(443, 443, 6),)), Subnet(_hosts("192.0.2.1", "192.0.2.2")))
            ),
            All((Port((Ports(53, 53, 17),)), Subnet(_hosts("2001:db8::1")))),
        )
    )


def _hosts(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


def test_flows_are_five_columns_or_those_that_a_header_names() -> None:
    wanted = InFlow(
        frozenset({flow(6, ONE, 50_000, OTHER, 443), flow(1, ONE, 0, OTHER, 0)})
    )
    plain = "192.0.2.1,198.51.100.2,tcp,50000,443\n192.0.2.1,198.51.100.2,icmp,,"
    assert csv(plain) == wanted
    headed = (
        "timestamp,Dest_IP,src_ip,dest_port,src_port,proto,note\n"
        'now,198.51.100.2,192.0.2.1,443,50000,TCP,"a, b"\n'
        "now,192.0.2.1,198.51.100.2,,,ICMP,\n"
    )
    assert csv(headed) == wanted


def test_a_list_of_nothing_takes_nothing() -> None:
    assert csv("# nothing\n") == InFlow(frozenset())


# Events.


def event(**fields: object) -> bytes:
    said = {
        "event_type": "alert",
        "flow_id": 7,
        "src_ip": str(ONE),
        "src_port": 50_000,
        "dest_ip": str(OTHER),
        "dest_port": 443,
        "proto": "TCP",
    }
    return json.dumps(said | fields).encode()


def test_flows_of_events_of_the_types_are_taken_once_by_their_numbers() -> None:
    lines = [
        event(),
        event(src_ip=str(OTHER), src_port=443, dest_ip=str(ONE), dest_port=50_000),
        event(event_type="flow", src_port=1),
        event(event_type="dns", src_port=2),
        event(event_type="anomaly", src_port=3, flow_id=8, note="alert"),
        event(proto="IPv6-ICMP", src_ip="::1", dest_ip="::2", flow_id=None),
        b"",
    ]
    found = decode_eve(lines, ["alert", "anomaly"])
    assert found == Events(
        flows={
            flow(6, ONE, 50_000, OTHER, 443): "7",
            flow(6, ONE, 3, OTHER, 443): "8",
            flow(58, ip_address("::1"), 0, ip_address("::2"), 0): "",
        },
        events=4,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"src_ip": None},
        {"src_ip": "ff"},
        {"dest_port": None},
        {"dest_port": 65_536},
        {"dest_port": -1},
        {"proto": "UNKNOWN"},
        {"proto": "tcp" + " " * 1_000},
        {"dest_ip": "::1"},
        {"dest_ip": ["::1"]},
    ],
)
def test_an_event_of_no_flow_counts_and_stops_nothing(
    fields: dict[str, object],
) -> None:
    found = decode_eve([event(**fields), event()], ["alert"])
    assert (found.events, found.without_flow, len(found.flows)) == (2, 1, 1)


@pytest.mark.parametrize(
    "line",
    [
        b'{"event_type":"alert","src_ip":',
        b'"alert"x',
        b'[[["alert"' * 10_000,
        b'\xff"alert"',
    ],
)
def test_a_line_that_is_no_event_counts_and_stops_nothing(line: bytes) -> None:
    found = decode_eve([line, event()], ["alert"])
    assert (found.malformed, len(found.flows)) == (1, 1)


def test_a_line_of_another_kind_of_json_is_no_event() -> None:
    found = decode_eve([b'"alert"', b'["alert"]', b'{"a": "alert"}'], ["alert"])
    assert found == Events()


@pytest.mark.parametrize("number", [True, -1, 1 << 64, 10**300, 1.5, "7"])
def test_what_is_no_number_of_a_flow_names_none(number: object) -> None:
    """It may become a folder's name."""
    found = decode_eve([event(flow_id=number)], ["alert"])
    assert list(found.flows.values()) == [""]
