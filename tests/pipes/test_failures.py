"""Processes killed, connections cut, readers gone: what comes out all the same."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.readers import KillableReader, proxy
from tests.pipes.test_streams import Collector
from tests.pipes.tools import AS_ANYBODY, PATIENCE_S, Tool, Tools

MANY = range(20_000)
PROMPT_S = 8.0
"""Two seconds of linger, and a machine that does much else."""


@pytest.fixture(scope="module")
def savefile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "many.pcap"
    packets.write(path, MANY)
    return path


def test_a_receiver_killed_in_the_middle_costs_only_repetitions(
    tools: Tools, endpoint: str, savefile: Path
) -> None:
    options = ("--receive-queue", "1MiB")
    first = tools.receive(endpoint, "-", *options, stdout=subprocess.PIPE)
    sender = tools.send(savefile, endpoint, "--low-watermark", "0")
    stream = first.stdout.read(1_500_000)
    first.kill()
    stream += first.stdout.read()
    again = tools.receive(endpoint, "-", *options, "--once", stdout=subprocess.PIPE)
    collector = Collector(again.stdout.fileno())
    totals = sender.finish()
    again.finish()
    before, after = packets.numbers(stream), packets.numbers(collector.finish())
    assert before == list(range(len(before)))
    assert 0 < len(before) < len(MANY)
    assert after == list(range(after[0], len(MANY)))
    assert after[0] <= len(before)
    # Two batches that fill the pipe and the one that was on its way.
    assert len(packets.records(range(after[0], len(before)))) <= 2 << 20
    assert totals["reconnects"] == 1


def test_a_sender_killed_in_the_middle_leaves_a_stream_for_the_next(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    receiver = tools.receive(endpoint, fifo, "--receive-queue", "1MiB")
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    options = ("--name", "one", "--low-watermark", "0", "--send-queue", "1MiB")
    sender = tools.send(savefile, endpoint, *options)
    with fifo.open("rb", buffering=0) as reader:
        stream = reader.read(24)
        while len(stream) < 1_500_000:
            stream += reader.read(1 << 16)
        sender.kill()
        collector = Collector(reader.fileno())
        next_file = tmp_path / "next.pcap"
        packets.write(next_file, range(50_000, 55_000))
        tools.send(next_file, endpoint, "--name", "one").finish()
        receiver.stop()
        stream += collector.finish()
    found, torn = packets.split(stream)
    numbers = [packets.number_of(record) for record in found]
    of_the_first = len(numbers) - 5000
    assert torn == b""
    assert 0 < of_the_first < len(MANY)
    assert numbers == [*range(of_the_first), *range(50_000, 55_000)]


def test_readers_killed_at_any_octet_together_read_everything(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    receiver = tools.receive(endpoint, fifo, "--receive-queue", "1MiB")
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    sender = tools.send(savefile, endpoint, "--low-watermark", "0")
    random = Random(4)  # noqa: S311
    capacity = savefile.stat().st_size + 4096

    def has_come_to_the_end(reader: KillableReader) -> bool:
        return packets.numbers(reader.stream())[-1:] == [MANY[-1]]

    streams: list[bytes] = []
    for turn in range(40):
        step = random.choice((13, 100, 777, 5000))
        reader = KillableReader(fifo, tmp_path / f"r{turn}", capacity, step)
        octets = 24 + random.randrange(min(300 * step, 350_000))
        try:
            wait_until(
                lambda: reader.has_read(octets) or has_come_to_the_end(reader),  # noqa: B023
                PATIENCE_S,
                "it to read",
            )
        finally:
            streams.append(reader.kill())
        if packets.numbers(streams[-1])[-1:] == [MANY[-1]]:
            break
    sender.finish()
    totals = receiver.stop()
    numbers = [number for stream in streams for number in packets.numbers(stream)]
    assert numbers == list(MANY)
    assert totals["readers"] == len(streams) > 2
    assert totals["written"] == len(MANY)


def test_a_fifo_that_cannot_be_replaced_still_serves_reader_after_reader(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    folder.chmod(0o555)
    receiver = tools.receive(endpoint, fifo, "--once", within=AS_ANYBODY)
    sender = tools.send(savefile, endpoint)
    with fifo.open("rb", buffering=0) as reader:
        stream = reader.read(24) + reader.read(100_001)
    receiver.wait_to_say("has left")
    rest = fifo.read_bytes()
    sender.finish()
    receiver.finish()
    assert packets.numbers(stream) + packets.numbers(rest) == list(MANY)
    assert "cannot be replaced" in receiver.said()


@pytest.mark.parametrize("resets", [[1], [100_000, 1_000_000, 333, 500_001, 64]])
def test_connections_reset_at_any_octet_lose_and_repeat_nothing(
    tools: Tools, savefile: Path, tmp_path: Path, resets: list[int]
) -> None:
    output = tmp_path / "out.pcap"
    receiver, endpoint = tools.receive_on_tcp(f"file:{output}", "--once")
    with proxy(endpoint, resets) as between:
        options = ("--low-watermark", "0", "--batch-bytes", "64KiB")
        sender = tools.send(savefile, between.endpoint, *options)
        sender.finish()
        assert between.resets_left == 0
    receiver.finish()
    assert output.read_bytes() == savefile.read_bytes()


def test_a_link_gone_silent_is_noticed_and_replaced(
    tools: Tools, savefile: Path
) -> None:
    """As when a firewall forgets a connection: nobody says that it is over."""
    receiver, endpoint = tools.receive_on_tcp(
        "-", "--once", "--receive-queue", "1MiB", stdout=subprocess.PIPE
    )
    with proxy(endpoint) as between:
        sender = tools.send(savefile, between.endpoint, "--low-watermark", "0")
        stream = receiver.stdout.read(200_000)
        between.hold()
        stream += receiver.stdout.read()
        sender.finish()
        assert between.connections == 2
    receiver.finish()
    assert stream == savefile.read_bytes()


def is_prompt(tool: Tool, number: int) -> str:
    """Ends within the linger time, with totals; returns what was said."""
    began = time.monotonic()
    tool.stop(number)
    assert time.monotonic() - began < PROMPT_S
    return tool.said()


SIGNALS = [
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
]
"""Without keys there is nothing to read again on SIGHUP."""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_sender_without_a_receiver_ends_when_told(
    tools: Tools, endpoint: str, savefile: Path, number: int
) -> None:
    sender = tools.send(savefile, endpoint)
    sender.wait_to_say("nothing answers")
    is_prompt(sender, number)
    totals = sender.totals()
    assert totals["dropped"] == totals.dropped.get("shutdown", 0) == totals["logged"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_receiver_without_anybody_ends_when_told(
    tools: Tools, endpoint: str, tmp_path: Path, number: int
) -> None:
    receiver = tools.receive(endpoint, tmp_path / "fifo")
    receiver.wait_to_say("listening on")
    is_prompt(receiver, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_both_ends_end_when_told_while_a_full_pipe_stands_still(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path, number: int
) -> None:
    fifo = tmp_path / "fifo"
    receiver = tools.receive(endpoint, fifo, "--receive-queue", "1MiB")
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    options = ("--low-watermark", "0", "--send-queue", "1MiB", "--report", "1s")
    sender = tools.send(savefile, endpoint, *options)
    with fifo.open("rb", buffering=0) as reader:
        assert reader.read(24) == packets.header()
        sender.wait_to_say("INFO 0 packets logged")
        is_prompt(receiver, number)
        is_prompt(sender, number)
        stream = packets.header() + reader.readall()
    found = packets.numbers(stream)
    assert found == list(range(len(found)))
    assert sender.totals()["dropped"] > 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_sender_whose_source_is_silent_delivers_and_ends_when_told(
    tools: Tools, endpoint: str, tmp_path: Path, number: int
) -> None:
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}", "--once")
    sender = tools.send("-", endpoint, stdin=subprocess.PIPE)
    sender.stdin.write(packets.header() + packets.records(range(10)))
    sender.stdin.flush()
    wait_until(lambda: output.exists() and output.stat().st_size > 24, PATIENCE_S, "it")
    is_prompt(sender, number)
    receiver.finish()
    assert packets.numbers(output.read_bytes()) == list(range(10))


@pytest.mark.parametrize("beginning", [b"", packets.header()[:10]])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_sender_that_waits_for_the_beginning_of_its_source_ends_when_told(
    tools: Tools, endpoint: str, tmp_path: Path, beginning: bytes, number: int
) -> None:
    """A shell's pipe that somebody types into."""
    fifo = tmp_path / "source"
    os.mkfifo(fifo)
    sender = tools.send(f"pcap:{fifo}", endpoint)
    # Opens as soon as the sender does, which is before it minds any signal.
    with fifo.open("wb", buffering=0) as pipe:
        pipe.write(beginning)
        sender.process.send_signal(number)
        assert sender.wait(PROMPT_S) != 0
    assert "Traceback" not in sender.said()


