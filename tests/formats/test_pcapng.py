"""What pcapng says of packets, their senders and what is missing; read by a reader that
is strict, whatever comes and goes."""

import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.counters import Reason
from pcap_zmq.formats.linktype import ETHERNET, NFLOG, RAW
from pcap_zmq.formats.pcapng import INTERFACES_MAX, STATISTICS_NS, Pcapng
from pcap_zmq.formats.pcapng_blocks import About
from pcap_zmq.formats.wire import NO_TOTALS, decode_totals
from pcap_zmq.packet import Batch, Instant, Octets, Packet
from tests.support import pcapng
from tests.support.gateways import STARTED_NS, Gateways, merged
from tests.support.properties import bounded
from tests.support.records import packets, plain_packets, records_of

ABOUT = About("x86_64", "Linux 6.1", "pcap-zmq 1")
NOW = Instant(5_000_000_000, STARTED_NS)
IPV4 = bytes.fromhex("4500001c00010000401100000a0000010a000002") + bytes(8)


def stream_of(
    form: Pcapng, batches: list[Batch], linktype: int = RAW, *, ends: bool = False
) -> pcapng.Stream:
    """What one reader gets."""
    octets = form.header(linktype)
    octets += b"".join(bytes(form.encode(batch, NOW)) for batch in batches)
    octets += bytes(form.end()) if ends else b""
    stream = pcapng.read(octets)
    assert stream.torn == b""
    return stream


def seen(stream: pcapng.Stream) -> list[Packet]:
    return [Packet(p.ts_ns, p.origlen, p.data) for p in stream.packets]


def test_a_stream_begins_by_saying_who_made_it() -> None:
    stream = stream_of(Pcapng(ABOUT), [])
    assert stream.sections == [
        {"hardware": "x86_64", "os": "Linux 6.1", "application": "pcap-zmq 1"}
    ]


def test_a_stream_that_nobody_has_sent_to_has_an_interface_all_the_same() -> None:
    """libpcap reads on until there is one."""
    stream = stream_of(Pcapng(ABOUT), [], ETHERNET)
    ((interface,),) = stream.interfaces
    assert (interface.linktype, interface.name) == (ETHERNET, "unknown")


def test_who_is_here_is_an_interface_before_the_first_packet() -> None:
    gateways = Gateways()
    gateways.start("gw1")
    gateways.start("gw2")
    stream = stream_of(Pcapng(ABOUT, ledger=gateways.lines), [])
    (interfaces,) = stream.interfaces
    assert [interface.name for interface in interfaces] == ["gw1", "gw2"]


def test_an_interface_is_named_after_its_sender_and_says_where_that_is() -> None:
    gateway = Gateways().start("gw1")
    stream = stream_of(Pcapng(ABOUT), [gateway.sends(plain_packets(1))])
    interface = stream.packets[0].interface
    assert interface.name == "gw1"
    assert interface.description == f"sender {1:032x}, from 192.0.2.7"
    assert interface.per_second == 1_000_000_000


@bounded
@given(st.lists(packets(), min_size=1, max_size=20))
def test_packets_are_what_they_were(given_packets: list[Packet]) -> None:
    gateway = Gateways().start("gw1")
    stream = stream_of(Pcapng(ABOUT), [gateway.sends(given_packets)])
    assert seen(stream) == given_packets


def test_times_in_microseconds_are_said_to_be() -> None:
    gateway = Gateways().start("gw1")
    octets = struct.pack("<IIII", 1_700_000_000, 123_456, 28, 28) + IPV4
    batch = gateway.sends([Packet(0, 28, IPV4)], records=octets)
    stream = stream_of(Pcapng(ABOUT, nanoseconds=False), [batch])
    (packet,) = stream.packets
    assert packet.interface.per_second == 1_000_000
    assert packet.ts_ns == 1_700_000_000_123_456_000


