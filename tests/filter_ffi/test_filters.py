"""A filter takes the packets that its tests hold for, whatever else there is."""

import itertools
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pcap_ffi
from filter_ffi import (
    FILTERS_MAX,
    AllOf,
    AnyOf,
    Between,
    Bpf,
    Everything,
    Filters,
    FlowSet,
    InFlows,
    Level,
    Macs,
    Not,
    Ports,
    Side,
    Subnets,
    Term,
)
from tests.filter_ffi.records import MS, START_NS, packets, record, records
from tests.flow_ffi import packets as p
from tests.flow_ffi import test_fragments as fragments
from tests.flow_ffi import test_tunnels as tunnels
from tests.support.properties import bounded

Address = IPv4Address | IPv6Address

HTTPS, BACK = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
HTTPS6, BACK6 = p.both(p.A6, p.B6, p.TCP, 40_000, 443)
DNS, _ = p.both(p.C4, p.D4, p.UDP, 40_000, 53)
SHORT = p.ports(1, 2, b"")
PING = p.ip4(p.A4, p.B4, p.ICMP, b"\x08" + bytes(7))
ARP = bytes(28)
FRAME = p.framed(HTTPS)
SOURCE_MAC, TARGET_MAC = FRAME[6:12], FRAME[:6]


def subnets(*names: str, side: Side = Side.EITHER) -> Subnets:
    return Subnets([ip_network(name) for name in names], side)


def flow(protocol: int, one: str, one_port: int, other: str, other_port: int) -> Term:
    ends = (ip_address(one), one_port, ip_address(other), other_port)
    return InFlows(FlowSet([(protocol, *ends)]))


def filtering(term: Term, level: Level = Level.OUTER) -> Filters:
    return Filters({"it": term}, compile_bpf=pcap_ffi.compile_filter, level=level)


def takes(
    term: Term, packet: bytes, linktype: int = p.RAW, level: Level = Level.OUTER
) -> bool:
    (taken,) = filtering(term, level).select(linktype, record(packet), 1)
    assert packets(taken.records) == [packet] * taken.count
    return taken.count == 1


@pytest.mark.parametrize(
    ("octets", "count"),
    [
        pytest.param(record(HTTPS)[:-1], 1, id="torn packet"),
        pytest.param(record(HTTPS)[:15], 1, id="torn header"),
        pytest.param(record(HTTPS), 2, id="too few"),
        pytest.param(record(HTTPS), 0, id="too many"),
        pytest.param(b"", 1, id="nothing"),
    ],
)
def test_what_is_not_so_many_records_is_refused(octets: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="whole packet records"):
        filtering(Everything()).select(p.RAW, octets, count)


@pytest.mark.parametrize(
    "term",
    [
        Ports([(2, 1, None)]),
        Ports([(0, 65_536, None)]),
        Ports([(1, 1, 256)]),
        Macs([b"\0" * 5]),
    ],
)
def test_what_no_test_can_be_is_refused(term: Term) -> None:
    with pytest.raises(ValueError, match="no "):
        filtering(term)


def test_more_filters_than_can_be_are_refused() -> None:
    with pytest.raises(ValueError, match="more than"):
        Filters({str(n): Everything() for n in range(FILTERS_MAX + 1)})


def test_bpf_needs_a_compiler() -> None:
    with pytest.raises(ValueError, match="nothing to compile"):
        Filters({"it": Bpf("tcp")})


def test_bpf_that_is_none_is_refused_when_its_link_type_comes() -> None:
    filters = filtering(Bpf("nonsense and more"))
    with pytest.raises(pcap_ffi.FilterError):
        filters.select(p.RAW, record(HTTPS), 1)


