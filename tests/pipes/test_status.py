"""pcap-zmq status asks real receivers, and says whose packets are where."""

import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from pcap_zmq.formats import inquiry, wire
from pcap_zmq.formats.inquiry import Kind, Question
from pcap_zmq.formats.wire import Message, MessageType, StreamId
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.guarded import Keys
from tests.pipes.tools import PATIENCE_S, Tool, Tools

PACKETS = range(1000)


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    path = tmp_path / "some.pcap"
    packets.write(path, PACKETS)
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "keys").mkdir()
    return Keys(tmp_path / "keys")


@pytest.fixture
def peer() -> Iterator[zmq.Socket[bytes]]:
    """A peer of a receiver that says what it likes."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.rcvtimeo = int(PATIENCE_S * 1000)
        yield dealer


def ask(tools: Tools, address: str, *options: str) -> tuple[int, str]:
    """The exit code and what was printed."""
    tool = tools.start("pcap-zmq", "status", address, *options, stdout=subprocess.PIPE)
    said = tool.stdout.read().decode()
    return tool.wait(), said


def state_of(tools: Tools, address: str) -> Any:
    code, said = ask(tools, address, "--json")
    assert code == 0, said
    return json.loads(said)


def hello(logged: int, held: int) -> list[bytes]:
    totals = struct.pack(">16Q", logged, *[0] * 9, held, *[0] * 5)
    stream = StreamId(b"x" * 16, 1)
    message = Message(
        MessageType.HELLO, stream, 1, linktype=101, totals=totals, payload=b"liar"
    )
    return [bytes(frame) for frame in wire.encode_message(message)]


# Unhappy paths.


def test_where_nobody_listens_there_is_no_answer(tools: Tools, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/nobody"
    tool = tools.start("pcap-zmq", "status", address, "--timeout", "200ms")
    assert tool.wait() == 4
    assert tool.said().startswith(f"error: no answer from {address}")
    assert len(tool.said().splitlines()) == 1


def test_who_gives_no_keys_is_told_of_keys(
    tools: Tools, tmp_path: Path, keys: Keys
) -> None:
    _, address = tools.receive_on_tcp(f"file:{tmp_path / 'out'}", *keys.of_receiver())
    options: list[str | Path] = ["--timeout", "500ms"]
    tool = tools.start("pcap-zmq", "status", address, *options)
    assert tool.wait() == 4
    assert tool.said().endswith("or it wants keys: give --key and --peer-key\n")
    keys.make("stranger")
    options += keys.of("stranger")
    tool = tools.start("pcap-zmq", "status", address, *options)
    assert tool.wait() == 4
    assert tool.said().endswith("or it does not take this key\n")


def test_where_something_else_listens_there_is_no_answer(tools: Tools) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        tool = tools.start("pcap-zmq", "status", address, "--timeout", "200ms")
        assert tool.wait() == 4
    assert "no answer" in tool.said()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"senders": 1}', b"\xff" * 100, b"[" * 50_000]
)
def test_what_is_no_answer_is_said_in_one_line(
    tools: Tools, tmp_path: Path, body: bytes
) -> None:
    address = f"ipc://{tmp_path}/other"
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        router.rcvtimeo = int(PATIENCE_S * 1000)
        router.bind(address)
        tool = tools.start("pcap-zmq", "status", address)
        who, question = router.recv_multipart()
        answer = inquiry.encode_answer(inquiry.decode_question([question]), body)
        router.send_multipart([who, *map(bytes, answer)])
        assert tool.wait() == 4
    assert tool.said().startswith("error: no answer of a receiver")
    assert len(tool.said().splitlines()) == 1
    assert len(tool.said()) < 1000


def test_packets_that_nobody_can_account_for_make_it_fail(
    tools: Tools, tmp_path: Path, peer: zmq.Socket[bytes]
) -> None:
    receiver, address = tools.receive_on_tcp(f"file:{tmp_path}/out")
    peer.connect(address)
    peer.send_multipart(hello(logged=100, held=93))
    receiver.wait_to_say("sender liar is here")
    code, said = ask(tools, address)
    assert code == 1
    assert "liar" in said
    _, line = (line.split() for line in said.splitlines()[1:3])
    assert line[2:9] == ["100", "0", "93", "0", "0", "0", "7"]


def test_a_question_that_is_none_is_counted_and_not_answered(
    tools: Tools, tmp_path: Path, peer: zmq.Socket[bytes]
) -> None:
    _, address = tools.receive_on_tcp(f"file:{tmp_path}/out")
    peer.connect(address)
    good = inquiry.encode_question(Question(Kind.STATUS, 5))
    peer.send(good[:5] + b"\x7f" + good[6:])
    peer.send(good)
    asked, _ = inquiry.decode_answer(peer.recv_multipart())
    assert asked.number == 5
    state = state_of(tools, address)
    assert state["receiver"]["malformed_messages"] == 1


def test_whoever_asks_and_does_not_read_fills_no_memory(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    """200,000 questions, whose answers would be 200 MB."""
    receiver, address = tools.receive_on_tcp(f"file:{tmp_path}/out")
    tools.send(savefile, address).finish()
    before = receiver.peak_bytes()
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.rcvhwm = 1
        dealer.rcvbuf = 4096
        dealer.connect(address)
        for number in range(200_000):
            dealer.send(inquiry.encode_question(Question(Kind.STATUS, number)))
        state_of(tools, address)
        assert receiver.peak_bytes() < before + (40 << 20)
    assert state_of(tools, address)["total"]["delivered"] == len(PACKETS)


# What it says.


def test_before_anybody_came_it_says_so(tools: Tools, tmp_path: Path) -> None:
    _, address = tools.receive_on_tcp(f"file:{tmp_path}/out")
    code, said = ask(tools, address)
    assert (code, said.splitlines()[1]) == (0, "no sender has been here")
    assert said.startswith(f"receiver at {address}, output file:{tmp_path}/out")


def test_each_sender_has_a_line_and_its_packets_are_accounted_for(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    _, address = tools.receive_on_tcp(f"file:{tmp_path}/out")
    for name in ("one", "two"):
        tools.send(savefile, address, "--name", name).finish()
    state = state_of(tools, address)
    lines = {line["name"]: line for line in state["senders"]}
    assert set(lines) == {"one", "two"}
    for line in lines.values():
        assert line["logged"] == line["delivered"] == len(PACKETS)
        assert line["address"] == "127.0.0.1"
        assert line["unaccounted"] == 0
        assert state["started_ns"] < line["since_ns"] <= line["seen_ns"]
        assert line["seen_ns"] < state["now_ns"]
    assert state["total"]["logged"] == 2 * len(PACKETS)
    code, said = ask(tools, address)
    assert code == 0
    assert [row.split()[0] for row in said.splitlines()[1:5]] == [
        "SENDER",
        "one",
        "two",
        "all",
    ]


def test_what_waits_for_a_reader_is_held(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    receiver, address = tools.receive_on_tcp(tmp_path / "fifo")
    sender = tools.send(savefile, address)
    receiver.wait_to_say("is here")
    wait_until(
        lambda: state_of(tools, address)["total"]["held_by_receiver"] == len(PACKETS),
        PATIENCE_S,
        "the packets",
    )
    total = state_of(tools, address)["total"]
    assert (total["delivered"], total["held_by_sender"]) == (0, 0)
    sender.stop()


def test_what_a_reader_left_in_the_pipe_is_held_again(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    fifo = tmp_path / "fifo"
    receiver, address = tools.receive_on_tcp(fifo)
    tools.send(savefile, address)
    with fifo.open("rb", buffering=0) as reader:
        stream = reader.read(24) + reader.read(30_000)
    receiver.wait_to_say("has left")
    total = state_of(tools, address)["total"]
    assert total["delivered"] == len(packets.numbers(stream)) < len(PACKETS)
    assert total["held_by_receiver"] == len(PACKETS) - total["delivered"]


def test_a_receiver_that_starts_again_says_from_when_it_can_vouch(
    tools: Tools, tmp_path: Path
) -> None:
    endpoint = f"ipc://{tmp_path}/link"
    first = tools.receive(endpoint, f"file:{tmp_path}/first")
    sender = tools.send("-", endpoint, "--report", "1s", stdin=subprocess.PIPE)
    sender.stdin.write(packets.header() + packets.records(range(10)))
    sender.stdin.flush()
    wait_until(
        lambda: state_of(tools, endpoint)["total"]["delivered"] == 10, PATIENCE_S, "10"
    )
    # An acknowledgement is taken in passing, and by the next line for certain.
    sender.wait_to_say("ratio -, held 0,")
    first.kill()
    tools.receive(endpoint, f"file:{tmp_path}/second")
    sender.stdin.write(packets.records(range(10, 15)))
    sender.stdin.flush()
    wait_until(
        lambda: state_of(tools, endpoint)["total"]["delivered"] == 5, PATIENCE_S, "5"
    )
    state = state_of(tools, endpoint)
    assert (state["total"]["elsewhere"], state["total"]["logged"]) == (10, 15)
    assert state["senders"][0]["since_ns"] >= state["started_ns"]
    _, said = ask(tools, endpoint)
    assert "10 acknowledged before" in said


def test_a_receiver_that_connects_can_be_asked_at_an_address_of_its_own(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    endpoint, status = f"ipc://{tmp_path}/link", f"ipc://{tmp_path}/status"
    options = ("--connect", "--status", status)
    tools.receive(endpoint, f"file:{tmp_path}/out", *options)
    tools.send(savefile, endpoint, "--bind").finish()
    assert state_of(tools, status)["total"]["delivered"] == len(PACKETS)


def test_watching_goes_on_until_a_signal(tools: Tools, tmp_path: Path) -> None:
    _, address = tools.receive_on_tcp(f"file:{tmp_path}/out")
    options = ("--watch", "--interval", "100ms", "--json")
    tool = tools.start("pcap-zmq", "status", address, *options, stdout=subprocess.PIPE)
    answers = [json.loads(tool.stdout.readline()) for _ in range(3)]
    assert answers[0]["now_ns"] < answers[2]["now_ns"]
    _end(tool)


def _end(tool: Tool) -> None:
    os.kill(tool.pid, signal.SIGINT)
    assert tool.wait() == 0
    assert "Traceback" not in tool.said()
