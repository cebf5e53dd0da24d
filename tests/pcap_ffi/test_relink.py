"""What becomes of packets of one link type where another is wanted."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import (
    CAPLEN_MAX,
    Fate,
    can_relink,
    count_records,
    fates_of,
    relink_records,
    truncate,
)
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.packet import Packet
from tests.nflog_ffi.datagrams import (
    Attribute,
    ethernet,
    hardware,
    ipv4,
    ipv6,
    logged,
    packet_body,
    vlan,
)
from tests.nflog_ffi.parsing import Parser
from tests.support.properties import bounded

ETHERNET, RAW, SLL, IPV4, IPV6, NFLOG = 1, 101, 113, 228, 229, 239

HEADER = ethernet()
NETLINK_HEADER = 16

MADE_V4 = ethernet(bytes(6), bytes(6), 0x0800)
MADE_V6 = ethernet(bytes(6), bytes(6), 0x86DD)
TAG = struct.pack("!HH", 0x8100, 5)


def nflog(packet: bytes, *extra: tuple[int, bytes]) -> bytes:
    """As the kernel says it, without netlink's header."""
    return logged(packet, extra=extra)[NETLINK_HEADER:]


def relinked(
    source: int, target: int, *packets: bytes | Packet
) -> tuple[list[Packet], list[Fate]]:
    """What is made, and what becomes of each."""
    made = [
        packet if isinstance(packet, Packet) else Packet(n, len(packet), packet)
        for n, packet in enumerate(packets)
    ]
    records = b"".join(map(encode_packet, made))
    new, *fates = relink_records(records, len(made), source, target)
    each = fates_of(records, len(made), source, target)
    assert fates == [each.count(fate) for fate in Fate]
    assert count_records(new) == fates[0]
    return list(iter_packets(new)), [Fate(fate) for fate in each]


def one(source: int, target: int, packet: bytes | Packet) -> Packet:
    (made,), fates = relinked(source, target, packet)
    assert fates == [Fate.MADE]
    return made


def refused(source: int, target: int, packet: bytes | Packet) -> Fate:
    made, (fate,) = relinked(source, target, packet)
    assert made == []
    return fate


@pytest.mark.parametrize("source", [ETHERNET, RAW, SLL, IPV4, IPV6, NFLOG, 0, 65_535])
def test_only_what_is_known_can_become_something_else(source: int) -> None:
    assert can_relink(source, RAW) == (source in (ETHERNET, RAW, IPV4, IPV6, NFLOG))
    assert can_relink(source, ETHERNET) == (source in (RAW, IPV4, IPV6, NFLOG))
    assert not can_relink(source, NFLOG)


def test_no_packets_are_no_packets() -> None:
    assert relinked(NFLOG, RAW) == ([], [])


# Unhappy paths of nflog.


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\2\0\0",
        b"\2\0\0\5",
        packet_body(5, [(Attribute.NFULA_PREFIX, b"web\0")]),
        packet_body(5, [(Attribute.NFULA_PAYLOAD, ipv4(40))])[:-1],
        b"\2\1" + nflog(ipv4(40))[2:],
        b"\2\0\0\5" + struct.pack("<HH", 3, Attribute.NFULA_PAYLOAD) + ipv4(40),
        b"\2\0\0\5" + struct.pack("<HH", 3, Attribute.NFULA_MARK) + ipv4(40),
        b"\2\0\0\5" + struct.pack("<HH", 99, Attribute.NFULA_MARK) + ipv4(40),
    ],
    ids=[
        "nothing",
        "a torn header",
        "no TLV",
        "no payload",
        "a payload beyond the end",
        "another version",
        "a payload of less than nothing",
        "a TLV of less than nothing",
        "a TLV beyond the end",
    ],
)
@pytest.mark.parametrize("target", [RAW, ETHERNET])
def test_what_is_no_packet_of_nflog_is_malformed(packet: bytes, target: int) -> None:
    assert refused(NFLOG, target, packet) is Fate.MALFORMED


@pytest.mark.parametrize("payload", [b"", b"\0" * 28, b"\x55" * 40])
def test_of_nflog_what_is_no_ip_cannot_be_raw(payload: bytes) -> None:
    assert refused(NFLOG, RAW, nflog(payload)) is Fate.NOT_IP