@pytest.mark.parametrize(
    "program",
    [b"", b"\0", struct.pack(">HBBI", 0x05, 0, 0, 0xFFFF_FFFF), bytes(8) * 2],
    ids=["nothing", "torn", "endless", "without an end"],
)
def test_a_program_that_could_do_harm_is_refused(program: bytes) -> None:
    filters = Filters({"it": Bpf("any")}, compile_bpf=lambda text, link: program)
    with pytest.raises(ValueError, match="filter"):
        filters.prepare(p.RAW)


def test_nothing_is_taken_of_nothing() -> None:
    (taken,) = filtering(Everything()).select(p.RAW, b"", 0)
    assert (bytes(taken.records), taken.count) == (b"", 0)
    assert Filters({}).select(p.RAW, record(HTTPS), 1) == []


def test_a_batch_that_is_taken_whole_is_not_copied() -> None:
    octets, count = records([HTTPS, DNS])
    (taken,) = filtering(Everything()).select(p.RAW, octets, count)
    assert taken.records is octets


def test_a_batch_of_empty_packets_passes() -> None:
    octets, count = records([b""] * 3)
    filters = Filters({"all": Everything(), "none": subnets("0.0.0.0/0", "::/0")})
    every, none = filters.select(p.RAW, octets, count)
    assert (every.count, none.count) == (3, 0)


@pytest.mark.parametrize(
    ("term", "packet", "expected"),
    [
        (subnets("10.0.0.0/8"), HTTPS, True),
        (subnets("10.0.0.1"), BACK, True),
        (subnets("10.0.0.0/32"), HTTPS, False),
        (subnets("0.0.0.0/0"), HTTPS6, False),
        (subnets("2001:db8::/64"), HTTPS6, True),
        (subnets("2001:db8:0:1::/64"), HTTPS6, False),
        (subnets("::/0"), HTTPS, False),
        (subnets("10.0.0.0/8", side=Side.SOURCE), BACK, False),
        (subnets("10.0.0.0/8", side=Side.TARGET), BACK, True),
        (Ports([(443, 443, p.TCP)]), HTTPS, True),
        (Ports([(443, 443, p.TCP)]), BACK6, True),
        (Ports([(443, 443, p.UDP)]), HTTPS, False),
        (Ports([(443, 443, None)]), HTTPS, True),
        (Ports([(1, 442, None), (444, 39_999, None)]), HTTPS, False),
        (Ports([(0, 65_535, None)]), PING, False),
        (Ports([(443, 443, None)], Side.SOURCE), HTTPS, False),
        (Ports([(443, 443, None)], Side.TARGET), HTTPS, True),
        (Ports([(53, 53, p.SCTP)]), p.ip4(p.A4, p.B4, p.SCTP, p.ports(53, 1)), True),
        (flow(p.TCP, p.A4, 40_000, p.B4, 443), HTTPS, True),
        (flow(p.TCP, p.A4, 40_000, p.B4, 443), BACK, True),
        (flow(p.TCP, p.B4, 443, p.A4, 40_000), HTTPS, True),
        (flow(p.TCP, p.A4, 443, p.B4, 40_000), HTTPS, False),
        (flow(p.UDP, p.A4, 40_000, p.B4, 443), HTTPS, False),
        (flow(p.TCP, p.B6, 443, p.A6, 40_000), HTTPS6, True),
        (flow(p.ICMP, p.B4, 0, p.A4, 0), PING, True),
        # Ports alone do not make a flow, nor does it take a payload.
        (flow(p.SCTP, p.A4, 1, p.B4, 2), p.ip4(p.A4, p.B4, p.SCTP, SHORT), True),
        (flow(p.SCTP, p.A4, 1, p.C4, 2), p.ip4(p.A4, p.B4, p.SCTP, SHORT), False),
        (flow(p.UDP, p.A6, 1, p.B6, 2), p.ip6(p.A6, p.B6, p.UDP, SHORT), True),
        (flow(p.UDP, p.A6, 1, p.C6, 2), p.ip6(p.A6, p.B6, p.UDP, SHORT), False),
        (Bpf("tcp port 443"), HTTPS, True),
        (Bpf("udp"), HTTPS, False),
        (Between(START_NS, START_NS + 1), HTTPS, True),
        (Between(START_NS + 1, 1 << 80), HTTPS, False),
        (Between(-1, START_NS), HTTPS, False),
        (Not(Everything()), HTTPS, False),
        (AllOf(()), HTTPS, True),
        (AnyOf(()), HTTPS, False),
        (AllOf((subnets("10.0.0.0/8"), Not(Ports([(443, 443, 6)])))), HTTPS, False),
        (AllOf((Bpf("tcp"), subnets("10.0.0.0/8"))), HTTPS, True),
        (AnyOf((Bpf("udp"), subnets("10.0.0.0/8"))), HTTPS, True),
        (AnyOf((Bpf("udp"), Not(subnets("10.0.0.0/8")))), HTTPS, False),
    ],
)
def test_a_packet_is_taken_where_the_term_holds(
    term: Term, packet: bytes, expected: bool
) -> None:
    assert takes(term, packet) is expected


