"""What lies in a tunnel is taken out, octet for octet, and nothing else changes."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter_ffi import DEPTH_MAX, Decapsulator, Encapsulation, Part, Undone
from tests.filter_ffi.records import packets, record, records, seen
from tests.flow_ffi import packets as p
from tests.flow_ffi import test_tunnels as tunnels
from tests.support.properties import bounded

INNER, _ = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
INNER6, _ = p.both(p.A6, p.B6, p.UDP, 40_000, 443)
ARP = p.ethernet(0x0806, bytes(28))
LABEL = b"\0\1\1\x40"
IN_FRAMES = {
    *(tunnels.nvgre, tunnels.tagged_gre, tunnels.vxlan, tunnels.vxlan_linux),
    *(tunnels.erspan_1, tunnels.erspan_2, tunnels.erspan_3, tunnels.erspan_3_platform),
    tunnels.geneve,
}
"""Those that carry frames of Ethernet."""

Tunnel = Callable[[bytes], bytes]


def peel(
    packet: bytes, linktype: int = p.RAW, decapsulator: Decapsulator | None = None
) -> tuple[int, bytes]:
    """The link type and the packet that is left."""
    (part,) = (decapsulator or Decapsulator()).peel(linktype, record(packet), 1)
    (left,) = seen(part.records)
    assert part.count == 1
    assert left.origlen == len(left.packet)
    return part.linktype, left.packet


@pytest.mark.parametrize("depth", [0, -1, DEPTH_MAX + 1])
def test_a_depth_that_cannot_be_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="depth"):
        Decapsulator(depth=depth)


@pytest.mark.parametrize(
    ("octets", "count"),
    [
        pytest.param(record(INNER)[:-1], 1, id="torn packet"),
        pytest.param(record(INNER)[:15], 1, id="torn header"),
        pytest.param(record(INNER), 2, id="too few"),
        pytest.param(record(INNER), 0, id="too many"),
    ],
)
def test_what_is_not_so_many_records_is_refused(octets: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="whole packet records"):
        Decapsulator().peel(p.RAW, octets, count)


def test_nothing_is_left_of_nothing() -> None:
    assert Decapsulator().peel(p.RAW, b"", 0) == []


def test_packets_in_no_tunnel_are_not_copied() -> None:
    octets, count = records([p.framed(INNER), ARP, b"", p.framed(INNER6)])
    decapsulator = Decapsulator()
    (part,) = decapsulator.peel(p.ETHERNET, octets, count)
    assert part.records is octets
    assert (part.linktype, part.count) == (p.ETHERNET, count)
    assert decapsulator.changed == 0
    assert not any(decapsulator.undone.values())


@pytest.mark.parametrize("inner", [INNER, INNER6], ids=["v4", "v6"])
@pytest.mark.parametrize("tunnel", tunnels.EVERY)
def test_the_packet_within_is_left_with_its_link_type(
    tunnel: Tunnel, inner: bytes
) -> None:
    expected = (p.RAW, inner)
    if tunnel in IN_FRAMES:
        expected = (p.ETHERNET, p.framed(inner))
    packet = tunnel(inner)
    assert peel(packet) == expected
    assert peel(p.framed(packet), p.ETHERNET) == expected
    assert peel(p.nflog(packet), p.NFLOG) == expected


@pytest.mark.parametrize(
    ("linktype", "packet", "left"),
    [
        (
            p.ETHERNET,
            p.ethernet(0x8100, p.tag(0x0800, INNER)),
            p.framed(INNER),
        ),
        (
            p.ETHERNET,
            p.ethernet(0x88A8, p.tag(0x8100, p.tag(0x86DD, INNER6))),
            p.framed(INNER6),
        ),
        (p.ETHERNET, p.ethernet(0x8100, p.tag(0x0806, bytes(28))), ARP),
        (p.ETHERNET, p.ethernet(0x8847, LABEL + INNER), p.framed(INNER)),
        (p.ETHERNET, p.ethernet(0x8848, b"\0\1\0\x40" + LABEL + INNER6), None),
        (
            p.ETHERNET,
            p.ethernet(0x8100, p.tag(0x8847, LABEL + INNER)),
            p.framed(INNER),
        ),
        # A pseudowire, with a control word and without.
        (p.ETHERNET, p.ethernet(0x8847, LABEL + bytes(4) + ARP), ARP),
        (p.ETHERNET, p.ethernet(0x8847, LABEL + p.framed(INNER)), p.framed(INNER)),
        (
            p.ETHERNET,
            p.ethernet(0x8864, bytes(6) + b"\0\x21" + INNER),
            p.framed(INNER),
        ),
        (
            p.SLL,
            bytes(14) + b"\x81\0" + p.tag(0x0800, INNER),
            bytes(14) + b"\x08\0" + INNER,
        ),
        (
            p.SLL2,
            b"\x81\0" + bytes(18) + p.tag(0x0800, INNER),
            b"\x08\0" + bytes(18) + INNER,
        ),
    ],
)
def test_tags_and_labels_are_cut_out_of_a_frame(
    linktype: int, packet: bytes, left: bytes | None
) -> None:
    if left is None:
        left = p.framed(INNER6)
    assert peel(packet, linktype) == (linktype, left)


@pytest.mark.parametrize(
    "hardware", [b"\x45\0\0\x50\0\0", b"\x60\0\0\0\0\x14", b"\x4c\xd0\0\0\0\1"]
)
def test_a_frame_behind_labels_is_one_though_it_begins_like_ip(hardware: bytes) -> None:
    frame = hardware + p.framed(INNER)[6:]
    assert peel(p.ethernet(0x8847, LABEL + frame), p.ETHERNET) == (p.ETHERNET, frame)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_so_many_tunnels_are_taken_off_and_no_more(depth: int) -> None:
    nested = [INNER, tunnels.full_gre(INNER)]
    nested.append(tunnels.gtpu_extended(nested[-1]))
    nested.append(tunnels.ip_in_ip(nested[-1]))
    decapsulator = Decapsulator(depth=depth)
    expected = (p.RAW, nested[max(0, 3 - depth)])
    assert peel(nested[3], decapsulator=decapsulator) == expected
    assert decapsulator.undone[Undone.DEPTH] == (depth < 3)
    assert decapsulator.changed == 1


def test_tunnels_without_end_are_taken_off_up_to_the_bound() -> None:
    nested = [INNER]
    for _ in range(3_000):
        nested.append(tunnels.ip_in_ip(nested[-1]))
    for tunnels_around in (DEPTH_MAX - 1, DEPTH_MAX, DEPTH_MAX + 1, 3_000):
        left = nested[max(0, tunnels_around - DEPTH_MAX)]
        assert peel(nested[tunnels_around]) == (p.RAW, left)


def test_tags_within_a_tunnel_go_and_do_not_count() -> None:
    inside = p.ethernet(0x8100, p.tag(0x0800, INNER))
    packet = p.ethernet(
        0x8100, p.tag(0x0800, tunnels.udp(4789, b"\x08" + bytes(7) + inside))
    )
    decapsulator = Decapsulator(depth=1)
    assert peel(packet, p.ETHERNET, decapsulator) == (p.ETHERNET, p.framed(INNER))
    only = Decapsulator(kinds=Encapsulation.VXLAN)
    assert peel(packet, p.ETHERNET, only) == (p.ETHERNET, inside)


def test_only_what_is_asked_for_is_taken_off() -> None:
    packet = p.ethernet(
        0x8100, p.tag(0x8847, LABEL + tunnels.plain_gre(tunnels.vxlan(INNER)))
    )
    kinds = Encapsulation

    def left(chosen: Encapsulation) -> tuple[int, bytes]:
        return peel(packet, p.ETHERNET, Decapsulator(kinds=chosen))

    gre = tunnels.plain_gre(tunnels.vxlan(INNER))
    assert left(kinds(0)) == (p.ETHERNET, packet)
    assert left(kinds.VXLAN) == (p.ETHERNET, packet)
    assert left(kinds.GRE) == (p.RAW, tunnels.vxlan(INNER))
    assert left(kinds.GRE | kinds.VXLAN) == (p.ETHERNET, p.framed(INNER))
    assert left(kinds.VLAN) == (p.ETHERNET, p.ethernet(0x8847, LABEL + gre))
    # The tag that stays is a part of the header that does.
    assert left(kinds.MPLS) == (p.ETHERNET, p.ethernet(0x8100, p.tag(0x0800, gre)))
    assert left(kinds.VLAN | kinds.MPLS) == (p.ETHERNET, p.framed(gre))


def test_what_was_taken_off_is_counted_by_kind() -> None:
    decapsulator = Decapsulator()
    sent = [
        p.framed(tunnels.vxlan(INNER)),
        p.ethernet(0x8100, p.tag(0x0800, tunnels.erspan_2(INNER))),
        p.framed(INNER),
        p.framed(tunnels.plain_gre(INNER6)),
    ]
    octets, count = records(sent)
    decapsulator.peel(p.ETHERNET, octets, count)
    found = {kind for kind, number in decapsulator.taken_off.items() if number == 1}
    kinds = Encapsulation
    assert found == {kinds.VXLAN, kinds.VLAN, kinds.ERSPAN, kinds.GRE}
    assert sum(decapsulator.taken_off.values()) == 4
    assert decapsulator.changed == 3


def test_a_batch_is_parted_where_the_link_type_changes() -> None:
    sent = [
        p.framed(INNER),
        p.framed(tunnels.vxlan(INNER)),
        p.framed(tunnels.plain_gre(INNER)),
        p.framed(tunnels.gtpu(INNER6)),
        ARP,
        p.framed(tunnels.ip_in_ip(INNER)),
    ]
    octets, count = records(sent)
    parts = Decapsulator().peel(p.ETHERNET, octets, count)
    assert [(part.linktype, part.count, packets(part.records)) for part in parts] == [
        (p.ETHERNET, 2, [p.framed(INNER)] * 2),
        (p.RAW, 2, [INNER, INNER6]),
        (p.ETHERNET, 1, [ARP]),
        (p.RAW, 1, [INNER]),
    ]
    times = [one.ts_ns for part in parts for one in seen(part.records)]
    assert times == [one.ts_ns for one in seen(octets)]


def test_the_length_on_the_wire_is_what_was_left_of_it() -> None:
    frame = p.framed(tunnels.vxlan(INNER))
    taken = len(frame) - len(p.framed(INNER))
    whole = len(p.framed(INNER))
    # Cut by a snaplen, in the inner packet.
    (part,) = Decapsulator().peel(p.ETHERNET, record(frame, cut=10), 1)
    (left,) = seen(part.records)
    assert (left.packet, left.origlen) == (p.framed(INNER)[:-10], whole)
    # With padding behind the outer packet, which was captured or not.
    for beyond, padding in ((0, b"pad"), (3, b""), (4, b"padding")):
        padded = record(frame + padding, beyond=beyond)
        (part,) = Decapsulator().peel(p.ETHERNET, padded, 1)
        (left,) = seen(part.records)
        assert (left.packet, left.origlen) == (p.framed(INNER), whole)
    # Tags are cut out of a frame whose rest stays, padding too.
    tagged = p.ethernet(0x8100, p.tag(0x0800, INNER)) + b"pad"
    (part,) = Decapsulator().peel(p.ETHERNET, record(tagged, beyond=5), 1)
    (left,) = seen(part.records)
    assert (left.packet, left.origlen) == (p.framed(INNER) + b"pad", whole + 8)
    assert taken == 50


def test_a_length_that_is_less_than_what_was_captured_is_made_right() -> None:
    packet = tunnels.plain_gre(INNER)
    wrong = bytearray(record(packet))
    wrong[12:16] = struct.pack("<I", 1)
    (part,) = Decapsulator().peel(p.RAW, wrong, 1)
    (left,) = seen(part.records)
    assert (left.packet, left.origlen) == (INNER, len(INNER))


def test_a_packet_without_a_length_goes_as_far_as_it_was_captured() -> None:
    """Of TSO's super-packets the header says 0."""
    packet = p.ip4(p.C4, p.D4, p.IP_IN_IP, INNER, total=0)
    assert peel(packet) == (p.RAW, INNER)
    outer = p.ip4(p.C4, p.D4, p.IP_IN_IP, INNER, total=19)
    assert peel(outer) == (p.RAW, INNER)


