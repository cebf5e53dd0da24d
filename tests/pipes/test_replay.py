"""pcap-zmq replay gives packets when they are due, and says how late it was."""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.pipes import packets
from tests.pipes.replaying import (
    BUSY_MS,
    EPOCH_S,
    TimedReader,
    assert_at,
    assert_took,
    capture,
    times_ms,
)
from tests.pipes.tools import Tool, Tools

NS_PER_S = 1_000_000_000


def replay(tools: Tools, *arguments: str | Path, **options: Any) -> Tool:
    return tools.start("pcap-zmq", "replay", *arguments, **options)


def numbers(tool: Tool) -> dict[str, Any]:
    """The totals of --log-format json."""
    lines = [json.loads(line) for line in tool.said().splitlines()]
    (totals,) = (line for line in lines if line.get("event") == "totals")
    return dict(totals)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


# Unhappy paths.


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--speed", "2", "--topspeed"], "--speed and --topspeed contradict"),
        (["--speed", "fast"], "'fast' is no speed; write it as 1"),
        (["--skip-mtu", "1500", "--cut-mtu", "1500"], "contradict each other"),
        (["--from", "yesterday"], "no moment; write it as 2026-01-31T12:00:00Z"),
        (["--map", "/nonexistent.json"], "/nonexistent.json cannot be read"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(
    tools: Tools, tmp_path: Path, arguments: list[str], why: str
) -> None:
    savefile = capture(tmp_path / "a.pcap", [0])
    tool = replay(tools, *arguments, savefile, tmp_path / "out.pcap")
    assert tool.wait() == 2
    assert why in tool.said()
    assert "Traceback" not in tool.said()
    assert not (tmp_path / "out.pcap").exists()


def test_a_path_that_names_nothing_is_said(tools: Tools, tmp_path: Path) -> None:
    tool = replay(tools, tmp_path / "none.pcap", tmp_path / "out.pcap")
    assert tool.wait() == 2
    assert f"{tmp_path / 'none.pcap'} names no file" in tool.said()


def test_a_file_that_breaks_gives_what_comes_before(
    tools: Tools, tmp_path: Path
) -> None:
    whole = capture(tmp_path / "whole.pcap", range(0, 100, 10), first=5)
    torn = tmp_path / "torn.pcap"
    torn.write_bytes(capture(torn, range(5, 45, 10)).read_bytes()[:-3])
    output = tmp_path / "out.pcap"
    tool = replay(tools, "--topspeed", whole, torn, output)
    assert tool.wait() == 1
    assert "torn.pcap" in tool.said()
    assert len(packets.numbers(output.read_bytes())) == 13
    assert "delivered 13" in tool.said()


def test_an_interrupted_replay_leaves_no_file_under_its_name(
    tools: Tools, tmp_path: Path
) -> None:
    savefile = capture(tmp_path / "a.pcap", [0, 1, 3_600_000])
    output = tmp_path / "out.pcap"
    tool = replay(tools, savefile, output, "--report", "1s")
    tool.wait_to_say("packets delivered")
    tool.process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    assert tool.wait() == 1
    assert time.monotonic() - asked < 3
    assert f"interrupted: {output} was not made" in tool.said()
    assert tool.totals().dropped == {"shutdown": 1}
    assert not output.exists()


def test_an_output_whose_name_is_none_is_said(tools: Tools, tmp_path: Path) -> None:
    savefile = capture(tmp_path / "a.pcap", [0])
    tool = replay(tools, savefile, tmp_path / ("long" * 99))
    assert tool.wait() == 1
    assert "cannot be written: File name too long" in tool.said()
    assert "Traceback" not in tool.said()


def test_a_filter_that_later_packets_cannot_have_loses_none_of_the_sum(
    tools: Tools, tmp_path: Path
) -> None:
    frames = capture(tmp_path / "a.pcap", [0, 1], linktype=1)
    bare = capture(tmp_path / "b.pcap", [2, 3, 4])
    expression = ("--filter", "not ether host 02:00:00:00:00:01")
    tool = replay(tools, frames, bare, *expression, tmp_path / "out.pcap")
    assert tool.wait() == 2
    assert "is no filter for link type raw" in tool.said()
    assert tool.totals()["read"] == 5


def test_a_savefile_of_no_packets_is_one_that_others_can_open(
    tools: Tools, tmp_path: Path
) -> None:
    savefile = capture(tmp_path / "a.pcap", [0, 1])
    output = tmp_path / "out.pcap"
    tool = replay(tools, savefile, "--to", "@1", output)
    assert tool.wait() == 0
    assert "no packet was sent: all 2 were left out" in tool.said()
    assert len(output.read_bytes()) == packets.FILE_HEADER.size


# The right packets, at the right times.


def test_packets_come_at_the_distances_at_which_they_were_captured(
    tools: Tools, tmp_path: Path, fifo: Path
) -> None:
    times = [0, 1, 50, 51, 52, 200, 333.3, 600]
    savefile = capture(tmp_path / "a.pcap", times)
    with TimedReader(fifo) as reader:
        totals = replay(tools, savefile, fifo).finish()
    assert_at(reader.moments_ms(), times)
    assert times_ms(reader.stream) == times
    assert totals["delivered"] == len(times)


def test_a_reader_that_comes_late_gets_all_of_it_at_its_times(
    tools: Tools, tmp_path: Path, fifo: Path
) -> None:
    """What was due before there was anybody is not made up for in one burst."""
    times = list(range(0, 300, 10))
    savefile = capture(tmp_path / "a.pcap", times)
    tool = replay(tools, savefile, fifo, "--log-format", "json")
    with TimedReader(fifo, after_s=0.7) as reader:
        assert tool.wait() == 0
    assert_at(reader.moments_ms(), times)
    assert_took(numbers(tool)["took"], 0.29)


@pytest.mark.parametrize(
    ("pace", "expected_s"),
    [
        (["--speed", "2.5x"], 0.4),
        (["--fit", "300ms"], 0.3),
        # 101 packets of 100 octets.
        (["--mbps", "0.2"], 0.4),
        (["--topspeed"], 0),
    ],
)
def test_all_of_it_takes_as_long_as_was_asked_for(
    tools: Tools, tmp_path: Path, pace: list[str], expected_s: float
) -> None:
    """By the absolute schedule: whatever each wait takes too long, nothing adds up."""
    savefile = capture(tmp_path / "a.pcap", [n * 10 for n in range(101)])
    output = tmp_path / "out.pcap"
    tool = replay(tools, *pace, savefile, output, "--log-format", "json")
    assert tool.wait() == 0, tool.said()
    assert_took(numbers(tool)["took"], expected_s)
    assert packets.numbers(output.read_bytes()) == list(range(101))
    assert times_ms(output.read_bytes()) == [n * 10 for n in range(101)]


def test_files_that_overlap_are_one_stream_by_time(
    tools: Tools, tmp_path: Path
) -> None:
    first = capture(tmp_path / "a.pcap", range(0, 100, 4))
    second = capture(tmp_path / "b.pcap", range(2, 100, 4), first=25)
    third = tmp_path / "c.pcap.gz"
    third.write_bytes(
        gzip.compress(
            capture(tmp_path / "c", range(101, 120, 2), first=50).read_bytes()
        )
    )
    output = tmp_path / "out.pcap"
    replay(tools, "--speed", "5", third, second, first, output).finish()
    stream = output.read_bytes()
    assert times_ms(stream) == [*range(0, 100, 2), *range(101, 120, 2)]
    assert sorted(packets.numbers(stream)) == list(range(60))


def test_a_receiver_gets_them_at_their_times(
    tools: Tools, tmp_path: Path, fifo: Path, endpoint: str
) -> None:
    times = list(range(0, 500, 5))
    savefile = capture(tmp_path / "a.pcap", times)
    tool = replay(tools, savefile, endpoint, "--log-format", "json")
    receiver = tools.receive(endpoint, fifo, "--once")
    with TimedReader(fifo) as reader:
        received = receiver.finish()
    assert tool.wait() == 0, tool.said()
    assert received["written"] == 100
    assert numbers(tool)["delivered"] == 100
    assert times_ms(reader.stream) == times
    assert_at(reader.moments_ms(), times)


# What of it, and how often.


def test_a_span_is_exact_to_the_packet(tools: Tools, tmp_path: Path) -> None:
    savefile = capture(tmp_path / "a.pcap", range(100))
    output = tmp_path / "out.pcap"
    begin = f"@{EPOCH_S}.020000000"
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(EPOCH_S)) + ".029000001Z"
    totals = replay(
        tools, "--from", begin, "--to", end, "--topspeed", savefile, output
    ).finish()
    assert packets.numbers(output.read_bytes()) == list(range(20, 30))
    assert totals["skipped"] + totals["delivered"] == totals["read"]


