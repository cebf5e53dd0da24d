"""Packets, packet records and batches for tests, plain ones and arbitrary ones."""

from hypothesis import strategies as st

from pcap_zmq.formats.codec import Codec, compressor
from pcap_zmq.formats.savefile import encode_packet
from pcap_zmq.packet import Batch, EncodedBatch, Instant, Packet

RAW = 101
NS_PER_S = 1_000_000_000
TIME_MAX_NS = (1 << 32) * NS_PER_S - 1
"""A packet record has 32 bits for the seconds."""

NOW = Instant(mono_ns=5 * NS_PER_S, wall_ns=1_700_000_000 * NS_PER_S)


def packets(
    data: st.SearchStrategy[bytes] = st.binary(max_size=80),  # noqa: B008  # immutable
) -> st.SearchStrategy[Packet]:
    """Any packet that a record can hold, but a short one."""
    return st.builds(
        lambda ts_ns, data, cut: Packet(ts_ns, len(data) + cut, data),
        st.integers(0, TIME_MAX_NS),
        data,
        st.integers(0, 70_000),
    )


def plain_packets(count: int, length: int = 60) -> list[Packet]:
    """Packets one microsecond apart, alike enough to be worth compressing."""
    start_ns = 1_700_000_000 * NS_PER_S + 123_456_789
    return [
        Packet(start_ns + number * 1_000, length, bytes([number % 7] * length))
        for number in range(count)
    ]


def records_of(packets: list[Packet]) -> bytes:
    return b"".join(encode_packet(packet) for packet in packets)


def batch_of(packets: list[Packet], receipt: object = None) -> Batch:
    return Batch(RAW, records_of(packets), len(packets), receipt)


def encoded(
    packets: list[Packet],
    codec: Codec = Codec.NONE,
    *,
    linktype: int = RAW,
    receipt: object = None,
) -> EncodedBatch:
    """What a sender would make of these packets."""
    records = records_of(packets)
    return EncodedBatch(
        linktype,
        len(packets),
        codec,
        len(records),
        compressor(codec)(records),
        receipt,
    )
