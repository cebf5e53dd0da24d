"""What the parser makes of the kernel's messages as LINKTYPE_NFLOG and as Ethernet."""

import struct

import pytest

from nflog_ffi._nflog import lib
from tests.nflog_ffi.datagrams import (
    PACKET_MESSAGE,
    PAYLOAD_MAX,
    Attribute,
    attribute,
    done,
    ethernet,
    hardware,
    ipv4,
    ipv6,
    logged,
    message,
    packet_body,
    packet_message,
    vlan,
)
from tests.nflog_ffi.parsing import Parser

ETHERNET, RAW, NFLOG = 1, 101, 239
LINKTYPES = [RAW, NFLOG, ETHERNET]

BRIDGE = 7  # NFPROTO_BRIDGE
LOOPBACK = 772  # ARPHRD_LOOPBACK

HEADER = ethernet()
MADE_V4 = ethernet(bytes(6), bytes(6), 0x0800)
MADE_V6 = ethernet(bytes(6), bytes(6), 0x86DD)


def packet_hdr(ethertype: int = 0x0800, hook: int = 1) -> tuple[int, bytes]:
    return Attribute.NFULA_PACKET_HDR, struct.pack("!HBx", ethertype, hook)


def payload(packet: bytes) -> tuple[int, bytes]:
    return Attribute.NFULA_PAYLOAD, packet


def in_record(packet: bytes) -> bytes:
    """As a record of LINKTYPE_NFLOG has it: whatever the machine, little-endian."""
    return packet + bytes(-len(packet) % 4)


class TestNflog:
    def test_a_record_is_all_that_the_kernel_says_and_ends_with_the_payload(
        self,
    ) -> None:
        attributes = [
            packet_hdr(),
            (Attribute.NFULA_PREFIX, b"web: \0"),
            (Attribute.NFULA_MARK, struct.pack("!I", 7)),
            *hardware(HEADER),
            (Attribute.NFULA_SEQ, struct.pack("!I", 0)),
            payload(ipv4(41)),
        ]
        parser = Parser(5, linktype=NFLOG)
        (packet,) = parser.parse(packet_message(5, attributes, family=2)).packets
        assert packet.data == packet_body(5, attributes, family=2)
        assert packet.data.endswith(in_record(ipv4(41)))
        assert packet.data[:4] == b"\2\0\0\5"
        assert packet.origlen == len(packet.data)

    @pytest.mark.parametrize("octets", range(60, 64))
    def test_a_payload_is_padded_to_four_octets_as_libpcap_has_it(
        self, octets: int
    ) -> None:
        (packet,) = Parser(0, linktype=NFLOG).parse(logged(ipv4(octets))).packets
        assert packet.data.endswith(in_record(ipv4(octets)))
        assert len(packet.data) % 4 == 0

    @pytest.mark.parametrize("kept", [20, 40, 41, 99, 100])
    def test_what_the_kernel_cut_is_in_origlen_as_if_it_were_there(
        self, kept: int
    ) -> None:
        whole = Parser(0, linktype=NFLOG).parse(logged(ipv4(100))).packets[0]
        cut = logged(ipv4(kept, totlen=100))
        (packet,) = Parser(0, linktype=NFLOG).parse(cut).packets
        assert packet.origlen == whole.origlen == len(whole.data)
        assert len(packet.data) == len(whole.data) - 100 + (kept + 3 & ~3)

    def test_what_is_no_ip_has_a_record_too(self) -> None:
        arp = bytes(28)
        datagram = packet_message(0, [packet_hdr(0x0806), payload(arp)], family=3)
        (packet,) = Parser(0, linktype=NFLOG).parse(datagram).packets
        assert packet.data.endswith(arp)
        assert packet.origlen == len(packet.data)

    def test_what_is_no_ip_has_no_length_in_what_would_be_its_header(self) -> None:
        # Spanning tree begins with 0x42, as an IPv4 packet of 768 octets might.
        stp = b"\x42\x42\x03\x00" + bytes(31)
        datagram = packet_message(0, [packet_hdr(4), payload(stp)], family=BRIDGE)
        (packet,) = Parser(0, linktype=NFLOG).parse(datagram).packets
        assert packet.origlen == len(packet.data)

    def test_what_follows_the_payload_is_left_out(self) -> None:
        before = [packet_hdr(), payload(ipv4(20))]
        datagram = packet_message(0, [*before, (Attribute.NFULA_MARK, bytes(4))])
        (packet,) = Parser(0, linktype=NFLOG).parse(datagram).packets
        assert packet.data == packet_body(0, before)

    def test_a_payload_without_its_padding_is_malformed(self) -> None:
        parser = Parser(0, linktype=NFLOG)
        short = bytes(4) + attribute(Attribute.NFULA_PAYLOAD, ipv4(41))[:-3]
        assert parser.parse(message(PACKET_MESSAGE, short)[:-3]).packets == []
        assert parser.counts() == {"malformed": 1}

    def test_more_said_than_any_kernel_says_is_malformed(self) -> None:
        long = (Attribute.NFULA_PREFIX, bytes(lib.NFLOG_METADATA_MAX))
        parser = Parser(0, linktype=NFLOG)
        assert parser.parse(packet_message(0, [long, payload(ipv4(40))])).packets == []
        assert parser.counts() == {"malformed": 1}