def test_times_go_on_from_one_time_through_to_the_next(
    tools: Tools, tmp_path: Path
) -> None:
    savefile = capture(tmp_path / "a.pcap", [0, 10, 20])
    output = tmp_path / "out.pcap"
    tool = replay(tools, "--loop", "3", savefile, output, "--log-format", "json")
    assert tool.wait() == 0
    assert packets.numbers(output.read_bytes()) == [0, 1, 2] * 3
    assert times_ms(output.read_bytes()) == list(range(0, 90, 10))
    assert_took(numbers(tool)["took"], 0.08)


def test_what_goes_on_for_ever_ends_when_it_is_asked_to(
    tools: Tools, tmp_path: Path
) -> None:
    savefile = capture(tmp_path / "a.pcap", range(10))
    output = tmp_path / "out.pcap"
    tool = replay(tools, "--loop", "0", savefile, f"file:{output}", "--report", "1s")
    tool.wait_to_say("packets delivered")
    asked = time.monotonic()
    totals = tool.stop(signal.SIGINT)
    assert time.monotonic() - asked < 3
    found = packets.numbers(output.read_bytes())
    assert totals["delivered"] == len(found) > 100
    assert found == [n % 10 for n in range(len(found))]


def test_a_filter_and_an_mtu_leave_out_what_they_say(
    tools: Tools, tmp_path: Path
) -> None:
    small = capture(tmp_path / "a.pcap", range(0, 20, 2), size=100)
    large = capture(tmp_path / "b.pcap", range(1, 20, 2), first=10, size=1_600)
    output = tmp_path / "out.pcap"
    options = ["--filter", "ip[4:2] != 3", "--skip-mtu", "1500", "--topspeed"]
    tool = replay(tools, *options, small, large, output, "--log-format", "json")
    assert tool.wait() == 0, tool.said()
    assert packets.numbers(output.read_bytes()) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert numbers(tool)["skipped"] == {"filter": 1, "length": 10}


