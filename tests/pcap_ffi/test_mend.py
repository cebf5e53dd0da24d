"""Packets come out as the network card would have sent them, by a model in Python; and
nothing that only looks broken is mended."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_ffi import Mender, count_records
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Packet
from tests.pcap_ffi.wire import ACK, CWR, FIN, PSH, RST, SYN, TCP, UDP, Segment
from tests.support.records import records_of

ETHERNET, RAW, SLL, NFLOG = 1, 101, 113, 239
MTU = 1500
TIME_NS = 1_700_000_000_123_456_789

FIX = Mender(fix=True, mtu=None)
SPLIT = Mender(fix=False, mtu=MTU)
BOTH = Mender(fix=True, mtu=MTU)

# Hop-by-hop and destination options, and an atomic fragment's header.
PADDING = (0, b"\x00\x01\x04" + bytes(4))
DESTINATION = (60, b"\x01\x01\x0c" + bytes(12))
ATOMIC = (44, b"\0\0\0" + b"\1\2\3\4")

text = st.binary(min_size=0, max_size=200)
segments = st.builds(
    Segment,
    version=st.just(4),
    protocol=st.sampled_from((TCP, UDP)),
    payload=text,
    ident=st.integers(0, 0xFFFF),
    sequence=st.integers(0, (1 << 32) - 1),
) | st.builds(
    Segment,
    version=st.just(6),
    protocol=st.sampled_from((TCP, UDP)),
    payload=text,
    extensions=st.lists(
        st.sampled_from((PADDING, DESTINATION, ATOMIC)), max_size=3
    ).map(tuple),
)


def super_packet(octets: int = 4000, **fields: object) -> Segment:
    """Its payload tells every octet's place."""
    payload = b"".join(struct.pack(">I", at) for at in range(octets // 4 + 1))[:octets]
    made = {"version": 4, "protocol": TCP, "payload": payload, **fields}
    return Segment(**made)  # type: ignore[arg-type]


def packet_of(octets: bytes, missing: int = 0) -> Packet:
    return Packet(TIME_NS, len(octets) + missing, octets)


def mended(
    mender: Mender, *packets: bytes | Packet, linktype: int = RAW
) -> list[Packet]:
    """What comes out, in order."""
    given = [p if isinstance(p, Packet) else packet_of(p) for p in packets]
    found = mender.mend(records_of(given), linktype)
    count_records(found.records)
    return list(iter_packets(found.records))


def octets_of(
    mender: Mender, *packets: bytes | Packet, linktype: int = RAW
) -> list[bytes]:
    return [packet.data for packet in mended(mender, *packets, linktype=linktype)]


def is_untouched(mender: Mender, *packets: bytes | Packet, linktype: int = RAW) -> bool:
    given = [p if isinstance(p, Packet) else packet_of(p) for p in packets]
    records = records_of(given)
    return mender.mend(records, linktype).records is records


# What is to stay as it is.


def test_a_corrupt_checksum_stays_corrupt() -> None:
    octets = bytearray(super_packet(100).encoded(finished=True))
    octets[-1] ^= 1
    assert is_untouched(BOTH, bytes(octets))


def test_a_sum_that_is_off_by_one_is_corrupt_and_no_unfinished_one() -> None:
    octets = bytearray(super_packet(100).encoded(finished=False))
    octets[37] ^= 1
    assert is_untouched(FIX, bytes(octets))


def test_a_corrupt_packet_above_the_mtu_is_not_made_whole_by_splitting_it() -> None:
    octets = bytearray(super_packet().encoded(finished=True))
    octets[-1] ^= 1
    found = BOTH.mend(records_of([packet_of(bytes(octets))]), RAW)
    assert bytes(found.records) == records_of([packet_of(bytes(octets))])
    assert found.unsegmented == 1


def test_udp_without_a_checksum_stays_without() -> None:
    octets = bytearray(super_packet(100, protocol=UDP).encoded(finished=False))
    octets[26:28] = b"\0\0"
    assert is_untouched(BOTH, bytes(octets))


def test_a_fragment_stays_as_it_is() -> None:
    for field in (b"\x20\x00", b"\x00\x05"):
        octets = bytearray(super_packet(100).encoded(finished=False))
        octets[6:8] = field
        assert is_untouched(FIX, bytes(octets))
    fragment = (44, b"\0\0\1" + b"\1\2\3\4")
    octets_v6 = super_packet(100, version=6, extensions=(fragment,))
    assert is_untouched(FIX, octets_v6.encoded(finished=False))


def test_what_was_cut_off_is_counted_and_stays_unfinished() -> None:
    whole = super_packet(400)
    cut = replace(whole, missing=1).encoded(finished=False)
    records = records_of([packet_of(cut, 1)])
    found = FIX.mend(records, RAW)
    assert found.records is records
    assert (found.fixed, found.unfixed) == (0, 1)


@pytest.mark.parametrize("flag", [SYN, RST])
def test_what_no_offload_splits_is_left_whole(flag: int) -> None:
    octets = super_packet(flags=flag | ACK).encoded(finished=False)
    assert SPLIT.mend(records_of([packet_of(octets)]), RAW).unsegmented == 1
    assert is_untouched(SPLIT, octets)


def test_a_long_datagram_that_would_have_become_fragments_is_left_whole() -> None:
    """Its checksum is whole: the kernel finishes those itself."""
    octets = super_packet(protocol=UDP).encoded(finished=True)
    assert SPLIT.mend(records_of([packet_of(octets)]), RAW).unsegmented == 1
    assert is_untouched(SPLIT, octets)


def test_a_packet_of_just_the_mtu_is_not_split() -> None:
    octets = super_packet(MTU - 40).encoded(finished=True)
    assert len(octets) == MTU
    assert is_untouched(SPLIT, octets)


def test_a_packet_within_a_large_mtu_is_not_split() -> None:
    octets = super_packet(8_000).encoded(finished=True)
    assert is_untouched(Mender(fix=False, mtu=9000), octets)


def test_an_unknown_link_type_is_left_alone() -> None:
    assert is_untouched(BOTH, super_packet().encoded(finished=False), linktype=147)


def test_whatever_is_whole_is_not_even_copied() -> None:
    packets = [
        super_packet(100, version=version, protocol=protocol).encoded(finished=True)
        for version in (4, 6)
        for protocol in (TCP, UDP)
    ]
    assert is_untouched(BOTH, *packets)


# Checksums.


@settings(deadline=None)
@given(segments)
def test_an_unfinished_checksum_is_finished_as_by_the_model(segment: Segment) -> None:
    given = segment.encoded(finished=False)
    assert octets_of(FIX, given) == [segment.encoded(finished=True)]


@settings(deadline=None)
@given(segments)
def test_a_finished_checksum_is_left(segment: Segment) -> None:
    assert is_untouched(FIX, segment.encoded(finished=True))


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_udp_says_no_checksum_otherwise_than_tcp(protocol: int) -> None:
    """A checksum of 0 is written as 65535 in UDP, where 0 means that there is none."""
    plain = super_packet(2, protocol=protocol)
    for number in range(1 << 16):
        segment = replace(plain, payload=number.to_bytes(2))
        whole = segment.encoded(finished=True)
        at = 26 if protocol == UDP else 36
        if whole[at : at + 2] in (b"\0\0", b"\xff\xff"):
            break
    assert octets_of(FIX, segment.encoded(finished=False)) == [whole]


def test_an_ip_header_without_its_checksum_gets_it() -> None:
    whole = super_packet(100).encoded(finished=True)
    without = whole[:10] + b"\0\0" + whole[12:]
    assert octets_of(FIX, without) == [whole]
    icmp = super_packet(100, protocol=1).encoded(finished=True)
    assert octets_of(FIX, icmp[:10] + b"\0\0" + icmp[12:]) == [icmp]


def test_a_wrong_ip_header_checksum_stays_wrong() -> None:
    whole = super_packet(100).encoded(finished=True)
    assert is_untouched(FIX, whole[:10] + b"\0\1" + whole[12:])


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_in_a_packet_gets_its_checksum(outer: int, version: int) -> None:
    inner = super_packet(100, version=version)
    header = super_packet(version=outer, protocol=4 if version == 4 else 41)
    tunnel = header.ip_header(len(inner.encoded(finished=True)))
    given = tunnel + inner.encoded(finished=False)
    assert octets_of(FIX, given) == [tunnel + inner.encoded(finished=True)]


def test_segment_routing_is_summed_with_the_last_address() -> None:
    whole = super_packet(64, version=6)
    last = whole.destination
    routing = (43, b"\x02\x04\x01\x00\x00\x00\x00" + last)
    routed = replace(whole, extensions=(routing,))
    header = bytearray(routed.ip_header(len(whole.encoded(finished=True)) - 40))
    header[24:40] = b"\xfe" + bytes(15)
    given = bytes(header) + whole.encoded(finished=False)[40:]
    expected = bytes(header) + whole.encoded(finished=True)[40:]
    assert octets_of(FIX, given) == [expected]


def test_padding_behind_a_packet_is_no_part_of_it() -> None:
    whole = super_packet(2, link=bytes(12) + b"\x08\x00")
    padding = b"\xaa" * 5
    given = whole.encoded(finished=False) + padding
    expected = whole.encoded(finished=True) + padding
    assert octets_of(FIX, given, linktype=ETHERNET) == [expected]


# Link types.

LINKS = {
    "ethernet": (ETHERNET, bytes(12) + b"\x08\x00"),
    "vlan": (ETHERNET, bytes(12) + b"\x81\x00\x00\x05\x08\x00"),
    "two vlans": (ETHERNET, bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x00"),
    "cooked": (SLL, bytes(14) + b"\x08\x00"),
}


@pytest.mark.parametrize(("linktype", "link"), LINKS.values(), ids=LINKS)
def test_a_packet_is_found_behind_its_link(linktype: int, link: bytes) -> None:
    segment = super_packet(link=link)
    given = segment.encoded(finished=False)
    assert octets_of(FIX, given, linktype=linktype) == [segment.encoded(finished=True)]
    assert octets_of(SPLIT, given, linktype=linktype) == [
        made.encoded(finished=True) for made in segment.segments(MTU)
    ]


def tlv(kind: int, value: bytes) -> bytes:
    padding = bytes(-len(value) % 4)
    return struct.pack("<HH", 4 + len(value), kind) + value + padding


def nflog(packet: bytes, after: bytes = b"") -> bytes:
    """As LINKTYPE_NFLOG has it; a prefix before the payload."""
    return b"\x02\0\0\x05" + tlv(10, b"prefix\0") + tlv(9, packet) + after


def test_every_segment_keeps_what_the_kernel_said_of_its_packet() -> None:
    segment = super_packet(4_001)
    after = tlv(11, b"\0\0\0\1")
    given = nflog(segment.encoded(finished=False), after)
    expected = [
        nflog(made.encoded(finished=True), after) for made in segment.segments(MTU)
    ]
    assert octets_of(BOTH, given, linktype=NFLOG) == expected
    assert [packet.origlen for packet in mended(BOTH, given, linktype=NFLOG)] == [
        len(octets) for octets in expected
    ]


def test_much_behind_the_packet_is_not_put_into_every_segment() -> None:
    segment = super_packet(40_001)
    given = nflog(segment.encoded(finished=False), tlv(11, bytes(60_000)))
    (kept,) = octets_of(BOTH, given, linktype=NFLOG)
    assert len(kept) == len(given)


# Segments.

super_packets = st.builds(
    super_packet,
    octets=st.integers(1500, 65_000),
    version=st.sampled_from((4, 6)),
    flags=st.integers(0, 255).map(lambda flags: flags & ~(SYN | RST)),
    sequence=st.integers(0, (1 << 32) - 1),
    ident=st.integers(0, 0xFFFF),
    options=st.sampled_from((b"", b"\1\1\x08\x0a" + bytes(8))),
)


@settings(deadline=None, max_examples=60)
@given(super_packets, st.integers(576, 9000), st.booleans())
def test_super_packets_are_split_as_by_the_model(
    segment: Segment, mtu: int, finished: bool
) -> None:
    given = segment.encoded(finished=finished)
    expected = [made.encoded(finished=True) for made in segment.segments(mtu)]
    if len(given) <= mtu:
        expected = [given]
    assert octets_of(Mender(fix=False, mtu=mtu), given) == expected


@settings(deadline=None, max_examples=60)
@given(super_packets, st.integers(576, 9000), st.data())
def test_of_what_was_cut_off_no_segments_are_made_and_no_octet_is_lost(
    segment: Segment, mtu: int, data: st.DataObject
) -> None:
    missing = data.draw(st.integers(1, len(segment.payload)))
    cut = replace(segment, missing=missing)
    given = Packet(
        TIME_NS, len(segment.encoded(finished=False)), cut.encoded(finished=False)
    )
    found = mended(Mender(fix=True, mtu=mtu), given)
    size = mtu - segment.headers
    if len(segment.payload) - missing < size or given.origlen <= mtu:
        assert found == [given]
        return
    expected = cut.segments(mtu)
    *whole, last = [made.encoded(finished=True) for made in expected]
    assert [packet.data for packet in found[:-1]] == whole
    assert found[-1].data == expected[-1].encoded(finished=False)
    assert found[-1].origlen == len(last) + missing
    wire = sum(packet.origlen - segment.headers for packet in found)
    assert wire == len(segment.payload)


def test_flags_are_where_they_belong() -> None:
    segment = super_packet(3 * 1460, flags=ACK | PSH | FIN | CWR)
    flags = [octets[33] for octets in octets_of(SPLIT, segment.encoded(finished=False))]
    assert flags == [ACK | CWR, ACK, ACK | PSH | FIN]


def test_identifications_go_on_past_the_last_one() -> None:
    segment = super_packet(3 * 1460, ident=0xFFFE)
    idents = [
        octets[4:6] for octets in octets_of(SPLIT, segment.encoded(finished=True))
    ]
    assert idents == [b"\xff\xfe", b"\xff\xff", b"\0\0"]


def test_a_datagram_of_segmentation_offload_becomes_datagrams_of_one_size() -> None:
    for version in (4, 6):
        segment = super_packet(5_000, protocol=UDP, version=version)
        expected = [made.encoded(finished=True) for made in segment.segments(MTU)]
        assert octets_of(SPLIT, segment.encoded(finished=False)) == expected


def test_extension_headers_are_in_every_segment() -> None:
    segment = super_packet(version=6, extensions=(PADDING, DESTINATION))
    expected = [made.encoded(finished=True) for made in segment.segments(MTU)]
    assert octets_of(SPLIT, segment.encoded(finished=False)) == expected


def test_segments_have_the_time_of_their_packet() -> None:
    found = mended(SPLIT, super_packet().encoded(finished=False))
    assert {packet.ts_ns for packet in found} == {TIME_NS}


def test_what_was_split_is_told_by_its_place() -> None:
    small = packet_of(super_packet(10).encoded(finished=True))
    large = packet_of(super_packet(4000).encoded(finished=False))
    found = BOTH.mend(records_of([small, large, small, small, large]), RAW)
    assert list(found.splits) == [(1, 3), (6, 3)]
    assert found.segments == 6


# BIG TCP: no room for the length in the header.


def big(octets: int, version: int, *, jumbo: bool = False) -> tuple[bytes, Segment]:
    """As the kernel has it, and the same as one packet of the model's."""
    segment = super_packet(octets, version=version)
    plain = segment.transport(0, segment.payload)
    checksum = int.from_bytes(
        (_folded(segment.pseudo(len(plain) + 8 * jumbo))).to_bytes(2), "big"
    )
    header = bytearray(segment.ip_header(0))
    if version == 4:
        header[2:4] = b"\0\0"
        header[10:12] = b"\0\0"
        header[10:12] = (_folded(bytes(header)) ^ 0xFFFF).to_bytes(2)
    else:
        header[4:6] = b"\0\0"
    if jumbo:
        header[6] = 0
        header += b"\x06\0\xc2\x04" + (len(plain) + 8).to_bytes(4)
    return bytes(header) + segment.transport(checksum, segment.payload), segment


def _folded(octets: bytes) -> int:
    total = sum(int.from_bytes(octets[at : at + 2]) for at in range(0, len(octets), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(
    ("version", "jumbo"), [(4, False), (6, False), (6, True)], ids=str
)
def test_big_tcp_is_split(version: int, jumbo: bool) -> None:
    octets, segment = big(150_000, version, jumbo=jumbo)
    expected = [made.encoded(finished=True) for made in segment.segments(MTU)]
    assert octets_of(SPLIT, octets) == expected


@pytest.mark.parametrize("version", [4, 6])
def test_a_length_that_is_missing_is_put_where_it_has_room(version: int) -> None:
    octets, segment = big(30_000, version)
    assert octets_of(FIX, octets) == [segment.encoded(finished=True)]


@pytest.mark.parametrize("version", [4, 6])
def test_a_length_that_has_no_room_stays_missing_and_is_counted(version: int) -> None:
    octets, _ = big(150_000, version)
    assert is_untouched(FIX, octets)
    assert FIX.mend(records_of([packet_of(octets)]), RAW).unfixed == 1


def test_big_tcp_as_nflog_cuts_it_is_as_long_as_what_is_there() -> None:
    octets, segment = big(150_000, 6, jumbo=True)
    cut = packet_of(octets[:65_531])
    shorter = replace(segment, payload=segment.payload[: 65_531 - 8 - 60])
    (found,) = mended(FIX, cut)
    assert found.data == shorter.encoded(finished=True)
    # The option knew better how long it was.
    assert found.origlen == len(octets) - 8
    *whole, last = mended(SPLIT, cut)
    assert all(len(packet.data) == MTU for packet in whole)
    assert sum(packet.origlen - 60 for packet in (*whole, last)) == 150_000


# Whatever comes.


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.binary(max_size=100), max_size=4),
    st.sampled_from((ETHERNET, RAW, SLL, 228, 229, NFLOG, 276)),
)
def test_any_octets_are_records_afterwards(packets: list[bytes], linktype: int) -> None:
    mended(BOTH, *packets, linktype=linktype)


@settings(deadline=None, max_examples=200)
@given(segments, st.data())
def test_any_octet_of_a_packet_may_be_any_other(
    segment: Segment, data: st.DataObject
) -> None:
    octets = bytearray(segment.encoded(finished=False))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(
            st.integers(0, 255)
        )
    found = mended(BOTH, bytes(octets))
    assert len(found) == 1
    assert len(found[0].data) == len(octets)


def test_records_that_may_not_be_written_are_not() -> None:
    records = records_of([packet_of(super_packet(100).encoded(finished=False))])
    before = bytes(records)
    FIX.mend(memoryview(records), RAW)
    assert records == before
