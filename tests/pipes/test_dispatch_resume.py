"""What a dispatcher that ends in the middle leaves, the next one goes on with: no
packet comes twice, none is left out."""

import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.dispatching import (
    counted,
    dispatch,
    files,
    queue,
    read_all,
    wait_for,
)
from tests.pipes.readers import KillableReader
from tests.pipes.tools import PATIENCE_S, Tool, Tools

CAPACITY = 1 << 24


class Scene:
    """A FIFO, its readers one after the other, and what they read."""

    def __init__(self, tools: Tools, folder: Path) -> None:
        self.inputs: Sequence[Path] = ()
        self._tools = tools
        self._folder = folder
        self._fifo = folder / "out.fifo"
        self._readers: list[KillableReader] = []

    def dispatch(self, *options: str) -> Tool:
        """The next one."""
        at = ("--checkpoint", self._folder / "checkpoint")
        output = f"fifo:{self._fifo}"
        return dispatch(self._tools, *self.inputs, output, *at, *options)

    def numbers(self) -> list[int]:
        """Of the packets that the readers have read, when they have come to the end."""
        for reader in self._readers:
            reader.process.wait(PATIENCE_S)
        return read_all([reader.stream() for reader in self._readers])

    def end(self) -> None:
        """Nobody reads any more."""
        for reader in self._readers:
            reader.kill()

    def read(self, step: int = 1 << 16) -> KillableReader:
        """The next one."""
        wait_until(self._fifo.exists, PATIENCE_S, "the FIFO")
        path = self._folder / f"read{len(self._readers)}"
        self._readers.append(KillableReader(self._fifo, path, CAPACITY, step))
        return self._readers[-1]


@pytest.fixture
def scene(tools: Tools, tmp_path: Path) -> Iterator[Scene]:
    """Without inputs."""
    scene = Scene(tools, tmp_path)
    yield scene
    scene.end()


def wait_to_read(reader: KillableReader, octets: int) -> None:
    """Until it has so many."""
    wait_until(lambda: reader.has_read(octets), PATIENCE_S, "packets")


def wait_to_hold(path: Path, octets: int) -> None:
    """Until the file has so many."""
    wait_until(lambda: path.stat().st_size > octets, PATIENCE_S, "packets")


def stand_still(reader: KillableReader) -> None:
    """It takes nothing more out of the pipe."""
    reader.process.send_signal(signal.SIGSTOP)


def go_on(reader: KillableReader) -> None:
    """It reads what is left, to the end."""
    reader.process.send_signal(signal.SIGCONT)
    assert reader.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("counts", [(40_000,), (9_000, 11_000, 30, 0, 20_000)])
def test_after_kills_each_packet_comes_once(
    scene: Scene, tmp_path: Path, counts: tuple[int, ...]
) -> None:
    """Of the dispatcher, in the middle of a write, or with the pipe full."""
    scene.inputs = files(tmp_path, *counts)
    for run in range(2):
        tool = scene.dispatch(*["--resume"][:run])
        reader = scene.read()
        wait_to_read(reader, 1_500_000)
        if run:
            stand_still(reader)
        tool.kill()
        go_on(reader)
    tool = scene.dispatch("--resume")
    scene.read()
    assert tool.wait() == 0, tool.said()
    assert scene.numbers() == list(range(sum(counts)))


def test_a_kill_after_a_reader_died_loses_nothing_that_it_left_unread(
    scene: Scene, tmp_path: Path
) -> None:
    """Some of that is of files that had been processed."""
    scene.inputs = files(tmp_path, *[700] * 30)
    tool = scene.dispatch()
    reader = scene.read(step=4096)
    wait_to_read(reader, 500_000)
    stand_still(reader)
    reader.kill()
    tool.wait_to_say("has opened")
    before = tool.said().count("has opened")
    reader = scene.read(step=4096)
    wait_until(lambda: tool.said().count("has opened") > before, PATIENCE_S, "it")
    wait_to_read(reader, 20_000)
    stand_still(reader)
    tool.kill()
    go_on(reader)
    tool = scene.dispatch("--resume")
    scene.read()
    assert tool.wait() == 0, tool.said()
    assert scene.numbers() == list(range(21_000))


def test_the_consumer_dies_and_returns_and_gets_the_rest(
    scene: Scene, tmp_path: Path
) -> None:
    scene.inputs = files(tmp_path, 8_000, 8_000)
    tool = scene.dispatch()
    reader = scene.read(step=777)
    wait_to_read(reader, 1_000_000)
    reader.kill()
    scene.read()
    assert tool.wait() == 0, tool.said()
    assert scene.numbers() == list(range(16_000))
    assert counted(tool, "read") == counted(tool, "delivered") == 16_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_in_order_and_the_next_one_goes_on(
    scene: Scene, tmp_path: Path, number: int
) -> None:
    scene.inputs = files(tmp_path, 20_000, 10)
    tool = scene.dispatch("--linger", "1s")
    reader = scene.read()
    wait_to_read(reader, 500_000)
    stand_still(reader)
    tool.process.send_signal(number)
    assert tool.wait() == 0, tool.said()
    go_on(reader)
    assert counted(tool, "read") == (
        counted(tool, "delivered") + counted(tool, "dropped")
    )
    tool = scene.dispatch("--resume")
    scene.read()
    assert tool.wait() == 0, tool.said()
    assert scene.numbers() == list(range(20_010))


