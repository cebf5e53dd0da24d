"""Many senders with a packet now and then, whose batches a receiver takes together."""

import json
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from testbed import numbered
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.guarded import Keys
from tests.pipes.readers import KillableReader
from tests.pipes.tools import PATIENCE_S, Tool, Tools

ROOT = Path(__file__).parents[2]
SENDERS = 40
BATCHES = 100
PACKETS = 3
OCTETS = 100
EACH = BATCHES * PACKETS
FIRST_MARK = 1_000


def swarm(endpoint: str) -> subprocess.Popen[bytes]:
    """They begin at once, each with a few batches under way, and leave at their end."""
    argv = [sys.executable, "-m", "testbed.swarm", endpoint]
    for name, value in (
        ("senders", SENDERS),
        ("batches", BATCHES),
        ("packets", PACKETS),
        ("octets", OCTETS),
        ("first-mark", FIRST_MARK),
    ):
        argv += [f"--{name}", str(value)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)


def stamps(stream: bytes) -> Iterator[tuple[int, int]]:
    """Of the whole packets of a stream: whose each is, and its number."""
    length = numbered.RECORD_HEADER.size + OCTETS
    at = numbered.FILE_HEADER.size
    while at + length <= len(stream):
        start = at + numbered.RECORD_HEADER.size
        assert numbered.RECORD_HEADER.unpack_from(stream, at)[2:] == (OCTETS, OCTETS)
        mark, number, _ = numbered.STAMP.unpack_from(
            stream, start + numbered.IP_AND_UDP
        )
        yield mark, number
        at += length


def ledger_of(tools: Tools, endpoint: str) -> Any:
    """Every sender's line adds up, at whatever moment."""
    argv = ("status", endpoint, "--json")
    tool = tools.start("pcap-zmq", *argv, stdout=subprocess.PIPE)
    state = json.loads(tool.stdout.read())
    assert [line for line in state["senders"] if line["unaccounted"]] == []
    return state


def test_readers_killed_amid_the_batches_of_many_senders_together_read_everything(
    tools: Tools, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    receiver, endpoint = tools.receive_on_tcp(fifo, "--receive-queue", "1MiB")
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    random = Random(7)  # noqa: S311
    expected = SENDERS * EACH
    streams: list[bytes] = []
    held: list[int] = []
    with swarm(endpoint) as senders:
        come = 0
        while come < expected:
            step = random.choice((13, 777, 5_000, 50_000))
            path = tmp_path / f"r{len(streams)}"
            reader = KillableReader(fifo, path, 4 << 20, step)
            octets = 24 + random.randrange(min(300 * step, 300_000))
            left = (expected - come) * (numbered.RECORD_HEADER.size + OCTETS)
            try:
                wait_until(
                    lambda: reader.has_read(min(octets, left)),  # noqa: B023
                    PATIENCE_S,
                    "it to read",
                )
            finally:
                streams.append(reader.kill())
            come += sum(1 for _ in stamps(streams[-1]))
            if len(streams) < 4:
                held.append(ledger_of(tools, endpoint)["total"]["held_by_receiver"])
        output, _ = senders.communicate(timeout=PATIENCE_S)
    assert senders.returncode == 0
    assert json.loads(output)["acknowledged"] == expected
    found: dict[int, list[int]] = defaultdict(list)
    for stream in streams:
        for mark, number in stamps(stream):
            found[mark].append(number)
    marks = range(FIRST_MARK, FIRST_MARK + SENDERS)
    assert found == {mark: list(range(EACH)) for mark in marks}
    assert max(held) > 0
    lines = ledger_of(tools, endpoint)["senders"]
    assert [(line["logged"], line["delivered"]) for line in lines] == [
        (EACH, EACH)
    ] * SENDERS
    totals = receiver.stop()
    assert (totals["written"], totals["readers"]) == (expected, len(streams))
    assert len(streams) > 2


class Trickle:
    """A real sender that gets a packet at a time, and where they end up."""

    def __init__(self, tool: Tool, output: Path, first: int) -> None:
        self.tool = tool
        self.next = first
        self._output = output
        tool.stdin.write(packets.header())
        tool.stdin.flush()

    def give(self) -> None:
        """One more."""
        self.tool.stdin.write(packets.records(range(self.next, self.next + 1)))
        self.tool.stdin.flush()
        self.next += 1

    def feed(self, count: int) -> None:
        """Each has arrived before the next one goes."""
        for _ in range(count):
            self.give()
            wait_until(self.has_arrived, PATIENCE_S, f"packet {self.next - 1}")

    def has_arrived(self) -> bool:
        return self.next - 1 in written(self._output)


def written(output: Path) -> list[int]:
    return packets.numbers(output.read_bytes()) if output.exists() else []


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_of_a_sender_whose_key_is_removed_not_one_packet_more_is_written(
    tools: Tools, tmp_path: Path, keys: Keys
) -> None:
    output = tmp_path / "out.pcap"
    receiver, endpoint = tools.receive_on_tcp(f"file:{output}", *keys.of_receiver())
    trickles = []
    for name, first in (("gone", 0), ("here", 10_000)):
        keys.admit(name)
        options = keys.of(name)
        tool = tools.send("-", endpoint, *options, stdin=subprocess.PIPE)
        trickles.append(Trickle(tool, output, first))
    gone, here = trickles
    for _ in range(20):
        gone.feed(1)
        here.feed(1)
    (keys.allow / "gone.key").unlink()
    receiver.process.send_signal(signal.SIGHUP)
    while "no longer allowed" not in receiver.said():
        gone.give()
        here.feed(1)
    # What was under way has come by now, or never will.
    here.feed(1)
    before = [number for number in written(output) if number < 10_000]
    for _ in range(50):
        gone.give()
        here.feed(1)
    numbers = written(output)
    assert [number for number in numbers if number < 10_000] == before
    assert before == list(range(len(before)))
    assert [n for n in numbers if n >= 10_000] == list(range(10_000, here.next))
    assert here.tool.stop()["acknowledged"] == here.next - 10_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_receiver_that_is_stopped_acknowledges_all_that_it_wrote(
    tools: Tools, endpoint: str, tmp_path: Path, number: int
) -> None:
    """So that the next one repeats nothing."""
    first, second = tmp_path / "first.pcap", tmp_path / "second.pcap"
    receiver = tools.receive(endpoint, f"file:{first}")
    sender = tools.send("-", endpoint, stdin=subprocess.PIPE)
    trickle = Trickle(sender, first, 0)
    trickle.feed(30)
    totals = receiver.stop(number)
    assert totals["written"] == trickle.next
    again = tools.receive(endpoint, f"file:{second}", "--once")
    trickle.give()
    sender.stdin.close()
    assert sender.finish()["acknowledged"] == trickle.next
    assert again.finish()["received"] == 1
    assert (written(first), written(second)) == (list(range(30)), [30])