def test_fragments_of_a_tunnel_stay_and_are_counted() -> None:
    decapsulator = Decapsulator()
    payload = struct.pack(">HH", 0, 0x0800) + INNER
    sent = [
        p.ip4(p.C4, p.D4, p.GRE, payload[:24], more=True),
        p.ip4(p.C4, p.D4, p.GRE, payload[24:], offset=24),
        p.ip6(
            p.C6, p.D6, p.FRAGMENT, p.fragment6(4, identification=1, offset=8) + INNER
        ),
        p.ip4(p.A4, p.B4, p.TCP, p.ports(1, 2), more=True),
    ]
    octets, count = records(sent)
    (part,) = decapsulator.peel(p.RAW, octets, count)
    assert part.records is octets
    assert decapsulator.undone[Undone.FRAGMENT] == 3
    only = Decapsulator(kinds=Encapsulation.VXLAN)
    only.peel(p.RAW, octets, count)
    assert only.undone[Undone.FRAGMENT] == 0


@pytest.mark.parametrize("tunnel", tunnels.EVERY)
def test_a_tunnel_of_something_else_stays_and_is_counted(tunnel: Tunnel) -> None:
    decapsulator = Decapsulator()
    nothing = b"\x45" + b"\xff" * 10
    if tunnel in IN_FRAMES:
        # A frame may hold anything; without its header it is none.
        outer = tunnel(INNER)
        packet = outer[: len(outer) - len(p.framed(INNER)) + 13]
        if tunnel is tunnels.tagged_gre:
            packet = packet[:-4]
    else:
        packet = tunnel(nothing)
    assert peel(packet, decapsulator=decapsulator) == (p.RAW, packet)
    assert decapsulator.undone[Undone.NOTHING_WITHIN] == 1
    assert decapsulator.changed == 0


