"""What the parser makes of the messages that the kernel sends."""

import struct

import pytest

from nflog_ffi import limits
from tests.nflog_ffi.datagrams import (
    CONFIG_MESSAGE,
    PACKET_MESSAGE,
    PAYLOAD_MAX,
    Attribute,
    Message,
    attribute,
    done,
    ipv4,
    ipv6,
    logged,
    message,
    packet_message,
)
from tests.nflog_ffi.parsing import NOW_NS, ROOMY, Parser

SEQ_END = 1 << 32


def test_nothing_gives_nothing() -> None:
    parser = Parser(0)
    parsed = parser.parse(b"")
    assert (parsed.records, parsed.taken, parser.counts()) == (b"", 0, {})


def test_a_packet_of_a_group_that_was_not_asked_for_is_malformed() -> None:
    parser = Parser(1, 3)
    assert parser.parse(logged(ipv4(40), group=2)).packets == []
    assert parser.counts() == {"malformed": 1}


def test_a_packet_for_a_parser_without_groups_is_malformed() -> None:
    parser = Parser()
    parser.parse(logged(ipv4(40)))
    assert parser.counts() == {"malformed": 1}


def test_a_packet_that_is_neither_ipv4_nor_ipv6_is_counted_and_makes_no_record() -> (
    None
):
    parser = Parser(0)
    assert parser.parse(logged(b"\x00" * 40)).packets == []
    assert parser.counts() == {"received": 1, "not_ip": 1}


def test_a_packet_without_payload_is_counted_and_makes_no_record() -> None:
    parser = Parser(0)
    assert parser.parse(logged(None)).packets == []
    assert parser.counts() == {"received": 1, "not_ip": 1}


def test_a_packet_with_an_empty_payload_is_counted_and_makes_no_record() -> None:
    parser = Parser(0)
    assert parser.parse(logged(b"")).packets == []
    assert parser.counts() == {"received": 1, "not_ip": 1}


@pytest.mark.parametrize(
    ("packet", "origlen"),
    [(ipv4(20)[:19], 20), (ipv6(41)[:39], 41), (b"\x45", 1), (b"\x60", 1)],
    ids=["IPv4", "IPv6", "one octet of IPv4", "one octet of IPv6"],
)
def test_a_packet_cut_within_its_ip_header_is_as_long_as_what_is_left_of_that_tells(
    packet: bytes, origlen: int
) -> None:
    (kept,) = Parser(0).parse(logged(packet)).packets
    assert (kept.data, kept.origlen) == (packet, origlen)


def test_a_packet_that_is_not_ip_is_no_gap_in_the_sequence() -> None:
    parser = Parser(0)
    parser.parse(
        logged(ipv4(40), seq=0) + logged(b"\0" * 9, seq=1) + logged(ipv4(40), seq=2)
    )
    assert parser.counts() == {"received": 3, "not_ip": 1, "stamped_here": 2}


def test_a_message_of_another_kind_is_malformed() -> None:
    parser = Parser(0)
    parser.parse(message(CONFIG_MESSAGE, bytes(4)))
    assert parser.counts() == {"malformed": 1}


def test_a_packet_message_too_short_to_name_a_group_is_malformed() -> None:
    parser = Parser(0)
    parser.parse(message(PACKET_MESSAGE, bytes(3)) + logged(ipv4(40)))
    assert parser.counts() == {"malformed": 1, "received": 1, "stamped_here": 1}


def test_an_attribute_with_too_few_octets_makes_the_packet_malformed() -> None:
    parser = Parser(0)
    short = packet_message(
        0, [(Attribute.NFULA_SEQ, b"\0\0"), (Attribute.NFULA_PAYLOAD, ipv4(40))]
    )
    assert parser.parse(short).packets == []
    assert parser.counts() == {"malformed": 1}


def test_a_malformed_packet_harms_none_before_or_after_it() -> None:
    parser = Parser(0)
    parsed = parser.parse(
        logged(ipv4(40), seq=0) + logged(ipv4(41), group=9) + logged(ipv4(42), seq=1)
    )
    assert [packet.origlen for packet in parsed.packets] == [40, 42]


