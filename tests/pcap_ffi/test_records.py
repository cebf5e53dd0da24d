"""The C loops over packed packet records do what a plain model of them does."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_ffi import (
    CAPLEN_MAX,
    RECORD_HEADER,
    RecordsError,
    count_records,
    to_microseconds,
    truncate,
    whole_records,
)
from tests.pcap_ffi.savefiles import NS_PER_S, RECORDS, Record, packed

UINT32_MAX = (1 << 32) - 1


@st.composite
def record(draw: st.DrawFn) -> Record:
    data = draw(st.binary(max_size=80))
    return Record(
        seconds=draw(st.integers(0, UINT32_MAX)),
        nanoseconds=draw(st.integers(0, NS_PER_S - 1)),
        origlen=draw(st.integers(len(data), UINT32_MAX)),
        data=data,
    )


records = st.lists(record(), max_size=12)


def ends(given: list[Record]) -> list[int]:
    """Where each record ends, and before the first one 0."""
    lengths = [RECORD_HEADER + len(record.data) for record in given]
    return [sum(lengths[:n]) for n in range(len(lengths) + 1)]


def fault_of(octets: bytes) -> int:
    with pytest.raises(RecordsError) as caught:
        count_records(octets)
    return caught.value.offset


@pytest.mark.parametrize("length", range(1, len(packed(RECORDS))))
def test_a_truncated_record_is_refused_where_it_starts(length: int) -> None:
    octets = packed(RECORDS)[:length]
    boundaries = ends(RECORDS)
    if length in boundaries:
        assert count_records(octets) == boundaries.index(length)
    else:
        assert fault_of(octets) == max(end for end in boundaries if end < length)


@pytest.mark.parametrize("nanoseconds", [NS_PER_S, UINT32_MAX])
def test_a_whole_second_of_nanoseconds_is_refused(nanoseconds: int) -> None:
    bad = replace(RECORDS[0], nanoseconds=nanoseconds)
    assert fault_of(packed([*RECORDS, bad])) == len(packed(RECORDS))


def test_more_octets_than_a_reader_takes_are_refused() -> None:
    length = CAPLEN_MAX + 1
    assert fault_of(packed([Record(0, 0, length, bytes(length))])) == 0


def test_as_many_octets_as_a_reader_takes_are_a_record() -> None:
    assert count_records(packed([Record(0, 0, CAPLEN_MAX, bytes(CAPLEN_MAX))])) == 1


def test_fewer_octets_on_the_wire_than_were_kept_are_refused() -> None:
    assert fault_of(packed([Record(0, 0, 39, bytes(40))])) == 0


@pytest.mark.parametrize("caplen", [1, 0x7FFFFFFF, 0x80000000, UINT32_MAX])
def test_a_length_beyond_the_end_is_refused(caplen: int) -> None:
    octets = bytearray(packed([Record(0, 0, UINT32_MAX, b"")]))
    octets[8:12] = caplen.to_bytes(4, "little")
    assert fault_of(bytes(octets)) == 0


def test_the_fault_is_named_in_the_message() -> None:
    with pytest.raises(RecordsError, match="no packet record at octet 76"):
        count_records(packed(RECORDS[:1]) + b"?")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_are_counted_or_refused(octets: bytes) -> None:
    fault = None
    try:
        count_records(octets)
    except RecordsError as error:
        fault = error.offset
    # All that comes before a fault is records.
    assert fault is None or fault < len(octets)
    assert count_records(octets[:fault]) * RECORD_HEADER <= len(octets)


@settings(deadline=None)
@given(records)
def test_counting_is_that_of_the_model(given: list[Record]) -> None:
    assert count_records(packed(given)) == len(given)


@settings(deadline=None)
@given(records)
def test_any_buffer_can_be_counted(given: list[Record]) -> None:
    octets = packed(given)
    for kind in (bytes, bytearray, memoryview):
        assert count_records(kind(octets)) == len(given)


@settings(deadline=None)
@given(records)
def test_rescaling_is_that_of_the_model(given: list[Record]) -> None:
    octets = bytearray(packed(given))
    to_microseconds(octets)
    expected = [
        replace(record, nanoseconds=record.nanoseconds // 1000) for record in given
    ]
    assert bytes(octets) == packed(expected)


@settings(deadline=None)
@given(records, st.integers(0, 100))
def test_truncating_is_that_of_the_model(given: list[Record], snaplen: int) -> None:
    octets = bytearray(packed(given))
    length = truncate(octets, snaplen)
    expected = [replace(record, data=record.data[:snaplen]) for record in given]
    assert bytes(octets[:length]) == packed(expected)


@settings(deadline=None)
@given(records)
def test_truncating_at_more_than_there_is_changes_nothing(given: list[Record]) -> None:
    octets = bytearray(packed(given))
    assert truncate(octets, UINT32_MAX) == len(octets)
    assert bytes(octets) == packed(given)


@settings(deadline=None)
@given(records, st.integers(0, 1200))
def test_the_whole_records_are_those_of_the_model(
    given: list[Record], limit: int
) -> None:
    octets = packed(given)
    assert whole_records(octets, limit) == max(
        end for end in ends(given) if end <= limit
    )


@pytest.mark.parametrize("change", [to_microseconds, lambda view: truncate(view, 1)])
def test_octets_that_may_not_be_written_are_not(change: object) -> None:
    octets = packed(RECORDS)
    assert callable(change)
    with pytest.raises((BufferError, ValueError, TypeError)):
        change(memoryview(octets))
    assert octets == packed(RECORDS)
