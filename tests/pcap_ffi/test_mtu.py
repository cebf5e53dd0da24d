"""Packets that are too long for a link are counted, left out or cut, and no others."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import count_longer, count_records, fit_records
from tests.pcap_ffi.savefiles import Record, packed

NULL, ETHERNET, RAW, SLL, SLL2 = 0, 1, 101, 113, 276
HEADERS = {NULL: 4, ETHERNET: 14, RAW: 0, SLL: 16, SLL2: 20, 239: 0}


def frame(payload: int, *tags: int, linktype: int = ETHERNET) -> bytes:
    """So many octets behind the link's header, which has these VLAN tags."""
    if linktype != ETHERNET:
        return bytes(HEADERS[linktype] + payload)
    tagged = b"".join(struct.pack("!HH", tag, 7) for tag in tags)
    return bytes(12) + tagged + b"\x08\x00" + bytes(payload)


def record(data: bytes, more: int = 0) -> Record:
    return Record(1_700_000_000, 5, len(data) + more, data)


@pytest.mark.parametrize("linktype", HEADERS)
def test_the_header_of_the_link_does_not_count(linktype: int) -> None:
    fits = record(frame(1500, linktype=linktype))
    longer = record(frame(1501, linktype=linktype))
    octets = packed([fits, longer, fits])
    assert count_longer(octets, linktype, 1500) == 1
    assert fit_records(octets, linktype, 1500, cut=False) == packed([fits, fits])


@pytest.mark.parametrize(
    "tags", [(0x8100,), (0x88A8, 0x8100), (0x9100, 0x8100, 0x8100)]
)
def test_a_full_packet_in_a_vlan_is_no_longer_than_others(
    tags: tuple[int, ...],
) -> None:
    octets = packed([record(frame(1500, *tags))])
    assert count_longer(octets, ETHERNET, 1500) == 0
    assert count_longer(octets, ETHERNET, 1499) == 1


@pytest.mark.parametrize("length", range(24))
def test_a_packet_that_ends_in_its_header_fits(length: int) -> None:
    octets = packed([record(frame(40, 0x8100, 0x8100)[:length])])
    assert count_longer(octets, ETHERNET, 68) == 0
    assert fit_records(octets, ETHERNET, 68, cut=True) == octets


def test_what_is_cut_keeps_its_length_on_the_wire() -> None:
    long = record(frame(9000, 0x8100), more=7)
    (length,) = (14 + 4 + 1500,)
    assert fit_records(packed([long]), ETHERNET, 1500, cut=True) == packed(
        [replace(long, data=long.data[:length])]
    )


def test_what_was_captured_counts_and_not_what_was_on_the_wire() -> None:
    octets = packed([record(frame(96), more=8_904)])
    assert count_longer(octets, ETHERNET, 1500) == 0


packets = st.builds(
    lambda front, length: (front + bytes(200))[:length],
    st.binary(max_size=40),
    st.integers(0, 200),
)


@given(st.lists(packets, max_size=8), st.integers(0, 210), st.sampled_from([1, 101]))
def test_what_is_left_fits(frames: list[bytes], mtu: int, linktype: int) -> None:
    octets = packed(map(record, frames))
    longer = count_longer(octets, linktype, mtu)
    left_out = fit_records(octets, linktype, mtu, cut=False)
    cut = fit_records(octets, linktype, mtu, cut=True)
    assert count_records(left_out) == len(frames) - longer
    assert count_records(cut) == len(frames)
    assert count_longer(left_out, linktype, mtu) == 0
    assert count_longer(cut, linktype, mtu) == 0