@pytest.mark.parametrize(
    ("address", "side", "expected"),
    [
        (SOURCE_MAC, Side.EITHER, True),
        (TARGET_MAC, Side.EITHER, True),
        (SOURCE_MAC, Side.TARGET, False),
        (TARGET_MAC, Side.SOURCE, False),
        (b"\x02\0\0\0\0\x03", Side.EITHER, False),
    ],
)
def test_hardware_addresses_are_of_either_end(
    address: bytes, side: Side, expected: bool
) -> None:
    assert takes(Macs([b"\xff" * 6, address], side), FRAME, p.ETHERNET) is expected
    arp = p.ethernet(0x0806, ARP)
    assert takes(Macs([address], side), arp, p.ETHERNET) is expected


@pytest.mark.parametrize(
    ("linktype", "packet"),
    [
        (p.RAW, HTTPS),
        (p.NFLOG, p.nflog(HTTPS)),
        (p.NULL, b"\2\0\0\0" + HTTPS),
        (p.ETHERNET, FRAME[:13]),
        (147, FRAME),
    ],
)
def test_what_has_no_hardware_address_is_not_taken_by_one(
    linktype: int, packet: bytes
) -> None:
    assert not takes(Macs([SOURCE_MAC, bytes(6)]), packet, linktype)


def test_a_cooked_capture_has_its_sender() -> None:
    sll = struct.pack(">HHH", 0, 1, 6) + SOURCE_MAC + b"\0\0\x08\0" + HTTPS
    sll2 = b"\x08\0" + bytes(8) + b"\0\6" + SOURCE_MAC + b"\0\0" + HTTPS
    for linktype, packet in ((p.SLL, sll), (p.SLL2, sll2)):
        assert takes(Macs([SOURCE_MAC]), packet, linktype)
        assert not takes(Macs([SOURCE_MAC], Side.TARGET), packet, linktype)
        assert takes(subnets("10.0.0.1"), packet, linktype)
    assert not takes(Macs([SOURCE_MAC]), sll[:4] + b"\0\4" + sll[6:], p.SLL)


@pytest.mark.parametrize(
    ("linktype", "packet"),
    [
        (p.ETHERNET, FRAME),
        (p.ETHERNET, p.ethernet(0x8100, p.tag(0x0800, HTTPS))),
        (p.ETHERNET, p.ethernet(0x88A8, p.tag(0x8100, p.tag(0x0800, HTTPS)))),
        (p.ETHERNET, p.ethernet(0x8847, b"\0\1\1\x40" + HTTPS)),
        (p.ETHERNET, p.ethernet(0x8847, b"\0\1\1\x40" + bytes(4) + FRAME)),
        (p.ETHERNET, p.ethernet(0x8864, bytes(6) + b"\0\x21" + HTTPS)),
        (p.NFLOG, p.nflog(HTTPS)),
        (p.NULL, b"\2\0\0\0" + HTTPS),
        (p.IPV4, HTTPS),
    ],
)
def test_the_packet_is_found_behind_every_link(linktype: int, packet: bytes) -> None:
    term = AllOf((subnets("10.0.0.1"), Ports([(443, 443, p.TCP)])))
    assert takes(term, packet, linktype)