class TestEthernet:
    def test_a_packet_gets_its_own_header_back(self) -> None:
        parser = Parser(0, linktype=ETHERNET)
        (packet,) = parser.parse(logged(ipv4(40), extra=hardware(HEADER))).packets
        assert packet.data == HEADER + ipv4(40)
        assert packet.origlen == 54

    def test_a_header_that_reaches_into_the_packet_gives_what_is_header_of_it(
        self,
    ) -> None:
        # A VLAN device reserves 18 octets, of which the tag is gone.
        extra = hardware(HEADER + ipv4(40)[:4])
        (packet,) = (
            Parser(0, linktype=ETHERNET).parse(logged(ipv4(40), extra=extra)).packets
        )
        assert packet.data == HEADER + ipv4(40)

    @pytest.mark.parametrize(
        "extra",
        [
            [],
            hardware(bytes(range(14)), LOOPBACK),
            hardware(bytes(range(14)), 65534),
            hardware(b""),
            hardware(HEADER[:13]),
        ],
        ids=["none", "of loopback", "of a tunnel", "empty", "short"],
    )
    @pytest.mark.parametrize(
        ("ip", "made"), [(ipv4(40), MADE_V4), (ipv6(60), MADE_V6)], ids=["IPv4", "IPv6"]
    )
    def test_a_packet_without_an_ethernet_header_gets_one_by_its_ip_version(
        self, ip: bytes, made: bytes, extra: list[tuple[int, bytes]]
    ) -> None:
        (packet,) = Parser(0, linktype=ETHERNET).parse(logged(ip, extra=extra)).packets
        assert packet.data == made + ip
        assert packet.origlen == len(packet.data)

    def test_a_vlan_tag_goes_back_to_where_it_was(self) -> None:
        extra = [*hardware(HEADER), vlan(0x6005)]
        (packet,) = (
            Parser(0, linktype=ETHERNET).parse(logged(ipv4(40), extra=extra)).packets
        )
        tag = struct.pack("!HH", 0x8100, 0x6005)
        assert packet.data == HEADER[:12] + tag + HEADER[12:] + ipv4(40)
        assert packet.origlen == 58

    @pytest.mark.parametrize("missing", [slice(0, 8), slice(8, 16)])
    def test_half_a_vlan_tag_is_none(self, missing: slice) -> None:
        kind, value = vlan(5)
        half = value[: missing.start] + value[missing.stop :]
        extra = [*hardware(HEADER), (kind, half)]
        (packet,) = (
            Parser(0, linktype=ETHERNET).parse(logged(ipv4(40), extra=extra)).packets
        )
        assert packet.data == HEADER + ipv4(40)

    def test_on_a_bridge_what_goes_out_has_its_header_as_well(self) -> None:
        attributes = [
            packet_hdr(),
            (Attribute.NFULA_L2HDR, HEADER),
            payload(ipv4(40)),
        ]
        for family, header in ((BRIDGE, HEADER), (2, MADE_V4)):
            datagram = packet_message(0, attributes, family=family)
            (packet,) = Parser(0, linktype=ETHERNET).parse(datagram).packets
            assert packet.data == header + ipv4(40)

    def test_arp_is_a_frame_of_its_ethertype(self) -> None:
        arp = bytes(28)
        for extra, start in ((hardware(HEADER), HEADER[:12]), ([], bytes(12))):
            datagram = packet_message(0, [packet_hdr(0x0806), *extra, payload(arp)], 3)
            (packet,) = Parser(0, linktype=ETHERNET).parse(datagram).packets
            assert packet.data == start + b"\x08\x06" + arp
            assert packet.origlen == 42

    def test_a_frame_with_a_length_for_an_ethertype_keeps_it(self) -> None:
        stp = b"\x42\x42\x03\x00" + bytes(31)
        header = ethernet(ethertype=len(stp))
        attributes = [packet_hdr(4), *hardware(header), payload(stp)]
        (packet,) = (
            Parser(0, linktype=ETHERNET)
            .parse(packet_message(0, attributes, BRIDGE))
            .packets
        )
        assert (packet.data, packet.origlen) == (header + stp, 49)

    def test_what_nothing_tells_of_has_no_record(self) -> None:
        parser = Parser(0, linktype=ETHERNET)
        datagram = packet_message(0, [packet_hdr(4), payload(bytes(40))])
        assert parser.parse(datagram).packets == []
        assert parser.counts() == {"received": 1, "not_ip": 1}

    def test_a_header_that_would_not_fit_before_the_packet_is_malformed(self) -> None:
        # No kernel says so little; in place it would write over what is still to come.
        parser = Parser(0, linktype=ETHERNET)
        assert parser.parse(packet_message(0, [payload(ipv4(40))])).packets == []
        assert parser.counts() == {"malformed": 1}

    @pytest.mark.parametrize("kept", [4, 20, 63])
    def test_what_the_kernel_cut_is_in_origlen(self, kept: int) -> None:
        cut = logged(ipv4(kept, totlen=1500), extra=hardware(HEADER))
        (packet,) = Parser(0, linktype=ETHERNET).parse(cut).packets
        assert (len(packet.data), packet.origlen) == (14 + kept, 1514)