def test_packets_without_a_receipt_are_of_an_unknown_sender() -> None:
    batch = Batch(RAW, records_of(plain_packets(2)), 2)
    stream = stream_of(Pcapng(ABOUT), [batch])
    assert [packet.interface.name for packet in stream.packets] == ["unknown"] * 2


@bounded
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_packets_that_were_put_in_order_keep_their_senders(order: list[int]) -> None:
    gateways = Gateways()
    whose = {who: f"gw{who}" for who in sorted(set(order))}
    made = plain_packets(len(order))
    batches = {
        who: gateways.start(name).sends(
            [packet for at, packet in zip(order, made, strict=True) if at == who]
        )
        for who, name in whose.items()
    }
    places = {who: place for place, who in enumerate(batches)}
    batch = merged(
        batches.values(),
        [(places[who], packet) for who, packet in zip(order, made, strict=True)],
    )
    stream = stream_of(Pcapng(ABOUT), [batch])
    assert [p.interface.name for p in stream.packets] == [whose[who] for who in order]
    assert seen(stream) == made


def test_a_sender_with_two_link_types_is_two_interfaces() -> None:
    gateway = Gateways().start("gw1")
    batches = [
        gateway.sends(plain_packets(1)),
        gateway.sends(plain_packets(1), linktype=ETHERNET),
        gateway.sends(plain_packets(1)),
    ]
    stream = stream_of(Pcapng(ABOUT), batches)
    linktypes = [packet.interface.linktype for packet in stream.packets]
    assert linktypes == [RAW, ETHERNET, RAW]
    assert len(stream.interfaces[0]) == 3  # the unknown one, since nobody was here


# What is missing.


