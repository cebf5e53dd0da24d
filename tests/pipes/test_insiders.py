"""What somebody who may connect cannot do to the others."""

import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from pcap_zmq.connections import MALFORMED_MAX
from pcap_zmq.formats import wire
from pcap_zmq.formats.wire import Message, MessageType, StreamId
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tools

MANY = 1000


@pytest.fixture
def peer() -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        yield dealer


def state_of(tools: Tools, address: str) -> Any:
    argv = ("status", address, "--json")
    tool = tools.start("pcap-zmq", *argv, stdout=subprocess.PIPE)
    said = tool.stdout.read()
    # 1: packets are unaccounted for, as it may be in the middle of everything.
    assert tool.wait() in {0, 1}, tool.said()
    return json.loads(said)


def says(peer: zmq.Socket[bytes], kind: MessageType, number: int) -> None:
    stream = StreamId(struct.pack(">16s", str(number).encode()), 1)
    message = Message(kind, stream, 1, linktype=101, payload=b"somebody")
    peer.send_multipart([bytes(frame) for frame in wire.encode_message(message)])


@pytest.mark.parametrize("kind", [MessageType.HELLO, MessageType.HEARTBEAT])
def test_who_says_hello_again_and_again_or_never_is_cut_off_and_nobody_else(
    tools: Tools, tmp_path: Path, peer: zmq.Socket[bytes], kind: MessageType
) -> None:
    receiver, address = tools.receive_on_tcp(f"file:{tmp_path}/out")
    sender = tools.send("-", address, stdin=subprocess.PIPE)
    sender.stdin.write(packets.header() + packets.records(range(10)))
    sender.stdin.flush()
    receiver.wait_to_say("is here")
    peer.connect(address)
    for number in range(MANY):
        says(peer, kind, number)
    wait_until(
        lambda: state_of(tools, address)["receiver"]["cut_off"] >= 1,
        PATIENCE_S,
        "the end of its connection",
    )
    sender.stdin.write(packets.records(range(10, 20)))
    sender.stdin.close()
    totals = sender.finish()
    assert (totals["acknowledged"], totals["reconnects"]) == (20, 0)
    # A line in the log for each connection, and not for each hello.
    assert receiver.said().count("somebody is here") < MANY // MALFORMED_MAX
