"""What commands write to standard error: text, JSON, or text for the journal."""

import json
import re
from pathlib import Path

import pytest

from tests.pipes import packets
from tests.pipes.tools import Tools


def run_and_say(tools: Tools, directory: Path, *options: str) -> list[str]:
    """The lines of a receiver that takes a few packets and ends."""
    savefile, endpoint = directory / "in.pcap", f"ipc://{directory}/link"
    packets.write(savefile, range(10))
    output = f"file:{directory / 'out.pcap'}"
    receiver = tools.receive(endpoint, output, "--once", *options)
    tools.send(savefile, endpoint).finish()
    assert receiver.wait() == 0, receiver.said()
    return receiver.said().splitlines()


def test_every_line_of_a_process_is_json_where_that_is_asked_for(
    tmp_path: Path, tools: Tools
) -> None:
    lines = run_and_say(tools, tmp_path, "--log-format", "json")
    said = [json.loads(line) for line in lines]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in said)
    assert said[-1]["event"] == "totals"
    assert said[-1]["written"] == 10


def journal_of(stream: Path) -> dict[str, str]:
    """What systemd tells of standard error's file when it is the journal."""
    status = stream.stat()
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def test_under_the_journal_lines_have_a_priority_and_no_time(
    tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The receiver is started first, so this will be its standard error.
    log = tmp_path / "0.stderr"
    log.touch()
    for name, value in journal_of(log).items():
        monkeypatch.setenv(name, value)
    lines = run_and_say(tools, tmp_path)
    assert all(line.startswith("<6>") for line in lines)
    assert lines[-1].startswith("<6>totals: received 10")
    assert any(line.startswith("<6>listening on ipc://") for line in lines)


def test_under_the_journal_an_error_is_one_line_of_its_priority(
    tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, argument in enumerate(("/nonexistent/a.pcap", "--nonsense")):
        log = tmp_path / f"{number}.stderr"
        log.touch()
        for name, value in journal_of(log).items():
            monkeypatch.setenv(name, value)
        sender = tools.send(argument, "ipc:///nonexistent/link")
        assert sender.wait() == 2
        (line,) = sender.said().splitlines()
        assert line.startswith("<3>error: ")


def test_another_stream_than_the_journals_has_text_lines(
    tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    for name, value in journal_of(elsewhere).items():
        monkeypatch.setenv(name, value)
    lines = run_and_say(tools, tmp_path)
    assert lines[-1].startswith("totals: received 10")
    assert all(re.match(r"\d{4}-\d\d-\d\d ", line) for line in lines[:-1])
