"""The ends of TCP segments, in whatever octets come."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.formats.ip import End, Ends, tcp_ends

V4 = Ends(End(ip_address("10.0.0.1"), 40000), End(ip_address("10.0.0.2"), 5140))
V6 = Ends(End(ip_address("fd00::1"), 40000), End(ip_address("fd00::2"), 5140))


def packet(
    ends: Ends, *, protocol: int = 6, words: int = 5, fragment: int = 0
) -> bytes:
    """With a header of so many words of 32 bits, where it is IPv4."""
    tcp = struct.pack("!HH", ends.source.port, ends.destination.port) + bytes(16)
    addresses = ends.source.address.packed + ends.destination.address.packed
    if ends.source.address.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(tcp), protocol, 64) + addresses + tcp
    first = struct.pack("!BBHHHBBH", 4 << 4 | words, 0, 0, 0, fragment, 64, protocol, 0)
    return first + addresses + bytes(4 * words - 20) + tcp


@pytest.mark.parametrize("ends", [V4, V6])
def test_the_ends_of_a_segment_are_told(ends: Ends) -> None:
    assert tcp_ends(packet(ends)) == ends


def test_options_before_the_ports_are_stepped_over() -> None:
    assert tcp_ends(packet(V4, words=9)) == V4


@pytest.mark.parametrize("ends", [V4, V6])
def test_what_is_no_tcp_has_none(ends: Ends) -> None:
    assert tcp_ends(packet(ends, protocol=17)) is None


def test_only_the_first_fragment_has_ports() -> None:
    assert tcp_ends(packet(V4, fragment=0x2000)) == V4
    assert tcp_ends(packet(V4, fragment=0x2001)) is None


@pytest.mark.parametrize("ends", [V4, V6])
def test_a_packet_that_is_cut_before_its_ports_has_none(ends: Ends) -> None:
    whole = packet(ends)
    least = len(whole) - 16
    assert tcp_ends(whole[:least]) == ends
    assert all(tcp_ends(whole[:cut]) is None for cut in range(least))


def test_a_header_shorter_than_a_header_has_none() -> None:
    assert (
        tcp_ends(packet(V4, words=5)[:1].replace(b"\x45", b"\x41") + bytes(60)) is None
    )


@given(st.binary(max_size=80))
def test_any_octets_give_ends_or_none(octets: bytes) -> None:
    found = tcp_ends(octets)
    assert found is None or isinstance(found, Ends)