def test_bpf_is_asked_about_the_packet_within_nflog() -> None:
    assert takes(Bpf("tcp port 443"), p.nflog(HTTPS), p.NFLOG)


def test_bpf_is_compiled_for_each_link_type_that_comes() -> None:
    filters = filtering(Bpf("tcp port 443"))
    for linktype, packet in ((p.RAW, HTTPS), (p.ETHERNET, FRAME), (p.RAW, HTTPS)):
        assert filters.select(linktype, record(packet), 1)[0].count == 1
        assert filters.select(linktype, record(packet[1:]), 1)[0].count == 0


@pytest.mark.parametrize("tunnel", tunnels.EVERY)
def test_the_level_says_which_packet_of_a_tunnel_is_asked(
    tunnel: Callable[[bytes], bytes],
) -> None:
    packet = tunnel(HTTPS)
    within, around = Ports([(443, 443, p.TCP)]), subnets(p.C4, p.C6)
    answers = {
        level: (takes(within, packet, level=level), takes(around, packet, level=level))
        for level in Level
    }
    assert answers == {
        Level.OUTER: (False, True),
        Level.INNER: (True, False),
        Level.ANY: (True, True),
    }


def test_the_hardware_addresses_of_a_tunnel_are_found_by_level() -> None:
    inner = p.ethernet(0x0800, HTTPS).replace(SOURCE_MAC, b"inside", 1)
    packet = p.framed(tunnels.udp(4789, b"\x08" + bytes(7) + inner))
    term = Macs([b"inside"])
    found = [takes(term, packet, p.ETHERNET, level) for level in Level]
    assert found == [False, True, True]
    term = Macs([SOURCE_MAC])
    found = [takes(term, packet, p.ETHERNET, level) for level in Level]
    assert found == [True, False, True]


def test_later_fragments_have_the_ports_of_the_first_one() -> None:
    for pieces in (fragments.pieces4(), fragments.pieces6()):
        first, *rest = pieces
        filters = filtering(Ports([(0, 65_535, None)]))
        octets, count = records([first, *rest])
        assert filters.select(p.RAW, octets, count)[0].count == count
        # In another batch they are of the same datagram still.
        octets, count = records(rest)
        assert filters.select(p.RAW, octets, count)[0].count == count
        assert filters.orphans == 0


def test_fragments_without_their_first_one_have_no_ports_and_are_counted() -> None:
    for pieces in (fragments.pieces4(), fragments.pieces6()):
        octets, count = records(pieces[1:])
        any_port = Ports([(0, 65_535, None)])
        filters = Filters({"keep": any_port, "drop": Not(any_port)})
        keep, drop = filters.select(p.RAW, octets, count)
        assert (keep.count, drop.count) == (0, count)
        assert filters.orphans == count


def test_fragments_of_a_tunnel_are_of_the_flow_within() -> None:
    payload = struct.pack(">HH", 0, 0x0800) + HTTPS + b"more" * 20
    first = p.ip4(p.C4, p.D4, p.GRE, payload[:64], more=True)
    rest = p.ip4(p.C4, p.D4, p.GRE, payload[64:], offset=64)
    octets, count = records([first, rest])
    term = flow(p.TCP, p.A4, 40_000, p.B4, 443)
    found = filtering(term, Level.ANY).select(p.RAW, octets, count)
    assert found[0].count == 2


def test_a_datagram_of_another_sender_is_another_one() -> None:
    for pieces, at, other in (
        (fragments.pieces4(), 12, ip_address("203.0.113.7").packed),
        (fragments.pieces6(), 8, ip_address("2001:db8::7").packed),
    ):
        first, later = pieces[:2]
        strange = later[:at] + other + later[at + len(other) :]
        octets, count = records([first, strange])
        found = filtering(Ports([(0, 65_535, None)])).select(p.RAW, octets, count)
        assert packets(found[0].records) == [first]