def test_long_packets_are_cut_where_that_is_asked_for(
    tools: Tools, tmp_path: Path
) -> None:
    savefile = capture(tmp_path / "a.pcap", range(10), size=1_600)
    output = tmp_path / "out.pcap"
    tool = replay(tools, "--cut-mtu", "1500", "--topspeed", savefile, output)
    assert ", cut 10, " in tool.finish().line
    size = 24 + 10 * (16 + 1500)
    assert output.stat().st_size == size


def test_what_goes_back_in_time_is_left_out_where_that_is_asked_for(
    tools: Tools, tmp_path: Path
) -> None:
    savefile = capture(tmp_path / "a.pcap", [0, 20, 10, 30])
    output = tmp_path / "out.pcap"
    options = ["--order", "skipped", "--log-format", "json"]
    tool = replay(tools, *options, savefile, output)
    assert tool.wait() == 0
    assert times_ms(output.read_bytes()) == [0, 20, 30]
    assert numbers(tool)["skipped"] == {"order": 1}


def test_packets_may_have_the_times_at_which_they_go(
    tools: Tools, tmp_path: Path, fifo: Path
) -> None:
    times = [0, 10, 15, 200]
    savefile = capture(tmp_path / "a.pcap", times)
    before_ns = time.time_ns()
    with TimedReader(fifo, after_s=0.5) as reader:
        replay(tools, "--timestamps", "now", savefile, fifo).finish()
    stamped = times_ms(reader.stream, before_ns)
    # Not when it was started.
    assert 500 <= stamped[0] <= stamped[-1] <= (time.time_ns() - before_ns) / 1e6
    assert_at([ms - stamped[0] for ms in stamped], times)


