"""On request a flow is that of the innermost packet; without, or where there is none
within, that of the tunnel."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_ffi import FlowSpread, flow_hash
from tests.flow_ffi import packets as p
from tests.support.properties import bounded


def udp(port: int, payload: bytes) -> bytes:
    return p.ip4(p.C4, p.D4, p.UDP, p.ports(50_000, port, payload))


def gre(protocol: int, payload: bytes, flags: int = 0, header: bytes = b"") -> bytes:
    return p.ip4(
        p.C4, p.D4, p.GRE, struct.pack(">HH", flags, protocol) + header + payload
    )


def ip_in_ip(packet: bytes) -> bytes:
    protocol = p.IP_IN_IP if packet[0] >> 4 == 4 else p.IP6_IN_IP
    return p.ip4(p.C4, p.D4, protocol, packet)


def ip_in_ip6(packet: bytes) -> bytes:
    protocol = p.IP_IN_IP if packet[0] >> 4 == 4 else p.IP6_IN_IP
    return p.ip6(p.C6, p.D6, protocol, packet)


def plain_gre(packet: bytes) -> bytes:
    return gre(p.ethertype_of(packet), packet)


def full_gre(packet: bytes) -> bytes:
    """With checksum, key and sequence number."""
    return gre(p.ethertype_of(packet), packet, 0xB000, bytes(12))


def nvgre(packet: bytes) -> bytes:
    return gre(0x6558, p.framed(packet), 0x2000, b"\0\0\x12\x01")


def tagged_gre(packet: bytes) -> bytes:
    frame = p.ethernet(0x8100, p.tag(p.ethertype_of(packet), packet))
    return gre(0x6558, frame)


def pptp(packet: bytes) -> bytes:
    protocol = b"\0\x21" if packet[0] >> 4 == 4 else b"\0\x57"
    return gre(0x880B, b"\xff\x03" + protocol + packet, 0x3081, bytes(12))


def erspan_1(packet: bytes) -> bytes:
    return gre(0x88BE, p.framed(packet))


def erspan_2(packet: bytes) -> bytes:
    return gre(0x88BE, bytes(8) + p.framed(packet), 0x1000, bytes(4))


def erspan_3(packet: bytes) -> bytes:
    return gre(0x22EB, bytes(12) + p.framed(packet), 0x1000, bytes(4))


def erspan_3_platform(packet: bytes) -> bytes:
    return gre(
        0x22EB, bytes(11) + b"\1" + bytes(8) + p.framed(packet), 0x1000, bytes(4)
    )


def mpls_in_ip(packet: bytes) -> bytes:
    return p.ip4(p.C4, p.D4, 137, b"\0\1\1\x40" + packet)


def vxlan(packet: bytes) -> bytes:
    return udp(4789, b"\x08" + bytes(7) + p.framed(packet))


def vxlan_linux(packet: bytes) -> bytes:
    return udp(8472, b"\x08" + bytes(7) + p.framed(packet))


def vxlan_gpe(packet: bytes) -> bytes:
    kind = 1 if packet[0] >> 4 == 4 else 2
    return udp(4790, b"\x0c\0\0" + bytes([kind]) + bytes(4) + packet)


def geneve(packet: bytes) -> bytes:
    """With options of 8 octets."""
    return udp(6081, b"\x02\0\x65\x58" + bytes(12) + p.framed(packet))


def geneve_ip(packet: bytes) -> bytes:
    kind = p.ethertype_of(packet).to_bytes(2, "big")
    return udp(6081, b"\0\0" + kind + bytes(4) + packet)


def gtpu(packet: bytes) -> bytes:
    return udp(2152, b"\x30\xff" + bytes(6) + packet)


def gtpu_extended(packet: bytes) -> bytes:
    """A sequence number and two extension headers, the second of them of 8 octets."""
    extended = b"\x01\0\0\x85" + b"\x02" + bytes(7)
    return udp(2152, b"\x36\xff" + bytes(9) + b"\x40" + extended + packet)


EVERY: list[Callable[[bytes], bytes]] = [
    ip_in_ip, ip_in_ip6, plain_gre, full_gre, nvgre, tagged_gre, pptp, erspan_1,
    erspan_2, erspan_3, erspan_3_platform, mpls_in_ip, vxlan, vxlan_linux, vxlan_gpe,
    geneve, geneve_ip, gtpu, gtpu_extended,
]  # fmt: skip


def inner(packet: bytes) -> int:
    return flow_hash(p.RAW, packet, inner=True)


def outer(packet: bytes) -> int:
    return flow_hash(p.RAW, packet)


@pytest.mark.parametrize("ends", [(p.A4, p.B4), (p.A6, p.B6)], ids=["v4", "v6"])
@pytest.mark.parametrize("tunnel", EVERY)
def test_what_is_within_a_tunnel_decides_on_request(
    tunnel: Callable[[bytes], bytes], ends: tuple[str, str]
) -> None:
    there, back = p.both(*ends, p.TCP, 40_000, 443)
    other, _ = p.both(*ends, p.TCP, 40_001, 443)
    assert inner(tunnel(there)) == inner(tunnel(back)) == inner(there)
    assert inner(tunnel(other)) != inner(tunnel(there))
    assert outer(tunnel(other)) == outer(tunnel(there)) != outer(there)


@pytest.mark.parametrize(
    "header", [b"", b"\0\1\x04\x08" + bytes(21), b"\0\0" + bytes(6)]
)
def test_teredo_is_passed_over(header: bytes) -> None:
    """Bare, with authentication, with origin."""
    there, back = p.both(p.A6, p.B6, p.TCP, 40_000, 443)
    assert inner(udp(3544, header + there)) == inner(there)
    answer = p.ip4(p.D4, p.C4, p.UDP, p.ports(3544, 50_000, header + back))
    assert inner(answer) == inner(there)


def test_erspan_3_may_hold_ip() -> None:
    """Type 2 of its frames."""
    (there, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    header = bytes(10) + bytes([2 << 2, 0])
    assert inner(gre(0x22EB, header + there, 0x1000, bytes(4))) == inner(there)


@pytest.mark.parametrize("tunnel", EVERY)
def test_a_tunnel_of_something_else_goes_by_itself(
    tunnel: Callable[[bytes], bytes],
) -> None:
    nothing = b"\x45" + b"\xff" * 10
    assert inner(tunnel(nothing)) == outer(tunnel(nothing))


@pytest.mark.parametrize("tunnel", EVERY)
def test_a_tunnel_that_is_cut_off_goes_by_itself_or_by_what_is_left(
    tunnel: Callable[[bytes], bytes],
) -> None:
    (there, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    whole = tunnel(there)
    known = {inner(whole), inner(there[:20])}
    for kept in range(len(whole)):
        cut = whole[:kept]
        assert inner(cut) in {*known, outer(cut)}


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x48\xff" + bytes(6), id="another version"),
        pytest.param(b"\x20\xff" + bytes(6), id="of charging"),
        pytest.param(b"\x30\x01" + bytes(6), id="an echo"),
        pytest.param(b"\x34\xff" + bytes(9) + b"\x40" + b"\0" * 4, id="no length"),
        pytest.param(b"\x34\xff" + bytes(9) + b"\x40" + b"\xff" * 4, id="too long"),
    ],
)
def test_what_is_no_data_of_gtp_goes_by_its_tunnel(payload: bytes) -> None:
    (there, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    assert inner(udp(2152, payload + there)) == outer(udp(2152, payload + there))


@pytest.mark.parametrize(
    ("port", "header"),
    [
        pytest.param(4789, bytes(8), id="vxlan without a number"),
        pytest.param(4790, bytes(8), id="gpe without a number"),
        pytest.param(4790, b"\x0c\0\0\x04" + bytes(4), id="gpe of something else"),
        pytest.param(6081, b"\x40\0\x65\x58" + bytes(4), id="another geneve"),
        pytest.param(6081, b"\0\x80\x65\x58" + bytes(4), id="control of geneve"),
        pytest.param(53, b"\x08" + bytes(7), id="another port"),
    ],
)
def test_what_only_looks_like_a_tunnel_is_none(port: int, header: bytes) -> None:
    (there, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    packet = udp(port, header + p.framed(there))
    assert inner(packet) == outer(packet)


@pytest.mark.parametrize("flags", [0x4000, 0x0002, 0x0007])
def test_gre_with_a_route_or_of_another_version_is_not_looked_into(flags: int) -> None:
    (there, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    packet = gre(0x0800, there, flags)
    assert inner(packet) == outer(packet)


@given(st.lists(st.sampled_from(EVERY), max_size=3))
@bounded
def test_tunnels_within_tunnels_are_passed_over(
    tunnels: list[Callable[[bytes], bytes]],
) -> None:
    (packet, _) = p.both(p.A6, p.B6, p.UDP, 40_000, 443)
    within = packet
    for tunnel in tunnels:
        packet = tunnel(packet)
    assert inner(packet) == inner(within)


def test_packets_within_packets_without_end_have_a_flow() -> None:
    (packet, _) = p.both(p.A4, p.B4, p.UDP, 40_000, 443)
    nested = [packet]
    for _ in range(3_000):
        nested.append(ip_in_ip(nested[-1]))
    assert len({inner(one) for one in nested[:16]}) == 1
    # Deeper goes by a tunnel's ends, which is one for all that pass through it.
    assert {inner(one) for one in nested[16:]} == {inner(nested[16])}


def test_fragments_of_a_tunnel_follow_what_is_within() -> None:
    spread = FlowSpread(inner=True)
    (there, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    payload = struct.pack(">HH", 0, 0x0800) + there + b"more" * 20
    first = p.ip4(p.C4, p.D4, p.GRE, payload[:64], more=True)
    rest = p.ip4(p.C4, p.D4, p.GRE, payload[64:], offset=64)
    whole = spread.flow(p.RAW, there)
    assert [spread.flow(p.RAW, one) for one in (first, rest)] == [whole, whole]


def test_fragments_within_a_tunnel_follow_each_other() -> None:
    spread = FlowSpread(inner=True)
    first = p.ip4(p.A4, p.B4, p.UDP, p.ports(1, 2), more=True)
    rest = p.ip4(p.A4, p.B4, p.UDP, b"z" * 20, offset=32)
    whole = spread.flow(p.RAW, p.ip4(p.A4, p.B4, p.UDP, p.ports(1, 2)))
    found = [spread.flow(p.RAW, vxlan(one)) for one in (first, rest)]
    assert found == [whole, whole]
