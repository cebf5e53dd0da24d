"""The IP packet is found in packets of every link type that a sender writes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.formats.frame import ip_packet
from pcap_zmq.formats.linktype import ETHERNET, LINUX_SLL, NFLOG, RAW
from tests.nflog_ffi.datagrams import (
    Attribute,
    ethernet,
    hardware,
    ipv4,
    ipv6,
    packet_body,
    vlan,
)
from tests.support.properties import bounded

PACKET = ipv4(41)


def nflog(packet: bytes) -> bytes:
    extra = [*hardware(ethernet()), vlan(5), (Attribute.NFULA_PREFIX, b"web: \0")]
    return packet_body(5, [*extra, (Attribute.NFULA_PAYLOAD, packet)])


@pytest.mark.parametrize(
    ("linktype", "octets"),
    [
        (LINUX_SLL, bytes(14) + b"\x08\0" + PACKET),
        (NFLOG, b"\2\0\0"),
        (NFLOG, nflog(PACKET)[: -len(PACKET) - 7]),
        (NFLOG, b"\2\0\0\5" + struct.pack("<HH", 3, 2) + bytes(40)),
        (ETHERNET, ethernet()[:13]),
        (ETHERNET, ethernet(ethertype=0x0806) + bytes(28)),
        (ETHERNET, ethernet(ethertype=0x8100)),
    ],
    ids=[
        "another link type",
        "a torn header",
        "no payload",
        "a TLV of less than nothing",
        "a torn Ethernet header",
        "ARP",
        "a torn tag",
    ],
)
def test_there_is_none(linktype: int, octets: bytes) -> None:
    assert ip_packet(octets, linktype) is None


@pytest.mark.parametrize(
    ("linktype", "octets"),
    [
        (RAW, PACKET),
        (NFLOG, nflog(PACKET)),
        (ETHERNET, ethernet() + PACKET),
        (ETHERNET, ethernet()[:12] + b"\x81\0\0\5\x08\0" + PACKET),
    ],
    ids=["raw", "nflog", "Ethernet", "Ethernet with a tag"],
)
def test_it_is_where_it_is(linktype: int, octets: bytes) -> None:
    assert bytes(ip_packet(octets, linktype) or b"") == PACKET


def test_of_ipv6_too() -> None:
    frame = ethernet(ethertype=0x86DD) + ipv6(60)
    assert bytes(ip_packet(frame, ETHERNET) or b"") == ipv6(60)


@bounded
@given(st.binary(max_size=200), st.sampled_from([ETHERNET, RAW, NFLOG]))
def test_any_octets_have_one_or_none(octets: bytes, linktype: int) -> None:
    found = ip_packet(octets, linktype)
    assert found is None or bytes(found) in octets