@pytest.mark.parametrize("kind", list(Message)[:-1], ids=lambda kind: kind.name)
def test_netlinks_own_messages_are_passed_over(kind: Message) -> None:
    parser = Parser(0)
    parsed = parser.parse(message(kind, bytes(20)) + logged(ipv4(40)) + done())
    assert len(parsed.packets) == 1
    assert parser.counts() == {"received": 1, "stamped_here": 1}


def test_one_packet_becomes_one_record() -> None:
    parser = Parser(0)
    datagram = logged(ipv4(40)) + done()
    parsed = parser.parse(datagram)
    (packet,) = parsed.packets
    assert (packet.data, packet.origlen) == (ipv4(40), 40)
    assert parsed.taken == len(datagram)


def test_many_packets_become_records_in_their_order() -> None:
    packets = [ipv4(20 + n) for n in range(300)]
    datagram = b"".join(logged(packet, seq=n) for n, packet in enumerate(packets))
    parser = Parser(0)
    parsed = parser.parse(datagram + done())
    assert [packet.data for packet in parsed.packets] == packets
    assert parser.counts() == {"received": 300, "stamped_here": 300}


def test_records_go_after_those_that_the_buffer_holds_already() -> None:
    parser = Parser(0)
    first = parser.parse(logged(ipv4(40), seq=0))
    both = parser.parse(logged(ipv6(60), seq=1), before=first.records)
    assert [packet.data for packet in both.packets] == [ipv4(40), ipv6(60)]


def test_groups_are_numbered_each_by_itself() -> None:
    groups = (0, 7, 8, 300, 0xFFFF)
    parser = Parser(*groups)
    datagrams = [logged(ipv4(40), seq=n, group=g) for n in range(4) for g in groups]
    assert len(parser.parse(b"".join(datagrams)).packets) == 20
    assert parser.counts() == {"received": 20, "stamped_here": 20}


def test_the_last_message_may_lack_its_padding() -> None:
    parser = Parser(0)
    payload = attribute(Attribute.NFULA_PAYLOAD, ipv4(41))[:-3]
    datagram = message(PACKET_MESSAGE, bytes(4) + payload)[:-3]
    parsed = parser.parse(datagram)
    assert (len(parsed.packets), parsed.taken) == (1, len(datagram))
    assert parser.counts() == {"received": 1, "stamped_here": 1}


class TestTime:
    def test_the_kernels_stamp_is_the_packets_time(self) -> None:
        parser = Parser(0)
        (packet,) = parser.parse(logged(ipv4(40), stamp=(1_700_000_000, 7))).packets
        assert packet.ts_ns == 1_700_000_000_000_007_000
        assert parser.counts() == {"received": 1, "stamped_by_kernel": 1}

    def test_a_packet_without_stamp_gets_the_time_of_reading_and_is_counted(
        self,
    ) -> None:
        parser = Parser(0)
        (packet,) = parser.parse(logged(ipv4(40))).packets
        assert packet.ts_ns == NOW_NS
        assert parser.counts() == {"received": 1, "stamped_here": 1}

    @pytest.mark.parametrize(
        "stamp",
        [(1 << 32, 0), (1, 1_000_000), (1 << 63, 0), (1, 1 << 63), (0, 0)],
        ids=["seconds", "microseconds", "huge seconds", "huge microseconds", "none"],
    )
    def test_a_stamp_that_no_record_can_hold_is_no_stamp(
        self, stamp: tuple[int, int]
    ) -> None:
        parser = Parser(0)
        (packet,) = parser.parse(logged(ipv4(40), stamp=stamp)).packets
        assert packet.ts_ns == NOW_NS
        assert parser.counts() == {"received": 1, "stamped_here": 1}

    def test_the_last_moment_that_a_record_can_hold_is_one(self) -> None:
        stamp = ((1 << 32) - 1, 999_999)
        (packet,) = Parser(0).parse(logged(ipv4(40), stamp=stamp)).packets
        assert packet.ts_ns == stamp[0] * 10**9 + 999_999_000

    def test_packets_of_one_datagram_may_be_stamped_and_not(self) -> None:
        parser = Parser(0)
        parser.parse(
            logged(ipv4(40), seq=0, stamp=(5, 0)) + logged(ipv4(40), seq=1) + done()
        )
        assert parser.counts() == {
            "received": 2,
            "stamped_by_kernel": 1,
            "stamped_here": 1,
        }


