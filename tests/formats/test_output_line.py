"""One of several outputs, as a receiver tells of it."""

import json
from typing import Any

import pytest

from pcap_zmq.errors import WireError
from pcap_zmq.formats.ledger import State, decode_state, encode_state
from pcap_zmq.formats.output_line import OutputLine, decode_output, encode_output

LINE = OutputLine(
    name="fifo:/run/ids",
    taken=10,
    written=5,
    held=2,
    dropped={"slow_output": 3},
    readers=4,
    replayed=1,
    drops=True,
    is_copy=False,
    has_failed=False,
)
STATE = State("1", "tcp://h:1", "x, y", 1, 2, (), {}, [LINE])


def test_what_is_said_is_understood() -> None:
    assert decode_output(encode_output(LINE)) == LINE
    assert list(decode_state(encode_state(STATE)).outputs) == [LINE]


def test_what_is_missing_in_its_equation_is_told() -> None:
    assert LINE.unaccounted == 0
    assert encode_output(LINE)["unaccounted"] == 0


def test_a_receiver_of_an_earlier_version_has_none() -> None:
    said = json.loads(encode_state(STATE))
    del said["outputs"]
    assert list(decode_state(json.dumps(said).encode()).outputs) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("taken", "1"),
        ("written", 1 << 97),
        ("held", True),
        ("dropped", 5),
        ("dropped", {"slow_output": None}),
        ("name", 1),
        ("drops", 0),
    ],
)
def test_nonsense_is_no_answer(field: str, value: Any) -> None:
    said = json.loads(encode_state(STATE))
    said["outputs"][0][field] = value
    with pytest.raises(WireError):
        decode_state(json.dumps(said).encode())