def test_what_begins_like_ip_and_is_something_else_cannot_be_raw() -> None:
    attributes = [
        (Attribute.NFULA_PACKET_HDR, struct.pack("!HBx", 4, 1)),
        (Attribute.NFULA_PAYLOAD, b"\x42\x42\x03" + bytes(32)),
    ]
    assert refused(NFLOG, RAW, packet_body(0, attributes)) is Fate.NOT_IP


def test_malformed_packets_harm_none_before_or_after_them() -> None:
    good = [nflog(ipv4(40)), nflog(ipv6(60))]
    made, fates = relinked(NFLOG, RAW, good[0], b"", nflog(b"\0"), good[1], good[0][:9])
    assert [packet.data for packet in made] == [ipv4(40), ipv6(60)]
    assert [fate.name for fate in fates] == [
        "MADE", "MALFORMED", "NOT_IP", "MADE", "MALFORMED"
    ]  # fmt: skip


# What is made.


@pytest.mark.parametrize("packet", [ipv4(40), ipv4(41), ipv6(60)])
def test_of_nflog_raw_is_the_payload_without_its_padding(packet: bytes) -> None:
    made = one(NFLOG, RAW, nflog(packet))
    assert (made.data, made.origlen) == (packet, len(packet))


def test_of_nflog_ethernet_has_the_header_that_it_tells_of() -> None:
    made = one(NFLOG, ETHERNET, nflog(ipv4(40), *hardware(HEADER), vlan(5)))
    assert made.data == HEADER[:12] + TAG + HEADER[12:] + ipv4(40)
    assert made.origlen == len(made.data)
    made = one(NFLOG, ETHERNET, nflog(ipv6(60)))
    assert made.data == MADE_V6 + ipv6(60)


def test_times_stay() -> None:
    packet = nflog(ipv4(40))
    made = one(NFLOG, RAW, Packet(1_700_000_000_123_456_789, len(packet), packet))
    assert made.ts_ns == 1_700_000_000_123_456_789


@pytest.mark.parametrize("source", [RAW, IPV4, IPV6])
@pytest.mark.parametrize(
    ("packet", "header"), [(ipv4(40), MADE_V4), (ipv6(60), MADE_V6)]
)
def test_of_raw_ethernet_has_a_made_header(
    packet: bytes, header: bytes, source: int
) -> None:
    made = one(source, ETHERNET, Packet(0, 1500, packet))
    assert (made.data, made.origlen) == (header + packet, 1514)


@pytest.mark.parametrize("packet", [b"", b"\0" * 40])
@pytest.mark.parametrize("target", [RAW, ETHERNET])
def test_of_ip_what_is_none_cannot_become_anything(packet: bytes, target: int) -> None:
    assert refused(IPV4, target, packet) is Fate.NOT_IP


@pytest.mark.parametrize("tags", [b"", TAG, b"\x88\xa8\0\1" + TAG, b"\x91\0\0\1"])
def test_of_ethernet_raw_is_what_is_behind_header_and_tags(tags: bytes) -> None:
    made = one(ETHERNET, RAW, HEADER[:12] + tags + HEADER[12:] + ipv4(100))
    assert (made.data, made.origlen) == (ipv4(100), 100)


def test_of_ethernet_what_fills_up_a_short_frame_is_no_part_of_the_packet() -> None:
    made = one(ETHERNET, RAW, HEADER + ipv4(28) + bytes(18))
    assert (made.data, made.origlen) == (ipv4(28), 28)
    cut = Packet(0, 60, (HEADER + ipv4(28) + bytes(18))[:34])
    made = one(ETHERNET, RAW, cut)
    assert (made.data, made.origlen) == (ipv4(28)[:20], 28)


def test_of_ethernet_a_super_packet_that_names_no_length_keeps_all() -> None:
    made = one(ETHERNET, RAW, HEADER + ipv4(100, totlen=0))
    assert (made.data, made.origlen) == (ipv4(100, totlen=0), 100)


