"""Tiers as processes: senders, relays, a receiver, and whatever may happen between."""

import json
import re
import struct
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from pcap_zmq.formats import wire
from pcap_zmq.formats.certificate import Role
from pcap_zmq.formats.wire import Message, MessageType, StreamId
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.guarded import Keys
from tests.pipes.tools import PATIENCE_S, Tool, Tools, Totals

SMALL = ("--low-watermark", "0", "--batch-bytes", "64KiB", "--batch-age", "5ms")


def ratio(totals: Totals) -> float:
    """Of octets on the wire to those of packet records."""
    found = re.search(r"ratio ([\d.]+)", totals.line)
    assert found is not None
    return float(found[1])


class Tiers:
    """A receiver, a relay before it, and senders before that."""

    def __init__(self, tools: Tools, directory: Path) -> None:
        self.tools = tools
        self.directory = directory
        self.near = f"ipc://{directory}/near"
        self.far = f"ipc://{directory}/far"
        self.output = directory / "out.pcap"
        self.fed = 0

    def relay(
        self, *options: str | Path, address: str = "", name: str = "site"
    ) -> Tool:
        arguments = (address or self.near, self.far, "--name", name, *options)
        return self.tools.start("pcap-zmq", "relay", *arguments, "--report", "1s")

    def receive(self, *options: str | Path) -> Tool:
        return self.tools.receive(self.far, f"file:{self.output}", *options)

    def feed(self, *options: str | Path, name: str = "gw", endpoint: str = "") -> Tool:
        """A sender that reads from its standard input."""
        arguments = ("--name", name, *SMALL, *options)
        sender = self.tools.send(
            "-", endpoint or self.near, *arguments, stdin=subprocess.PIPE
        )
        sender.stdin.write(packets.header())
        sender.stdin.flush()
        return sender

    def give(self, sender: Tool, count: int = 500) -> None:
        """The next packets."""
        numbers = range(self.fed, self.fed + count)
        self.fed = numbers.stop
        sender.stdin.write(packets.records(numbers))
        sender.stdin.flush()

    def written(self) -> list[int]:
        """The numbers of the packets in the output."""
        if not self.output.exists():
            return []
        return packets.numbers(self.output.read_bytes())

    def wait_for_all(self) -> None:
        """Until every packet that was fed is in the output."""
        wait_until(
            lambda: set(self.written()) == set(range(self.fed)), PATIENCE_S, "all"
        )

    def state(self, address: str, *options: str | Path) -> Any:
        """What is said there, which is balanced."""
        tool = self.tools.start(
            *("pcap-zmq", "status", address, "--json"),
            *options,
            stdout=subprocess.PIPE,
        )
        said = tool.stdout.read().decode()
        assert tool.wait() == 0, said + tool.said()
        return json.loads(said)

    def total(self, address: str) -> Any:
        return self.state(address)["total"]

    def wait_for_total(self, address: str, **terms: int) -> None:
        """Until the ledger there has these terms, balanced all the while."""

        def has_them() -> bool:
            total = self.total(address)
            return all(total[name] == number for name, number in terms.items())

        wait_until(has_them, PATIENCE_S, f"{terms} at {address}")


@pytest.fixture
def tiers(tools: Tools, tmp_path: Path) -> Tiers:
    return Tiers(tools, tmp_path)


# Things that go wrong.


def test_a_killed_relay_loses_nothing(tiers: Tiers) -> None:
    receiver = tiers.receive()
    relay = tiers.relay()
    sender = tiers.feed()
    tiers.give(sender)
    tiers.wait_for_all()
    relay.kill()
    tiers.give(sender)
    relay = tiers.relay()
    tiers.give(sender)
    tiers.wait_for_all()
    tiers.wait_for_total(tiers.near, held_by_sender=0, held_by_receiver=0)
    here, there = tiers.total(tiers.near), tiers.total(tiers.far)
    assert here["logged"] == tiers.fed
    assert here["delivered"] + here["elsewhere"] == tiers.fed
    assert there["dropped"] == {}
    assert there["logged"] == there["delivered"] == len(tiers.written())
    sender.stdin.close()
    assert sender.finish()["acknowledged"] == tiers.fed
    relay.stop()
    receiver.stop()