@pytest.mark.parametrize("tunnel", tunnels.EVERY)
def test_a_tunnel_that_is_cut_off_stays_or_leaves_what_was_captured(
    tunnel: Tunnel,
) -> None:
    whole = tunnel(INNER)
    inner = peel(whole)[1]
    # Of a tag of which less is there nothing is cut out.
    tagged = p.ethernet(0x8100, p.tag(0x0800, INNER))[:17]
    for kept in range(len(whole)):
        cut = record(whole, cut=len(whole) - kept)
        (part,) = Decapsulator().peel(p.RAW, cut, 1)
        (left,) = seen(part.records)
        if left.packet == whole[:kept]:
            assert left.origlen == len(whole)
        elif tunnel is tunnels.tagged_gre and left.packet == tagged[: len(left.packet)]:
            assert left.origlen == len(inner) + 4
        else:
            assert left.packet == inner[: len(left.packet)]
            assert left.origlen == len(inner)
            assert kept - len(left.packet) >= 20


@pytest.mark.parametrize(
    "packet",
    [
        tunnels.udp(2152, b"\x32\x01" + bytes(10)),
        tunnels.udp(4789, bytes(8) + p.framed(INNER)),
        tunnels.udp(6081, b"\0\x80\x65\x58" + bytes(4) + p.framed(INNER)),
        p.ip4(p.A4, p.B4, p.ESP, bytes(40)),
        p.ip4(p.A4, p.B4, p.UDP, b"\0\1"),
        b"",
        b"\x45",
    ],
)
def test_what_is_no_tunnel_is_not_counted_as_one(packet: bytes) -> None:
    decapsulator = Decapsulator()
    assert peel(packet, decapsulator=decapsulator) == (p.RAW, packet)
    assert not any(decapsulator.undone.values())