@pytest.mark.parametrize(
    ("frame", "fate"),
    [
        (HEADER[:13], Fate.MALFORMED),
        (HEADER, Fate.NOT_IP),
        (HEADER[:12] + TAG, Fate.NOT_IP),
        (ethernet(ethertype=0x0806) + bytes(28), Fate.NOT_IP),
        (ethernet(ethertype=0x86DD) + ipv4(40), Fate.NOT_IP),
        (ethernet(ethertype=0), Fate.NOT_IP),
    ],
    ids=[
        "a torn header",
        "no packet",
        "a torn tag",
        "ARP",
        "another version of IP",
        "nothing of no type",
    ],
)
def test_of_ethernet_what_is_no_ip_cannot_be_raw(frame: bytes, fate: Fate) -> None:
    assert refused(ETHERNET, RAW, frame) is fate


# Cut packets.


@pytest.mark.parametrize("target", [RAW, ETHERNET])
@pytest.mark.parametrize("snaplen", range(4, 140, 3))
def test_of_a_record_that_was_cut_origlen_is_that_of_the_whole_packet(
    snaplen: int, target: int
) -> None:
    packet = nflog(ipv4(100), *hardware(HEADER))
    payload_at = len(packet) - 100
    records = bytearray(encode_packet(Packet(0, len(packet), packet)))
    del records[truncate(records, snaplen) :]
    (cut,) = iter_packets(records)
    if snaplen < payload_at:
        assert refused(NFLOG, target, cut) is Fate.MALFORMED
    elif snaplen == payload_at:
        assert refused(NFLOG, target, cut) is Fate.NOT_IP
    else:
        made = one(NFLOG, target, cut)
        link = 14 if target == ETHERNET else 0
        assert made.origlen == link + 100
        assert made.data[link:] == ipv4(100)[: snaplen - payload_at]


@pytest.mark.parametrize("kept", [1, 20, 63])
def test_of_a_packet_that_the_kernel_cut_origlen_is_by_its_header(kept: int) -> None:
    packet = ipv4(kept, totlen=1500)
    made = one(NFLOG, RAW, nflog(packet))
    assert (made.data, made.origlen) == (packet, 1500 if kept >= 4 else kept)


def test_a_packet_that_would_be_too_long_for_a_reader_is_cut() -> None:
    packet = b"\x45" * CAPLEN_MAX
    made = one(RAW, ETHERNET, packet)
    assert (len(made.data), made.origlen) == (CAPLEN_MAX, CAPLEN_MAX + 14)


def test_no_origlen_is_too_long() -> None:
    longest = (1 << 32) - 1
    assert one(RAW, ETHERNET, Packet(0, longest, ipv4(40))).origlen == longest


# Both ways of making them.

PACKETS = st.one_of(
    st.integers(20, 200).map(ipv4),
    st.integers(40, 200).map(ipv6),
    st.builds(lambda n, kept: ipv4(n)[:kept], st.integers(20, 99), st.integers(1, 99)),
    st.binary(min_size=1, max_size=60),
)
EXTRAS = st.lists(
    st.one_of(
        st.just([(Attribute.NFULA_MARK, b"\0\0\0\7")]),
        st.just(hardware(HEADER)),
        st.just(hardware(HEADER, 772)),
        st.integers(0, 0xFFFF).map(lambda number: [vlan(number)]),
        st.binary(max_size=20).map(lambda text: [(Attribute.NFULA_PREFIX, text)]),
    ),
    max_size=4,
)


@bounded
@given(st.lists(st.tuples(PACKETS, EXTRAS), max_size=5))
def test_what_is_relinked_is_what_the_sender_would_have_written(
    packets: list[tuple[bytes, list[list[tuple[int, bytes]]]]],
) -> None:
    datagram = b"".join(
        logged(packet, seq=n, extra=[one for extra in extras for one in extra])
        for n, (packet, extras) in enumerate(packets)
    )
    as_nflog = Parser(0, linktype=NFLOG).parse(datagram).records
    count = count_records(as_nflog)
    for target in (RAW, ETHERNET):
        written = Parser(0, linktype=target).parse(datagram).records
        assert bytes(relink_records(as_nflog, count, NFLOG, target).records) == written


@bounded
@given(st.lists(st.binary(max_size=100), max_size=5), st.sampled_from([1, 101, 239]))
def test_any_octets_have_a_fate(packets: list[bytes], source: int) -> None:
    for target in (RAW, ETHERNET):
        if can_relink(source, target):
            relinked(source, target, *packets)
