"""Filters: compiled, carried as octets, refused where they could do harm, and run."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import (
    Filter,
    FilterError,
    compile_filter,
    count_records,
    select_records,
    to_microseconds,
)
from pcap_ffi.filter import FILTER_MAX
from tests.pipes import packets
from tests.support.properties import thorough

RAW, ETHERNET = 101, 1
RETURN_ALL = struct.pack(">HBBI", 0x06, 0, 0, 262_144)
LOOP = struct.pack(">HBBI", 0x05, 0, 0, 0xFFFF_FFFF)
RECORDS = packets.records(range(20))
FIRST_NS = packets.FIRST_SECOND * 10**9 + 123_456
EVER_NS = (1 << 63) - 1


def select(
    records: bytes = RECORDS,
    expression: str = "",
    from_ns: int = 0,
    until_ns: int = EVER_NS,
    unit_ns: int = 1,
) -> list[int]:
    chosen = Filter(compile_filter(expression, RAW)) if expression else None
    selected, count = select_records(
        records,
        from_ns=from_ns,
        until_ns=until_ns,
        unit_ns=unit_ns,
        linktype=RAW,
        chosen=chosen,
    )
    assert count == count_records(selected)
    return packets.numbers(packets.header() + selected)


@pytest.mark.parametrize(
    "octets", [b"", RETURN_ALL[:-1], RETURN_ALL * (FILTER_MAX + 1)]
)
def test_octets_of_a_wrong_length_are_no_filter(octets: bytes) -> None:
    with pytest.raises(FilterError, match="octets are no filter"):
        Filter(octets)


@pytest.mark.parametrize(
    "octets",
    [
        LOOP + RETURN_ALL,
        RETURN_ALL + LOOP,
        # Beyond the scratch memory; a division by nothing.
        struct.pack(">HBBI", 0x60, 0, 0, 16) + RETURN_ALL,
        struct.pack(">HBBI", 0x34, 0, 0, 0) + RETURN_ALL,
        # No instruction; a shift beyond the register.
        struct.pack(">HBBI", 0xA0, 0, 0, 0) + RETURN_ALL,
        struct.pack(">HBBI", 0x64, 0, 0, 32) + RETURN_ALL,
    ],
)
def test_a_program_that_could_do_harm_is_no_filter(octets: bytes) -> None:
    with pytest.raises(FilterError, match="could do harm"):
        Filter(octets)


def test_what_is_not_of_the_language_is_refused_with_a_reason() -> None:
    with pytest.raises(FilterError, match="syntax error"):
        compile_filter("host host", RAW)


def test_a_filter_that_asks_for_too_much_is_refused() -> None:
    many = " or ".join(f"udp port {2 * port}" for port in range(1, 400))
    with pytest.raises(FilterError, match="more than 512"):
        compile_filter(many, RAW)


@thorough
@given(st.binary(max_size=80))
def test_any_octets_are_a_filter_that_runs_or_none(octets: bytes) -> None:
    try:
        chosen = Filter(octets)
    except FilterError:
        return
    select_records(
        RECORDS, from_ns=0, until_ns=EVER_NS, unit_ns=1, linktype=RAW, chosen=chosen
    )


def test_without_a_filter_everything_of_any_time_is_selected() -> None:
    assert select() == list(range(20))


def test_nothing_is_selected_from_nothing() -> None:
    assert select(b"") == []


def test_a_filter_takes_what_it_says() -> None:
    assert select(expression="udp dst port 5001") == list(range(20))
    assert select(expression="tcp") == []
    assert select(expression="udp[8:4] = 0 and udp[12:4] >= 7") == list(range(7, 20))


def test_the_lengths_that_a_filter_sees_are_those_on_the_wire() -> None:
    whole = bytearray(packets.record(1, 200))
    cut = whole[:8] + struct.pack("<II", 40, 200) + whole[16 : 16 + 40]
    for expression, expected in (("greater 200", 1), ("less 199", 0)):
        _, count = select_records(
            cut,
            from_ns=0,
            until_ns=EVER_NS,
            unit_ns=1,
            linktype=RAW,
            chosen=Filter(compile_filter(expression, RAW)),
        )
        assert count == expected


def test_a_span_of_time_has_its_beginning_and_not_its_end() -> None:
    step_ns = 1_000_001
    assert select(from_ns=FIRST_NS + 3 * step_ns) == list(range(3, 20))
    assert select(until_ns=FIRST_NS + 3 * step_ns) == [0, 1, 2]


def test_times_in_microseconds_are_understood() -> None:
    records = bytearray(RECORDS)
    to_microseconds(records)
    step_ns = 1_000_001
    after_ns = FIRST_NS + 10 * step_ns
    selected, count = select_records(
        records,
        from_ns=after_ns,
        until_ns=EVER_NS,
        unit_ns=1_000,
        linktype=RAW,
        chosen=None,
    )
    assert (count, len(selected) > 0) == (9, True)


@pytest.mark.parametrize("linktype", [RAW, ETHERNET])
def test_a_filter_is_compiled_for_its_link_type(linktype: int) -> None:
    records = packets.records(range(5), linktype=linktype)
    chosen = Filter(compile_filter("src host 192.0.2.1", linktype))
    _, count = select_records(
        records, from_ns=0, until_ns=EVER_NS, unit_ns=1, linktype=RAW, chosen=chosen
    )
    assert count == 5


@pytest.mark.parametrize("cut", [0, 40])
def test_of_nflogs_packets_a_filter_sees_those_within(cut: int) -> None:
    packet = packets.record(7, 200)[16:]
    prefix = struct.pack("<HH", 4 + 6, 10) + b"hello\0" + bytes(2)
    octets = bytes((2, 0, 0, 5)) + prefix
    octets += struct.pack("<HH", 4 + len(packet), 9) + packet
    kept = octets[: len(octets) - cut]
    record = struct.pack("<IIII", 1, 2, len(kept), len(octets)) + kept
    for expression, expected in (
        ("udp dst port 5001 and greater 200", 1),
        ("tcp", 0),
        ("greater 201", 0),
    ):
        _, count = select_records(
            record,
            from_ns=0,
            until_ns=EVER_NS,
            unit_ns=1,
            linktype=239,
            chosen=Filter(compile_filter(expression, 239)),
        )
        assert count == expected


@thorough
@given(st.binary(max_size=60))
def test_any_octets_within_nflogs_are_looked_at_or_not(octets: bytes) -> None:
    record = struct.pack("<IIII", 1, 2, len(octets), len(octets)) + octets
    chosen = Filter(compile_filter("ip or ip6", 239))
    select_records(
        record, from_ns=0, until_ns=EVER_NS, unit_ns=1, linktype=239, chosen=chosen
    )
