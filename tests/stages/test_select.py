"""A capture filter takes packets or leaves them."""

import pytest

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.packet import Batch, Packet
from pcap_zmq.stages.select import Select
from tests.nflog_ffi.datagrams import ethernet, ipv4, ipv6
from tests.support.records import NOW

ETHERNET, RAW, NFLOG = 1, 101, 239


def batch(linktype: int, *packets: bytes) -> Batch:
    records = b"".join(
        encode_packet(Packet(n, len(data), data)) for n, data in enumerate(packets)
    )
    return Batch(linktype, records, len(packets), receipt="whose")


@pytest.mark.parametrize(
    ("expression", "linktype"), [("ip proto", RAW), ("udp prt", NFLOG), ("ip", 65_535)]
)
def test_what_is_no_filter_is_refused(expression: str, linktype: int) -> None:
    with pytest.raises(ConfigError, match=f"^'{expression}' is no filter"):
        Select(expression, linktype)


@pytest.mark.parametrize("expression", ["", "  "])
def test_without_a_filter_the_batch_is_not_touched(expression: str) -> None:
    item = batch(NFLOG, b"\0")
    (passed,) = Select(expression, NFLOG).feed(item, NOW)
    assert passed is item


@pytest.mark.parametrize(("linktype", "header"), [(RAW, b""), (ETHERNET, ethernet())])
def test_only_what_it_takes_goes_on(linktype: int, header: bytes) -> None:
    taken = header + ipv4(40)
    other = header[:12] + (b"\x86\xdd" if header else b"") + ipv6(60)
    item = batch(linktype, other, taken, other)
    (passed,) = Select("ip", linktype).feed(item, NOW)
    assert [packet.data for packet in iter_packets(passed.records)] == [taken]
    assert (passed.count, passed.linktype, passed.receipt) == (1, linktype, "whose")


def test_where_it_takes_nothing_an_empty_batch_goes_on() -> None:
    (passed,) = Select("ip6", RAW).feed(batch(RAW, ipv4(40)), NOW)
    assert (bytes(passed.records), passed.count) == (b"", 0)
