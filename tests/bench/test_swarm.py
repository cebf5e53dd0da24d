"""The load process in C speaks the wire: to a ROUTER of the test, and to a receiver."""

import json
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import zmq

from bench import native
from pcap_zmq.formats import wire
from pcap_zmq.formats.wire import Message, MessageType, Reply, ReplyType
from testbed.numbered import Witness
from testbed.waiting import wait_until
from tests.pipes.tools import PATIENCE_S, Tools

BATCH_MS = 10_000
"""For what is there at once, unless the machine stands still."""

OPEN = 1 << 20

RECORD_HEADER = struct.Struct("<IIII")

Frames = tuple[bytes, Message]
MakeSocket = Callable[[int], "zmq.Socket[bytes]"]


class Receiver:
    """A ROUTER that says what the test tells it to, to a swarm of its own."""

    def __init__(self, router: "zmq.Socket[bytes]") -> None:
        self.socket = router
        self.port = router.bind_to_random_port("tcp://127.0.0.1")
        self.swarm: subprocess.Popen[str] | None = None

    def begin(self, *options: object) -> None:
        self.swarm = start(*options, "127.0.0.1", self.port)

    def next(self) -> Frames:
        """What it says next, and on which connection."""
        assert self.socket.poll(BATCH_MS), "the swarm is silent"
        peer, *frames = self.socket.recv_multipart()
        return peer, wire.decode_message(list(frames))

    def next_but_heartbeats(self) -> Frames:
        while True:
            peer, message = self.next()
            if message.type is not MessageType.HEARTBEAT:
                return peer, message

    def reply(
        self, peer: bytes, to: Message, kind: ReplyType, written: int, window: int
    ) -> None:
        """All written is wanted no more, and the next is."""
        reply = Reply(kind, to.stream, written, written + 1, window, 1)
        self.socket.send_multipart([peer, wire.encode_reply(reply)])

    def outcome(self) -> dict[str, Any]:
        """Its last word, when it has ended well."""
        assert self.swarm is not None
        said, complaint = self.swarm.communicate(timeout=PATIENCE_S)
        assert self.swarm.returncode == 0, complaint
        *lines, outcome = said.splitlines()
        assert lines == ["up", "done"]
        told: dict[str, Any] = json.loads(outcome)
        return told

    def replace(self, router: "zmq.Socket[bytes]") -> None:
        """Breaks all connections; the next come to another ROUTER at the same port."""
        self.socket.close(linger=0)
        self.socket = router
        wait_until(self._has_bound, PATIENCE_S, "the port to be free")

    def _has_bound(self) -> bool:
        try:
            self.socket.bind(f"tcp://127.0.0.1:{self.port}")
        except zmq.ZMQError:
            return False
        return True

    def close(self) -> None:
        if self.swarm is not None:
            self.swarm.kill()
            self.swarm.communicate()


def start(*options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(word) for word in (native.build("swarm"), *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def receiver(
    make_socket: MakeSocket,
) -> Iterator[Receiver]:
    receiver = Receiver(make_socket(zmq.ROUTER))
    yield receiver
    receiver.close()


def run(*options: object) -> subprocess.CompletedProcess[str]:
    argv = [str(word) for word in (native.build("swarm"), *options)]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("-n", "0", "127.0.0.1", "9"), "0 is no number from 1 to"),
        (("-l", "51", "127.0.0.1", "9"), "51 is no number from 52 to"),
        (("-b", "4096", "-l", "9000", "127.0.0.1", "9"), "beyond 1048576 octets"),
        (("-r", "1e7", "127.0.0.1", "9"), "beyond 1e+07 together"),
        (("127.0.0.1",), "usage: swarm"),
        (("localhost", "9"), "not an address and a port: localhost 9"),
    ],
)
def test_what_it_cannot_be_told_is_an_error_in_one_line(
    options: tuple[str, ...], complaint: str
) -> None:
    done = run(*options)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert complaint in done.stderr


