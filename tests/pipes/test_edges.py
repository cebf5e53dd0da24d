"""A receiver's own child, rotated files and a live stream, with everything real."""

import gzip
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.ids import Suricata
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tool, Tools

RULE = (
    "alert udp any 5000 -> any 5001 "
    '(msg:"numbered"; content:"|00 00 00 00 00 00|"; depth:6; sid:1;)\n'
)
"""Of the payload, so that Suricata looks at each packet and not at a flow."""

RUNS = 4
KILLABLE = """
import os, signal, sys
from pathlib import Path

directory, lasts = Path(sys.argv[1]), int(sys.argv[2])
run = len(list(directory.glob("*.stream")))
wanted = 1_000 + run * 123_457
with (directory / f"{run}.stream").open("wb", buffering=0) as file:
    while run == lasts or wanted > 0:
        octets = os.read(0, 1_003 if run == lasts else min(13, wanted))
        wanted -= len(octets)
        file.write(octets)
        if not octets:
            sys.exit()
(directory / f"{run}.stalled").touch()
signal.pause()
"""
"""Reads so much and stalls, in the middle of a packet; the last one reads it all."""


def savefile(directory: Path, numbers: range, name: str = "in.pcap") -> Path:
    path = directory / name
    packets.write(path, numbers)
    return path


def exec_of(*words: object) -> tuple[str, str]:
    return "--exec", shlex.join(map(str, words))


def receive(tools: Tools, endpoint: str, *arguments: str | Path) -> Tool:
    tool = tools.start("pcap-zmq-recv", endpoint, *arguments)
    tool.wait_to_say("listening on")
    return tool


def errors_of(tool: Tool) -> list[str]:
    assert "Traceback" not in tool.said()
    return [line for line in tool.said().splitlines() if line.startswith("error")]


def pids_said(tool: Tool) -> list[int]:
    """Of the children that were started so far."""
    return [int(pid) for pid in re.findall(r"is started as process (\d+)", tool.said())]


