"""A flow is two ends and a protocol, whichever of the ends speaks."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_ffi import flow_hash
from tests.flow_ffi import packets as p
from tests.support.properties import bounded, thorough

U64 = (1 << 64) - 1


def flow(packet: bytes, linktype: int = p.RAW, *, seed: int = 1) -> int:
    return flow_hash(linktype, packet, seed=seed)


def siphash13(key: tuple[int, int], octets: bytes) -> int:
    """SipHash as its paper has it, by numbers of any size."""

    def turned(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & U64

    a, b = key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D
    c, d = key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573

    def go_round() -> None:
        nonlocal a, b, c, d
        a, c = (a + b) & U64, (c + d) & U64
        b, d = turned(b, 13) ^ a, turned(d, 16) ^ c
        a = turned(a, 32)
        c, a = (c + b) & U64, (a + d) & U64
        b, d = turned(b, 17) ^ c, turned(d, 21) ^ a
        c = turned(c, 32)

    padded = octets + bytes(-(len(octets) + 1) % 8) + bytes([len(octets) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        d ^= word
        go_round()
        a ^= word
    c ^= 0xFF
    for _ in range(3):
        go_round()
    return a ^ b ^ c ^ d


def mixed(number: int) -> int:
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & U64
    number = (number ^ number >> 27) * 0x94D049BB133111EB & U64
    return number ^ number >> 31


def modelled(
    ends: list[tuple[str, int]], protocol: int, seed: int, version: int
) -> int:
    """The number of a flow, put together in another way."""
    low, high = sorted((int(ip_address(name)), port) for name, port in ends)
    octets = (low[1] << 48 | high[1] << 32 | protocol << 8 | version).to_bytes(
        8, "little"
    )
    if version == 4:
        octets = (low[0] << 32 | high[0]).to_bytes(8, "little") + octets
    else:
        words = [low[0] >> 64, low[0] & U64, high[0] >> 64, high[0] & U64]
        octets = b"".join(word.to_bytes(8, "little") for word in words) + octets
    return siphash13((seed, mixed((seed + 0x9E3779B97F4A7C15) & U64)), octets)


def test_the_model_of_siphash_is_the_published_one() -> None:
    """The first vectors of SipHash-1-3, of 0 and 8 octets, by the key 00, 01, … 0f."""
    key = struct.unpack("<QQ", bytes(range(16)))
    assert siphash13(key, b"") == 0xABAC0158050FC4DC
    assert siphash13(key, bytes(range(8))) == 0x369095118D299A8E


@given(
    st.ip_addresses(v=4),
    st.ip_addresses(v=4),
    st.integers(0, 65_535),
    st.integers(0, 65_535),
    st.integers(0, U64),
)
@bounded
def test_the_number_of_a_flow_of_ipv4_is_that_of_the_model(
    source: object, target: object, source_port: int, target_port: int, seed: int
) -> None:
    ends = [(str(source), source_port), (str(target), target_port)]
    packet = p.ip4(str(source), str(target), p.UDP, p.ports(source_port, target_port))
    assert flow(packet, seed=seed) == modelled(ends, p.UDP, seed, 4)


@given(
    st.ip_addresses(v=6),
    st.ip_addresses(v=6),
    st.integers(0, 65_535),
    st.integers(0, 65_535),
    st.integers(0, U64),
)
@bounded
def test_the_number_of_a_flow_of_ipv6_is_that_of_the_model(
    source: object, target: object, source_port: int, target_port: int, seed: int
) -> None:
    ends = [(str(source), source_port), (str(target), target_port)]
    packet = p.ip6(str(source), str(target), p.TCP, p.ports(source_port, target_port))
    assert flow(packet, seed=seed) == modelled(ends, p.TCP, seed, 6)


@pytest.mark.parametrize("protocol", [p.TCP, p.UDP, p.SCTP, 33, 136])
@pytest.mark.parametrize("ends", [(p.A4, p.B4), (p.A6, p.B6)])
def test_both_directions_are_one_flow(protocol: int, ends: tuple[str, str]) -> None:
    there, back = p.both(*ends, protocol, 40_000, 443)
    assert flow(there) == flow(back)


@pytest.mark.parametrize("ends", [(p.A4, p.A4), (p.A6, p.A6)])
def test_a_host_that_talks_to_itself_has_flows_too(ends: tuple[str, str]) -> None:
    there, back = p.both(*ends, p.TCP, 40_000, 443)
    other, _ = p.both(*ends, p.TCP, 40_001, 443)
    assert flow(there) == flow(back) != flow(other)


def test_ends_protocols_and_ports_each_make_another_flow() -> None:
    packets = [
        *(p.ip4(p.A4, p.B4, protocol, p.ports(1, 2)) for protocol in (6, 17, 132)),
        p.ip4(p.A4, p.B4, p.TCP, p.ports(1, 3)),
        p.ip4(p.A4, p.B4, p.TCP, p.ports(2, 1)),
        p.ip4(p.A4, p.C4, p.TCP, p.ports(1, 2)),
        p.ip6(p.A6, p.B6, p.TCP, p.ports(1, 2)),
        p.ip6(p.A6, p.C6, p.TCP, p.ports(1, 2)),
    ]
    assert len({flow(packet) for packet in packets}) == len(packets)


def test_another_seed_gives_other_numbers() -> None:
    (packet, _) = p.both(p.A4, p.B4, p.TCP, 1, 2)
    assert len({flow(packet, seed=seed) for seed in range(100)}) == 100


def test_numbers_are_spread_evenly_over_every_bit() -> None:
    """Flows that differ in one port only, as those of a scan do."""
    found = [flow(p.ip4(p.A4, p.B4, p.TCP, p.ports(port, 80))) for port in range(4_000)]
    for bit in range(64):
        ones = sum(number >> bit & 1 for number in found)
        # Five standard deviations.
        assert abs(ones - 2_000) < 160, bit


# Options, extension headers, padding.


def test_options_of_ipv4_are_passed_over() -> None:
    plain = p.ip4(p.A4, p.B4, p.TCP, p.ports(1, 2))
    assert flow(p.ip4(p.A4, p.B4, p.TCP, p.ports(1, 2), options=b"\1" * 40)) == flow(
        plain
    )


@pytest.mark.parametrize(
    "kind", [p.HOP_BY_HOP, p.ROUTING, p.DESTINATION, 135, 139, 140]
)
@pytest.mark.parametrize("words", [0, 3, 255])
def test_an_extension_header_is_passed_over(kind: int, words: int) -> None:
    plain = p.ip6(p.A6, p.B6, p.TCP, p.ports(1, 2))
    payload = p.extension(p.TCP, words) + p.ports(1, 2)
    assert flow(p.ip6(p.A6, p.B6, kind, payload)) == flow(plain)


def test_many_extension_headers_are_passed_over_but_not_any_number() -> None:
    plain = p.ip6(p.A6, p.B6, p.TCP, p.ports(1, 2))

    def behind(headers: int) -> bytes:
        more = p.extension(p.DESTINATION) * (headers - 1) + p.extension(p.TCP)
        return p.ip6(p.A6, p.B6, p.DESTINATION, more + p.ports(1, 2))

    assert flow(behind(16)) == flow(plain)
    assert flow(behind(17)) != flow(plain)
    assert flow(behind(1_000)) == flow(behind(17))


@pytest.mark.parametrize("make", [p.ip4, p.ip6])
def test_a_header_of_authentication_is_passed_over(make: object) -> None:
    assert callable(make)
    ends = (p.A4, p.B4) if make is p.ip4 else (p.A6, p.B6)
    header = bytes([p.TCP, 4]) + bytes(22)
    assert flow(make(*ends, p.AH, header + p.ports(1, 2))) == flow(
        make(*ends, p.TCP, p.ports(1, 2))
    )


def test_what_is_encrypted_goes_by_its_addresses() -> None:
    """Each direction has a security parameter index of its own."""
    there = p.ip4(p.A4, p.B4, p.ESP, b"\1\2\3\4" + bytes(20))
    back = p.ip4(p.B4, p.A4, p.ESP, b"\5\6\7\x08" + bytes(20))
    assert flow(there) == flow(back)


def test_the_padding_of_a_frame_is_not_part_of_its_packet() -> None:
    empty = p.ip4(p.A4, p.B4, p.TCP, b"")
    assert flow(empty + b"\1\2\3\4" * 10) == flow(empty)
    empty = p.ip6(p.A6, p.B6, p.NO_NEXT, b"")
    assert flow(empty + b"\1\2\3\4" * 10) == flow(empty)


def test_a_packet_too_long_to_say_so_has_ports() -> None:
    """BIG TCP and what the hardware was to cut in pieces: the length says 0."""
    plain = p.ip4(p.A4, p.B4, p.TCP, p.ports(1, 2))
    assert flow(p.ip4(p.A4, p.B4, p.TCP, p.ports(1, 2), total=0)) == flow(plain)
    plain = p.ip6(p.A6, p.B6, p.TCP, p.ports(1, 2))
    assert flow(plain[:4] + b"\0\0" + plain[6:]) == flow(plain)


# ICMP.


def icmp(kind: int, identifier: int = 0, rest: bytes = b"") -> bytes:
    return struct.pack(">BBHHH", kind, 0, 0, identifier, 1) + rest


@pytest.mark.parametrize(
    ("ends", "protocol", "asking", "answer"),
    [
        ((p.A4, p.B4), p.ICMP, 8, 0),
        ((p.A4, p.B4), p.ICMP, 13, 14),
        ((p.A6, p.B6), p.ICMP6, 128, 129),
    ],
    ids=["echo", "timestamp", "echo of IPv6"],
)
def test_an_answer_is_of_its_requests_flow(
    ends: tuple[str, str], protocol: int, asking: int, answer: int
) -> None:
    source, target = ends
    there = p.ip(source, target, protocol, icmp(asking, 77))
    assert flow(there) == flow(p.ip(target, source, protocol, icmp(answer, 77)))
    assert flow(there) != flow(p.ip(source, target, protocol, icmp(asking, 78)))


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_an_error_is_of_the_flow_that_it_tells_of(kind: int) -> None:
    there, back = p.both(p.A4, p.B4, p.UDP, 40_000, 53)
    error = p.ip4(p.D4, p.A4, p.ICMP, icmp(kind, rest=there[:28]))
    assert flow(error) == flow(there) == flow(back)


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_an_error_of_ipv6_is_of_the_flow_that_it_tells_of(kind: int) -> None:
    there, _ = p.both(p.A6, p.B6, p.TCP, 40_000, 22)
    error = p.ip6(p.D6, p.A6, p.ICMP6, icmp(kind, rest=there))
    assert flow(error) == flow(there)


def test_an_error_that_tells_of_an_echo_is_of_its_flow() -> None:
    there = p.ip4(p.A4, p.B4, p.ICMP, icmp(8, 77))
    assert flow(p.ip4(p.D4, p.A4, p.ICMP, icmp(11, rest=there))) == flow(there)


def test_an_error_that_tells_of_nothing_goes_by_its_addresses() -> None:
    error = p.ip4(p.D4, p.A4, p.ICMP, icmp(3, rest=b"\xff" * 40))
    assert flow(error) == flow(p.ip4(p.A4, p.D4, p.ICMP, icmp(9)))


# Links.


@pytest.mark.parametrize("ends", [(p.A4, p.B4), (p.A6, p.B6)])
def test_the_link_is_no_part_of_a_flow(ends: tuple[str, str]) -> None:
    (packet, _) = p.both(*ends, p.TCP, 1, 2)
    kind = p.ethertype_of(packet)
    family = 2 if kind == 0x0800 else 10
    forms = {
        p.ETHERNET: p.framed(packet),
        p.NULL: family.to_bytes(4, "little") + packet,
        p.LOOP: family.to_bytes(4, "big") + packet,
        p.SLL: bytes(14) + kind.to_bytes(2, "big") + packet,
        p.SLL2: kind.to_bytes(2, "big") + bytes(18) + packet,
        p.IPV4: packet,
        p.IPV6: packet,
        p.NFLOG: p.nflog(packet, family=family),
    }
    for linktype, octets in forms.items():
        assert flow(octets, linktype) == flow(packet), linktype


@pytest.mark.parametrize("outer", [0x8100, 0x88A8, 0x9100])
def test_tags_of_vlans_are_passed_over(outer: int) -> None:
    (packet, _) = p.both(p.A4, p.B4, p.TCP, 1, 2)
    once = p.ethernet(0x8100, p.tag(0x0800, packet))
    twice = p.ethernet(outer, p.tag(0x8100, p.tag(0x0800, packet)))
    assert flow(once, p.ETHERNET) == flow(twice, p.ETHERNET) == flow(packet)


def test_labels_of_mpls_are_passed_over() -> None:
    (packet, _) = p.both(p.A6, p.B6, p.TCP, 1, 2)
    labels = b"\0\1\0\x40" + b"\0\2\1\x40"
    assert flow(p.ethernet(0x8847, labels + packet), p.ETHERNET) == flow(packet)


@pytest.mark.parametrize("control", [b"", bytes(4)], ids=["bare", "control word"])
@pytest.mark.parametrize(
    "hardware", [b"\x02\0\0\0\0\1", b"\x45\0\0\x50\0\0", b"\x60\0\0\0\0\x14"]
)
def test_a_frame_in_a_pseudowire_is_looked_into(
    control: bytes, hardware: bytes
) -> None:
    """Also where it begins as IP does; RFC 4448."""
    (packet, _) = p.both(p.A4, p.B4, p.TCP, 1, 2)
    frame = hardware + p.framed(packet)[6:]
    wire = p.ethernet(0x8847, b"\0\1\1\x40" + control + frame)
    assert flow(wire, p.ETHERNET) == flow(packet)


def test_what_is_neither_ip_nor_a_frame_behind_labels_goes_by_its_hosts() -> None:
    wires = [p.ethernet(0x8847, b"\0\1\1\x40" + end) for end in (b"", b"\x10" * 40)]
    assert len({flow(wire, p.ETHERNET) for wire in wires}) == 1


@pytest.mark.parametrize("protocol", [b"\0\x21", b"\x21", b"\xff\x03\0\x21"])
def test_what_comes_over_pppoe_is_found(protocol: bytes) -> None:
    (packet, _) = p.both(p.A4, p.B4, p.TCP, 1, 2)
    session = bytes(6) + protocol + packet
    assert flow(p.ethernet(0x8864, session), p.ETHERNET) == flow(packet)


def test_what_is_no_ip_goes_by_its_hardware_addresses() -> None:
    arp = bytes(28)
    there = flow(p.ethernet(0x0806, arp), p.ETHERNET)
    assert there == flow(p.ethernet(0x0806, b"\1" * 28, turned=True), p.ETHERNET)
    assert there != flow(p.ethernet(0x88CC, arp), p.ETHERNET)


def test_what_is_not_known_at_all_goes_together() -> None:
    assert flow(b"", 12_345) == flow(b"\x45" * 40, 12_345) != flow(b"", p.RAW)


def test_a_payload_that_nflog_was_told_to_cut_is_found() -> None:
    (packet, _) = p.both(p.A4, p.B4, p.TCP, 1, 2)
    assert flow(p.nflog(packet)[:-15], p.NFLOG) == flow(packet)


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\2\0\0\5", b"\2\0\0\5\0\0\x09\0", b"\2\0\0\5\3\0\x09\0", b"\2\0\0\5\5"],
)
def test_attributes_that_are_none_are_no_packet(damaged: bytes) -> None:
    assert flow(damaged, p.NFLOG) == flow(b"?", p.NFLOG)


# What is cut short, or lies.


@pytest.mark.parametrize("ends", [(p.A4, p.B4), (p.A6, p.B6)])
def test_a_packet_cut_before_its_ports_goes_by_its_addresses(
    ends: tuple[str, str],
) -> None:
    there, back = p.both(*ends, p.TCP, 40_000, 443)
    header = 20 if len(ends[0]) < 9 else 40
    for kept in range(header, header + 4):
        assert flow(there[:kept]) == flow(back[:kept]) == flow(there[:header])
    for kept in range(header + 4, len(there)):
        assert flow(there[:kept]) == flow(there)


@pytest.mark.parametrize("ends", [(p.A4, p.B4), (p.A6, p.B6)])
def test_a_packet_cut_before_its_addresses_end_is_none(ends: tuple[str, str]) -> None:
    (there, _) = p.both(*ends, p.TCP, 40_000, 443)
    header = 20 if len(ends[0]) < 9 else 40
    for kept in range(header):
        assert flow(there[:kept]) == flow(b"")


@pytest.mark.parametrize("first", [0x44, 0x40, 0x05, 0x55, 0xF5])
def test_a_header_that_is_none_is_no_packet(first: int) -> None:
    (there, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    assert flow(bytes([first]) + there[1:]) == flow(b"")


def test_a_header_longer_than_what_is_there_leaves_the_addresses() -> None:
    (there, _) = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
    assert flow(b"\x4f" + there[1:]) == flow(there[:20])


@given(
    st.binary(max_size=200),
    st.sampled_from([p.NULL, p.ETHERNET, p.RAW, p.SLL, p.SLL2, p.NFLOG, 147]),
    st.booleans(),
)
@thorough
def test_any_octets_have_a_flow_and_always_the_same(
    octets: bytes, linktype: int, inner: bool
) -> None:
    first = flow_hash(linktype, octets, inner=inner, seed=3)
    assert first == flow_hash(linktype, bytearray(octets), inner=inner, seed=3)
    assert 0 <= first <= U64
