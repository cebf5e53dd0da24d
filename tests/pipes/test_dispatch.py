"""Capture files as one stream, held back file by file until somebody allows them."""

import errno
import json
import os
import pty
import select
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pcap_zmq.errors import ConfigError, TransportError
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.dispatching import (
    counted,
    dispatch,
    files,
    queue,
    queue_command,
    wait_for,
)
from tests.pipes.tools import AS_ANYBODY, PATIENCE_S, Tool, Tools


def states(control: Path) -> list[str]:
    """Of the files in the queue."""
    return [file["state"] for file in queue(control, "list").said["files"]]


def wait_for_states(control: Path, *wanted: str) -> None:
    """Until the files in the queue are so."""
    wait_until(lambda: states(control) == list(wanted), PATIENCE_S, str(wanted))


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """Where the socket is."""
    return tmp_path / "control"


def held_back(
    tools: Tools, control: Path, inputs: list[Path], *options: str | Path
) -> Tool:
    """A dispatcher that waits for a word about each file."""
    told = ("--approve", "control", "--control", control)
    tool = dispatch(tools, *inputs, "-", *told, *options, stdout=subprocess.PIPE)
    wait_for(tool, control)
    return tool


# What is played, and what is not.


def test_a_broken_file_is_told_of_and_the_rest_goes_on(
    tools: Tools, tmp_path: Path
) -> None:
    """What comes before the break is in the stream."""
    first, second, third = files(tmp_path, 5, 5, 5)
    second.write_bytes(second.read_bytes()[:-3])
    (tmp_path / "letters.pcap").write_text("Dear Sir or Madam")
    tool = dispatch(
        tools,
        *(first, tmp_path / "letters.pcap", second, third),
        "-",
        stdout=subprocess.PIPE,
    )
    stream = tool.stdout.read()
    assert tool.wait() == 1
    assert packets.numbers(stream) == [*range(9), *range(10, 15)]
    said = tool.said()
    assert "it ends in the middle of what begins at octet" in said
    assert "letters.pcap is no pcap or pcapng savefile" in said
    assert "2 files are broken" in said
    assert "Traceback" not in said