def test_a_relay_with_a_spool_owes_its_senders_nothing_once_it_is_on_disk(
    tiers: Tiers, tmp_path: Path
) -> None:
    """The next hop is away: what the relay has is safe, and the sender may end."""
    spool = ("--spool", tmp_path / "spool")
    relay = tiers.relay(*spool)
    sender = tiers.feed()
    tiers.give(sender)
    sender.stdin.close()
    assert sender.finish()["acknowledged"] == tiers.fed
    tiers.wait_for_total(tiers.near, delivered=tiers.fed)
    relay.kill()
    receiver = tiers.receive()
    relay = tiers.relay(*spool)
    tiers.wait_for_all()
    assert tiers.written() == list(range(tiers.fed))
    total = tiers.total(tiers.far)
    assert (total["logged"], total["delivered"]) == (tiers.fed, tiers.fed)
    assert total["dropped"] == {}
    relay.stop()
    receiver.stop()


def test_a_killed_relay_with_a_spool_loses_nothing_while_packets_flow(
    tiers: Tiers, tmp_path: Path
) -> None:
    spool = ("--spool", tmp_path / "spool", "--send-queue", "1MiB")
    receiver = tiers.receive()
    sender = tiers.feed()
    for _ in range(3):
        relay = tiers.relay(*spool)
        tiers.give(sender)
        tiers.wait_for_all()
        tiers.give(sender)
        relay.kill()
    relay = tiers.relay(*spool)
    tiers.wait_for_all()
    tiers.wait_for_total(tiers.far, held_by_sender=0, held_by_receiver=0)
    total = tiers.total(tiers.far)
    assert total["dropped"] == {}
    assert total["delivered"] == total["logged"] == len(tiers.written())
    sender.stdin.close()
    assert sender.finish()["acknowledged"] == tiers.fed
    relay.stop()
    receiver.stop()


def test_a_relay_that_stops_in_good_order_repeats_nothing(tiers: Tiers) -> None:
    receiver = tiers.receive()
    sender = tiers.feed()
    for _ in range(3):
        relay = tiers.relay()
        tiers.give(sender)
        tiers.wait_for_all()
        assert relay.stop()["held"] == 0
    assert tiers.written() == list(range(tiers.fed))
    assert receiver.stop()["repeated"] == 0
    sender.stdin.close()


def test_a_killed_receiver_gets_what_it_had_not_acknowledged_again(
    tiers: Tiers,
) -> None:
    receiver = tiers.receive()
    relay = tiers.relay()
    sender = tiers.feed()
    tiers.give(sender)
    tiers.wait_for_all()
    tiers.wait_for_total(tiers.near, delivered=tiers.fed)
    receiver.kill()
    first = tiers.written()
    tiers.output = tiers.directory / "second.pcap"
    tiers.give(sender)
    receiver = tiers.receive()
    wait_until(
        lambda: set(first) | set(tiers.written()) == set(range(tiers.fed)),
        PATIENCE_S,
        "the rest",
    )
    assert not set(first) & set(tiers.written())
    tiers.wait_for_total(tiers.near, logged=tiers.fed, delivered=tiers.fed)
    tiers.wait_for_total(
        tiers.far, elsewhere=len(first), delivered=len(tiers.written())
    )
    relay.stop()
    receiver.stop()
    sender.stdin.close()


def test_while_the_next_hop_is_away_the_senders_hold_their_packets(
    tiers: Tiers,
) -> None:
    """More than the queues of the relay have room for."""
    relay = tiers.relay("--send-queue", "1MiB", "--receive-queue", "1MiB")
    sender = tiers.feed("--send-queue", "1MiB")
    sender.wait_to_say("takes packets")
    path = tiers.directory / "many.pcap"
    packets.write(path, range(20_000), 400)
    other = tiers.tools.send(path, tiers.near, "--name", "file", *SMALL)
    tiers.fed = 20_000
    wait_until(
        lambda: tiers.total(tiers.near)["held_by_receiver"] > 500,
        PATIENCE_S,
        "the queues to fill",
    )
    assert tiers.total(tiers.near)["delivered"] == 0
    receiver = tiers.receive()
    assert other.finish(60)["acknowledged"] == 20_000
    tiers.wait_for_all()
    assert tiers.written() == list(range(20_000))
    relay.stop()
    receiver.stop()
    sender.stdin.close()


def test_a_malformed_batch_is_the_fault_of_its_sender_and_not_of_the_relay(
    tiers: Tiers,
) -> None:
    """Where the relay looks into what it passes on."""
    receiver = tiers.receive()
    relay = tiers.relay("--check")
    with zmq.Context() as context, context.socket(zmq.DEALER) as liar:
        liar.linger = 0
        liar.connect(tiers.near)
        stream = StreamId(b"l" * 16, 1)
        totals = struct.pack(">16Q", 3, *[0] * 9, 3, *[0] * 5)
        hello = Message(
            MessageType.HELLO, stream, 1, linktype=101, totals=totals, payload=b"liar"
        )
        batch = Message(
            MessageType.BATCH,
            stream,
            1,
            linktype=101,
            count=3,
            raw_length=5,
            totals=totals,
            payload=b"lies!",
        )
        for message in (hello, batch):
            liar.send_multipart(wire.encode_message(message))
        relay.wait_to_say("sender liar: a malformed batch")
        tiers.wait_for_total(tiers.far, logged=3, held_by_sender=0)
    there = tiers.state(tiers.far)
    assert there["total"]["dropped"] == {"damaged": 3}
    assert there["senders"][0]["malformed"] == 0
    assert tiers.total(tiers.near)["dropped"] == {"malformed": 3}
    relay.stop()
    receiver.stop()