def test_an_index_names_the_files_and_spares_looking_through_them(
    tools: Tools, tmp_path: Path
) -> None:
    savefile = capture(tmp_path / "a.pcap", range(0, 1_000, 10))
    index, output = tmp_path / "index.json", tmp_path / "out.pcap"
    tools.start("pcap-zmq", "map", savefile, "--index", index).wait()
    tool = replay(
        tools, "--map", index, "--fit", "200ms", output, "--log-format", "json"
    )
    assert tool.wait() == 0, tool.said()
    assert_took(numbers(tool)["took"], 0.2)
    assert packets.numbers(output.read_bytes()) == list(range(100))


# How late it was.


def test_lateness_is_a_histogram_of_all_packets(tools: Tools, tmp_path: Path) -> None:
    savefile = capture(tmp_path / "a.pcap", range(300))
    tool = replay(tools, savefile, tmp_path / "out.pcap", "--log-format", "json")
    assert tool.wait() == 0
    lateness = numbers(tool)["lateness"]
    assert lateness["packets"] == 300
    assert sum(count for _, count in lateness["histogram"]) == 300
    bounds = [bound for bound, _ in lateness["histogram"]]
    assert bounds == sorted(bounds)
    assert 0 <= lateness["p50_ns"] <= lateness["p99_ns"] <= lateness["max_ns"]
    assert lateness["p50_ns"] < BUSY_MS * 1_000_000


def test_a_reader_that_is_slow_makes_packets_late_and_that_is_said(
    tools: Tools, tmp_path: Path, fifo: Path
) -> None:
    """The pipe has room for 1 MiB."""
    savefile = capture(tmp_path / "a.pcap", range(1_500), size=1_400)
    tool = replay(tools, savefile, fifo)
    with TimedReader(fifo, stand_s=2.2):
        totals = tool.finish()
    assert re.search(r"WARNING packets go [\d.]+(ms|s) late: ", tool.said())
    assert re.search(r"beyond 10ms [1-9]\d* packets", totals.line)
    assert totals["delivered"] == 1_500


def test_the_next_reader_of_a_fifo_gets_the_rest_at_its_times(
    tools: Tools, tmp_path: Path, fifo: Path
) -> None:
    times = list(range(0, 600, 10))
    savefile = capture(tmp_path / "a.pcap", times)
    tool = replay(tools, savefile, fifo, "--log-format", "json")
    with TimedReader(fifo, leaves_after=20) as first:
        pass
    with TimedReader(fifo, after_s=0.3) as second:
        assert tool.wait() == 0, tool.said()
    streams = packets.numbers(first.stream), packets.numbers(second.stream)
    assert [*streams[0], *streams[1]] == list(range(60))
    # The first of them the other had left unread.
    own = times_ms(second.stream)
    assert_at(second.moments_ms(), [ms - own[0] for ms in own])
    assert_took(numbers(tool)["took"], 0.59)


def test_a_live_stream_begins_with_its_first_client(
    tools: Tools, tmp_path: Path
) -> None:
    savefile = capture(tmp_path / "a.pcap", range(50))
    tool = replay(tools, savefile, "pcap-over-ip://127.0.0.1:0")
    tool.wait_to_say("readers may connect to")
    found = re.search(r"readers may connect to 127\.0\.0\.1:(\d+)", tool.said())
    assert found is not None
    stream = b""
    with socket.create_connection(("127.0.0.1", int(found[1]))) as client:
        while octets := client.recv(1 << 16):
            stream += octets
    assert packets.numbers(stream) == list(range(50))
    assert tool.finish()["delivered"] == 50


def test_standard_output_takes_them_too(tools: Tools, tmp_path: Path) -> None:
    savefile = capture(tmp_path / "a.pcap", range(50))
    tool = replay(tools, savefile, "-", stdout=subprocess.PIPE)
    assert packets.numbers(tool.stdout.read()) == list(range(50))
    tool.finish()