def test_the_packet_after_a_loss_tells_how_many_are_missing() -> None:
    gateway = Gateways().start("gw1")
    first = gateway.sends(plain_packets(3))
    gateway.loses(7)
    gateway.loses(2, Reason.SEND_QUEUE_FULL)
    second = gateway.sends(plain_packets(3))
    third = gateway.sends(plain_packets(3))
    stream = stream_of(Pcapng(ABOUT), [first, second, third])
    drops = [packet.dropcount for packet in stream.packets]
    assert drops == [0, 0, 0, 9, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("reason", [None, *decode_totals(NO_TOTALS).dropped])
def test_whatever_the_reason_that_a_sender_has(reason: Reason | None) -> None:
    gateway = Gateways().start("gw1")
    gateway.loses(3, reason)
    stream = stream_of(Pcapng(ABOUT), [gateway.sends(plain_packets(1))])
    assert stream.packets[0].dropcount == 3


def test_a_gap_is_where_it_was_however_long_the_batches_wait_here() -> None:
    """What the sender has said meanwhile belongs to later packets."""
    gateway = Gateways().start("gw1")
    form = Pcapng(ABOUT)
    batches = [gateway.sends(plain_packets(1)), gateway.sends(plain_packets(1))]
    gateway.loses(5)
    batches.append(gateway.sends(plain_packets(1)))
    assert [p.dropcount for p in stream_of(form, batches).packets] == [0, 0, 5]


def test_what_a_sender_lost_before_its_first_packet_is_told_by_that() -> None:
    gateway = Gateways().start("gw1")
    gateway.loses(4)
    stream = stream_of(Pcapng(ABOUT), [gateway.sends(plain_packets(2))])
    assert [packet.dropcount for packet in stream.packets] == [4, 0]


def test_another_run_of_a_sender_is_the_same_interface_and_begins_anew() -> None:
    gateways = Gateways()
    first = gateways.start("gw1")
    first.loses(4)
    batches = [first.sends(plain_packets(1))]
    second = gateways.start("gw1")
    second.loses(3)
    batches.append(second.sends(plain_packets(1)))
    stream = stream_of(Pcapng(ABOUT, ledger=gateways.lines), batches)
    assert [packet.dropcount for packet in stream.packets] == [4, 3]
    assert len(stream.interfaces[0]) == 1


def test_what_this_receiver_dropped_of_a_sender_is_missing_too() -> None:
    gateways = Gateways()
    gateway = gateways.start("gw1")
    bad = gateway.sends(plain_packets(6))
    gateways.counters.count_dropped(bad.receipt, Reason.MALFORMED, bad.count)
    stream = stream_of(Pcapng(ABOUT), [gateway.sends(plain_packets(1))])
    assert stream.packets[0].dropcount == 6


def test_what_another_output_dropped_is_not_missing_in_this_one() -> None:
    gateways = Gateways()
    gateway = gateways.start("gw1")
    slow = gateway.sends(plain_packets(6))
    gateways.counters.count_dropped(slow.receipt, Reason.SLOW_OUTPUT, slow.count)
    stream = stream_of(Pcapng(ABOUT), [gateway.sends(plain_packets(1))])
    assert stream.packets[0].dropcount == 0


def test_what_this_output_drops_is_told_by_the_next_packet_of_each_sender() -> None:
    gateways = Gateways()
    one, two = gateways.start("gw1"), gateways.start("gw2")
    form = Pcapng(ABOUT)
    form.skip(one.sends(plain_packets(6)))
    form.skip(two.sends(plain_packets(2)))
    form.skip(one.sends(plain_packets(1)))
    batches = [two.sends(plain_packets(2)), one.sends(plain_packets(2))]
    stream = stream_of(form, batches)
    assert [packet.dropcount for packet in stream.packets] == [2, 0, 7, 0]


def test_of_a_batch_that_is_half_written_only_the_rest_is_skipped() -> None:
    gateways = Gateways()
    gateway = gateways.start("gw1")
    form = Pcapng(ABOUT)
    batch = gateway.sends(plain_packets(6))
    octets = form.encode(batch, NOW)
    begun, end = form.cut(octets, len(octets) // 2)
    assert 0 < begun < 6
    batch.receipt.count_written(begun)
    form.skip(replace(batch, count=6 - begun))
    stream = pcapng.read(
        form.header(RAW)
        + bytes(octets[:end][form.first_unread(octets, 0, is_declared=True) :])
        + bytes(form.encode(gateway.sends(plain_packets(1)), NOW))
    )
    assert [p.dropcount for p in stream.packets] == [*[0] * begun, 6 - begun]


# Statistics.


def test_the_end_has_the_ledgers_numbers_of_each_sender() -> None:
    gateways = Gateways()
    one, two = gateways.start("gw1"), gateways.start("gw2")
    one.loses(3)
    one.loses(2, Reason.HIGH_WATERMARK)
    batches = [one.sends(plain_packets(5)), two.sends(plain_packets(1))]
    for batch in batches:
        gateways.counters.count_written(batch.receipt, batch.count)
    stream = stream_of(Pcapng(ABOUT, ledger=gateways.lines), batches, ends=True)
    said = {one.interface.name: one.numbers for one in stream.statistics}
    names = ("ifrecv", "ifdrop", "osdrop", "usrdeliv")
    assert [said["gw1"][name] for name in names] == [10, 3, 2, 5]
    assert [said["gw2"][name] for name in names] == [1, 0, 0, 1]
    assert said["gw1"]["start"] == STARTED_NS + 1
    assert said["gw1"]["end"] == said["gw1"]["time"] > said["gw1"]["start"]


def test_statistics_come_now_and_then_of_those_whose_numbers_change() -> None:
    gateways = Gateways()
    one, two = gateways.start("gw1"), gateways.start("gw2")
    form = Pcapng(ABOUT, ledger=gateways.lines)
    octets = form.header(RAW)

    def after(passed_ns: int, batch: Batch) -> list[str]:
        nonlocal octets
        before = len(pcapng.read(octets).statistics)
        octets += bytes(form.encode(batch, Instant(NOW.mono_ns + passed_ns, 1)))
        said = pcapng.read(octets).statistics[before:]
        return [one.interface.name for one in said]

    assert after(0, one.sends(plain_packets(1))) == []
    assert after(STATISTICS_NS - 1, two.sends(plain_packets(1))) == []
    assert after(STATISTICS_NS, two.sends(plain_packets(1))) == ["gw1", "gw2"]
    assert after(STATISTICS_NS + 1, two.sends(plain_packets(1))) == []
    assert after(2 * STATISTICS_NS, two.sends(plain_packets(1))) == ["gw2"]


# NFLOG's own link type.


def tlv(kind: int, value: bytes) -> bytes:
    octets = struct.pack("<HH", 4 + len(value), kind) + value
    return octets + bytes(-len(octets) % 4)


PAYLOAD, PREFIX, MARK, INDEV, OUTDEV = 9, 10, 2, 4, 5
HEADER = struct.pack(">BBH", 2, 0, 5)
EXTRAS = [
    (tlv(PREFIX, b"ssh: \0"), "prefix=ssh:"),
    (tlv(MARK, struct.pack(">I", 0x2A)), "mark=0x2a"),
    (tlv(MARK, struct.pack(">I", 0)), "mark=0x0"),
    (tlv(MARK, struct.pack(">I", 0xFEDCBA98)), "mark=0xfedcba98"),
    (
        tlv(PREFIX, b"a b\0rest") + tlv(MARK, struct.pack(">I", 0x100)),
        "mark=0x100 prefix=a b",
    ),
    (tlv(PREFIX, "Tür €𝄞".encode()), "prefix=Tür €𝄞"),
    (
        tlv(PREFIX, b"\xff\xc3(\xe2\x82\xed\xa0\x80\x1b[2J\xc2\x9b"),
        "prefix=??(??????[2J?",
    ),
    (tlv(PREFIX, b"\0"), ""),
    (tlv(MARK, b"\1"), ""),
    (b"", ""),
]


def nflog_batch(body: bytes, origlen: int | None = None) -> Batch:
    packet = Packet(STARTED_NS, len(body) if origlen is None else origlen, body)
    return Gateways().start("gw1").sends([packet], linktype=NFLOG)


@pytest.mark.parametrize("wanted", [None, RAW])
@pytest.mark.parametrize(("extra", "comment"), EXTRAS)
def test_prefix_and_mark_are_a_comment_whatever_the_link_type(
    extra: bytes, comment: str, wanted: int | None
) -> None:
    body = HEADER + extra + tlv(PAYLOAD, IPV4)
    stream = stream_of(Pcapng(ABOUT, linktype=wanted), [nflog_batch(body)])
    (packet,) = stream.packets
    assert packet.comment == comment
    assert packet.data == (body if wanted is None else IPV4)
    assert packet.interface.linktype == (NFLOG if wanted is None else wanted)


@pytest.mark.parametrize(
    ("devices", "flags"),
    [
        (tlv(INDEV, bytes(4)), 1),
        (tlv(OUTDEV, bytes(4)), 2),
        (tlv(INDEV, bytes(4)) + tlv(OUTDEV, bytes(4)), 0),
        (b"", 0),
    ],
)
def test_the_direction_is_that_of_its_interfaces(devices: bytes, flags: int) -> None:
    body = HEADER + devices + tlv(PAYLOAD, IPV4)
    stream = stream_of(Pcapng(ABOUT, linktype=RAW), [nflog_batch(body)])
    assert stream.packets[0].flags == flags


def test_a_packet_cut_by_the_sender_keeps_its_length_as_raw() -> None:
    long = IPV4[:2] + struct.pack(">H", 1400) + IPV4[4:]
    body = HEADER + tlv(PAYLOAD, long)
    stream = stream_of(Pcapng(ABOUT, linktype=RAW), [nflog_batch(body, 5000)])
    assert (stream.packets[0].data, stream.packets[0].origlen) == (long, 1400)


def test_a_record_cut_within_its_packet_is_cut_as_raw() -> None:
    body = (HEADER + tlv(PREFIX, b"x") + tlv(PAYLOAD, IPV4))[:-10]
    stream = stream_of(Pcapng(ABOUT, linktype=RAW), [nflog_batch(body, 5000)])
    (packet,) = stream.packets
    assert (packet.data, packet.origlen) == (IPV4[:-10], len(IPV4))
    assert packet.comment == "prefix=x"


def test_ethernet_is_made_of_nflog() -> None:
    body = HEADER + tlv(PAYLOAD, IPV4)
    stream = stream_of(Pcapng(ABOUT, linktype=ETHERNET), [nflog_batch(body)])
    (packet,) = stream.packets
    assert packet.data == bytes(12) + b"\x08\x00" + IPV4
    assert packet.origlen == len(packet.data)


def test_what_is_not_ip_is_not_lost() -> None:
    body = HEADER + tlv(1, b"\x08\x06\0\0") + tlv(PAYLOAD, b"arp!")
    for linktype in (RAW, ETHERNET):
        stream = stream_of(Pcapng(ABOUT, linktype=linktype), [nflog_batch(body)])
        assert stream.packets[0].data.endswith(b"arp!")


@bounded
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.lists(
                st.builds(tlv, st.integers(0, 22), st.binary(max_size=150)), max_size=6
            ).map(lambda tlvs: HEADER + b"".join(tlvs)),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([None, RAW, ETHERNET]),
    st.integers(0, 100),
)
def test_whatever_the_packets_say_the_stream_is_sound(
    bodies: list[bytes], wanted: int | None, cut: int
) -> None:
    made = [Packet(STARTED_NS, len(body) + cut, body) for body in bodies]
    batch = Gateways().start("gw1").sends(made, linktype=NFLOG)
    stream = stream_of(Pcapng(ABOUT, linktype=wanted), [batch])
    assert len(stream.packets) == len(bodies)
    for packet in stream.packets:
        assert not any(unicodedata.category(c) == "Cc" for c in packet.comment)
        assert len(packet.comment) <= 160


# Many, who come and go.


def test_a_thousand_senders_are_a_thousand_interfaces() -> None:
    gateways = Gateways()
    form = Pcapng(ABOUT, ledger=gateways.lines)
    senders = [gateways.start(f"gw{number}") for number in range(1_000)]
    batches = [sender.sends(plain_packets(1)) for sender in senders]
    stream = stream_of(form, batches, ends=True)
    assert len(stream.by_name()) == len(stream.statistics) == 1_000
    assert len(stream.sections) == 1


def test_senders_that_come_under_new_names_begin_another_section() -> None:
    """So neither we nor readers remember all that there ever were."""
    form = Pcapng(ABOUT)
    octets = form.header(RAW)
    rounds = INTERFACES_MAX + 10
    gateways = Gateways()
    for number in range(rounds):
        gateway = gateways.start(f"pod-{number}")
        octets += bytes(form.encode(gateway.sends(plain_packets(1)), NOW))
    stream = pcapng.read(octets)
    assert len(stream.sections) == 2
    assert [p.interface.name for p in stream.packets] == [
        f"pod-{number}" for number in range(rounds)
    ]


def test_what_was_told_in_one_section_is_not_told_again_in_the_next() -> None:
    gateways = Gateways()
    constant = gateways.start("gw1")
    constant.loses(5)
    batches = [constant.sends(plain_packets(1))]
    others = [gateways.start(f"pod-{number}") for number in range(3)]
    batches += [other.sends(plain_packets(1)) for other in others]
    constant.loses(2)
    batches.append(constant.sends(plain_packets(1)))
    stream = stream_of(Pcapng(ABOUT, interfaces_max=3), batches)
    assert len(stream.sections) > 1
    assert [p.dropcount for p in stream.by_name()["gw1"]] == [5, 2]


# Readers that begin in the middle.


class Chunk:
    """What a batch became, and where that lies."""

    def __init__(self, form: Pcapng, batch: Batch) -> None:
        self.octets: Octets = form.encode(batch, NOW)
        self.section = form.section


@bounded
@given(st.data())
def test_a_reader_can_begin_wherever_another_one_has_left(
    data: st.DataObject,
) -> None:
    """At any octet, among any senders, in any section: the two together have every
    packet once, of its own sender."""
    gateways = Gateways()
    form = Pcapng(ABOUT, ledger=gateways.lines, interfaces_max=4)
    first = form.header(RAW)
    chunks, names = [], []
    for _ in range(data.draw(st.integers(1, 12))):
        name = f"gw{data.draw(st.integers(0, 9))}"
        count = data.draw(st.integers(1, 4))
        chunks.append(Chunk(form, gateways.start(name).sends(plain_packets(count))))
        names += [name] * count
    whole = first + b"".join(bytes(chunk.octets) for chunk in chunks)
    read = data.draw(st.integers(0, len(whole)))
    left = list(_left_of(form, chunks, read - len(first)))
    second = form.header(RAW, left[0].section if left else None)
    second += b"".join(bytes(chunk.octets) for chunk in left)
    one, two = pcapng.read(whole[:read]), pcapng.read(second)
    assert two.torn == b""
    seen_names = [p.interface.name for p in (*one.packets, *two.packets)]
    assert seen_names == names


def _left_of(form: Pcapng, chunks: list[Chunk], read: int) -> Iterator[Chunk]:
    first = None
    for chunk in chunks:
        length = len(chunk.octets)
        is_declared = first is None or first is chunk.section
        at = form.first_unread(chunk.octets, read, is_declared=is_declared)
        read -= length
        if at < length:
            first = first or chunk.section
            assert form.count(chunk.octets[at:]) > 0
            chunk.octets = memoryview(chunk.octets)[at:]
            yield chunk


@bounded
@given(st.data())
def test_a_batch_can_be_given_up_at_any_octet(data: st.DataObject) -> None:
    """What it declared is declared with the next one, and what it told is told then."""
    gateways = Gateways()
    form = Pcapng(ABOUT, ledger=gateways.lines)
    stream = form.header(RAW)
    gateway = gateways.start("gw1")
    gateway.loses(3)
    batch = gateway.sends(plain_packets(3))
    octets = bytes(form.encode(batch, NOW))
    at = data.draw(st.integers(0, len(octets)))
    begun, end = form.cut(octets, at)
    assert end >= at or (begun, end) == (0, 0)
    assert form.whole(octets, end) == end
    written = octets[: max(at, end)]
    assert form.count(written) == begun
    batch.receipt.count_written(begun)
    form.skip(replace(batch, count=3 - begun))
    last = gateway.sends(plain_packets(1))
    found = pcapng.read(stream + written + bytes(form.encode(last, NOW)))
    assert found.torn == b""
    assert len(found.packets) == begun + 1
    assert sum(packet.dropcount for packet in found.packets) == 3 + 3 - begun


def test_giving_up_what_was_not_encoded_changes_nothing() -> None:
    gateway = Gateways().start("gw1")
    gateway.loses(3)
    form = Pcapng(ABOUT)
    stream = form.header(RAW)
    stream += bytes(form.encode(gateway.sends(plain_packets(1)), NOW))
    assert form.cut(b"", 0) == (0, 0)
    stream += bytes(form.encode(gateway.sends(plain_packets(1)), NOW))
    assert [p.dropcount for p in pcapng.read(stream).packets] == [3, 0]


def test_what_is_skipped_of_very_many_senders_is_bounded() -> None:
    gateways = Gateways()
    form = Pcapng(ABOUT, interfaces_max=3)
    for number in range(10):
        form.skip(gateways.start(f"pod-{number}").sends(plain_packets(1)))
    last = gateways.start("pod-9").sends(plain_packets(1))
    assert stream_of(form, [last]).packets[-1].dropcount == 1