def test_an_archive_goes_on_in_the_middle_of_a_member(
    scene: Scene, tmp_path: Path
) -> None:
    """Compressed, and read in one pass."""
    archive = tmp_path / "all.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as made:
        for path in files(tmp_path, 6_000, 12_000, 3_000):
            made.add(path, path.name)
    scene.inputs = [archive]
    tool = scene.dispatch()
    reader = scene.read()
    wait_to_read(reader, 1_800_000)
    tool.kill()
    go_on(reader)
    tool = scene.dispatch("--resume")
    scene.read()
    assert tool.wait() == 0, tool.said()
    assert scene.numbers() == list(range(21_000))


def test_files_that_were_added_later_come_after_those_that_were_there(
    scene: Scene, tmp_path: Path
) -> None:
    first, second = files(tmp_path, 20_000, 500)
    scene.inputs = [first]
    tool = scene.dispatch()
    reader = scene.read()
    wait_to_read(reader, 500_000)
    tool.kill()
    go_on(reader)
    scene.inputs = [second, first]
    tool = scene.dispatch("--resume")
    scene.read()
    assert tool.wait() == 0, tool.said()
    assert scene.numbers() == list(range(20_500))


def test_what_was_stopped_while_it_waited_is_not_allowed_by_that(
    scene: Scene, tmp_path: Path
) -> None:
    scene.inputs = files(tmp_path, 10)
    control = ("--approve", "control", "--control", str(tmp_path / "control"))
    tool = scene.dispatch(*control)
    tool.wait_to_say("next is")
    tool.kill()
    tool = scene.dispatch(*control, "--resume")
    tool.wait_to_say("next is")
    assert "is processed" not in tool.said()


def test_a_checkpoint_that_came_to_no_end_is_not_overwritten_unasked(
    scene: Scene, tmp_path: Path
) -> None:
    scene.inputs = files(tmp_path, 10)
    tool = scene.dispatch()
    tool.wait_to_say("next is")
    tool.kill()
    again = scene.dispatch()
    assert again.wait() == 2
    assert "--resume" in again.said()


def test_a_checkpoint_serves_one_at_a_time(scene: Scene, tmp_path: Path) -> None:
    scene.inputs = files(tmp_path, 10)
    tool = scene.dispatch()
    tool.wait_to_say("next is")
    other = scene.dispatch("--resume")
    assert other.wait() == 2
    assert "in use by another dispatch" in other.said()


def test_what_is_no_checkpoint_is_left_alone(scene: Scene, tmp_path: Path) -> None:
    scene.inputs = files(tmp_path, 10)
    (tmp_path / "checkpoint").write_text("my letters")
    tool = scene.dispatch("--resume")
    assert tool.wait() == 2
    assert "no checkpoint of pcap-zmq dispatch" in tool.said()
    assert (tmp_path / "checkpoint").read_text() == "my letters"


def test_a_file_that_has_become_shorter_is_told_of(
    scene: Scene, tmp_path: Path
) -> None:
    (path,) = files(tmp_path, 30_000)
    scene.inputs = [path]
    tool = scene.dispatch()
    reader = scene.read()
    wait_to_read(reader, 2_000_000)
    tool.kill()
    go_on(reader)
    packets.write(path, range(10))
    tool = scene.dispatch("--resume")
    scene.read()
    assert tool.wait() == 0, tool.said()
    assert "packets fewer than an earlier run sent" in tool.said()


def test_a_full_disk_holds_the_next_file_back_and_costs_nothing(
    tools: Tools, tmp_path: Path
) -> None:
    """A small file system of its own holds the checkpoint."""
    disk = tmp_path / "disk"
    disk.mkdir()
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    fill = f"cat /dev/zero > {disk}/ballast"
    script = f'mount -t tmpfs -o size=64k none {disk}; "$0" "$@" & '
    script += f"while [ ! -e {tmp_path}/full ]; do sleep 0.01; done; {fill}; "
    script += f"while [ ! -e {tmp_path}/empty ]; do sleep 0.01; done; "
    script += f"rm {disk}/ballast; wait $!"
    within = ("unshare", "--mount", *user, "--", "sh", "-c", script)
    control = tmp_path / "control"
    tool = dispatch(
        tools,
        *files(tmp_path, 10, 10),
        f"file:{tmp_path}/out.pcap",
        *("--checkpoint", disk / "checkpoint"),
        *("--approve", "control", "--control", control),
        within=within,
    )
    wait_for(tool, control)
    tool.wait_to_say("next is")
    (tmp_path / "full").touch()
    tool.wait_to_say("No space left on device")
    # The last page has room for some lines.
    for _ in range(50):
        assert not queue(control, "add", tmp_path / "part0.pcap").error
    tool.wait_to_say("no other file begins until it can")
    queue(control, "allow", "--all")
    assert queue(control, "status").said["playing"] == []
    (tmp_path / "empty").touch()
    assert tool.wait() == 0, tool.said()
    assert packets.numbers((tmp_path / "out.pcap").read_bytes()) == [
        *range(20),
        *[*range(10)] * 50,
    ]
    assert "is written again" in tool.said()