class TestAll:
    @pytest.mark.parametrize("linktype", LINKTYPES)
    @pytest.mark.parametrize("packet", [None, b""], ids=["none", "empty"])
    def test_a_packet_without_payload_has_no_record(
        self, packet: bytes | None, linktype: int
    ) -> None:
        parser = Parser(0, linktype=linktype)
        assert parser.parse(logged(packet)).packets == []
        assert parser.counts() == {"received": 1, "not_ip": 1}

    @pytest.mark.parametrize("linktype", LINKTYPES)
    @pytest.mark.parametrize(
        ("cut", "missing"),
        [(ipv4(1500)[:4], 1496), (ipv6(1500)[:6], 1494)],
        ids=["IPv4", "IPv6"],
    )
    def test_origlen_needs_no_more_of_the_ip_header_than_its_length(
        self, cut: bytes, missing: int, linktype: int
    ) -> None:
        (packet,) = Parser(0, linktype=linktype).parse(logged(cut)).packets
        lost = packet.origlen - len(packet.data)
        # Of padded payloads the whole one may have less padding.
        assert lost == missing or (linktype == NFLOG and abs(lost - missing) < 4)

    @pytest.mark.parametrize("linktype", LINKTYPES)
    @pytest.mark.parametrize("cut", [ipv4(40)[:3], ipv6(60)[:5], b"\x45"])
    def test_without_that_origlen_is_what_is_there(
        self, cut: bytes, linktype: int
    ) -> None:
        (packet,) = Parser(0, linktype=linktype).parse(logged(cut)).packets
        assert packet.origlen == len(packet.data)

    @pytest.mark.parametrize("linktype", LINKTYPES)
    def test_groups_share_a_link_type(self, linktype: int) -> None:
        parser = Parser(1, 2, linktype=linktype)
        datagram = logged(ipv4(40), group=1) + logged(ipv6(60), group=2) + done()
        assert len(parser.parse(datagram).packets) == 2
        assert parser.counts() == {"received": 2, "stamped_here": 2}

    @pytest.mark.parametrize("linktype", LINKTYPES)
    def test_the_longest_packet_fits_the_smallest_buffer_there_may_be(
        self, linktype: int
    ) -> None:
        parser = Parser(0, linktype=linktype)
        datagram = logged(ipv4(PAYLOAD_MAX), extra=hardware(HEADER))
        parsed = parser.parse(datagram, capacity=lib.NFLOG_CAPACITY_MIN)
        assert (len(parsed.packets), parsed.taken) == (1, len(datagram))

    @pytest.mark.parametrize("linktype", LINKTYPES)
    def test_what_does_not_fit_is_taken_by_the_next_call(self, linktype: int) -> None:
        parser = Parser(0, linktype=linktype)
        datagram = logged(ipv4(40), seq=0) + logged(ipv4(40), seq=1)
        parsed = parser.parse(datagram, capacity=170)
        assert len(parsed.packets) == 1 + (linktype != NFLOG)
        rest = parser.parse(datagram[parsed.taken :])
        assert len(parsed.packets) + len(rest.packets) == 2
        assert parser.counts() == {"received": 2, "stamped_here": 2}
