"""Two runs of Suricata are held against each other as multisets of events."""

import json
from pathlib import Path
from typing import Any

import pytest

from fidelity.events import compare, kinds, read_events

ALERT = {
    "timestamp": "2023-11-14T22:13:20.000000+0000",
    "flow_id": 12345,
    "pcap_cnt": 7,
    "event_type": "alert",
    "src_ip": "10.0.0.1",
    "alert": {"signature_id": 7},
    "flow": {"start": "2023-11-14T22:13:19.000000+0000", "pkts_toserver": 1},
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


def eve(directory: Path, *events: dict[str, Any]) -> Path:
    path = directory / f"{len(list(directory.iterdir()))}.json"
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return path


def test_an_event_that_is_missing_is_told(directory: Path) -> None:
    expected = read_events([eve(directory, ALERT, ALERT)])
    difference = compare(expected, read_events([eve(directory, ALERT)]))
    assert difference
    assert difference.missing.total() == 1
    (line,) = difference.lines()
    assert line.startswith("- 1 x {")


def test_an_event_too_many_is_told(directory: Path) -> None:
    expected = read_events([eve(directory, ALERT)])
    difference = compare(expected, read_events([eve(directory, ALERT, ALERT)]))
    (line,) = difference.lines()
    assert line.startswith("+ 1 x {")


@pytest.mark.parametrize(
    "other",
    [
        {"src_ip": "10.0.0.2"},
        {"pcap_cnt": 8},
        {"timestamp": "2023-11-14T22:13:20.000001+0000"},
        {"flow": {"pkts_toserver": 2}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_an_event_says_has_to_be_the_same(
    other: dict[str, Any], directory: Path
) -> None:
    ours = read_events([eve(directory, ALERT | other)])
    assert compare(read_events([eve(directory, ALERT)]), ours)


def test_ids_and_the_order_of_events_do_not_matter(directory: Path) -> None:
    other = ALERT | {"src_ip": "10.0.0.9"}
    first = eve(directory, ALERT, other)
    second = eve(directory, other | {"flow_id": 1}, ALERT | {"flow_id": 2})
    assert not compare(read_events([first]), read_events([second]))


def test_the_time_of_what_the_end_of_the_capture_raised_does_not_matter(
    directory: Path,
) -> None:
    flow = {"event_type": "flow", "timestamp": "1", "flow": {"start": "0"}}
    expected = read_events([eve(directory, flow)])
    assert not compare(
        expected, read_events([eve(directory, flow | {"timestamp": "2"})])
    )
    assert compare(
        expected, read_events([eve(directory, flow | {"flow": {"start": "1"}})])
    )


def test_packets_that_came_at_other_times_can_be_compared(directory: Path) -> None:
    later = ALERT | {
        "timestamp": "2024-01-01T00:00:00.000000+0000",
        "pcap_cnt": 90,
        "flow": {"start": "2024-01-01T00:00:00.000000+0000", "pkts_toserver": 1},
    }
    paths = eve(directory, ALERT), eve(directory, later)
    assert not compare(*(read_events([path], with_times=False) for path in paths))


def test_several_runs_together_are_compared_with_one(directory: Path) -> None:
    """As where flows are spread over several."""
    other = ALERT | {"src_ip": "10.0.0.9"}
    whole = read_events([eve(directory, ALERT, other, ALERT)])
    parts = [eve(directory, ALERT, ALERT), eve(directory, other)]
    assert not compare(whole, read_events(parts))


def test_statistics_are_no_events(directory: Path) -> None:
    found = read_events([eve(directory, {"event_type": "stats"}, ALERT)])
    assert kinds(found) == {"alert": 1}


def test_many_differences_are_shown_in_few_lines(directory: Path) -> None:
    many = [ALERT | {"pcap_cnt": number} for number in range(50)]
    difference = compare(read_events([eve(directory, *many)]), read_events([]))
    *shown, rest = difference.lines(3)
    assert len(shown) == 3
    assert rest == "- and 47 more"