@pytest.mark.parametrize("counts", [(40_000,), (4_000, 2_000, 30, 34_000)])
def test_after_kills_a_receiver_gets_each_packet_once(
    tools: Tools, tmp_path: Path, endpoint: str, counts: tuple[int, ...]
) -> None:
    """Batches that it had, and that it had not acknowledged, it knows by number."""
    inputs = files(tmp_path, *counts)
    out = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{out}", "--once")
    wait_for(receiver, out)
    options = ("--checkpoint", tmp_path / "checkpoint", "--codec", "none")
    for run in range(3):
        tool = dispatch(tools, *inputs, endpoint, *options, *["--resume"][:run])
        if run < 2:
            wait_to_hold(out, (run + 1) * 2_000_000)
            tool.kill()
    assert tool.wait() == 0, tool.said()
    assert receiver.wait() == 0
    assert packets.numbers(out.read_bytes()) == list(range(sum(counts)))
    receiver.totals()


def test_a_file_that_is_skipped_after_a_kill_takes_no_other_file_along(
    tools: Tools, tmp_path: Path, endpoint: str
) -> None:
    """What comes then is not what the receiver was sent before, by the same numbers."""
    inputs = files(tmp_path, 40_000, 20_000)
    out, control = tmp_path / "out.pcap", tmp_path / "control"
    receiver = tools.receive(endpoint, f"file:{out}", "--once")
    wait_for(receiver, out)
    options = ("--checkpoint", tmp_path / "checkpoint", "--control", control)
    tool = dispatch(tools, *inputs, endpoint, *options)
    wait_to_hold(out, 2_000_000)
    tool.kill()
    packets.write(inputs[0], range(100_000, 100_010))
    tool = dispatch(tools, *inputs, endpoint, *options, "--resume")
    assert tool.wait() == 0, tool.said()
    assert receiver.wait() == 0
    numbers = packets.numbers(out.read_bytes())
    # Of the new one, what lies behind what had been acknowledged: nothing, mostly.
    numbers = [number for number in numbers if number < 100_000]
    assert numbers[-20_000:] == list(range(40_000, 60_000))
    assert numbers[:-20_000] == list(range(len(numbers) - 20_000))


def test_files_in_order_by_time_go_on_where_they_were(
    scene: Scene, tmp_path: Path
) -> None:
    (whole,) = files(tmp_path, 30_000)
    records, _ = packets.split(whole.read_bytes())
    parts = []
    for start in range(3):
        parts.append(tmp_path / f"every{start}.pcap")
        parts[-1].write_bytes(packets.header() + b"".join(records[start::3]))
    scene.inputs = parts
    tool = scene.dispatch("--merge")
    reader = scene.read()
    wait_to_read(reader, 1_500_000)
    tool.kill()
    go_on(reader)
    assert scene.dispatch("--resume").wait() == 2
    scene.inputs = [*parts, tmp_path / "late.pcap"]
    packets.write(tmp_path / "late.pcap", range(30_000, 30_010))
    tool = scene.dispatch("--merge", "--resume")
    scene.read()
    assert tool.wait() == 0, tool.said()
    assert scene.numbers() == list(range(30_010))


def test_a_pipe_on_standard_output_goes_on_after_a_kill(
    tools: Tools, tmp_path: Path
) -> None:
    inputs = files(tmp_path, 30_000)
    at = ("--checkpoint", tmp_path / "checkpoint")
    first = dispatch(tools, *inputs, "-", *at, stdout=subprocess.PIPE)
    got = first.stdout.read(1_500_000)
    first.kill()
    got += first.stdout.read()
    second = dispatch(tools, *inputs, "-", *at, "--resume", stdout=subprocess.PIPE)
    rest = second.stdout.read()
    assert second.wait() == 0, second.said()
    assert read_all([got, rest]) == list(range(30_000))


def test_a_savefile_of_the_run_before_is_not_written_over(
    tools: Tools, tmp_path: Path
) -> None:
    """Not even where that would be allowed: it holds the beginning."""
    inputs = files(tmp_path, 10, 10)
    out, control = tmp_path / "out.pcap", tmp_path / "control"
    options = ("--approve", "control", "--control", control, "--overwrite")
    at = ("--checkpoint", tmp_path / "checkpoint")
    first = dispatch(tools, *inputs, f"file:{out}", *options, *at)
    wait_for(first, control)
    assert not queue(control, "allow", "#1").error
    wait_to_hold(out, 2_000)
    first.kill()
    written = out.read_bytes()
    again = dispatch(tools, *inputs, f"file:{out}", *at, "--overwrite", "--resume")
    assert again.wait() == 2
    assert "give the rest another name" in again.said()
    rest = tmp_path / "rest.pcap"
    last = dispatch(tools, *inputs, f"file:{rest}", *at, "--resume")
    assert last.wait() == 0, last.said()
    assert read_all([written, rest.read_bytes()]) == list(range(20))