def test_a_window_of_one_octet_lets_one_batch_through_at_a_time(
    receiver: Receiver,
) -> None:
    receiver.begin("-n", 1, "-r", 1000, "-b", 10, "-t", 0.05)
    peer, hello = receiver.next()
    assert hello.type is MessageType.HELLO
    assert (hello.sequence, hello.window) == (1, 0)
    receiver.reply(peer, hello, ReplyType.WELCOME, 0, window=1)

    for number in range(1, 6):
        _, batch = receiver.next_but_heartbeats()
        assert (batch.type, batch.sequence) == (MessageType.BATCH, number)
        assert batch.window == 1
        # Until the one is acknowledged it says no more than that it is there.
        while receiver.socket.poll(100):
            assert receiver.next()[1].type is MessageType.HEARTBEAT
        receiver.reply(peer, batch, ReplyType.ACK, number, window=1)

    _, goodbye = receiver.next_but_heartbeats()
    assert (goodbye.type, goodbye.sequence) == (MessageType.GOODBYE, 6)
    receiver.reply(peer, goodbye, ReplyType.FAREWELL, 5, window=0)
    outcome = receiver.outcome()
    assert (outcome["packets"], outcome["acknowledged"]) == (50, 50)
    assert outcome["stalled"] >= 1
    assert outcome["resent"] == 0


def test_a_welcome_in_between_takes_it_back_to_what_is_missing(
    receiver: Receiver,
) -> None:
    receiver.begin("-n", 1, "-r", 1000, "-b", 10, "-t", 0.03)
    peer, hello = receiver.next()
    receiver.reply(peer, hello, ReplyType.WELCOME, 0, window=OPEN)
    batches = [receiver.next_but_heartbeats()[1] for _ in range(3)]

    receiver.reply(peer, hello, ReplyType.WELCOME, 1, window=OPEN)

    again = [receiver.next_but_heartbeats()[1] for _ in range(2)]
    assert [batch.sequence for batch in batches] == [1, 2, 3]
    assert [batch.sequence for batch in again] == [2, 3]
    assert [_numbers(batch) for batch in again] == [
        _numbers(batch) for batch in batches[1:]
    ]
    receiver.reply(peer, hello, ReplyType.ACK, 3, window=OPEN)
    _, goodbye = receiver.next_but_heartbeats()
    receiver.reply(peer, goodbye, ReplyType.FAREWELL, 3, window=0)
    assert receiver.outcome()["resent"] == 2


def test_after_a_broken_connection_it_goes_on_where_the_welcome_says(
    receiver: Receiver, make_socket: MakeSocket
) -> None:
    receiver.begin("-n", 1, "-r", 1000, "-b", 10, "-t", 0.04)
    peer, hello = receiver.next()
    receiver.reply(peer, hello, ReplyType.WELCOME, 0, window=OPEN)
    for _ in range(4):
        receiver.next_but_heartbeats()
    receiver.reply(peer, hello, ReplyType.ACK, 1, window=OPEN)
    # It reads replies now and then; in its next word it has.
    while receiver.next()[1].sequence < 2:
        pass

    receiver.replace(make_socket(zmq.ROUTER))

    peer, again = receiver.next_but_heartbeats()
    assert (again.type, again.stream) == (MessageType.HELLO, hello.stream)
    assert (again.sequence, again.window) == (2, 0)
    receiver.reply(peer, again, ReplyType.WELCOME, 2, window=OPEN)
    rest = [receiver.next_but_heartbeats()[1] for _ in range(2)]
    assert [batch.sequence for batch in rest] == [3, 4]
    receiver.reply(peer, hello, ReplyType.ACK, 4, window=OPEN)
    _, goodbye = receiver.next_but_heartbeats()
    receiver.reply(peer, goodbye, ReplyType.FAREWELL, 4, window=0)
    outcome = receiver.outcome()
    assert (outcome["broken"], outcome["hellos"], outcome["resent"]) == (1, 2, 2)


def test_it_answers_pings_with_their_context() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)
        swarm = start("-n", 1, "127.0.0.1", listening.getsockname()[1])
        try:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as said:
                greeting = said.read(64)
                assert greeting[:1] + greeting[10:17] == b"\xff\x03\x01NULL\0"
                connection.sendall(greeting)
                _skip_to(said, b"\x05READY")
                connection.sendall(b"\x04\x06\x05READY" + b"\x04\x0a\x04PING\0\x64abc")
                pong = _skip_to(said, b"\x04PONG")
        finally:
            swarm.kill()
            swarm.communicate()

    assert pong == b"\x04PONGabc"