class TestOrigLen:
    @pytest.mark.parametrize("octets", [20, 21, 1500, 65_531])
    def test_of_a_whole_ipv4_packet_is_its_total_length(self, octets: int) -> None:
        (packet,) = Parser(0).parse(logged(ipv4(octets))).packets
        assert (packet.origlen, len(packet.data)) == (octets, octets)

    @pytest.mark.parametrize("octets", [40, 41, 1500, 65_531])
    def test_of_a_whole_ipv6_packet_counts_its_header_too(self, octets: int) -> None:
        (packet,) = Parser(0).parse(logged(ipv6(octets))).packets
        # A payload length of 0 is how a bare header looks: it is as long as it is.
        assert (packet.origlen, len(packet.data)) == (octets, octets)

    def test_of_a_cut_ipv4_packet_is_what_its_header_says(self) -> None:
        (packet,) = Parser(0).parse(logged(ipv4(96, totlen=328))).packets
        assert (packet.origlen, len(packet.data)) == (328, 96)

    def test_of_a_cut_ipv6_packet_is_what_its_header_says(self) -> None:
        (packet,) = Parser(0).parse(logged(ipv6(96, payload_length=65_535))).packets
        assert (packet.origlen, len(packet.data)) == (65_575, 96)

    @pytest.mark.parametrize(
        "packet",
        [ipv4(60_000, totlen=0), ipv6(60_000, payload_length=0)],
        ids=["IPv4", "IPv6"],
    )
    def test_of_big_tcp_is_what_was_kept_since_no_header_field_holds_it(
        self, packet: bytes
    ) -> None:
        (kept,) = Parser(0).parse(logged(packet)).packets
        assert (kept.origlen, len(kept.data)) == (60_000, 60_000)

    def test_is_never_below_what_was_kept(self) -> None:
        (packet,) = Parser(0).parse(logged(ipv4(60, totlen=20))).packets
        assert (packet.origlen, len(packet.data)) == (60, 60)

    def test_of_the_longest_packet_that_an_attribute_holds(self) -> None:
        parser = Parser(0)
        parsed = parser.parse(
            logged(ipv4(PAYLOAD_MAX)), capacity=limits.SNAPLEN.maximum + 16
        )
        assert limits.SNAPLEN.maximum == PAYLOAD_MAX
        assert [packet.data for packet in parsed.packets] == [ipv4(PAYLOAD_MAX)]