def test_erspan_3_may_hold_ip() -> None:
    header = bytes(10) + bytes([2 << 2, 0])
    packet = tunnels.gre(0x22EB, header + INNER, 0x1000, bytes(4))
    assert peel(packet) == (p.RAW, INNER)


def test_a_frame_that_holds_no_ip_is_left_of_its_tunnel() -> None:
    strange = p.ethernet(0x8892, b"of no protocol known here")
    for frame in (ARP, strange, p.ethernet(40, b"\x42\x42\x03" + bytes(37))):
        packet = tunnels.udp(4789, b"\x08" + bytes(7) + frame)
        assert peel(packet) == (p.ETHERNET, frame)


def test_an_answer_of_dns_to_the_port_of_vxlan_is_no_tunnel() -> None:
    answer = b"\x0b\x17\x81\x80\0\1\0\1\0\0\0\0\3www\7example\3org\0\0\1\0\1"
    packet = p.ip4(p.C4, p.D4, p.UDP, p.ports(53, 4789, answer))
    assert peel(packet) == (p.RAW, packet)
    # Bits without a meaning make no other of a frame that looks like one.
    marked = tunnels.udp(4789, b"\xff" * 8 + p.framed(INNER))
    assert peel(marked) == (p.ETHERNET, p.framed(INNER))