def test_an_icmp_error_is_of_the_flow_that_it_quotes() -> None:
    quoted = p.ip4(p.D4, p.A4, p.ICMP, b"\x0b" + bytes(7) + HTTPS[:28])
    assert takes(flow(p.TCP, p.A4, 40_000, p.B4, 443), quoted)
    assert not takes(flow(p.TCP, p.A4, 40_001, p.B4, 443), quoted)
    quoted6 = p.ip6(p.D6, p.A6, p.ICMP6, b"\1" + bytes(7) + HTTPS6[:48])
    assert takes(flow(p.TCP, p.A6, 40_000, p.B6, 443), quoted6)
    # It is no packet with these ports, and its addresses are its own.
    assert not takes(Ports([(443, 443, None)]), quoted)
    assert not takes(subnets(p.B4), quoted)


def test_a_packet_that_is_cut_before_its_ports_is_of_no_flow() -> None:
    cut = HTTPS[:22]
    assert takes(subnets(p.A4), cut)
    assert not takes(Ports([(0, 65_535, None)]), cut)
    assert not takes(flow(p.TCP, p.A4, 0, p.B4, 0), cut)


def test_each_of_many_filters_gets_its_own_packets_in_order() -> None:
    sent = [p.both(p.A4, p.B4, p.UDP, 1_000, port)[0] for port in range(200)] * 2
    octets, count = records(sent)
    filters = Filters(
        {
            **{f"{n}": Ports([(n, n, None)], Side.TARGET) for n in range(200)},
            "all": Everything(),
            "none": Not(Everything()),
            "odd": AnyOf([Ports([(n, n, None)]) for n in range(1, 200, 2)]),
        }
    )
    *each, every, none, odd = filters.select(p.RAW, octets, count)
    assert filters.names[-3:] == ("all", "none", "odd")
    assert [packets(one.records) for one in each] == [[sent[n]] * 2 for n in range(200)]
    assert every.records is octets
    assert none.count == 0
    assert packets(odd.records) == [sent[n] for n in range(1, 400) if n % 2]


def test_a_flow_is_one_however_often_it_is_added() -> None:
    ends = (ip_address(p.A4), 1, ip_address(p.B4), 2)
    turned = (ip_address(p.B4), 2, ip_address(p.A4), 1)
    flows = FlowSet([(6, *ends), (6, *turned), (17, *ends)])
    assert len(flows) == 2


def test_a_set_of_many_flows_has_them_and_no_others() -> None:
    def ends(number: int, version: int) -> tuple[int, Address, int, Address, int]:
        one = ip_address(p.A4 if version == 4 else p.A6) + number
        other = ip_address(p.B4 if version == 4 else p.B6)
        return 6, one, number % 60_000, other, 443

    numbers = range(0, 20_000, 2)
    flows = FlowSet(ends(number, version) for number in numbers for version in (4, 6))
    assert len(flows) == 2 * len(numbers)
    made = [
        p.ip(str(one), str(other), p.TCP, p.ports(port, 443))
        for number in range(0, 20_000, 199)
        for version in (4, 6)
        for _, one, port, other, _ in (ends(number, version),)
    ]
    octets, count = records(made)
    (taken,) = filtering(InFlows(flows)).select(p.RAW, octets, count)
    assert packets(taken.records) == [
        packet for n, packet in enumerate(made) if n // 2 % 2 == 0
    ]


@pytest.mark.parametrize(
    "flows",
    [
        [(6, p.A4, 1, p.A6, 2)],
        [(6, p.A4, 1, p.B4, 65_536)],
        [(256, p.A4, 1, p.B4, 2)],
        [(6, p.A4, -1, p.B4, 2)],
    ],
)
def test_what_is_no_flow_is_refused(
    flows: list[tuple[int, str, int, str, int]],
) -> None:
    with pytest.raises(ValueError, match=r"two versions|no flow"):
        FlowSet((n, ip_address(a), i, ip_address(b), j) for n, a, i, b, j in flows)