class TestSequence:
    def test_a_packet_without_number_is_no_gap(self) -> None:
        parser = Parser(0)
        parser.expect(0, 5)
        assert len(parser.parse(logged(ipv4(40), seq=None)).packets) == 1
        assert parser.counts() == {"received": 1, "stamped_here": 1}
        assert parser.next_seq(0) == 5

    def test_packets_lost_before_the_first_one_are_missed(self) -> None:
        parser = Parser(0)
        parser.parse(logged(ipv4(40), seq=3))
        assert parser.counts() == {
            "received": 1,
            "stamped_here": 1,
            "missed": 3,
            "gaps": 1,
        }

    def test_a_gap_counts_what_it_stands_for(self) -> None:
        parser = Parser(0)
        parser.parse(logged(ipv4(40), seq=0) + logged(ipv4(40), seq=2_728))
        assert parser.counts() == {
            "received": 2,
            "stamped_here": 2,
            "missed": 2_727,
            "gaps": 1,
        }

    def test_a_gap_in_one_group_is_none_in_another(self) -> None:
        parser = Parser(1, 2)
        parser.parse(
            logged(ipv4(40), seq=0, group=1)
            + logged(ipv4(40), seq=2, group=2)
            + logged(ipv4(40), seq=1, group=1)
        )
        assert (parser.counts()["missed"], parser.counts()["gaps"]) == (2, 1)

    def test_numbers_go_on_from_0_after_the_last_one(self) -> None:
        parser = Parser(0)
        parser.expect(0, SEQ_END - 1)
        parser.parse(logged(ipv4(40), seq=SEQ_END - 1) + logged(ipv4(40), seq=0))
        assert parser.counts() == {"received": 2, "stamped_here": 2}

    def test_a_gap_may_span_the_last_number(self) -> None:
        parser = Parser(0)
        parser.expect(0, SEQ_END - 2)
        parser.parse(logged(ipv4(40), seq=3))
        assert parser.counts()["missed"] == 5

    def test_the_longest_gap_is_half_of_all_numbers(self) -> None:
        parser = Parser(0)
        parser.parse(logged(ipv4(40), seq=SEQ_END // 2 - 1))
        assert parser.counts()["missed"] == SEQ_END // 2 - 1

    def test_a_step_back_is_malformed_and_keeps_the_packet_and_the_count(self) -> None:
        parser = Parser(0)
        parser.expect(0, 10)
        assert len(parser.parse(logged(ipv4(40), seq=4)).packets) == 1
        assert parser.counts() == {"received": 1, "stamped_here": 1, "malformed": 1}
        assert parser.next_seq(0) == 10

    def test_the_global_number_is_another_one(self) -> None:
        parser = Parser(0)
        extra = [(Attribute.NFULA_SEQ_GLOBAL, struct.pack("!I", 77))]
        parser.parse(logged(ipv4(40), seq=0, extra=extra))
        assert parser.counts() == {"received": 1, "stamped_here": 1}


class TestUnknownAttributes:
    @pytest.mark.parametrize("kind", [0, 22, 63, 64, 65, 0x3FFF])
    def test_of_any_type_are_passed_over(self, kind: int) -> None:
        parser = Parser(0)
        extra = [(kind, b"what is this")]
        (packet,) = parser.parse(logged(ipv4(40), extra=extra)).packets
        assert packet.data == ipv4(40)
        assert parser.counts() == {"received": 1, "stamped_here": 1}

    def test_flags_in_the_type_do_not_hide_what_it_is(self) -> None:
        nested = 1 << 15
        (packet,) = (
            Parser(0)
            .parse(packet_message(0, [(Attribute.NFULA_PAYLOAD | nested, ipv4(40))]))
            .packets
        )
        assert packet.data == ipv4(40)

    def test_of_two_payloads_one_becomes_the_packet(self) -> None:
        extra = [(int(Attribute.NFULA_PAYLOAD), ipv4(44))]
        parser = Parser(0)
        assert len(parser.parse(logged(ipv4(40), extra=extra)).packets) == 1
        assert parser.counts() == {"received": 1, "stamped_here": 1}


class TestFullBuffer:
    def test_what_does_not_fit_is_taken_by_the_next_call(self) -> None:
        datagram = logged(ipv4(40), seq=0) + logged(ipv4(50), seq=1) + done()
        parser = Parser(0)
        first = parser.parse(datagram, capacity=16 + 40 + 16 + 49)
        assert [packet.origlen for packet in first.packets] == [40]
        assert parser.counts() == {"received": 1, "stamped_here": 1}
        rest = parser.parse(datagram[first.taken :], capacity=16 + 50)
        assert [packet.origlen for packet in rest.packets] == [50]
        assert parser.counts() == {"received": 2, "stamped_here": 2}

    def test_a_gap_before_what_does_not_fit_is_counted_once(self) -> None:
        datagram = logged(ipv4(40), seq=8)
        parser = Parser(0)
        assert parser.parse(datagram, capacity=55).taken == 0
        assert parser.counts() == {}
        assert parser.parse(datagram, capacity=56).taken == len(datagram)
        assert parser.counts()["missed"] == 8

    def test_a_packet_that_makes_no_record_needs_no_room(self) -> None:
        datagram = logged(b"\0" * 40)
        parser = Parser(0)
        assert parser.parse(datagram, capacity=0).taken == len(datagram)
        assert parser.counts() == {"received": 1, "not_ip": 1}

    def test_a_record_may_fill_the_buffer_to_the_last_octet(self) -> None:
        datagram = logged(ipv4(40))
        parsed = Parser(0).parse(datagram, capacity=56)
        assert (len(parsed.records), parsed.taken) == (56, len(datagram))

    def test_the_longest_packet_fits_the_smallest_buffer_there_may_be(self) -> None:
        datagram = logged(ipv4(PAYLOAD_MAX))
        capacity = limits.SNAPLEN.maximum + 16
        assert capacity < ROOMY
        assert Parser(0).parse(datagram, capacity=capacity).taken == len(datagram)
