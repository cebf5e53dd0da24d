"""Packets of several gateways come out by their times; one wrong clock harms nobody."""

import itertools
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.waiting import wait_until
from tests.faults.clock import WallClock, library
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tool, Tools

NS_PER_S = 1_000_000_000
HOUR_S = 3_600
ROUNDS = 300
WINDOW = "2s"


class Gateway:
    """A sender whose packets the test makes as they are captured; its clock, and so
    their times, may be off."""

    def __init__(
        self,
        tools: Tools,
        endpoint: str,
        name: str,
        *options: str,
        within: tuple[str, ...] = (),
        ahead_s: int = 0,
    ) -> None:
        self.name = name
        self._ahead_ns = ahead_s * NS_PER_S
        arguments = ("-", endpoint, "--name", name, *options)
        self.tool = tools.send(*arguments, stdin=subprocess.PIPE, within=within)
        self.captured: dict[bytes, int] = {}
        """When each packet was, truly."""
        self.tool.stdin.write(packets.header())
        self.tool.stdin.flush()

    def capture(self, number: int) -> bytes:
        """A packet is captured now. Returns what it says, without its time."""
        packet = packets.record(number)[packets.RECORD_HEADER.size :]
        self.captured[packet] = time.time_ns()
        times = divmod(self.captured[packet] + self._ahead_ns, NS_PER_S)
        header = packets.RECORD_HEADER.pack(*times, len(packet), len(packet))
        self.tool.stdin.write(header + packet)
        return packet

    def flush(self) -> None:
        self.tool.stdin.flush()

    def leave(self) -> None:
        self.tool.stdin.close()
        self.tool.finish()


def senders_of(tools: Tools, endpoint: str) -> dict[str, Any]:
    """Each sender's line, by its name; all of them add up."""
    argv = ("status", endpoint, "--json")
    tool = tools.start("pcap-zmq", *argv, stdout=subprocess.PIPE)
    state = json.loads(tool.stdout.read())
    assert [line for line in state["senders"] if line["unaccounted"]] == []
    return {line["name"]: line for line in state["senders"]}


def wait_for_clocks(tools: Tools, endpoint: str, *gateways: Gateway) -> None:
    """Until the receiver knows how far off each clock is."""

    def are_known() -> bool:
        lines = senders_of(tools, endpoint)
        return all(
            gateway.name in lines
            and lines[gateway.name]["clock_offset_ns"] is not None
            and lines[gateway.name]["clock_error_ns"] < NS_PER_S // 5
            for gateway in gateways
        )

    wait_until(are_known, PATIENCE_S, "every clock to be known")


def contents(path: Path) -> list[bytes]:
    """The packets of a savefile, without their times; none is torn."""
    stream, found = path.read_bytes(), []
    at = packets.FILE_HEADER.size
    while at < len(stream):
        *_, caplen, _ = packets.RECORD_HEADER.unpack_from(stream, at)
        at += packets.RECORD_HEADER.size + caplen
        found.append(stream[at - caplen : at])
    assert at == len(stream)
    return found


def out_of_order_ns(
    written: list[bytes], captured: list[bytes], *gateways: Gateway
) -> int:
    """By how much the times at which they were truly captured go back at most."""
    times = {p: ns for gateway in gateways for p, ns in gateway.captured.items()}
    assert sorted(written) == sorted(captured)
    highest = itertools.accumulate((times[p] for p in written), max)
    return max(high - times[p] for p, high in zip(written, highest, strict=True))


def in_turns(*gateways: Gateway) -> list[bytes]:
    """They capture by turns; returns the packets in the order of capture."""
    captured = []
    for number in range(ROUNDS):
        captured += [
            gateway.capture(number * len(gateways) + place)
            for place, gateway in enumerate(gateways)
        ]
        if number % 10 == 9:
            for gateway in gateways:
                gateway.flush()
    return captured


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.pcap"