def test_a_signal_in_the_middle_of_a_stream_leaves_whole_records(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}")
    sender = tools.send(savefile, endpoint, "--batch-bytes", "64KiB")
    wait_until(lambda: output.exists() and output.stat().st_size > 24, PATIENCE_S, "it")
    is_prompt(receiver, signal.SIGTERM)
    is_prompt(sender, signal.SIGTERM)
    whole, torn = packets.split(output.read_bytes())
    assert torn == b""
    assert [packets.number_of(r) for r in whole] == list(range(len(whole)))


def test_a_second_signal_does_no_harm(
    tools: Tools, endpoint: str, savefile: Path
) -> None:
    sender = tools.send(savefile, endpoint)
    sender.wait_to_say("nothing answers")
    for _ in range(3):
        sender.process.send_signal(signal.SIGINT)
    assert sender.wait(PROMPT_S) == 0
    sender.totals()


def idle_turns(tool: Tool, count: Callable[[], int]) -> int:
    """How often a process ran in a second in which it had nothing to do."""
    before = count()
    end = time.monotonic() + 1
    wait_until(lambda: time.monotonic() >= end, 5, "a second")
    return count() - before


@pytest.mark.parametrize("has_reader", [False, True])
def test_idle_ends_do_not_spin(
    tools: Tools, endpoint: str, tmp_path: Path, has_reader: bool
) -> None:
    fifo = tmp_path / "fifo"
    receiver = tools.receive(endpoint, fifo)
    sender = tools.send("-", endpoint, stdin=subprocess.PIPE)
    sender.stdin.write(packets.header() + packets.record(0))
    sender.stdin.flush()
    sender.wait_to_say("takes packets")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK) if has_reader else -1
    if has_reader:
        receiver.wait_to_say("a reader has opened")
    for tool in (receiver, sender):

        def switches(pid: int = tool.pid) -> int:
            status = Path(f"/proc/{pid}/status").read_text()
            found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)
            assert found is not None
            return int(found[1])

        # Twenty looks for a reader, a thousand at a header that nobody reads.
        assert idle_turns(tool, switches) < 4000
    if has_reader:
        os.close(reader)
