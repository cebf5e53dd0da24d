"""What all commands that read capture files have in common."""

import subprocess
from pathlib import Path

import pytest

from tests.pcap_ffi.savefiles import RECORDS, pcap
from tests.pipes.tools import Tools

COMMANDS = {
    "dispatch": ("dispatch",),
    "dispatch, merged": ("dispatch", "--merge"),
    "replay": ("replay", "--topspeed"),
    "filter": ("filter", "--filter", "greater 0"),
}


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    folder = tmp_path / "captures"
    folder.mkdir()
    (folder / "a.pcap").write_bytes(pcap(RECORDS[:1], linktype=1))
    return folder


def run(tools: Tools, *arguments: str | Path) -> tuple[int, str]:
    tool = tools.start("pcap-zmq", *arguments, stdin=subprocess.DEVNULL)
    code = tool.wait()
    assert "Traceback" not in tool.said()
    return code, tool.said()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_is_an_input_is_refused_and_stays(
    command: str, tools: Tools, captures: Path
) -> None:
    path = captures / "a.pcap"
    before = path.read_bytes()
    code, said = run(tools, *COMMANDS[command], captures, f"file:{path}", "--overwrite")
    assert (code, "is one of the inputs" in said) == (2, True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_capture_is_passed_over_in_folders_and_told_of_where_it_is_named(
    command: str, tools: Tools, captures: Path, tmp_path: Path
) -> None:
    other = captures / "notes.txt"
    other.write_text("These are mine.\n")
    out = tmp_path / "out.pcap"
    code, said = run(tools, *COMMANDS[command], captures, f"file:{out}")
    assert (code, str(other) in said) == (0, False)
    assert out.stat().st_size == 24 + 16 + len(RECORDS[0].data)
    code, said = run(tools, *COMMANDS[command], other, f"file:{out}", "--overwrite")
    assert (code, str(other) in said) == (1, True)


def test_standard_input_cannot_be_queued(tools: Tools, tmp_path: Path) -> None:
    code, said = run(tools, "dispatch", "-", tmp_path / "out.pcap")
    assert (code, "standard input cannot be queued" in said) == (2, True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_is_called_as_it_is_written(
    command: str, tools: Tools, captures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "100%s.pcap"
    code, said = run(tools, *COMMANDS[command], captures, out)
    assert (code, said.count("Traceback")) == (0, 0)
    assert out.stat().st_size == 24 + 16 + len(RECORDS[0].data)
    assert [path for path in tmp_path.iterdir() if path.suffix == ".part"] == []
