"""The C loop that sorts packets by age, against a few lines of Python."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import LatencyHistogram

NOW_NS = 1_700_000_000_000_000_000
BOUNDS_NS = (1_000, 1_000_000, 1_000_000_000)


def record(ts_ns: int, data: bytes = b"", unit_ns: int = 1) -> bytes:
    seconds, rest_ns = divmod(ts_ns, 1_000_000_000)
    header = (seconds, rest_ns // unit_ns, len(data), len(data))
    return struct.pack("<IIII", *header) + data


def observed(*ages_ns: int) -> LatencyHistogram:
    histogram = LatencyHistogram(BOUNDS_NS)
    histogram.observe(b"".join(record(NOW_NS - age) for age in ages_ns), NOW_NS)
    return histogram


def test_no_packets_change_nothing() -> None:
    histogram = observed()
    assert histogram.counts == [0, 0, 0, 0]
    assert histogram.sum_s == 0
    assert histogram.ahead == 0


@pytest.mark.parametrize(
    ("age_ns", "bucket"),
    [
        (0, 0),
        (1_000, 0),
        (1_001, 1),
        (1_000_000_000, 2),
        (1_000_000_001, 3),
        (NOW_NS, 3),
    ],
)
def test_a_packet_falls_into_the_first_bucket_that_is_not_below_its_age(
    age_ns: int, bucket: int
) -> None:
    counts = observed(age_ns).counts
    assert counts == [int(place == bucket) for place in range(4)]


def test_a_packet_from_the_future_is_counted_with_no_age_and_apart() -> None:
    histogram = observed(-5_000_000_000, 7)
    assert histogram.counts == [2, 0, 0, 0]
    assert histogram.ahead == 1
    assert histogram.sum_s == pytest.approx(7e-9)


def test_the_last_second_that_a_record_can_hold_is_only_ahead() -> None:
    histogram = LatencyHistogram(BOUNDS_NS)
    histogram.observe(struct.pack("<IIII", 0xFFFFFFFF, 999_999_999, 0, 0), 0)
    assert histogram.ahead == 1
    assert histogram.sum_s == 0


def test_microseconds_are_told_from_nanoseconds() -> None:
    histogram = LatencyHistogram(BOUNDS_NS, nanoseconds=False)
    histogram.observe(record(NOW_NS - 5_000_000, b"abc", unit_ns=1_000), NOW_NS)
    assert histogram.counts == [0, 0, 1, 0]
    assert histogram.sum_s == pytest.approx(0.005)


def test_ages_of_years_add_up_without_overflow() -> None:
    """As when a savefile is sent: a 64-bit sum would last for 100 packets."""
    histogram = observed(*[NOW_NS] * 1_000)
    assert histogram.sum_s == pytest.approx(1_000 * NOW_NS / 1e9)


@given(
    st.lists(
        st.tuples(st.integers(-3_000_000_000, 3_000_000_000), st.binary(max_size=40))
    ),
    st.lists(st.integers(0, 2_000_000_000), min_size=1, unique=True).map(sorted),
)
def test_every_packet_is_counted_as_python_would(
    packets: list[tuple[int, bytes]], bounds_ns: list[int]
) -> None:
    histogram = LatencyHistogram(bounds_ns)
    for age_ns, data in packets:
        # In batches of several, so that a bucket is begun at another's.
        histogram.observe(record(NOW_NS - age_ns, data) * 2, NOW_NS)
    octets = b"".join(record(NOW_NS - age_ns, data) for age_ns, data in packets)
    histogram.observe(octets, NOW_NS)
    ages = [max(0, age_ns) for age_ns, _ in packets for _ in range(3)]
    below = [sum(age <= bound for age in ages) for bound in bounds_ns]
    cumulative = [*below, len(ages)]
    found = histogram.counts
    assert [sum(found[: at + 1]) for at in range(len(found))] == cumulative
    assert histogram.ahead == 3 * sum(age_ns < 0 for age_ns, _ in packets)
    assert histogram.sum_s == pytest.approx(sum(ages) / 1e9)
