"""Of packets that are the same within a window of their own time, one is kept."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter_ffi import Dedup
from tests.filter_ffi.records import MS, START_NS, packets, record, records, seen
from tests.flow_ffi import packets as p
from tests.flow_ffi import test_fragments as fragments
from tests.support.properties import bounded

HTTPS, BACK = p.both(p.A4, p.B4, p.TCP, 40_000, 443)
HTTPS6, _ = p.both(p.A6, p.B6, p.UDP, 40_000, 443)
WINDOW_NS = 10 * MS


def altered(packet: bytes, at: int, value: int) -> bytes:
    octets = bytearray(packet)
    octets[at] = value
    return bytes(octets)


def are_same(
    one: bytes, other: bytes, linktype: int = p.RAW, other_linktype: int | None = None
) -> bool:
    dedup = Dedup(WINDOW_NS)
    assert dedup.keep(linktype, record(one), 1).count == 1
    if other_linktype is not None:
        linktype = other_linktype
    return dedup.keep(linktype, record(other), 1).dropped == 1


def times_kept(times_ns: list[int], window_ns: int = WINDOW_NS) -> list[int]:
    """Of one packet that comes at these times."""
    octets = b"".join(record(HTTPS, ts_ns=START_NS + time_ns) for time_ns in times_ns)
    left = Dedup(window_ns).keep(p.RAW, octets, len(times_ns))
    return [one.ts_ns - START_NS for one in seen(left.records)]


@pytest.mark.parametrize("window_ns", [-1, 1 << 63])
def test_a_window_that_cannot_be_is_refused(window_ns: int) -> None:
    with pytest.raises(ValueError, match="window"):
        Dedup(window_ns)


@pytest.mark.parametrize(
    ("octets", "count"),
    [(record(HTTPS)[:-1], 1), (record(HTTPS)[:15], 1), (record(HTTPS), 2)],
)
def test_what_is_not_so_many_records_is_refused(octets: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="whole packet records"):
        Dedup(WINDOW_NS).keep(p.RAW, octets, count)


def test_nothing_is_left_of_nothing() -> None:
    left = Dedup(WINDOW_NS).keep(p.RAW, b"", 0)
    assert (bytes(left.records), left.count, left.dropped) == (b"", 0, 0)


def test_a_batch_without_copies_is_not_copied() -> None:
    octets, count = records([HTTPS, BACK, HTTPS6])
    left = Dedup(WINDOW_NS).keep(p.RAW, octets, count)
    assert left.records is octets


def test_copies_are_dropped_and_counted() -> None:
    octets, count = records([HTTPS, BACK, HTTPS, HTTPS6, BACK])
    dedup = Dedup(WINDOW_NS)
    left = dedup.keep(p.RAW, octets, count)
    assert packets(left.records) == [HTTPS, BACK, HTTPS6]
    assert (left.count, left.dropped) == (3, 2)
    assert dedup.keep(p.RAW, octets, count).count == 0
    assert (dedup.seen, dedup.dropped, dedup.forgotten) == (10, 7, 0)


def test_the_window_is_of_packet_time_and_holds_both_ends() -> None:
    assert times_kept([0, WINDOW_NS]) == [0]
    assert times_kept([0, WINDOW_NS + 1]) == [0, WINDOW_NS + 1]


def test_a_copy_that_was_stamped_earlier_is_one() -> None:
    assert times_kept([WINDOW_NS, 0]) == [WINDOW_NS]
    assert times_kept([WINDOW_NS + 1, 0]) == [WINDOW_NS + 1, 0]


def test_of_what_comes_for_ever_one_in_each_window_is_kept() -> None:
    assert times_kept([MS * number for number in range(35)]) == [
        0,
        11 * MS,
        22 * MS,
        33 * MS,
    ]


def test_a_window_of_nothing_finds_what_has_one_time() -> None:
    assert times_kept([5, 5, 6, 6], 0) == [5, 6]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(altered(HTTPS, 8, 63), id="TTL"),
        pytest.param(altered(altered(HTTPS, 10, 1), 11, 2), id="checksum"),
        pytest.param(HTTPS + bytes(6), id="padding"),
    ],
)
def test_what_routers_change_makes_no_other_packet(other: bytes) -> None:
    assert are_same(HTTPS, other)


def test_a_hop_limit_makes_no_other_packet() -> None:
    assert are_same(HTTPS6, altered(HTTPS6, 7, 1))


@pytest.mark.parametrize(
    "at", [at for at in range(len(HTTPS)) if at not in (8, 10, 11)]
)
def test_every_other_octet_makes_another_packet(at: int) -> None:
    """The protocol, the first octet of an address and the payload, too."""
    assert not are_same(HTTPS, altered(HTTPS, at, HTTPS[at] ^ 0x10))


def test_every_octet_of_ipv6_but_the_hop_limit_makes_another_packet() -> None:
    for at in range(len(HTTPS6)):
        assert are_same(HTTPS6, altered(HTTPS6, at, HTTPS6[at] ^ 0x10)) == (at == 7)


@pytest.mark.parametrize(
    ("linktype", "packet"),
    [
        (p.ETHERNET, p.framed(HTTPS)),
        (p.ETHERNET, p.ethernet(0x0800, HTTPS, turned=True) + bytes(10)),
        (p.ETHERNET, p.ethernet(0x8100, p.tag(0x0800, HTTPS))),
        (p.ETHERNET, p.ethernet(0x88A8, p.tag(0x8100, p.tag(0x0800, HTTPS)))),
        (p.ETHERNET, p.ethernet(0x8847, b"\0\1\1\x40" + HTTPS)),
        (p.ETHERNET, p.ethernet(0x8864, bytes(6) + b"\0\x21" + HTTPS)),
        (p.NFLOG, p.nflog(HTTPS)),
        (p.NULL, b"\2\0\0\0" + HTTPS),
        (p.SLL2, b"\x08\0" + bytes(18) + HTTPS),
    ],
)
def test_the_way_that_a_packet_came_does_not_matter(
    linktype: int, packet: bytes
) -> None:
    assert are_same(HTTPS, packet, p.RAW, linktype)


def test_the_same_packet_in_a_tunnel_is_another() -> None:
    assert not are_same(HTTPS, p.ip4(p.C4, p.D4, p.IP_IN_IP, HTTPS))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            p.ethernet(0x0806, b"a" * 28),
            p.ethernet(0x0806, b"a" * 28, turned=True),
            True,
        ),
        (p.ethernet(0x0806, b"a" * 28), p.ethernet(0x0806, b"b" * 28), False),
        (p.ethernet(0x0806, b"a" * 28), p.ethernet(0x88CC, b"a" * 28), False),
        (
            p.ethernet(0x0806, b"a" * 28),
            p.ethernet(0x8100, p.tag(0x0806, b"a" * 28)),
            True,
        ),
        (p.ethernet(0x0800, b"\x45" * 5), p.ethernet(0x0800, b"\x45" * 6), False),
        (b"", b"", True),
        (b"abc", b"abc", True),
    ],
)
def test_what_is_not_ip_is_told_by_its_type_and_octets(
    one: bytes, other: bytes, same: bool
) -> None:
    assert are_same(one, other, p.ETHERNET) is same


def test_fragments_of_a_datagram_are_not_each_other() -> None:
    octets, count = records([*fragments.pieces4(), *fragments.pieces6()])
    assert Dedup(WINDOW_NS).keep(p.RAW, octets, count).dropped == 0


def test_packets_that_were_cut_are_the_same_where_what_is_left_is() -> None:
    octets = record(HTTPS, cut=4) + record(HTTPS, cut=4) + record(HTTPS, cut=3)
    assert Dedup(WINDOW_NS).keep(p.RAW, octets, 3).count == 2


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [
        p.ip4(p.A4, p.B4, p.UDP, struct.pack(">HHHHQ", 1, 2, 16, 0, first + number))
        for number in range(count)
    ]


def test_memory_grows_up_to_its_bound_and_what_it_forgets_is_counted() -> None:
    sent = numbered(40_000)
    octets = b"".join(record(packet) for packet in sent)
    roomy, small = Dedup(WINDOW_NS), Dedup(WINDOW_NS, octets=1)
    for dedup in (roomy, small):
        assert dedup.keep(p.RAW, octets, len(sent)).dropped == 0
    assert roomy.forgotten == 0
    assert roomy.keep(p.RAW, octets, len(sent)).count == 0
    # So small a table has 8192 places.
    assert small.forgotten >= 40_000 - 8_192
    assert small.keep(p.RAW, octets, len(sent)).count > 0


def test_what_left_the_window_makes_room() -> None:
    dedup = Dedup(WINDOW_NS, octets=1)
    for turn in range(20):
        octets = b"".join(
            record(packet, ts_ns=START_NS + turn * 11 * MS)
            for packet in numbered(1_000, first=1_000 * turn)
        )
        assert dedup.keep(p.RAW, octets, 1_000).count == 1_000
    assert dedup.forgotten == 0


@given(
    st.lists(
        st.tuples(st.sampled_from([HTTPS, BACK, HTTPS6]), st.integers(0, 60)),
        max_size=60,
    ),
    st.integers(0, 20),
    st.integers(0, (1 << 64) - 1),
)
@bounded
def test_the_same_comes_out_whatever_the_seed_and_the_batches(
    sent: list[tuple[bytes, int]], window: int, seed: int
) -> None:
    expected: list[tuple[bytes, int]] = []
    last: dict[bytes, int] = {}
    for packet, time in sent:
        if packet not in last or abs(time - last[packet]) > window:
            last[packet] = time
            expected.append((packet, time))
    dedup = Dedup(window * MS, seed=seed)
    found = []
    for at in range(0, len(sent), 7):
        batch = sent[at : at + 7]
        octets = b"".join(record(one, ts_ns=time * MS) for one, time in batch)
        left = dedup.keep(p.RAW, octets, len(batch))
        found += [(one.packet, one.ts_ns // MS) for one in seen(left.records)]
    assert found == expected