def is_running(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


# A child.


def test_a_command_that_does_not_exist_is_one_line(tools: Tools, endpoint: str) -> None:
    tool = tools.start("pcap-zmq-recv", endpoint, "--exec", "no-such-ids -r -")
    assert tool.wait() == 2
    (line,) = errors_of(tool)
    assert "--exec no-such-ids: there is no such program; install it" in line


def test_a_child_gets_everything_and_ends_with_its_input(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = exec_of("sh", "-c", f"cat > {out}; echo done >> {tmp_path}/done")
    receiver = receive(tools, endpoint, *options, "--once")
    tools.send(savefile(tmp_path, range(20_000)), endpoint).finish()
    totals = receiver.finish()
    assert packets.numbers(out.read_bytes()) == list(range(20_000))
    assert (tmp_path / "done").read_text() == "done\n"
    assert (totals["written"], totals["readers"]) == (20_000, 1)


def test_a_child_has_no_privileges_and_nothing_of_ours(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = f"(ls -l /proc/self/fd; cat /proc/self/status) > {out}.new 2>&1;"
    script += f"mv {out}.new {out}; cat"
    receive(tools, endpoint, *exec_of("sh", "-c", script))
    wait_until(out.exists, PATIENCE_S, "its answer")
    said = out.read_text()
    assert re.search(r"CapEff:\s0+\n", said)
    assert re.search(r"CapBnd:\s0+\n", said) or os.geteuid() != 0
    assert re.search(r"NoNewPrivs:\s1", said)
    # Its input, our standard error twice, and the directory; the shell's redirection.
    assert len(re.findall(r" -> ", said)) == 4
    assert "socket:" not in said


def test_a_stop_ends_the_child_and_so_does_kill_9(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        receiver = receive(tools, endpoint, *exec_of("sleep", "1000"), "--linger", "0s")
        receiver.wait_to_say("is started as process")
        (pid,) = pids_said(receiver)
        assert is_running(pid)
        receiver.process.send_signal(number)
        receiver.wait()
        wait_until(lambda: not is_running(pid), PATIENCE_S, "the child to end")  # noqa: B023


def test_children_killed_at_any_octet_together_read_everything(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    found = tmp_path / "found"
    found.mkdir()
    program = tmp_path / "killable.py"
    program.write_text(KILLABLE)
    options = exec_of(sys.executable, "-S", program, found, RUNS)
    receiver = receive(tools, endpoint, *options, "--receive-queue", "1MiB", "--once")
    sender = tools.send(
        savefile(tmp_path, range(20_000)), endpoint, "--low-watermark", "0"
    )
    for run in range(RUNS):
        wait_until((found / f"{run}.stalled").exists, PATIENCE_S, "it to read")
        os.kill(pids_said(receiver)[run], signal.SIGKILL)
    sender.finish()
    totals = receiver.finish()
    numbers: list[int] = []
    for run in range(RUNS + 1):
        numbers += packets.numbers((found / f"{run}.stream").read_bytes())
    assert numbers == list(range(20_000))
    assert (totals["written"], totals["readers"]) == (20_000, RUNS + 1)
    assert totals["replayed"] > 0


@pytest.mark.skipif(not Suricata.is_installed(), reason="Suricata is not installed")
def test_suricata_is_started_killed_and_started_again(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    """Alerts of what it had seen stay, what comes later the next one sees."""
    suricata = Suricata(tmp_path, RULE)
    eve = tmp_path / "eve.json"
    options = exec_of(*suricata.command(Path("/dev/stdin")))
    receiver = receive(tools, endpoint, *options, "--linger", "20s")

    def alerts() -> list[int]:
        """Packets that fitted the rule, by their times."""
        lines = eve.read_text().splitlines() if eve.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("}")]
        found = (event for event in events if event["event_type"] == "alert")
        return [int(event["timestamp"][20:23]) for event in found]

    def send(numbers: range) -> None:
        tools.send(savefile(tmp_path, numbers), endpoint, "--name", "gw").finish()

    send(range(100))
    wait_until(lambda: len(alerts()) == 100, 60, "the first alerts")
    os.kill(pids_said(receiver)[0], signal.SIGKILL)
    receiver.wait_to_say("has ended: killed by SIGKILL; started again")
    send(range(100, 200))
    wait_until(lambda: len(alerts()) == 200, 60, "alerts of the next one")
    assert alerts() == list(range(200))
    totals = receiver.stop(timeout_s=60)
    assert (totals["received"], totals["written"]) == (200, 200)
    assert (totals["readers"], totals["replayed"]) == (2, 0)
    assert "gets SIG" not in receiver.said()
    assert receiver.said().count("exit code 0") == 1


def test_a_child_that_stalls_holds_up_nobody_where_it_may_be_dropped(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    """And what it gets, when it goes on, is whole packets."""
    go, out, child = tmp_path / "go", tmp_path / "out.pcap", tmp_path / "child"
    script = f"head -c 24 > {child}; until [ -e {go} ]; do sleep 0.01; done;"
    options = exec_of("sh", "-c", f"{script} exec cat >> {child}")
    receiver = receive(
        tools,
        endpoint,
        f"file:{out}",
        *options,
        *("--when-slow", "drop", "--output-queue", "64KiB", "--linger", "20s"),
    )
    tools.send(savefile(tmp_path, range(1)), endpoint).finish()
    wait_until(
        lambda: child.exists() and child.stat().st_size == 24, PATIENCE_S, "the child"
    )
    tools.send(savefile(tmp_path, range(1, 20_000)), endpoint).finish()
    go.touch()
    totals = receiver.stop()
    assert packets.numbers(out.read_bytes()) == list(range(20_000))
    assert totals["written"] == 20_000
    got = packets.numbers(child.read_bytes())
    assert got == sorted(set(got))
    assert 0 < len(got) < 20_000
    assert f"taken 20000, written {len(got)}, held 0, dropped" in receiver.said()
    assert "slow_output" in receiver.said()


# Files.


def test_files_follow_each_other_and_lose_nothing(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    output = f"file:{out}/gw-%Y%m%d-%H%M%S.pcap,size=256KiB,compress=gzip"
    receiver = receive(tools, endpoint, output, "--once")
    tools.send(savefile(tmp_path, range(50_000)), endpoint).finish()
    totals = receiver.finish()
    assert totals["written"] == 50_000
    streams = [gzip.decompress(path.read_bytes()) for path in out.iterdir()]
    assert len(streams) >= 3
    found = sorted(packets.numbers(stream) for stream in streams)
    assert [number for numbers in found for number in numbers] == list(range(50_000))
    assert {path.suffix for path in out.iterdir()} == {".gz"}
    assert f"files {len(streams)}" in receiver.said()


def test_a_receiver_that_was_killed_completes_its_file_at_the_next_start(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    output = f"file:{out}/gw-%s.pcap,age=1h"
    receiver = receive(tools, endpoint, output)
    sender = tools.send(savefile(tmp_path, range(1_000)), endpoint)
    sender.finish()
    receiver.kill()
    (part,) = out.iterdir()
    with part.open("ab") as torn:
        torn.write(packets.record(1_000)[:-1])
    again = receive(tools, endpoint, output)
    assert "was left incomplete" in again.said()
    (complete,) = out.iterdir()
    assert complete.suffix == ".pcap"
    assert packets.numbers(complete.read_bytes()) == list(range(1_000))


# The live stream.


def port_said(tool: Tool) -> int:
    found = re.search(r"readers may connect to \S+:(\d+)", tool.said())
    assert found is not None, tool.said()
    return int(found[1])


def test_other_hosts_need_to_be_let_in_by_name(tools: Tools, endpoint: str) -> None:
    tool = tools.start("pcap-zmq-recv", endpoint, "pcap-over-ip://0.0.0.0:0")
    assert tool.wait() == 2
    (line,) = errors_of(tool)
    assert "insecure=yes" in line
    receive(tools, endpoint, "pcap-over-ip://0.0.0.0:0,insecure=yes")


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_a_child_files_and_a_live_stream_get_the_same(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    receiver = receive(
        tools,
        endpoint,
        f"file:{out}/gw-%s.pcap,age=1h",
        "pcap-over-ip://127.0.0.1:0",
        *exec_of("sh", "-c", f"exec cat > {tmp_path}/child"),
        "--once",
    )
    port = port_said(receiver)
    argv = ["tshark", "-n", "-i", f"TCP@127.0.0.1:{port}", "-c", "500"]
    with (tmp_path / "live").open("wb") as live, (tmp_path / "err").open("wb") as err:
        fields = ["-T", "fields", "-e", "ip.id"]
        tshark = subprocess.Popen([*argv, *fields], stdout=live, stderr=err)
    try:
        with socket.create_connection(("127.0.0.1", port)) as client:
            receiver.wait_to_say("reads from now on")
            wait_until(
                lambda: receiver.said().count("reads from now on") == 2,
                PATIENCE_S,
                "two readers",
            )
            tools.send(savefile(tmp_path, range(500)), endpoint).finish()
            stream = b""
            while came := client.recv(1 << 16):
                stream += came
        assert tshark.wait(PATIENCE_S) == 0, (tmp_path / "err").read_text()
    finally:
        tshark.kill()
        tshark.wait()
    totals = receiver.finish()
    assert totals["written"] == 500
    (path,) = out.iterdir()
    everything = list(range(500))
    assert packets.numbers(path.read_bytes()) == everything
    assert packets.numbers((tmp_path / "child").read_bytes()) == everything
    assert packets.numbers(stream) == everything
    seen = [int(line, 16) for line in (tmp_path / "live").read_text().split()]
    assert seen == everything
