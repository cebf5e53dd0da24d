"""Each flow to one of several outputs, whoever of their readers stands still."""

from collections import Counter
from pathlib import Path
from subprocess import Popen

import pytest

from fidelity import made
from fidelity.events import compare, kinds, read_events
from fidelity.runs import directly
from testbed.suricata import Witness
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.flows import flows_in, write_flows
from tests.pipes.test_outputs import (
    PLAIN,
    ask,
    finished,
    of_output,
    read_all,
    reader_of,
    stalled,
    stopped_while_read,
)
from tests.pipes.tools import PATIENCE_S, Tools
from tests.support.ledger import outputs_of

FLOWS = 300
OUTPUTS = 4
BALANCE = ("--balance", "flow", "--linktype", "raw")


@pytest.fixture(scope="module")
def savefile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "flows.pcap"
    write_flows(path, FLOWS, 40)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than pipes and queues hold."""
    path = tmp_path_factory.mktemp("source") / "large.pcap"
    write_flows(path, FLOWS, 150)
    return path


@pytest.fixture
def fifos(tmp_path: Path) -> list[Path]:
    return [tmp_path / f"fifo{n}" for n in range(OUTPUTS)]


def test_both_directions_of_every_flow_are_whole_at_one_output(
    tools: Tools, endpoint: str, savefile: Path, fifos: list[Path]
) -> None:
    """IPv4 and IPv6, and fragments: by far not all of them have ports."""
    receiver = tools.receive(endpoint, fifos[0], *fifos[1:], *BALANCE, "--once")
    readers = [reader_of(fifo) for fifo in fifos]
    sent = tools.send(savefile, endpoint, *PLAIN).finish()
    found = [Counter(flows_in(finished(reader))) for reader in readers]
    received = receiver.finish()
    whole = Counter(flows_in(savefile.read_bytes()))
    assert len(whole) == FLOWS
    for flow, count in whole.items():
        assert [at[flow] for at in found if at[flow]] == [count]
    # Four equal parts, as far as chance has it.
    assert all(len(at) > FLOWS / OUTPUTS / 2 for at in found)
    total = sum(whole.values())
    assert sent["acknowledged"] == received["written"] == total
    written = [of_output(received, fifo)["written"] for fifo in fifos]
    assert written == [sum(at.values()) for at in found]


def test_the_order_within_a_flow_stays(
    tools: Tools, endpoint: str, savefile: Path, fifos: list[Path]
) -> None:
    receiver = tools.receive(endpoint, fifos[0], *fifos[1:], *BALANCE, "--once")
    readers = [reader_of(fifo) for fifo in fifos]
    tools.send(savefile, endpoint, *PLAIN).finish()
    records = packets.split(savefile.read_bytes())[0]
    places = {record: place for place, record in enumerate(records)}
    for reader in readers:
        found = [places[r] for r in packets.split(finished(reader))[0]]
        assert found == sorted(found)
    receiver.finish()


def test_a_flow_stays_where_it_is_when_the_receiver_starts_again(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    runs = []
    for run in range(2):
        files = [tmp_path / f"{run}-{n}.pcap" for n in range(3)]
        named = [f"file:{file}" for file in files]
        receiver = tools.receive(endpoint, named[0], *named[1:], *BALANCE, "--once")
        tools.send(savefile, endpoint, *PLAIN).finish()
        receiver.finish()
        runs.append([set(flows_in(file.read_bytes())) for file in files])
    assert runs[0] == runs[1]


def test_one_that_stands_still_does_not_hold_up_the_others_under_drop(
    tools: Tools, endpoint: str, large: Path, fifos: list[Path]
) -> None:
    total = len(packets.split(large.read_bytes())[0])
    options = (*BALANCE, "--when-slow", "drop", "--output-queue", "64KiB")
    receiver = tools.receive(endpoint, fifos[0], *fifos[1:], *options)
    # Room for all that the others get: their readers may be slow to start.
    readers = [reader_of(fifo) for fifo in fifos[1:]]
    for fifo in fifos[1:]:
        receiver.wait_to_say(f"a reader has opened {fifo}")
    with stalled(fifos[0]) as fd:
        sender = tools.send(large, endpoint, *PLAIN, "--high-watermark", "0")
        assert sender.finish()["acknowledged"] == total

        def is_through() -> bool:
            lines = outputs_of(ask(tools, endpoint))
            return not any(lines[str(fifo)]["held"] for fifo in fifos[1:])

        wait_until(is_through, PATIENCE_S, "the others")
        stream, received = stopped_while_read(receiver, fd)
    whole = Counter(flows_in(large.read_bytes()))
    theirs = set(flows_in(stream))
    for fifo, reader in zip(fifos[1:], readers, strict=True):
        found = Counter(flows_in(finished(reader)))
        assert not theirs & set(found)
        if not of_output(received, fifo)["dropped"]:
            assert {flow: whole[flow] for flow in found} == found
    dropped = [of_output(received, fifo)["dropped"] for fifo in fifos]
    assert dropped[0] > 0
    assert received.dropped == {"slow_output": sum(dropped)}
    assert received["received"] == total


def test_a_receiver_that_is_killed_loses_nothing_of_any_flow(
    tools: Tools, endpoint: str, large: Path, fifos: list[Path]
) -> None:
    """What has come further on one output is not acknowledged before what has not."""
    options = (*BALANCE, "--receive-queue", "1MiB", "--output-queue", "64KiB")
    receiver = tools.receive(endpoint, fifos[0], *fifos[1:], *options)
    readers = [reader_of(fifo) for fifo in fifos[1:]]
    with stalled(fifos[0]) as fd:
        sender = tools.send(large, endpoint, *PLAIN, "--report", "1s")
        sender.wait_to_say("INFO 0 packets logged")
        receiver.kill()
        begun = read_all(fd)
    before = [begun, *(finished(reader) for reader in readers)]
    again = tools.receive(endpoint, fifos[0], *fifos[1:], *options, "--once")
    later = [reader_of(fifo, 2) for fifo in fifos]
    sender.finish()
    streams = [*before, *(finished(reader) for reader in later)]
    again.finish()
    found = {record for stream in streams for record in packets.split(stream)[0]}
    assert found == set(packets.split(large.read_bytes())[0])


def test_status_counts_each_packet_once_at_the_output_that_got_it(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    named = [f"file:{tmp_path}/{n}.pcap" for n in range(3)]
    receiver = tools.receive(endpoint, named[0], *named[1:], *BALANCE)
    sent = tools.send(savefile, endpoint).finish()
    state = ask(tools, endpoint)
    lines = outputs_of(state)
    assert [line["is_copy"] for line in lines.values()] == [False] * 3
    total = sum(line["written"] for line in lines.values())
    assert state["total"]["delivered"] == total == sent["logged"]
    receiver.stop()


@pytest.mark.skipif(not Witness.is_installed(), reason="suricata is not installed")
@pytest.mark.timeout(240)
def test_four_suricatas_say_together_what_one_says(
    tools: Tools, endpoint: str, tmp_path: Path, fifos: list[Path]
) -> None:
    capture = made.write(tmp_path)
    expected = read_events([directly(capture, tmp_path / "one")], with_times=False)
    balance = ("--balance", "flow", "--once")
    receiver = tools.receive(endpoint, fifos[0], *fifos[1:], *balance)
    witnesses = [Witness(tmp_path / f"suricata{n}") for n in range(OUTPUTS)]
    running = []
    for witness, fifo in zip(witnesses, fifos, strict=True):
        wait_until(fifo.exists, PATIENCE_S, "the FIFO")
        with (witness.events.parent / "log").open("w") as log:
            running.append(Popen(witness.command(fifo), stdout=log, stderr=log))
    try:
        tools.send(capture, endpoint).finish()
        receiver.finish(120)
        assert [ids.wait(120) for ids in running] == [0] * OUTPUTS
    finally:
        for ids in running:
            ids.kill()
            ids.wait()
    found = read_events([witness.events for witness in witnesses], with_times=False)
    assert list(compare(expected, found).lines()) == []
    # Not all of it at one of them.
    each = [kinds(read_events([witness.events])) for witness in witnesses]
    assert all(events["flow"] for events in each)
