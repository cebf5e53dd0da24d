"""Whole pipelines, and the sums of their counters: every packet is somewhere.

At the sender: logged == acknowledged + held + dropped + missed. At the receiver:
received == written + held + dropped. Where nothing crashed, what one end says was
acknowledged is what the other end says it received.
"""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.readers import proxy
from tests.pipes.tools import (
    PATIENCE_S,
    Tools,
    assert_receiver_conserves,
    assert_sender_conserves,
)

MANY = range(10_000)
SMALL = ("--send-queue", "1MiB", "--low-watermark", "0", "--report", "1s")


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with Tools(tmp_path) as tools:
        yield tools


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/link"


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    path = tmp_path / "many.pcap"
    packets.write(path, MANY)
    return path


@pytest.mark.parametrize("codec", ["zlib", "none"])
def test_when_all_goes_well(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path, codec: str
) -> None:
    receiver = tools.receive(endpoint, f"file:{tmp_path}/out", "--once")
    sent = tools.send(savefile, endpoint, "--codec", codec).finish()
    received = receiver.finish()
    assert_sender_conserves(sent)
    assert_receiver_conserves(received)
    assert sent["logged"] == sent["acknowledged"] == received["received"] == len(MANY)
    assert sent["held"] == received["held"] == 0


def test_when_a_link_type_is_dropped(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    options = ("--linktype", "linux_sll", "--once")
    receiver = tools.receive(endpoint, f"file:{tmp_path}/out", *options)
    sent = tools.send(savefile, endpoint).finish()
    received = receiver.finish()
    assert_sender_conserves(sent)
    assert_receiver_conserves(received)
    assert received.dropped == {"linktype": len(MANY)}
    assert sent["acknowledged"] == received["received"]


def test_when_nobody_receives(tools: Tools, endpoint: str, savefile: Path) -> None:
    sender = tools.send(savefile, endpoint, *SMALL)
    sender.wait_to_say("INFO 0 packets logged")
    sent = sender.stop()
    assert_sender_conserves(sent)
    assert sent["acknowledged"] == 0
    assert sent.dropped == {"shutdown": sent["logged"]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_the_sender_is_told_to_end_while_the_reader_stands_still(
    tools: Tools, endpoint: str, savefile: Path, number: int
) -> None:
    options = ("--receive-queue", "1MiB", "--once")
    receiver = tools.receive(endpoint, "-", *options, stdout=subprocess.PIPE)
    sender = tools.send(savefile, endpoint, *SMALL)
    sender.wait_to_say("INFO 0 packets logged")
    sent = sender.stop(number)
    receiver.wait_to_say("has left", 10)
    stream = receiver.stdout.read()
    received = receiver.finish()
    assert_sender_conserves(sent)
    assert_receiver_conserves(received)
    # Taking its leave, it leaves to the receiver what is there already.
    assert sent["acknowledged"] == received["received"]
    assert packets.numbers(stream) == list(range(received["written"]))


def test_when_the_receiver_is_told_to_end_while_the_reader_stands_still(
    tools: Tools, endpoint: str, savefile: Path
) -> None:
    options = ("--receive-queue", "1MiB")
    receiver = tools.receive(endpoint, "-", *options, stdout=subprocess.PIPE)
    sender = tools.send(savefile, endpoint, *SMALL)
    sender.wait_to_say("INFO 0 packets logged")
    received = receiver.stop()
    sent = sender.stop()
    assert_sender_conserves(sent)
    assert_receiver_conserves(received)
    assert received["held"] > 0
    assert sent["acknowledged"] == received["written"]


def test_when_a_reader_leaves_for_good(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    receiver = tools.receive(endpoint, fifo, "--receive-queue", "1MiB")
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    sender = tools.send(savefile, endpoint, *SMALL)
    with fifo.open("rb", buffering=0) as reader:
        stream = reader.read(24) + reader.read(10_000)
    receiver.wait_to_say("has left")
    received = receiver.stop()
    sent = sender.stop()
    assert_sender_conserves(sent)
    assert_receiver_conserves(received)
    assert received["written"] == len(packets.numbers(stream))
    assert received.dropped.get("no_reader", 0) > 0


def test_when_the_connection_is_reset_again_and_again(
    tools: Tools, savefile: Path, tmp_path: Path
) -> None:
    receiver, endpoint = tools.receive_on_tcp(f"file:{tmp_path}/out", "--once")
    with proxy(endpoint, [50_000, 400_000, 1000]) as between:
        options = ("--low-watermark", "0", "--batch-bytes", "64KiB")
        sent = tools.send(savefile, between.endpoint, *options).finish()
    received = receiver.finish()
    assert_sender_conserves(sent)
    assert_receiver_conserves(received)
    assert sent["acknowledged"] == received["received"] == len(MANY)
    assert sent["reconnects"] == 3


def test_when_several_senders_share_a_slow_reader(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    options = ("--receive-queue", "1MiB")
    receiver = tools.receive(endpoint, "-", *options, stdout=subprocess.PIPE)
    senders = []
    for place in range(3):
        path = tmp_path / f"{place}.pcap"
        packets.write(path, range(place * 10_000, place * 10_000 + 5000))
        senders.append(tools.send(path, endpoint, "--name", f"s{place}"))
    stream = b""
    while len(packets.numbers(stream)) < 15_000:
        stream += receiver.stdout.read1(4096)  # type: ignore[attr-defined]
        if len(stream) > 100_000:
            break
    stream += receiver.stdout.read(packets_left(stream))
    sent = [sender.finish() for sender in senders]
    received = receiver.stop()
    for totals in sent:
        assert_sender_conserves(totals)
    assert_receiver_conserves(received)
    assert sum(totals["acknowledged"] for totals in sent) == received["received"]
    assert len(packets.numbers(stream)) == 15_000


def packets_left(stream: bytes) -> int:
    """Octets that are still to come of the three files, less their extra headers."""
    sizes = (
        len(packets.records(range(n * 10_000, n * 10_000 + 5000))) for n in range(3)
    )
    return 24 + sum(sizes) - len(stream)
