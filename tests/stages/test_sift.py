"""What is not to go on is left out by filter and by length, and counted."""

import pytest

from pcap_zmq.counters import FilesCounters, Skipped
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.packet import Batch, Packet
from pcap_zmq.stages.sift import Mtu, Sift
from tests.nflog_ffi.datagrams import ethernet, ipv4, ipv6
from tests.support.records import NOW

ETHERNET, RAW = 1, 101


def batch(linktype: int, *packets: bytes) -> Batch:
    records = b"".join(
        encode_packet(Packet(n, len(data), data)) for n, data in enumerate(packets)
    )
    return Batch(linktype, records, len(packets), receipt="whose")


def lengths(batches: list[Batch]) -> list[int]:
    return [
        len(packet.data) for item in batches for packet in iter_packets(item.records)
    ]


def sift(
    item: Batch, expression: str = "", mtu: Mtu | None = None
) -> tuple[list[Batch], dict[Skipped, int]]:
    counters = FilesCounters()
    passed = list(Sift(expression, mtu, counters).feed(item, NOW))
    return passed, dict(counters.skipped)


def test_a_filter_that_is_none_for_the_link_type_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'ether host .* link type raw"):
        sift(batch(RAW, ipv4(40)), "ether host 02:00:00:00:00:01")


def test_without_anything_to_sift_by_the_batch_is_not_touched() -> None:
    item = batch(RAW, ipv4(40), ipv6(1600))
    (passed,), skipped = sift(item)
    assert passed is item
    assert skipped == {}


def test_where_everything_passes_nothing_is_copied() -> None:
    item = batch(RAW, ipv4(40), ipv4(1500))
    (passed,), _ = sift(item, "ip", Mtu(1500, cuts=False))
    assert passed.records is item.records
    assert passed.receipt == "whose"


def test_what_the_filter_does_not_take_is_counted() -> None:
    (passed,), skipped = sift(batch(RAW, ipv4(40), ipv6(60), ipv4(50)), "ip")
    assert lengths([passed]) == [40, 50]
    assert (passed.count, passed.receipt) == (2, None)
    assert skipped == {Skipped.FILTER: 1}


def test_one_filter_is_for_every_link_type_that_comes() -> None:
    counters = FilesCounters()
    stage = Sift("ip", None, counters)
    passed = [
        *stage.feed(batch(RAW, ipv4(40), ipv6(60)), NOW),
        *stage.feed(batch(ETHERNET, ethernet() + ipv4(40)), NOW),
        *stage.feed(batch(RAW, ipv4(41)), NOW),
    ]
    assert lengths(passed) == [40, 54, 41]
    assert counters.skipped == {Skipped.FILTER: 1}


def test_a_batch_of_which_nothing_is_left_is_none() -> None:
    assert sift(batch(RAW, ipv6(60)), "ip") == ([], {Skipped.FILTER: 1})


def test_what_is_too_long_is_left_out_and_counted() -> None:
    mtu = Mtu(1500, cuts=False)
    passed, skipped = sift(batch(RAW, ipv4(1500), ipv4(1501), ipv6(90)), mtu=mtu)
    assert lengths(passed) == [1500, 90]
    assert passed[0].count == 2
    assert skipped == {Skipped.LENGTH: 1}


def test_what_is_too_long_is_cut_and_counted() -> None:
    counters = FilesCounters()
    stage = Sift("", Mtu(1500, cuts=True), counters)
    passed = list(stage.feed(batch(RAW, ipv4(1500), ipv4(9000)), NOW))
    assert lengths(passed) == [1500, 1500]
    assert stage.cut == 1
    assert not counters.skipped


def test_who_is_filtered_out_is_not_too_long_as_well() -> None:
    item = batch(RAW, ipv6(9000), ipv4(9000), ipv4(60))
    passed, skipped = sift(item, "ip", Mtu(1500, cuts=False))
    assert lengths(passed) == [60]
    assert skipped == {Skipped.FILTER: 1, Skipped.LENGTH: 1}
