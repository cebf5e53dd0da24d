"""Several outputs at once, each with its own reader, and some of them in trouble."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.readers import KillableReader
from tests.pipes.tools import PATIENCE_S, Tool, Tools, Totals, assert_receiver_conserves
from tests.support.ledger import judge, outputs_of

MANY = range(40_000)
"""Some ten times what a pipe holds."""
CAPACITY = 32 << 20
# A link type that is known before any packet is: the header can be read at once.
SMALL = ("--output-queue", "64KiB", "--receive-queue", "1MiB", "--linktype", "raw")
PLAIN = ("--low-watermark", "0", "--batch-bytes", "64KiB")


@pytest.fixture(scope="module")
def savefile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "many.pcap"
    packets.write(path, MANY)
    return path


def ask(tools: Tools, address: str) -> dict[str, Any]:
    """What a receiver says of itself, which has to balance."""
    argv = ("status", address, "--json")
    tool = tools.start("pcap-zmq", *argv, stdout=subprocess.PIPE)
    said = tool.stdout.read().decode()
    answer = subprocess.CompletedProcess(argv, tool.wait(), said, tool.said())
    return judge(answer)


def of_output(totals: Totals, output: Path | str) -> dict[str, int]:
    """What the totals say of one of several outputs, which has to balance."""
    found = re.search(
        rf"; {re.escape(str(output))}: taken (\d+), written (\d+), held (\d+), "
        r"dropped (\d+)",
        totals.line,
    )
    assert found is not None, totals.line
    taken, written, held, dropped = map(int, found.groups())
    assert taken == written + held + dropped, totals.line
    return {"taken": taken, "written": written, "held": held, "dropped": dropped}


def has_fifos(*fifos: Path) -> bool:
    return all(fifo.exists() for fifo in fifos)


@contextmanager
def stalled(fifo: Path) -> Iterator[int]:
    """A reader that has read the file header, and stands still."""
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    fd = os.open(fifo, os.O_RDONLY)
    try:
        assert os.read(fd, 24) == packets.header()
        yield fd
    finally:
        os.close(fd)


def read_all(fd: int) -> bytes:
    """From the header on to the end of the stream."""
    octets = packets.header()
    while chunk := os.read(fd, 1 << 20):
        octets += chunk
    return octets


def reader_of(fifo: Path, number: int = 0) -> KillableReader:
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    path = fifo.with_name(f"{fifo.name}.read{number}")
    return KillableReader(fifo, path, CAPACITY, 1 << 16)


def finished(reader: KillableReader) -> bytes:
    assert reader.process.wait(PATIENCE_S) == 0
    return reader.stream()


# When all goes well.


def test_every_output_gets_every_packet(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    fifos = [tmp_path / f"fifo{n}" for n in range(3)]
    file = tmp_path / "out.pcap"
    outputs: list[str | Path] = [*fifos, f"file:{file}"]
    receiver = tools.receive(endpoint, outputs[0], *outputs[1:], "--once")
    readers = [reader_of(fifo) for fifo in fifos]
    sent = tools.send(savefile, endpoint, *PLAIN).finish()
    streams = [finished(reader) for reader in readers]
    received = receiver.finish()
    expected = savefile.read_bytes()
    assert [stream == expected for stream in streams] == [True] * 3
    assert file.read_bytes() == expected
    # Each packet counts once, however many outputs it is in.
    assert sent["acknowledged"] == received["received"] == received["written"]
    for output in outputs:
        assert of_output(received, output)["written"] == len(MANY)


def test_status_has_a_line_for_each_of_several(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    source = tmp_path / "few.pcap"
    packets.write(source, range(100))
    files = [f"file:{tmp_path}/{n}.pcap" for n in range(2)]
    second = f"{files[1]},when-slow=drop"
    receiver = tools.receive(endpoint, files[0], second)
    tools.send(source, endpoint).finish()
    state = ask(tools, endpoint)
    lines = outputs_of(state)
    assert [line["name"] for line in state["outputs"]] == files
    assert [line["written"] for line in lines.values()] == [100, 100]
    assert [line["is_copy"] for line in lines.values()] == [False, True]
    assert [line["drops"] for line in lines.values()] == [False, True]
    table = tools.start("pcap-zmq", "status", endpoint, stdout=subprocess.PIPE)
    said = table.stdout.read().decode()
    assert re.search(rf"{re.escape(files[1])} +drop +100 +100 +0 +0", said), said
    receiver.stop()


def test_one_output_has_no_line_of_its_own(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    receiver = tools.receive(endpoint, f"file:{tmp_path}/out.pcap")
    receiver.wait_to_say("listening")
    assert ask(tools, endpoint)["outputs"] == []
    receiver.stop()


def test_outputs_may_differ_in_link_type(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    source, raw, ethernet = (tmp_path / f"{n}.pcap" for n in ("in", "raw", "ethernet"))
    packets.write(source, range(500))
    options = (f"file:{ethernet},linktype=ethernet", "--once")
    receiver = tools.receive(endpoint, f"file:{raw}", *options)
    tools.send(source, endpoint).finish()
    receiver.finish()
    assert raw.read_bytes() == source.read_bytes()
    assert ethernet.read_bytes()[:24] == packets.header(packets.ETHERNET)
    found = packets.numbers(ethernet.read_bytes(), packets.ETHERNET)
    assert found == list(range(500))


def test_outputs_come_from_a_file_as_a_list(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    source, settings = tmp_path / "in.pcap", tmp_path / "settings.toml"
    packets.write(source, range(100))
    files = [tmp_path / f"{n}.pcap" for n in range(2)]
    named = ", ".join(f'"file:{file}"' for file in files)
    settings.write_text(
        f'[recv]\naddress = "{endpoint}"\noutput = [{named}]\nonce = true\n'
    )
    receiver = tools.start("pcap-zmq-recv", "--config", settings)
    tools.send(source, endpoint).finish()
    receiver.finish()
    assert [f.read_bytes() == source.read_bytes() for f in files] == [True, True]


def test_outputs_come_from_a_variable_with_blanks_between_them(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    source = tmp_path / "in.pcap"
    packets.write(source, range(100))
    files = [tmp_path / "one.pcap", tmp_path / "and another.pcap"]
    env = {
        "PCAP_ZMQ_RECV_ADDRESS": endpoint,
        "PCAP_ZMQ_RECV_OUTPUT": f"file:{files[0]} 'file:{files[1]}'",
        "PCAP_ZMQ_RECV_ONCE": "yes",
    }
    receiver = tools.start("pcap-zmq-recv", env=env)
    tools.send(source, endpoint).finish()
    receiver.finish()
    assert [f.read_bytes() == source.read_bytes() for f in files] == [True, True]


# A reader that is slow.


def test_all_wait_for_one_that_may_lose_nothing(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    receiver = tools.receive(endpoint, quick, slow, *SMALL, "--once")
    reader = reader_of(quick)
    with stalled(slow) as fd:
        sender = tools.send(savefile, endpoint, *PLAIN, "--report", "1s")
        sender.wait_to_say("INFO 0 packets logged")
        state = ask(tools, endpoint)
        lines = outputs_of(state)
        assert lines[str(quick)]["written"] < len(MANY)
        assert lines[str(slow)]["held"] > 0
        assert lines[str(slow)]["dropped"] == {}
        stream = read_all(fd)
        sent = sender.finish()
    assert stream == finished(reader) == savefile.read_bytes()
    received = receiver.finish()
    assert (sent["dropped"], received["dropped"]) == (0, 0)


@pytest.mark.parametrize("is_first", [True, False])
def test_nobody_waits_for_one_that_drops(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path, is_first: bool
) -> None:
    """The ledger goes by the first output; whether that is the slow one or not."""
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    outputs = [f"fifo:{quick}", f"fifo:{slow},when-slow=drop"]
    if is_first:
        outputs.reverse()
    receiver = tools.receive(endpoint, *outputs, *SMALL)
    reader = reader_of(quick)
    with stalled(slow) as fd:
        sent = tools.send(savefile, endpoint, *PLAIN).finish()
        assert sent["acknowledged"] == len(MANY)

        def is_through() -> bool:
            line = outputs_of(ask(tools, endpoint))[f"fifo:{quick}"]
            return bool(line["written"] == len(MANY))

        wait_until(is_through, PATIENCE_S, "the quick one")
        lines = outputs_of(ask(tools, endpoint))
        assert lines[f"fifo:{slow}"]["dropped"]["slow_output"] > 0
        stream, totals = stopped_while_read(receiver, fd)
    assert finished(reader) == savefile.read_bytes()
    found = packets.numbers(stream)
    line = of_output(totals, f"fifo:{slow}")
    assert len(found) == line["written"] == len(MANY) - line["dropped"]
    assert found == sorted(set(found))
    dropped = totals.dropped.get("slow_output", 0)
    assert dropped == (line["dropped"] if is_first else 0)


def stopped_while_read(receiver: Tool, fd: int) -> tuple[bytes, Totals]:
    """What a reader that wakes up still gets of a receiver that is told to end."""
    receiver.process.send_signal(signal.SIGTERM)
    return read_all(fd), receiver.finish()


def test_a_slow_reader_gets_whole_packets_before_and_after_what_it_missed(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    slow = tmp_path / "slow"
    options = (*SMALL, "--when-slow", "drop")
    receiver = tools.receive(endpoint, slow, *options)
    with stalled(slow) as fd:
        tools.send(savefile, endpoint, *PLAIN).finish()
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read_all, fd)
            later = tmp_path / "later.pcap"
            packets.write(later, range(90_000, 90_100))
            tools.send(later, endpoint).finish()
            totals = receiver.stop()
            stream = reading.result(PATIENCE_S)
    found = packets.numbers(stream)
    assert found == sorted(set(found))
    assert found[-100:] == list(range(90_000, 90_100))
    line = of_output(totals, slow)
    assert len(found) == line["written"] < line["taken"]
    assert totals.dropped["slow_output"] == line["dropped"]


def test_without_a_reader_what_is_older_than_a_second_goes(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    source, fifo = tmp_path / "in.pcap", tmp_path / "fifo"
    packets.write(source, range(100))
    receiver = tools.receive(endpoint, f"fifo:{fifo},when-slow=drop", "--once")
    sent = tools.send(source, endpoint).finish()
    received = receiver.finish()
    assert sent["acknowledged"] == 100
    assert received.dropped == {"slow_output": 100}


# A reader that dies and returns.


@pytest.mark.parametrize("when_slow", ["wait", "drop"])
def test_a_reader_that_dies_and_returns_finds_what_it_had_not_read(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path, when_slow: str
) -> None:
    """Within a second, also where nobody waits for it."""
    mortal, steady = tmp_path / "mortal", tmp_path / "steady"
    options = ("--when-slow", when_slow, "--output-queue", "64MiB")
    receiver = tools.receive(endpoint, mortal, steady, *options, "--once")
    other = reader_of(steady)
    first = KillableReader(mortal, tmp_path / "first", CAPACITY, 1 << 12)
    sender = tools.send(savefile, endpoint, *PLAIN)
    wait_until(lambda: first.has_read(200_000), PATIENCE_S, "some packets")
    before = first.kill()
    second = reader_of(mortal, 2)
    sent = sender.finish()
    after = finished(second)
    assert finished(other) == savefile.read_bytes()
    received = receiver.finish()
    whole, _ = packets.split(before)
    found = [packets.number_of(record) for record in whole] + packets.numbers(after)
    assert found == sorted(set(found))
    if when_slow == "wait":
        assert found == list(MANY)
    assert sent["acknowledged"] == len(MANY)
    assert of_output(received, mortal)["written"] == len(found)


# An output that takes no more.


def test_a_full_disk_costs_the_others_nothing_under_drop(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out.pcap"
    outputs = (f"file:{file}", "file:/dev/full,when-slow=drop")
    receiver = tools.receive(endpoint, *outputs, *SMALL, "--overwrite", "--once")
    sent = tools.send(savefile, endpoint, *PLAIN).finish()
    received = receiver.finish()
    assert file.read_bytes() == savefile.read_bytes()
    assert sent["acknowledged"] == received["written"] == len(MANY)
    line = of_output(received, "file:/dev/full")
    assert (line["written"], line["dropped"]) == (0, len(MANY))


def test_an_output_that_fails_leaves_the_others_alone_under_drop(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    """Whoever read standard output has left: nobody can read it any more."""
    file = tmp_path / "out.pcap"
    receiver = tools.receive(
        endpoint,
        f"file:{file}",
        "file:-,when-slow=drop",
        "--linktype=raw",
        stdout=subprocess.PIPE,
    )
    receiver.stdout.read(24)
    receiver.stdout.close()
    receiver.wait_to_say("the reader of standard output has left")
    tools.send(savefile, endpoint, *PLAIN).finish()
    state = ask(tools, endpoint)
    failed = outputs_of(state)["-"]
    assert (failed["has_failed"], failed["written"]) == (True, 0)
    assert failed["dropped"] == {"output_failed": len(MANY)}
    receiver.stop()
    assert file.read_bytes() == savefile.read_bytes()


def test_an_output_that_all_wait_for_takes_the_receiver_along(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    receiver = tools.receive(
        endpoint,
        f"file:{tmp_path}/out.pcap",
        "-",
        "--linktype=raw",
        stdout=subprocess.PIPE,
    )
    receiver.stdout.read(24)
    receiver.stdout.close()
    assert receiver.wait() == 1
    assert "error: the reader of standard output has left" in receiver.said()


def test_the_last_output_that_fails_ends_the_receiver(
    tools: Tools, endpoint: str
) -> None:
    receiver = tools.receive(
        endpoint, "file:-,when-slow=drop", "--linktype=raw", stdout=subprocess.PIPE
    )
    receiver.stdout.read(24)
    receiver.stdout.close()
    assert receiver.wait() == 1
    assert "error: the reader of standard output has left" in receiver.said()


# The receiver dies.


def test_a_receiver_that_is_killed_has_lost_nothing_for_outputs_that_wait(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    """What one of them had already, it gets again; nothing is missing in either."""
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    options = ("--receive-queue", "2MiB", "--linktype", "raw")
    receiver = tools.receive(endpoint, quick, slow, *options)
    reader = reader_of(quick)
    with stalled(slow) as fd:
        sender = tools.send(savefile, endpoint, *PLAIN, "--report", "1s")
        sender.wait_to_say("INFO 0 packets logged")
        receiver.kill()
        begun = read_all(fd)
    before = finished(reader)
    again = tools.receive(endpoint, quick, slow, "--once")
    readers = [reader_of(quick, 2), reader_of(slow, 2)]
    sent = sender.finish()
    for earlier, later in zip((before, begun), readers, strict=True):
        whole, _ = packets.split(earlier)
        found = {packets.number_of(record) for record in whole}
        assert found | set(packets.numbers(finished(later))) == set(MANY)
    assert_receiver_conserves(again.finish())
    assert sent["acknowledged"] == len(MANY)


@pytest.mark.parametrize("when_slow", ["wait", "drop"])
def test_a_receiver_that_is_told_to_end_counts_what_it_holds(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path, when_slow: str
) -> None:
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    options = (*SMALL, "--when-slow", when_slow, "--linger", "300ms")
    receiver = tools.receive(endpoint, quick, slow, *options)
    reader = reader_of(quick)
    with stalled(slow):
        tools.send(savefile, endpoint, *PLAIN)

        def is_under_way() -> bool:
            state = ask(tools, endpoint)
            return any(line["logged"] > 10_000 for line in state["senders"])

        wait_until(is_under_way, PATIENCE_S, "packets")
        received = receiver.stop()
    line = of_output(received, slow)
    stream = finished(reader)
    written = of_output(received, quick)["written"]
    assert len(packets.numbers(stream)) == written == received["written"]
    assert line["held"] > 0 if when_slow == "wait" else line["held"] == 0


# What cannot be.


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["file:x,when-slow=perhaps"], "when-slow=perhaps cannot be; write wait or"),
        (["file:x,quue=1MiB"], "'quue' is no option; there are when-slow, queue"),
        (["fifo:x,size=1MiB"], "size is for file: only"),
        (["file:x", "file:x"], "OUTPUT file:x is there twice"),
        (["-", "-"], "OUTPUT - is there twice"),
        (["http://x:1"], "http:// is none that is known"),
        (["file:x", "--balance=flow"], "wants several OUTPUTs"),
        ([], "Missing argument 'OUTPUT...'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    tools: Tools, endpoint: str, outputs: list[str], said: str
) -> None:
    receiver = tools.start("pcap-zmq-recv", endpoint, *outputs)
    assert receiver.wait() == 2
    assert said in receiver.said()
    assert "Traceback" not in receiver.said()