def _skip_to(said: IO[bytes], word: bytes) -> bytes:
    """The body of the next command that begins so. Frames here are short ones."""
    while True:
        flags, length = said.read(2)
        body = said.read(length)
        if flags & 0x04 and body.startswith(word):
            return body


def test_its_counters_balance_in_every_message(receiver: Receiver) -> None:
    receiver.begin("-n", 3, "-r", 500, "-b", 5, "-t", 0.1)
    written: dict[bytes, int] = {}
    left: set[bytes] = set()
    while len(left) < 3:
        peer, message = receiver.next()
        totals = wire.decode_totals(message.totals)
        assert totals.logged == totals.acknowledged + totals.held
        assert totals.logged >= 5 * message.sequence - 5
        match message.type:
            case MessageType.HELLO:
                receiver.reply(peer, message, ReplyType.WELCOME, 0, window=OPEN)
            case MessageType.BATCH:
                assert message.sequence == written.get(peer, 0) + 1
                assert totals.logged >= 5 * message.sequence
                written[peer] = message.sequence
                receiver.reply(peer, message, ReplyType.ACK, written[peer], window=OPEN)
            case MessageType.GOODBYE:
                assert (totals.logged, totals.held) == (50, 0)
                receiver.reply(peer, message, ReplyType.FAREWELL, written[peer], 0)
                left.add(peer)
    outcome = receiver.outcome()
    assert outcome["farewells"] == outcome["senders"] == 3
    assert outcome["acknowledged_min"] <= outcome["acknowledged_max"] <= 50


def test_a_batch_never_acknowledged_is_given_up_and_said_so(
    receiver: Receiver,
) -> None:
    receiver.begin("-n", 1, "-r", 100, "-b", 1, "-t", 0.02, "-w", 0.1)
    peer, hello = receiver.next()
    receiver.reply(peer, hello, ReplyType.WELCOME, 0, window=OPEN)
    for _ in range(2):
        assert receiver.next_but_heartbeats()[1].type is MessageType.BATCH

    _, goodbye = receiver.next_but_heartbeats()

    assert (goodbye.type, goodbye.sequence) == (MessageType.GOODBYE, 1)
    receiver.reply(peer, goodbye, ReplyType.FAREWELL, 1, window=0)
    assert receiver.outcome()["unacknowledged"] == 1


def test_many_senders_hand_over_every_packet_to_a_receiver(tmp_path: Path) -> None:
    output = tmp_path / "out.pcap"
    load = ("-n", 50, "-r", 2000, "-b", 20, "-g", 2, "-t", 0.2, "-m", 7)
    with Tools(tmp_path) as tools:
        receiving, endpoint = tools.receive_on_tcp(f"file:{output}", "--once")
        done = run(*load, "127.0.0.1", endpoint.rpartition(":")[2])
        assert done.returncode == 0, done.stderr
        totals = receiving.finish()

    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["acknowledged"] == outcome["packets"] == 50 * 400
    assert (outcome["broken"], outcome["unacknowledged"]) == (0, 0)
    # Of what the senders' counters said, too.
    assert totals["unaccounted"] == 0
    witness = Witness()
    witness.begin()
    witness.feed(output.read_bytes())
    assert witness.end() == 0
    assert sorted(witness.marks) == list(range(7, 57))
    for seen in witness.marks.values():
        assert (seen.packets, seen.missing_count, seen.repeated_count) == (400, 0, 0)


def _numbers(batch: Message) -> list[int]:
    """Of the packets in a batch, without -m; raises where a record is none."""
    payload, at, numbers = bytes(batch.payload), 0, []
    while at < len(payload):
        _, nanoseconds, caplen, origlen = RECORD_HEADER.unpack_from(payload, at)
        assert nanoseconds < 10**9
        assert caplen == origlen == 200
        packet = payload[at + RECORD_HEADER.size :][:caplen]
        assert _checksum(packet[:20]) == 0
        numbers.append(int.from_bytes(packet[44:52]))
        at += RECORD_HEADER.size + caplen
    assert len(numbers) == batch.count
    assert len(payload) == batch.raw_length
    return numbers


def _checksum(header: bytes) -> int:
    """RFC 1071: 0 where the header's own is right."""
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
