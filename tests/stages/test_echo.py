"""A sender's own stream among the packets is noticed, and said once."""

import logging
import struct
from ipaddress import ip_address

import pytest

from pcap_zmq.formats.ip import End
from pcap_zmq.formats.linktype import ETHERNET, NFLOG, RAW
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.packet import Batch, Instant, Packet
from pcap_zmq.stages.chain import Chain
from pcap_zmq.stages.echo import LOOK_NS, PACKETS, Echo
from tests.nflog_ffi.datagrams import Attribute, ethernet, packet_body

OURS = End(ip_address("10.0.0.1"), 40000)
THEIRS = End(ip_address("10.0.0.2"), 5140)
OTHER = End(ip_address("10.0.0.9"), 80)
ENDPOINT = "tcp://ids:5140"


def batch(*pairs: tuple[End, End]) -> Batch:
    """One TCP packet from each first to each second end."""
    records = b""
    for source, destination in pairs:
        addresses = source.address.packed + destination.address.packed
        header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0)
        tcp = struct.pack("!HH", source.port, destination.port) + bytes(16)
        data = header + addresses + tcp
        records += encode_packet(Packet(0, len(data), data))
    return Batch(RAW, records, len(pairs))


def as_linktype(item: Batch, linktype: int) -> Batch:
    """The same packets as a sender writes them with --linktype."""
    records = b""
    for packet in iter_packets(item.records):
        data = ethernet() + packet.data
        if linktype == NFLOG:
            data = packet_body(5, [(Attribute.NFULA_PAYLOAD, packet.data)])
        records += encode_packet(Packet(0, len(data), data))
    return Batch(linktype, records, item.count)


def at(ns: int) -> Instant:
    return Instant(mono_ns=ns, wall_ns=0)


def echo(*own: End, is_listening: bool = False) -> Echo:
    return Echo(set(own), ENDPOINT, is_listening=is_listening)


def test_packets_of_others_are_nothing_to_tell_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = echo(OURS)
    # Another sender's stream to the same receiver passes through here.
    stage.feed(batch((OTHER, THEIRS), (OTHER, OURS._replace(port=1))), at(0))
    assert not stage.has_found
    assert caplog.records == []


@pytest.mark.parametrize("pair", [(OURS, THEIRS), (THEIRS, OURS)])
def test_either_direction_is_told_with_the_exclusion_for_both_tools(
    pair: tuple[End, End], caplog: pytest.LogCaptureFixture
) -> None:
    stage = echo(OURS)
    stage.feed(batch((OTHER, OTHER), pair), at(0))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert f"our own stream to {ENDPOINT} is logged" in said
    assert "ip daddr 10.0.0.2 tcp dport 5140 accept" in said
    assert "-d 10.0.0.2 -p tcp --dport 5140 -j ACCEPT" in said


def test_a_sender_that_listens_names_its_own_port(
    caplog: pytest.LogCaptureFixture,
) -> None:
    echo(OURS, is_listening=True).feed(batch((OURS, THEIRS)), at(0))
    assert "ip saddr 10.0.0.1 tcp sport 40000 accept" in caplog.records[0].getMessage()


def test_it_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    stage = echo(OURS)
    for n in range(5):
        stage.feed(batch((OURS, THEIRS)), at(n * LOOK_NS))
    assert len(caplog.records) == 1


def test_a_connection_that_comes_later_counts() -> None:
    own: set[End] = set()
    stage = Echo(own, ENDPOINT, is_listening=False)
    stage.feed(batch((OURS, THEIRS)), at(0))
    own.add(OURS)
    stage.feed(batch((OURS, THEIRS)), at(LOOK_NS))
    assert stage.has_found


def test_a_batch_a_second_is_looked_into_and_of_it_the_first_packets() -> None:
    stage = echo(OURS)
    others = [(OTHER, OTHER)] * PACKETS
    stage.feed(batch(*others, (OURS, THEIRS)), at(0))
    stage.feed(batch((OURS, THEIRS)), at(LOOK_NS - 1))
    assert not stage.has_found
    stage.feed(batch(*others[1:], (OURS, THEIRS)), at(LOOK_NS))
    assert stage.has_found


def test_every_batch_goes_on_as_it_is() -> None:
    stage = echo(OURS)
    for pair in ((OURS, THEIRS), (OTHER, OTHER)):
        item = batch(pair)
        (out,) = stage.feed(item, at(0))
        assert out is item


def test_two_stages_are_one() -> None:
    item = batch((OURS, THEIRS))
    both = Chain(echo(OURS), echo())
    assert list(both.feed(item, at(0))) == [item]


@pytest.mark.parametrize("linktype", [NFLOG, ETHERNET])
def test_it_is_noticed_with_whatever_link_type(linktype: int) -> None:
    stage = echo(OURS)
    stage.feed(as_linktype(batch((OTHER, THEIRS)), linktype), at(0))
    assert not stage.has_found
    stage.feed(as_linktype(batch((OURS, THEIRS)), linktype), at(LOOK_NS))
    assert stage.has_found