def test_a_sender_that_lies_about_its_numbers_ends_no_relay(tiers: Tiers) -> None:
    receiver = tiers.receive()
    relay = tiers.relay()
    honest = tiers.feed()
    with zmq.Context() as context, ExitStack() as peers:
        for number in range(3):
            liar = peers.enter_context(context.socket(zmq.DEALER))
            liar.linger = 0
            liar.connect(tiers.near)
            totals = struct.pack(
                ">16Q", *[(1 << 64) - 1] * (5 + number), *[0] * (11 - number)
            )
            hello = Message(
                MessageType.HELLO,
                StreamId(bytes([number]) * 16, 1),
                1,
                linktype=101,
                totals=totals,
                payload=b"liar",
            )
            liar.send_multipart(wire.encode_message(hello))
        relay.wait_to_say("sender liar is here")
        tiers.give(honest)
        tiers.wait_for_all()
    assert relay.process.poll() is None
    assert "Traceback" not in relay.said()
    receiver.kill()
    honest.stdin.close()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--recompress",), "--recompress takes a --codec"),
        (("--level", "1"), "--level takes a --codec"),
        (("--codec", "zlib", "--level", "9"), "zlib has levels 0 to 3"),
        (("--spool-size", "4MiB", "--spool", "/nowhere"), "--spool-size"),
        (("--name", ""), "--name is empty"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    tiers: Tiers, options: tuple[str, ...], why: str
) -> None:
    relay = tiers.relay(*options)
    assert relay.wait() == 2
    assert why in relay.said()
    assert "Traceback" not in relay.said()


def test_a_relay_is_not_its_own_next_hop(tiers: Tiers) -> None:
    relay = tiers.relay(address=tiers.far)
    assert relay.wait() == 2
    assert "its own next hop" in relay.said()


# What it is for.


def test_packets_of_many_senders_reach_a_reader_of_the_fifo_each_once(
    tiers: Tiers,
) -> None:
    fifo = tiers.directory / "fifo"
    receiver = tiers.tools.receive(tiers.far, fifo, "--once")
    receiver.wait_to_say("listening on")
    relay = tiers.relay()
    expected: list[int] = []
    senders = []
    with tiers.output.open("wb") as output:
        reader = subprocess.Popen(["cat", fifo], stdout=output)
    for number in range(5):
        numbers = range(1000 * number, 1000 * number + 500)
        expected += numbers
        path = tiers.directory / f"{number}.pcap"
        packets.write(path, numbers)
        senders.append(tiers.tools.send(path, tiers.near, "--name", f"gw{number}"))
    for sender in senders:
        assert sender.finish()["acknowledged"] == 500
    here, there = tiers.state(tiers.near), tiers.state(tiers.far)
    names = {line["name"] for line in here["senders"]}
    assert names == {f"gw{number}" for number in range(5)}
    assert [line["name"] for line in there["senders"]] == ["site"]
    assert here["total"]["delivered"] == here["total"]["logged"] == 2500
    assert there["total"]["delivered"] == there["total"]["logged"] == 2500
    totals = relay.stop()
    receiver.finish()
    assert reader.wait(PATIENCE_S) == 0
    assert sorted(tiers.written()) == expected
    assert totals["received"] == totals["written"] == 2500


def test_what_senders_hold_and_have_lost_is_in_the_line_of_their_relay(
    tiers: Tiers,
) -> None:
    fifo = tiers.directory / "fifo"
    receiver = tiers.tools.receive(tiers.far, fifo, "--receive-queue", "1MiB")
    relay = tiers.relay("--send-queue", "1MiB", "--receive-queue", "1MiB")
    path = tiers.directory / "many.pcap"
    packets.write(path, range(20_000), 400)
    tiers.tools.send(path, tiers.near, "--name", "file", *SMALL)
    with zmq.Context() as context, context.socket(zmq.DEALER) as lossy:
        lossy.linger = 0
        lossy.connect(tiers.near)
        # logged 100, missed 40, not_ip 25, send_queue_full 5, held 30
        totals = struct.pack(">16Q", 100, 40, 0, 0, 0, 0, 25, 0, 5, 0, 30, *[0] * 5)
        hello = Message(
            MessageType.HELLO,
            StreamId(b"x" * 16, 1),
            1,
            linktype=101,
            totals=totals,
            payload=b"lossy",
        )
        lossy.send_multipart(wire.encode_message(hello))
        tiers.wait_for_total(tiers.far, missed=40)
        there = tiers.total(tiers.far)
        assert there["dropped"] == {"not_ip": 25, "send_queue_full": 5}
        wait_until(
            lambda: tiers.total(tiers.far)["held_by_sender"] > 5_000,
            PATIENCE_S,
            "all queues to fill",
        )
        assert tiers.total(tiers.near)["missed"] == 40
    relay.kill()
    receiver.kill()


