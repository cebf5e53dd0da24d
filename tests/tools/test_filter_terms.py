"""Conditions become what the C code takes: each kind finds its packets."""

from ipaddress import ip_address, ip_network

import pytest

import filter_ffi as c
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.conditions import (
    All,
    Bpf,
    Condition,
    Either,
    Ether,
    Everything,
    InFlow,
    Not,
    Port,
    Ports,
    Subnet,
    flow,
)
from pcap_zmq.packet import Batch
from pcap_zmq.stages.sieve import OneExpression, Preparation
from pcap_zmq.tools.filter_sieves import sieves_for
from pcap_zmq.tools.filter_terms import terms_of
from tests.filter_ffi.records import records
from tests.flow_ffi.packets import ETHERNET, RAW, TCP, UDP, framed, ip4, ip6, ports

WEB = framed(ip4("10.0.0.1", "192.0.2.9", TCP, ports(50_000, 443) + bytes(12)))
DNS = framed(ip4("10.0.0.2", "198.51.100.3", UDP, ports(5353, 53)))
SIX = framed(ip6("2001:db8::1", "2001:db8::2", UDP, ports(5353, 53)))
EVERY = [WEB, DNS, SIX]

SIX_FLOW = flow(17, ip_address("2001:db8::2"), 53, ip_address("2001:db8::1"), 5353)
V4, V6 = ip_network("10.0.0.1/32"), ip_network("2001:db8::/32")


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (Subnet((V4, V6)), [WEB, SIX]),
        (Subnet(()), []),
        (Port((Ports(443, 443, 6), Ports(1, 2))), [WEB]),
        (Port((Ports(50, 60, 17),)), [DNS, SIX]),
        (Ether((bytes.fromhex("020000000001"),)), EVERY),
        (Ether((bytes(6),)), []),
        (Bpf(("tcp",)), [WEB]),
        (Bpf(("tcp", "ip6")), [WEB, SIX]),
        (InFlow(frozenset({SIX_FLOW})), [SIX]),
        (InFlow(frozenset()), []),
        (Everything(), EVERY),
        (Not(Everything()), []),
        (All((Bpf(("udp",)), Not(Subnet((V6,))))), [DNS]),
        (Either((Bpf(("tcp",)), InFlow(frozenset({SIX_FLOW})))), [WEB, SIX]),
    ],
)
def test_each_kind_of_condition_finds_its_packets(
    condition: Condition, wanted: list[bytes]
) -> None:
    sieve = sieves_for({"a": condition}, Preparation())()
    octets, count = records(EVERY)
    found = [each.records for _, each in sieve.each(Batch(ETHERNET, octets, count))]
    assert sum(map(len, found)) == sum(16 + len(each) for each in wanted)
    assert all(each in b"".join(map(bytes, found)) for each in wanted)


def test_packets_without_hardware_addresses_have_none_of_them() -> None:
    """They ended the program once."""
    sieve = sieves_for({"a": Ether((bytes(6),))}, Preparation())()
    octets, count = records([each[14:] for each in EVERY])
    assert list(sieve.each(Batch(RAW, octets, count))) == []


def test_a_long_list_that_filters_share_is_there_once() -> None:
    flows = InFlow(frozenset({SIX_FLOW}))
    terms = terms_of({"a": All((flows, Everything())), "b": Not(flows)})
    one, other = terms["a"], terms["b"]
    assert isinstance(one, c.AllOf)
    assert isinstance(other, c.Not)
    assert one.terms[0] is other.term


def test_one_expression_runs_alone_and_only_where_nothing_comes_before() -> None:
    rules = {"a": Bpf(("udp",))}
    assert isinstance(sieves_for(rules, Preparation())(), OneExpression)
    for other in (Preparation(decap=1), Preparation(dedup_ns=1)):
        assert not isinstance(sieves_for(rules, other)(), OneExpression)


def test_more_filters_than_run_together_are_an_error() -> None:
    rules: dict[str, Condition] = {str(n): Everything() for n in range(4097)}
    with pytest.raises(ConfigError, match="4097 filters are more than 4096"):
        sieves_for(rules, Preparation())()
