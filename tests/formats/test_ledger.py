"""The ledger's terms add up, and survive the way to whoever asks."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.counters import Reason
from pcap_zmq.errors import WireError
from pcap_zmq.formats.ledger import (
    Line,
    State,
    Tally,
    decode_state,
    encode_state,
    total_of,
)
from tests.support.properties import bounded

COUNT = st.integers(0, 1 << 63)
TALLIES = st.builds(
    Tally,
    logged=COUNT,
    delivered=COUNT,
    held_by_sender=COUNT,
    held_by_receiver=COUNT,
    missed=COUNT,
    missed_tail=COUNT,
    elsewhere=COUNT,
)
MOMENT = st.integers(0, 1 << 62)
LINES = st.builds(
    Line,
    started_ns=MOMENT,
    since_ns=MOMENT,
    seen_ns=MOMENT,
    runs=COUNT,
    repeated=COUNT,
    malformed=COUNT,
    rate=COUNT,
    tally=TALLIES,
)
STATES = st.builds(
    State,
    started_ns=MOMENT,
    now_ns=MOMENT,
    senders=st.lists(LINES, max_size=3),
    receiver=st.dictionaries(st.text(max_size=5), COUNT, max_size=3),
)


def test_what_no_term_explains_is_unaccounted_for() -> None:
    tally = Tally(logged=100, delivered=50, held_by_sender=9, held_by_receiver=8)
    tally.missed, tally.missed_tail, tally.elsewhere = 7, 6, 5
    tally.dropped.update({Reason.SHUTDOWN: 4, Reason.NOT_IP: 3})
    assert tally.unaccounted == 100 - 50 - 9 - 8 - 7 - 6 - 5 - 4 - 3


def test_what_is_counted_twice_is_below_zero() -> None:
    assert Tally(logged=1, delivered=2).unaccounted == -1


@given(st.lists(LINES, max_size=4))
@bounded
def test_all_lines_together_lack_what_each_lacks(lines: list[Line]) -> None:
    assert total_of(lines).unaccounted == sum(line.tally.unaccounted for line in lines)


@given(STATES)
@bounded
def test_a_state_comes_back_as_it_was(state: State) -> None:
    assert decode_state(encode_state(state)) == state


def test_drops_come_back_by_reason() -> None:
    tally = Tally(logged=3)
    tally.dropped.update({Reason.SHUTDOWN: 2, Reason.SENDER_GONE: 1})
    state = State("", "", "", 0, 0, [_line(tally)], {})
    assert decode_state(encode_state(state)).senders[0].tally == tally


def test_what_a_later_version_says_beyond_is_passed_over() -> None:
    state = State("9", "", "", 1, 2, [_line(Tally())], {})
    said = json.loads(encode_state(state))
    said["new"] = said["senders"][0]["new"] = ["anything"]
    assert decode_state(json.dumps(said).encode()) == state


@pytest.mark.parametrize(
    "octets", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"version":1}']
)
def test_what_is_no_state_is_refused(octets: bytes) -> None:
    with pytest.raises(WireError):
        decode_state(octets)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 1),
        (("started_ns",), "1"),
        (("started_ns",), True),
        (("receiver",), {"held": 1.5}),
        (("senders",), {}),
        (("senders",), [1]),
        (("senders", 0, "is_here"), 1),
        (("senders", 0, "logged"), None),
        (("senders", 0, "dropped"), {"no such reason": 1}),
        (("senders", 0, "dropped"), []),
    ],
)
def test_a_state_with_a_wrong_value_is_refused(
    path: tuple[Any, ...], value: Any
) -> None:
    said = json.loads(encode_state(State("", "", "", 0, 0, [_line(Tally())], {})))
    place = said
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    if value in ({}, []) and path[-1] in {"senders", "dropped"}:
        decode_state(json.dumps(said).encode())
        return
    with pytest.raises(WireError):
        decode_state(json.dumps(said).encode())


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists))
@bounded
def test_any_json_is_a_state_or_refused(said: Any) -> None:
    with pytest.raises(WireError):
        decode_state(json.dumps(said).encode())


def _line(tally: Tally) -> Line:
    return Line("gateway", "", "", "ab", 1, 2, 3, True, 1, 0, 0, 0, tally)
