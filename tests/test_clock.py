"""Moments are read and written to the nanosecond."""

import pytest

from pcap_zmq.clock import utc_ns, utc_ns_text

NOON_NS = 1_769_860_800_000_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "2026-13-31T12:00:00Z",
        "@",
        "@noon",
        "@inf",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        utc_ns(text)


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("2026-01-31T12:00:00Z", NOON_NS),
        ("2026-01-31 12:00:00", NOON_NS),
        ("2026-01-31T13:00:00+01:00", NOON_NS),
        ("2026-01-31T12:00:00.000000001Z", NOON_NS + 1),
        ("2026-01-31T12:00:00.123456789Z", NOON_NS + 123_456_789),
        ("2026-01-31T13:00:00,5+01:00", NOON_NS + 500_000_000),
        ("@1769860800.123456789", NOON_NS + 123_456_789),
        ("1970-01-01T00:00:00.000000001Z", 1),
    ],
)
def test_a_moment_is_read_to_the_nanosecond(text: str, expected_ns: int) -> None:
    assert utc_ns(text) == expected_ns


@pytest.mark.parametrize("moment_ns", [0, 1, NOON_NS, NOON_NS + 987_654_321])
def test_a_moment_is_read_as_it_was_written(moment_ns: int) -> None:
    assert utc_ns(utc_ns_text(moment_ns)) == moment_ns
