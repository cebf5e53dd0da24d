"""Packets out of tunnels, without copies, by filters: in this order."""

from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from filter_ffi import Everything, Ports, Subnets, Term
from pcap_zmq.counters import FilesCounters, Skipped
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.packet import Batch, Packet
from pcap_zmq.stages.sieve import (
    ManyFilters,
    OneExpression,
    Preparation,
    Sieve,
    SieveCounts,
    SieveStage,
)
from tests.flow_ffi.packets import ETHERNET, RAW, TCP, UDP, framed, ip4, ports
from tests.support.records import NOW

WEB = ip4("10.0.0.1", "192.0.2.9", TCP, ports(50_000, 443) + bytes(12))
DNS = ip4("10.0.0.2", "198.51.100.3", UDP, ports(5353, 53))


def tunnelled(packet: bytes) -> bytes:
    return ip4("172.16.0.1", "172.16.0.2", 4, packet)


def batch(linktype: int, *packets: bytes) -> Batch:
    records = b"".join(
        encode_packet(Packet(n, len(data), data)) for n, data in enumerate(packets)
    )
    return Batch(linktype, records, len(packets))


def taken(sieve: Sieve, item: Batch) -> Sequence[tuple[int, int, list[bytes]]]:
    """By whom, of which link type, which packets."""
    return [
        (place, each.linktype, [p.data for p in iter_packets(each.records)])
        for place, each in sieve.each(item)
    ]


@pytest.mark.parametrize("expression", ["tcp or", "ether host 02:00:00:00:00:01"])
def test_an_expression_that_is_none_for_the_packets_is_an_error(
    expression: str,
) -> None:
    with pytest.raises(ConfigError, match="is no filter for link type raw"):
        list(OneExpression(expression).each(batch(RAW, WEB)))


def test_one_expression_takes_what_it_takes_of_any_link_type() -> None:
    sieve = OneExpression("udp")
    assert taken(sieve, batch(RAW, WEB, DNS)) == [(0, RAW, [DNS])]
    assert taken(sieve, batch(ETHERNET, framed(DNS))) == [(0, ETHERNET, [framed(DNS)])]
    assert taken(sieve, batch(RAW, WEB)) == []
    assert sieve.counts == SieveCounts(read=4)


def test_what_a_reader_has_chosen_already_is_believed_until_the_next_file() -> None:
    sieve = OneExpression("udp")
    assert sieve.choice(RAW) is not None
    item = batch(RAW, DNS)
    ((_, passed),) = sieve.each(item)
    assert passed is item
    sieve.pass_over(5)
    assert taken(sieve, batch(ETHERNET, framed(WEB), framed(DNS))) == [
        (0, ETHERNET, [framed(DNS)])
    ]
    assert sieve.choice(ETHERNET) is not None
    assert taken(sieve, batch(RAW, WEB)) == []
    assert sieve.counts == SieveCounts(read=9)
    assert ManyFilters({"all": Everything()}, Preparation()).choice(RAW) is None


def test_each_filter_takes_its_own() -> None:
    terms: dict[str, Term] = {
        "all": Everything(),
        "none": Subnets([ip_network("192.0.2.128/25")]),
        "dns": Ports([(53, 53, 17)]),
    }
    sieve = ManyFilters(terms, Preparation())
    assert taken(sieve, batch(RAW, WEB, DNS)) == [(0, RAW, [WEB, DNS]), (2, RAW, [DNS])]


def test_a_filter_sees_what_was_in_the_tunnel_once() -> None:
    terms = {"dns": Ports([(53, 53, None)])}
    preparation = Preparation(decap=16, dedup_ns=1_000_000, level="outer")
    sieve = ManyFilters(terms, preparation)
    given = (tunnelled(DNS), tunnelled(tunnelled(DNS)), DNS, WEB, tunnelled(WEB))
    assert taken(sieve, batch(RAW, *given)) == [(0, RAW, [DNS])]
    assert sieve.counts == SieveCounts(read=5, duplicates=3, decapsulated=3)


def test_packets_are_grouped_by_link_type_and_stay_in_order() -> None:
    sieve = ManyFilters({"all": Everything()}, Preparation(decap=1))
    item = batch(ETHERNET, framed(WEB), framed(tunnelled(DNS)), framed(WEB))
    assert taken(sieve, item) == [
        (0, ETHERNET, [framed(WEB)]),
        (0, RAW, [DNS]),
        (0, ETHERNET, [framed(WEB)]),
    ]


def test_as_a_stage_all_that_is_read_is_taken_or_skipped() -> None:
    counters = FilesCounters()
    terms = {"web": Ports([(443, 443, 6)])}
    stage = SieveStage(ManyFilters(terms, Preparation(dedup_ns=10**9)), counters)
    total = 0
    for given in ((WEB, DNS), (WEB,), (DNS, WEB)):
        total += sum(each.count for each in stage.feed(batch(RAW, *given), NOW))
    assert total == 1
    assert counters.skipped == {Skipped.DUPLICATE: 3, Skipped.FILTER: 1}


def test_counts_sum_up() -> None:
    sums = SieveCounts(1, 2, 3, 4, 5, 6)
    sums.add(SieveCounts(1, 1, 1, 1, 1, 1))
    assert sums == SieveCounts(2, 3, 4, 5, 6, 7)