def test_a_relay_compresses_what_comes_plain(tiers: Tiers) -> None:
    receiver = tiers.receive()
    relay = tiers.relay("--codec", "zstd")
    sender = tiers.feed("--codec", "none")
    tiers.give(sender, 5000)
    tiers.wait_for_all()
    sender.stdin.close()
    plain = ratio(sender.finish())
    relay.stop()
    shrunk = ratio(receiver.stop())
    assert (plain, shrunk < 0.8) == (1.0, True)
    assert tiers.written() == list(range(tiers.fed))


def test_a_relay_undoes_compression(tiers: Tiers) -> None:
    receiver = tiers.receive()
    relay = tiers.relay("--codec", "none")
    sender = tiers.feed("--codec", "lz4", "--low-watermark", "1KiB/s")
    tiers.give(sender, 5000)
    tiers.wait_for_all()
    sender.stdin.close()
    shrunk = ratio(sender.finish())
    relay.stop()
    plain = ratio(receiver.stop())
    assert (plain, shrunk < 1.0) == (1.0, True)
    assert tiers.written() == list(range(tiers.fed))


def test_two_relays_lead_into_one_receiver_and_relays_into_relays(
    tiers: Tiers,
) -> None:
    receiver = tiers.receive()
    middle = f"ipc://{tiers.directory}/middle"
    relays = [
        tiers.relay(name="central", address=middle),
        tiers.relay(name="other"),
    ]
    nearest = f"ipc://{tiers.directory}/nearest"
    site = tiers.tools.start(
        "pcap-zmq", "relay", nearest, middle, "--name", "deep", "--report", "1s"
    )
    senders = [tiers.feed(name="a"), tiers.feed(name="b", endpoint=nearest)]
    for sender in senders:
        tiers.give(sender)
    tiers.wait_for_all()
    tiers.wait_for_total(tiers.far, logged=1000, delivered=1000)
    lines = {line["name"]: line for line in tiers.state(tiers.far)["senders"]}
    assert {name: line["delivered"] for name, line in lines.items()} == {
        "central": 500,
        "other": 500,
    }
    tiers.wait_for_total(middle, delivered=500)
    assert [line["name"] for line in tiers.state(middle)["senders"]] == ["deep"]
    for sender in senders:
        sender.stdin.close()
        assert sender.finish()["acknowledged"] == 500
    for relay in (site, *relays):
        relay.stop()
    receiver.stop()


def test_keys_are_asked_for_on_both_sides(tiers: Tiers) -> None:
    near_keys, far_keys = (tiers.directory / "near-keys", tiers.directory / "far-keys")
    near_keys.mkdir()
    far_keys.mkdir()
    near, far = Keys(near_keys), Keys(far_keys)
    near.admit("gw")
    near.admit("operator", Role.OPERATOR)
    far.admit("site")
    receiver, endpoint = tiers.tools.receive_on_tcp(
        f"file:{tiers.output}", *far.of_receiver()
    )
    tiers.far = endpoint
    secret, peer = (far.of("site")[1], far.of("site")[3])
    relay = tiers.tools.start(
        *("pcap-zmq", "relay", "tcp://127.0.0.1:*", endpoint),
        *near.of_receiver(),
        *("--next-key", secret, "--peer-key", peer),
    )
    relay.wait_to_say("listening on")
    found = re.search(r"listening on (tcp://[^,\s]+)", relay.said())
    assert found is not None
    sender = tiers.feed(*near.of("gw"), endpoint=found[1])
    tiers.give(sender)
    tiers.wait_for_all()
    wait_until(
        lambda: (
            tiers.state(found[1], *near.of("operator"))["total"]["delivered"]
            == tiers.fed
        ),
        PATIENCE_S,
        "the relay's ledger",
    )
    (line,) = tiers.state(found[1], *near.of("operator"))["senders"]
    assert line["name"] == "gw"
    sender.stdin.close()
    sender.finish()
    relay.stop()
    receiver.stop()
