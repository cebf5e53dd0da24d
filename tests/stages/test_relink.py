"""Batches get the link type that is wanted; what cannot have it is counted."""

import logging
from dataclasses import replace

import pytest

from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.packet import Batch, Packet
from pcap_zmq.stages.relink import Relink
from tests.formats.test_runs import Desk
from tests.nflog_ffi.datagrams import ipv4, logged
from tests.support.records import NOW

ETHERNET, RAW, SLL, NFLOG = 1, 101, 113, 239
NETLINK_HEADER = 16

GOOD = logged(ipv4(40))[NETLINK_HEADER:]
TORN = GOOD[:9]
ARP = logged(b"\0" * 28)[NETLINK_HEADER:]


def batch(linktype: int, *packets: bytes, receipt: object = None) -> Batch:
    records = b"".join(encode_packet(Packet(0, len(p), p)) for p in packets)
    return Batch(linktype, records, len(packets), receipt)


def data(*batches: Batch) -> list[bytes]:
    return [
        packet.data for one in batches for packet in iter_packets(bytes(one.records))
    ]


class Bench:
    """A stage and its counters."""

    def __init__(self, linktype: int | None) -> None:
        self.counters = ReceiverCounters()
        self.stage = Relink(linktype, self.counters, lambda receipt: "gw1")

    def feed(self, item: Batch) -> list[Batch]:
        return list(self.stage.feed(item, NOW))


@pytest.mark.parametrize("linktype", [ETHERNET, RAW, SLL, NFLOG])
def test_a_batch_of_the_wanted_link_type_is_not_touched(linktype: int) -> None:
    item = batch(linktype, b"\xff", receipt=object())
    (passed,) = Bench(linktype).feed(item)
    assert passed is item


def test_without_a_wanted_link_type_the_first_batch_says_which() -> None:
    bench = Bench(None)
    assert bench.feed(batch(RAW, ipv4(40)))[0].linktype == RAW
    (made,) = bench.feed(batch(NFLOG, GOOD))
    assert (made.linktype, data(made)) == (RAW, [ipv4(40)])


def test_an_empty_batch_gets_the_wanted_link_type() -> None:
    # It may be what a sink makes its file header of.
    receipt = object()
    (made,) = Bench(RAW).feed(batch(SLL, receipt=receipt))
    assert (made.linktype, made.count, made.receipt) == (RAW, 0, receipt)


def test_whole_batches_keep_their_receipt() -> None:
    receipt = Desk(1).receipt((0, 2))
    (made,) = Bench(RAW).feed(batch(NFLOG, GOOD, GOOD, receipt=receipt))
    assert data(made) == [ipv4(40), ipv4(40)]
    assert (made.count, made.receipt) == (2, receipt)


@pytest.mark.parametrize(
    ("source", "target"), [(SLL, RAW), (SLL, ETHERNET), (RAW, NFLOG), (RAW, SLL)]
)
def test_what_cannot_become_another_link_type_is_dropped_and_said_once(
    source: int, target: int, caplog: pytest.LogCaptureFixture
) -> None:
    desk, bench = Desk(1), Bench(target)
    for _ in range(2):
        receipt = desk.receipt((0, 3))
        (made,) = bench.feed(batch(source, b"1", b"2", b"3", receipt=receipt))
        assert (made.linktype, made.count, made.receipt) == (target, 0, receipt)
    assert bench.counters.dropped == {Reason.LINKTYPE: 6}
    assert desk.streams[0].dropped == {Reason.LINKTYPE: 6}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("gw1: link type ")


def test_malformed_packets_are_dropped_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk, bench = Desk(1), Bench(RAW)
    receipt = desk.receipt((0, 4))
    item = batch(NFLOG, GOOD, TORN, ARP, GOOD, receipt=receipt)
    made, *empty = bench.feed(item)
    assert (made.count, data(made)) == (2, [ipv4(40), ipv4(40)])
    assert [one.count for one in empty] == [0, 0]
    assert bench.counters.dropped == {Reason.MALFORMED: 1, Reason.NOT_IP: 1}
    (record,) = caplog.records
    assert "gw1: link type nflog (239) has malformed packets" in record.getMessage()


def test_of_packets_that_several_sent_each_has_its_own_dropped() -> None:
    desk, bench = Desk(3), Bench(RAW)
    receipt = desk.receipt((0, 2), (1, 3), (2, 1))
    item = batch(NFLOG, GOOD, GOOD, TORN, GOOD, ARP, TORN, receipt=receipt)
    made, *empty = bench.feed(item)
    assert [dict(stream.dropped) for stream in desk.streams] == [
        {},
        {Reason.MALFORMED: 1, Reason.NOT_IP: 1},
        {Reason.MALFORMED: 1},
    ]
    assert isinstance(made.receipt, Runs)
    made.receipt.count_written(made.count)
    assert desk.written == [2, 1, 0]
    # Only when all of it has arrived are the batches acknowledged.
    for one in empty:
        assert desk.arrive(one.receipt) == 0
    assert desk.arrive(made.receipt) == 1
    assert desk.acknowledged == [1, 1, 1]


def test_where_nothing_is_left_the_batch_is_settled_all_the_same() -> None:
    desk, bench = Desk(1), Bench(ETHERNET)
    receipt = desk.receipt((0, 2))
    (empty,) = bench.feed(batch(NFLOG, TORN, TORN, receipt=receipt))
    assert (empty.count, empty.linktype) == (0, ETHERNET)
    assert desk.arrive(empty.receipt) == 1
    assert desk.streams[0].dropped == {Reason.MALFORMED: 2}


def test_what_was_put_in_order_before_stays_whose_it_is() -> None:
    desk, bench = Desk(2), Bench(RAW)
    first, second = (desk.receipt((who, 2)).parts()[0] for who in range(2))
    runs = Runs.of([(first, 1), (second, 1), (first, 1), (second, 1)])
    item = batch(NFLOG, GOOD, TORN, TORN, GOOD, receipt=runs)
    made, empty = bench.feed(item)
    assert [dict(stream.dropped) for stream in desk.streams] == [
        {Reason.MALFORMED: 1},
        {Reason.MALFORMED: 1},
    ]
    made.receipt.count_written(2)
    assert desk.written == [1, 1]
    assert desk.arrive(made.receipt) == 0
    assert desk.arrive(empty.receipt) == 2


def test_without_a_receipt_only_the_counters_are_told() -> None:
    bench = Bench(RAW)
    (made,) = bench.feed(replace(batch(NFLOG, GOOD, TORN), receipt=None))
    assert (made.count, bench.counters.dropped[Reason.MALFORMED]) == (1, 1)