def test_a_file_that_is_gone_when_its_turn_comes_does_not_stop_the_rest(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    first, second = files(tmp_path, 5, 5)
    tool = held_back(tools, control, [first, second])
    first.unlink()
    queue(control, "allow", "--all")
    stream = tool.stdout.read()
    assert tool.wait() == 1
    assert packets.numbers(stream) == list(range(5, 10))
    assert f"{first} cannot be read: No such file" in tool.said()


def test_no_files_are_one_line_of_error(tools: Tools, tmp_path: Path) -> None:
    tool = dispatch(tools, tmp_path / "out.fifo")
    assert tool.wait() == 2
    assert "no PATHS" in tool.said()
    (tmp_path / "empty").mkdir()
    tool = dispatch(tools, tmp_path / "empty", tmp_path / "out.fifo")
    assert tool.wait() == 2
    assert "names no file" in tool.said()


def test_files_that_go_back_in_time_are_told_of(tools: Tools, tmp_path: Path) -> None:
    first, second = files(tmp_path, 50, 50)
    tool = dispatch(tools, second, first, "-", stdout=subprocess.PIPE)
    stream = tool.stdout.read()
    assert tool.wait() == 0
    assert packets.numbers(stream) == [*range(50, 100), *range(50)]
    assert f"{first} goes back in time: it begins 0.099" in tool.said()
    assert counted(tool, "backwards") == 50


def test_files_that_overlap_are_put_in_order_where_that_is_asked_for(
    tools: Tools, tmp_path: Path
) -> None:
    (whole,) = files(tmp_path, 300)
    records, _ = packets.split(whole.read_bytes())
    odd, even = tmp_path / "odd.pcap", tmp_path / "even.pcap"
    for path, start in ((odd, 1), (even, 0)):
        path.write_bytes(packets.header() + b"".join(records[start::2]))
    tool = dispatch(tools, odd, even, "-", "--merge", stdout=subprocess.PIPE)
    stream = tool.stdout.read()
    assert tool.wait() == 0, tool.said()
    assert packets.numbers(stream) == list(range(300))
    assert f"{odd} is processed: 150 packets" in tool.said()


def test_a_word_about_one_of_those_that_are_played_as_one_is_heard(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    inputs = files(tmp_path, 20_000, 20_000)
    tool = held_back(tools, control, inputs, "--merge")
    queue(control, "allow", "--all")
    wait_for_states(control, "playing", "playing")
    # Nobody reads, so both are still there to be told of.
    queue(control, "skip", inputs[1])
    stream = tool.stdout.read()
    assert tool.wait() == 0, tool.said()
    assert len(packets.numbers(stream)) < 40_000
    assert f"{inputs[1]} is skipped" in tool.said()


def test_the_receiver_is_away_and_comes_back(
    tools: Tools, tmp_path: Path, endpoint: str
) -> None:
    inputs = files(tmp_path, 3_000, 2_000, 1_000)
    tool = dispatch(tools, *inputs, endpoint)
    tool.wait_to_say("next is")
    receiver = tools.receive(endpoint, f"file:{tmp_path}/out.pcap", "--once")
    assert tool.wait() == 0, tool.said()
    assert receiver.wait() == 0
    got = (tmp_path / "out.pcap").read_bytes()
    assert packets.numbers(got) == list(range(6_000))
    assert tool.said().count("is processed") == 3


def test_a_receiver_that_dies_in_the_middle_has_a_successor(
    tools: Tools, tmp_path: Path, endpoint: str
) -> None:
    """What it had acknowledged is in its output, and nothing else is missing."""
    inputs = files(tmp_path, 20_000, 20_000)
    first = tools.receive(endpoint, f"fifo:{tmp_path}/first")
    wait_for(first, tmp_path / "first")
    tool = dispatch(tools, *inputs, endpoint)
    with (tmp_path / "first").open("rb", buffering=0) as reading:
        got = b""
        while len(got) < 1_000_000:
            got += reading.read(1 << 16)
        first.kill()
        while octets := reading.read(1 << 16):
            got += octets
    second = tools.receive(endpoint, f"file:{tmp_path}/second", "--once")
    assert tool.wait() == 0, tool.said()
    assert second.wait() == 0
    numbers = packets.numbers(got)
    numbers_after = packets.numbers((tmp_path / "second").read_bytes())
    assert numbers == list(range(len(numbers)))
    assert numbers_after == list(range(numbers_after[0], 40_000))
    assert numbers_after[0] <= len(numbers)


def test_an_interrupted_savefile_is_not_there_under_its_name(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    (path,) = files(tmp_path, 10)
    told = ("--approve", "control", "--control", control)
    tool = dispatch(tools, path, f"file:{tmp_path}/out.pcap", *told)
    tool.wait_to_say("next is")
    tool.process.terminate()
    assert tool.wait() == 1
    assert not (tmp_path / "out.pcap").exists()
    assert not control.exists()


# Who says what may go.


def test_nothing_of_a_file_goes_before_it_is_allowed(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    first, second, third, fourth = files(tmp_path, 5, 5, 5, 5)
    tool = held_back(tools, control, [first, second, third, fourth])
    wait_for_states(control, "claimed", "queued", "queued", "queued")
    assert queue(control, "status").said["waiting"] == [str(first)]
    status = queue_command(control, "status").out
    assert f"waiting for a word: {first}" in status
    listed = queue_command(control, "list").out
    assert [line.split()[2] for line in listed.splitlines()] == [
        *("STATE", "claimed", "queued", "queued", "queued")
    ]
    # Of one whose turn has not come yet.
    assert not queue(control, "deny", "#3").error
    assert not queue(control, "allow").error
    wait_for_states(control, "processed", "claimed", "queued", "queued")
    assert not queue(control, "skip", second).error
    wait_for_states(control, "processed", "skipped", "denied", "claimed")
    assert not queue(control, "allow", fourth).error
    assert packets.numbers(tool.stdout.read()) == [*range(5), *range(15, 20)]
    assert tool.wait() == 0


def test_a_word_about_a_file_that_waits_for_none_is_refused_and_told_of(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    (path,) = files(tmp_path, 5)
    tool = held_back(tools, control, [path])
    told = queue_command(control, "allow", "/no/such/file", "#7")
    assert told.code == 1
    assert "waits for nothing" in told.err
    tool.wait_to_say("somebody says allow of '/no/such/file'")
    wait_for_states(control, "claimed")


def test_files_are_added_while_it_runs(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    first, second = files(tmp_path, 5, 5)
    tool = dispatch(tools, "-", "--control", control, "--stay", stdout=subprocess.PIPE)
    wait_for(tool, control)
    assert not queue(control, "add", first, second).error
    wait_for_states(control, "processed", "processed")
    assert "names no file" in queue(control, "add", tmp_path / "none").error
    tool.process.terminate()
    assert packets.numbers(tool.stdout.read()) == list(range(10))
    assert tool.wait() == 0


def test_a_pause_stops_the_stream_in_the_middle_of_a_file(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    (path,) = files(tmp_path, 40_000)
    fifo = tmp_path / "out.fifo"
    tool = dispatch(tools, path, f"fifo:{fifo}", "--control", control)
    wait_for(tool, control)
    with fifo.open("rb", buffering=0) as reading:
        got = reading.read(24)
        assert not queue(control, "pause").error
        status = queue(control, "status").said
        assert status["paused"]
        # What was read before is all that comes.
        while select.select([reading], [], [], 0.3)[0]:
            got += reading.read(1 << 20)
        assert len(got) < path.stat().st_size
        assert not queue(control, "resume").error
        while octets := reading.read(1 << 20):
            got += octets
    assert packets.numbers(got) == list(range(40_000))
    assert tool.wait() == 0


def test_skip_leaves_out_the_rest_of_what_is_being_played(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    first, second = files(tmp_path, 40_000, 5)
    fifo = tmp_path / "out.fifo"
    tool = dispatch(tools, first, second, f"fifo:{fifo}", "--control", control)
    wait_for(tool, control)
    with fifo.open("rb", buffering=0) as reading:
        got = reading.read(24)
        wait_for_states(control, "playing", "queued")
        assert not queue(control, "skip", "#1").error
        while octets := reading.read(1 << 20):
            got += octets
    numbers = packets.numbers(got)
    assert numbers == [*range(len(numbers) - 5), *range(40_000, 40_005)]
    assert len(numbers) < 40_000
    assert tool.wait() == 0
    assert f"{first} is skipped: {len(numbers) - 5} packets" in tool.said()


def at_a_terminal(tools: Tools, *arguments: str | Path) -> tuple[Tool, int]:
    """A dispatcher, and the terminal that it asks at."""
    ours, theirs = pty.openpty()
    tool = dispatch(
        tools, *arguments, "--approve", "ask", stdin=theirs, stdout=subprocess.PIPE
    )
    os.close(theirs)
    return tool, ours


def wait_for_questions(tool: Tool, number: int) -> None:
    """Until it has asked so often."""

    def has_asked() -> bool:
        return tool.said().count("play it?") >= number

    wait_until(has_asked, PATIENCE_S, "a question")


def test_somebody_at_the_terminal_is_asked_for_each_file(
    tools: Tools, tmp_path: Path
) -> None:
    first, second, third, fourth = files(tmp_path, 5, 5, 5, 5)
    tool, terminal = at_a_terminal(tools, first, second, third, fourth, "-")
    for path, answer in ((first, b"y\n"), (second, b"what?\n"), (second, b"n\n")):
        tool.wait_to_say(f"{path}: play it?")
        asked = tool.said().count("play it?")
        os.write(terminal, answer)
        wait_for_questions(tool, asked + 1)
    os.write(terminal, b"a\n")
    stream = tool.stdout.read()
    os.close(terminal)
    assert tool.wait() == 0, tool.said()
    assert packets.numbers(stream) == [*range(5), *range(10, 20)]
    assert tool.said().count("play it?") == 4


def test_the_end_of_the_terminal_is_the_end(tools: Tools, tmp_path: Path) -> None:
    (path,) = files(tmp_path, 5)
    tool, terminal = at_a_terminal(tools, path, "-")
    tool.wait_to_say("play it?")
    os.write(terminal, b"\x04")
    assert tool.wait() == 0, tool.said()
    os.close(terminal)


def test_nobody_can_be_asked_where_there_is_no_terminal(
    tools: Tools, tmp_path: Path
) -> None:
    (path,) = files(tmp_path, 5)
    tool = dispatch(tools, path, tmp_path / "out.fifo", "--approve", "ask")
    assert tool.wait() == 2
    assert "--approve ask needs a terminal" in tool.said()


# The control socket.


def answers(control: Path, line: bytes) -> Any:
    """To a line that pcap-zmq queue would not say."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(control))
        connection.sendall(line)
        with connection.makefile("rb") as reading:
            return json.loads(reading.readline())


def test_nonsense_on_the_control_socket_is_answered_by_an_error(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    tool = held_back(tools, control, files(tmp_path, 5))
    for line in (b"\n", b"\xff\n", b"[]\n", b'{"do":3}\n', b'{"do":"dance"}\n'):
        reply = answers(control, line)
        assert not reply["ok"]
        assert reply["error"]
    reply = answers(control, b'{"do":"add","files":["here.pcap"]}\n')
    assert reply["error"] == "here.pcap is no absolute path"
    with pytest.raises(OSError, match=r"."):
        answers(control, b"x" * (1 << 21))
    assert tool.process.poll() is None


def test_more_files_than_fit_a_line_are_one_line_of_error(control: Path) -> None:
    with pytest.raises(ConfigError, match="4000 FILES are too many at once"):
        queue(control, "add", *["a" * 300] * 4_000)


def test_only_its_own_user_gets_near_the_control_socket(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    tool = held_back(tools, control, files(tmp_path, 5))
    assert stat.S_IMODE(control.stat().st_mode) == 0o600
    if os.geteuid():
        return
    # The mode keeps nobody out who was given it; the kernel says who asks.
    control.chmod(0o666)
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:2]:
        parent.chmod(0o755)
    as_nobody = ("setpriv", "--reuid=65534", "--clear-groups", "--")
    asking = tools.start(
        "pcap-zmq", "queue", "--control", control, "status", within=as_nobody
    )
    assert asking.wait() in {1, 3, 4}, asking.said()
    if "hangs up" in asking.said():
        tool.wait_to_say("of user 65534 asks")


def answers_at(control: Path) -> bool:
    """Whether anybody listens."""
    try:
        return not queue(control, "status").error
    except TransportError:
        return False


def test_a_control_socket_that_was_left_behind_is_replaced(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    tool = held_back(tools, control, files(tmp_path, 5))
    tool.kill()
    assert control.exists()
    told = queue_command(control, "status")
    assert (told.code, "the dispatch has ended" in told.err) == (4, True)
    tool = held_back(tools, control, files(tmp_path, 5))
    wait_until(lambda: answers_at(control), PATIENCE_S, "an answer")
    other = dispatch(
        tools, tmp_path / "part0.pcap", tmp_path / "f", "--control", control
    )
    assert other.wait() == 2
    assert "another dispatch's" in other.said()
    control.unlink()
    assert queue_command(control, "status").code == 2


def test_what_is_no_socket_is_left_alone(tools: Tools, tmp_path: Path) -> None:
    (path,) = files(tmp_path, 5)
    tool = dispatch(tools, path, tmp_path / "f", "--control", path)
    assert tool.wait() == 2
    assert "is no socket" in tool.said()
    assert path.exists()


def test_a_file_has_one_name_from_whatever_folder(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (path,) = files(tmp_path, 5)
    tool = held_back(tools, control, [tmp_path / "elsewhere" / ".." / path.name])
    queue(control, "allow", os.path.relpath(path))
    assert packets.numbers(tool.stdout.read()) == list(range(5))
    assert tool.wait() == 0


# Folders that are watched.


def test_a_file_is_taken_up_when_its_writer_has_closed_it(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    packets.write(folder / "a.pcap", range(5))
    options = ("--watch", folder, "--control", control)
    tool = dispatch(tools, "-", *options, stdout=subprocess.PIPE)
    with (folder / "b.pcap").open("wb", buffering=0) as writing:
        writing.write(packets.header() + packets.records(range(5, 8)))
        # Newer ones are complete before it is.
        packets.write(tmp_path / "c.pcap", range(10, 15))
        (tmp_path / "c.pcap").rename(folder / "c.pcap")
        wait_for(tool, control)
        wait_for_states(control, "processed", "processed")
        writing.write(packets.records(range(8, 10)))
    wait_for_states(control, *["processed"] * 3)
    # A writer that uses its names again.
    packets.write(folder / "a.pcap", range(15, 20))
    wait_for_states(control, *["processed"] * 4)
    tool.process.terminate()
    numbers = packets.numbers(tool.stdout.read())
    assert numbers == [*range(5), *range(10, 15), *range(5, 10), *range(15, 20)]
    assert tool.wait() == 0


def test_what_comes_from_a_folder_is_there_after_an_interrupt(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    """An end that is whole never comes. The folder's name is of where we are."""
    folder = tmp_path / "captures"
    folder.mkdir()
    packets.write(folder / "a.pcap", range(5))
    out = tmp_path / "out.pcap"
    options = ("--watch", os.path.relpath(folder), "--control", control)
    tool = dispatch(tools, f"file:{out}", *options)
    wait_for(tool, control)
    wait_for_states(control, "processed")
    (file,) = queue(control, "list").said["files"]
    assert file["path"] == str(folder / "a.pcap")
    tool.process.terminate()
    assert tool.wait() == 0, tool.said()
    assert packets.numbers(out.read_bytes()) == list(range(5))


def test_where_the_kernel_does_not_say_who_writes_a_file_rests_a_while(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    """Of another user's files, and without root's rights."""
    if not AS_ANYBODY:
        return
    folder = tmp_path / "captures"
    folder.mkdir()
    for name, numbers in (("a", range(5)), ("b", range(5, 10))):
        packets.write(folder / name, numbers)
        os.chown(folder / name, 65534, 65534)
    os.utime(folder / "a", (1, 1))
    options = ("--watch", folder, "--control", control)
    within = ("setpriv", "--bounding-set=-lease", "--inh-caps=-all", "--")
    tool = dispatch(tools, "-", *options, stdout=subprocess.PIPE, within=within)
    wait_for(tool, control)
    # The older one first, since a newer one is there.
    wait_for_states(control, "processed")
    assert queue(control, "list").said["files"][0]["path"] == str(folder / "a")
    tool.process.terminate()
    assert tool.wait() == 0


def test_what_was_taken_up_before_is_not_taken_up_again(
    tools: Tools, tmp_path: Path, control: Path
) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    packets.write(folder / "a.pcap", range(5))
    at = ("--checkpoint", tmp_path / "checkpoint", "--control", control)
    options = ("--watch", folder / "*.pcap", *at, "--resume")
    seen = []
    for run in range(2):
        packets.write(folder / f"{run}.pcap", range(5 + run, 6 + run))
        (folder / "notes.txt").write_text("not for us")
        tool = dispatch(tools, "-", *options, stdout=subprocess.PIPE)
        wait_for(tool, control)
        wait_for_states(control, *["processed"] * (2 + run))
        tool.process.terminate()
        seen += packets.numbers(tool.stdout.read())
        assert tool.wait() == 0
    assert sorted(seen) == list(range(7))


def test_a_folder_that_is_not_there_is_one_line_of_error(
    tools: Tools, tmp_path: Path
) -> None:
    tool = dispatch(tools, tmp_path / "out.fifo", "--watch", tmp_path / "none")
    assert tool.wait() == 2
    said = tool.said().splitlines()[-1]
    assert os.strerror(errno.ENOENT) in said