def test_udp_is_as_long_as_it_says() -> None:
    udp = p.ports(50_000, 2152, b"\x30\xff" + bytes(6) + INNER)
    packet = p.ip4(p.C4, p.D4, p.UDP, udp + b"beyond")
    assert peel(packet) == (p.RAW, INNER)


@given(st.lists(st.sampled_from(tunnels.EVERY), max_size=5))
@bounded
def test_tunnels_within_tunnels_are_all_taken_off(around: list[Tunnel]) -> None:
    packet = INNER
    for tunnel in around:
        packet = tunnel(packet)
    framed = bool(around) and around[0] in IN_FRAMES
    expected = (p.ETHERNET, p.framed(INNER)) if framed else (p.RAW, INNER)
    assert peel(packet) == expected


ANY = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda tunnel, inner, at, octet: _damaged(tunnel(inner), at, octet),
        st.sampled_from(tunnels.EVERY),
        st.sampled_from([INNER, INNER6]),
        st.integers(0, 100),
        st.integers(0, 255),
    ),
)


def _damaged(packet: bytes, at: int, octet: int) -> bytes:
    damaged = bytearray(packet)
    damaged[at % len(packet)] = octet
    return bytes(damaged)


@given(st.lists(ANY), st.sampled_from([p.RAW, p.ETHERNET, p.SLL, p.NFLOG, p.NULL]))
@bounded
def test_no_packet_is_lost_and_none_grows(sent: list[bytes], linktype: int) -> None:
    octets, count = records(sent)
    decapsulator = Decapsulator()
    parts = decapsulator.peel(linktype, octets, count)
    left = [one for part in parts for one in seen(part.records)]
    assert sum(part.count for part in parts) == count == len(left)
    for one, packet in zip(left, sent, strict=True):
        assert len(one.packet) <= len(packet)
        assert len(one.packet) <= one.origlen
    changed = [
        one for one, packet in zip(left, sent, strict=True) if one.packet != packet
    ]
    assert decapsulator.changed >= len(changed)


def test_parts_share_one_buffer_of_whoever_gives_it() -> None:
    asked: list[int] = []

    def new_buffer(nbytes: int) -> memoryview:
        asked.append(nbytes)
        return memoryview(bytearray(nbytes))

    octets, count = records([tunnels.vxlan(INNER), tunnels.plain_gre(INNER)])
    parts: list[Part] = Decapsulator(new_buffer=new_buffer).peel(p.RAW, octets, count)
    assert len(parts) == 2
    assert asked == [len(octets)]