def receive(tools: Tools, output: Path, *options: str) -> tuple[Tool, str]:
    return tools.receive_on_tcp(f"file:{output}", *options)


def late_in(tool: Tool) -> Iterator[int]:
    """How many the totals call late, if they speak of any."""
    yield from (int(n) for n in re.findall(r"\blate (\d+)", tool.totals().line))


def test_two_gateways_come_out_in_the_order_in_which_they_captured(
    tools: Tools, output: Path
) -> None:
    """One of them gathers its packets ten times as long as the other."""
    receiver, endpoint = receive(tools, output, "--once", "--reorder", WINDOW)
    quick = Gateway(tools, endpoint, "quick", "--batch-age", "10ms")
    slow = Gateway(tools, endpoint, "slow", "--batch-age", "100ms")
    wait_for_clocks(tools, endpoint, quick, slow)
    captured = in_turns(quick, slow)
    quick.leave()
    slow.leave()
    receiver.finish()
    assert contents(output) == captured
    assert list(late_in(receiver)) in ([], [0])


@pytest.mark.skipif(library() is None, reason="needs libfaketime")
@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_a_gateway_whose_clock_is_an_hour_off_takes_its_place_and_is_named(
    tools: Tools, tmp_path: Path, output: Path, ahead_s: int
) -> None:
    clock = WallClock(tmp_path / "clock")
    clock.set_off(ahead_s)
    receiver, endpoint = receive(tools, output, "--once", "--reorder", WINDOW)
    right = Gateway(tools, endpoint, "right")
    wrong = Gateway(
        tools, endpoint, "wrong", within=tuple(clock.entry), ahead_s=ahead_s
    )
    wait_for_clocks(tools, endpoint, right, wrong)
    captured = in_turns(right, wrong)
    lines = senders_of(tools, endpoint)
    right.leave()
    wrong.leave()
    receiver.finish()
    WallClock.clean_up_after(wrong.tool.pid)
    error_ns = max(line["clock_error_ns"] for line in lines.values())
    assert out_of_order_ns(contents(output), captured, right, wrong) <= 3 * error_ns
    off_ns = lines["wrong"]["clock_offset_ns"] - ahead_s * NS_PER_S
    assert abs(off_ns) <= lines["wrong"]["clock_error_ns"] < NS_PER_S
    assert abs(lines["right"]["clock_offset_ns"]) <= lines["right"]["clock_error_ns"]
    sign = "+" if ahead_s > 0 else "-"
    assert f"sender wrong: its clock is {sign}1.0h off ours" in receiver.said().replace(
        "60.0min", "1.0h"
    )
    assert "sender right: its clock" not in receiver.said()


def test_a_signal_gives_out_what_waits_at_once(tools: Tools, output: Path) -> None:
    receiver, endpoint = receive(tools, output, "--reorder", "10s")
    one, other = (Gateway(tools, endpoint, name) for name in ("one", "other"))
    wait_for_clocks(tools, endpoint, one, other)
    captured = in_turns(one, other)

    def have_come() -> bool:
        lines = senders_of(tools, endpoint).values()
        return bool(len(captured) == sum(line["held_by_receiver"] for line in lines))

    wait_until(have_come, PATIENCE_S, "all packets to wait")
    assert output.stat().st_size <= packets.FILE_HEADER.size
    started = time.monotonic()
    totals = receiver.stop(signal.SIGTERM)
    assert time.monotonic() - started < 8
    assert (totals["written"], totals["held"]) == (len(captured), 0)
    assert contents(output) == captured


def test_senders_are_told_that_their_packets_are_written_only_then(
    tools: Tools, output: Path
) -> None:
    """A sender that leaves waits for the window, and no longer."""
    receiver, endpoint = receive(tools, output, "--once", "--reorder", "500ms")
    gateway = Gateway(tools, endpoint, "gateway")
    captured = in_turns(gateway)
    gateway.leave()
    assert contents(output) == captured
    receiver.finish()
