"""Holds a receiver's ledger, as an operator gets it, to its equation."""

import json
import subprocess
from typing import Any


def judge(answer: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """What `pcap-zmq status --json` has said, which has to balance: no packet of any
    sender is unaccounted for, at whatever moment."""
    assert answer.returncode in {0, 1}, answer.stderr
    state: dict[str, Any] = json.loads(answer.stdout)
    assert_ledger_balances(state)
    # It is a health check as it stands.
    assert answer.returncode == 0, answer.stdout
    return state


def assert_ledger_balances(state: dict[str, Any]) -> None:
    """The equation, computed here and not taken on trust: of each sender and of all."""
    for line in (*state["senders"], state["total"]):
        known = (
            line["delivered"]
            + line["held_by_sender"]
            + line["held_by_receiver"]
            + line["missed"]
            + line["missed_tail"]
            + line["elsewhere"]
            + sum(line["dropped"].values())
        )
        assert line["logged"] - known == line["unaccounted"] == 0, line
        counts = [
            number
            for name, number in line.items()
            # A clock may be behind ours.
            if isinstance(number, int) and name != "clock_offset_ns"
        ]
        assert all(number >= 0 for number in counts), line


def outputs_of(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The lines of its outputs by their names, each of which has to balance."""
    lines = {line["name"]: line for line in state["outputs"]}
    assert len(lines) == len(state["outputs"]), state
    for line in lines.values():
        known = line["written"] + line["held"] + sum(line["dropped"].values())
        assert line["taken"] - known == line["unaccounted"] == 0, line
    return lines


def line_of(state: dict[str, Any], name: str) -> dict[str, Any]:
    """The one line of a sender."""
    lines = [line for line in state["senders"] if line["name"] == name]
    assert len(lines) == 1, state
    line: dict[str, Any] = lines[0]
    return line