@pytest.mark.parametrize("packed", [b"\4" * 37, b"\5" + bytes(37), bytes(76)])
def test_packed_octets_that_are_no_flow_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="no packed flow after 0"):
        FlowSet().add_packed(packed)


NETWORKS = st.one_of(
    st.builds(
        lambda bits, length: IPv4Network((bits << 24, length)),
        st.integers(0, 0xFF),
        st.integers(8, 32),
    ),
    st.integers(0, (1 << 24) - 1).map(lambda n: IPv4Network((n << 8, 24))),
)


@given(st.lists(NETWORKS, max_size=60), st.lists(st.integers(0, (1 << 32) - 1)))
@bounded
def test_an_address_is_in_a_subnet_as_python_says(
    networks: list[IPv4Network], numbers: list[int]
) -> None:
    edges = [
        (int(network.network_address) + step) % (1 << 32)
        for network in networks[:50]
        for step in (-1, 0, network.num_addresses)
    ]
    made = [
        p.ip4(str(ip_address(number)), "0.0.0.0", p.UDP, p.ports(1, 2))  # noqa: S104
        for number in (*numbers, *edges)
    ]
    octets, count = records(made)
    # More than are searched without an index.
    many = [*networks, *(IPv4Network((0xC0 << 24 | n << 9, 24)) for n in range(300))]
    term = Subnets(many, Side.SOURCE)
    (taken,) = filtering(term).select(p.RAW, octets, count)
    expected = [
        packet
        for packet, number in zip(made, (*numbers, *edges), strict=True)
        if any(ip_address(number) in network for network in many)
    ]
    assert packets(taken.records) == expected


LEAVES = st.sampled_from(
    [
        Everything(),
        subnets("10.0.0.0/8"),
        Ports([(443, 443, 6)]),
        Bpf("udp"),
        Between(START_NS, START_NS + 2 * MS),
        flow(p.TCP, p.A4, 40_000, p.B4, 443),
    ]
)
TERMS = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.builds(Not, part),
        st.builds(AllOf, st.lists(part, max_size=4)),
        st.builds(AnyOf, st.lists(part, max_size=4)),
    ),
    max_leaves=20,
)
MIXED = [HTTPS, BACK, HTTPS6, DNS, PING, b"", BACK6]


def holds(term: Term, answers: dict[int, bool]) -> bool:
    match term:
        case Everything():
            return True
        case Not():
            return not holds(term.term, answers)
        case AllOf():
            return all(holds(part, answers) for part in term.terms)
        case AnyOf():
            return any(holds(part, answers) for part in term.terms)
        case _:
            return answers[id(term)]


@given(st.lists(TERMS, min_size=1, max_size=70))
@bounded
def test_terms_are_joined_as_logic_has_it(terms: list[Term]) -> None:
    octets, count = records(MIXED)
    filters = Filters(
        {str(n): term for n, term in enumerate(terms)},
        compile_bpf=pcap_ffi.compile_filter,
    )
    found = [packets(one.records) for one in filters.select(p.RAW, octets, count)]

    def leaves(term: Term) -> list[Term]:
        match term:
            case Not():
                return leaves(term.term)
            case AllOf() | AnyOf():
                return list(itertools.chain(*map(leaves, term.terms)))
            case _:
                return [term]

    alone = {
        id(leaf): packets(filtering(leaf).select(p.RAW, octets, count)[0].records)
        for term in terms
        for leaf in leaves(term)
    }
    expected = [
        [
            packet
            for packet in MIXED
            if holds(term, {leaf: packet in taken for leaf, taken in alone.items()})
        ]
        for term in terms
    ]
    assert found == expected
