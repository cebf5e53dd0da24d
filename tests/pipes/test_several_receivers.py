"""A sender with several receivers, as processes: flows shared out, or copies."""

import json
import signal
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.guarded import Keys
from tests.pipes.tools import PATIENCE_S, Tool, Tools

FLOWS = 40
_PORT_AT = packets.RECORD_HEADER.size + 20
QUICK = ("--low-watermark", "0", "--batch-bytes", "64KiB", "--batch-age", "5ms")


def records(numbers: range, size: int = 200) -> bytes:
    """Numbered packets of many flows, of which every other packet is an answer."""
    made = []
    for number in numbers:
        record = bytearray(packets.record(number, size))
        port = (6000 + number % FLOWS).to_bytes(2)
        if number // FLOWS % 2:
            addresses, ends = bytes((192, 0, 2, 2, 192, 0, 2, 1)), b"\x13\x89" + port
        else:
            addresses, ends = bytes((192, 0, 2, 1, 192, 0, 2, 2)), port + b"\x13\x89"
        record[_PORT_AT - 8 : _PORT_AT] = addresses
        record[_PORT_AT : _PORT_AT + 4] = ends
        made.append(bytes(record))
    return b"".join(made)


class Several:
    """Receivers, and one sender that knows them all."""

    def __init__(self, tools: Tools, directory: Path, count: int = 3) -> None:
        self.tools = tools
        self.directory = directory
        self.endpoints = [f"ipc://{directory}/link{n}" for n in range(count)]
        self.fed = 0
        self._lives = [0] * count

    def receive(self, index: int, *options: str | Path) -> Tool:
        self._lives[index] += 1
        output = self.directory / f"out{index}.{self._lives[index]}"
        return self.tools.receive(self.endpoints[index], f"file:{output}", *options)

    def receive_all(self) -> list[Tool]:
        return [self.receive(index) for index in range(len(self.endpoints))]

    def send(self, source: str | Path, *options: str | Path) -> Tool:
        """From standard input, where source is "-"."""
        arguments = (source, *self.endpoints, "--name", "gw", *QUICK, *options)
        stdin = subprocess.PIPE if source == "-" else None
        sender = self.tools.start("pcap-zmq-send", *arguments, stdin=stdin)
        if source == "-":
            sender.stdin.write(packets.header())
            sender.stdin.flush()
        return sender

    def give(self, sender: Tool, count: int = 400, size: int = 200) -> None:
        numbers = range(self.fed, self.fed + count)
        self.fed = numbers.stop
        sender.stdin.write(records(numbers, size))
        sender.stdin.flush()

    def written(self, index: int, life: int | None = None) -> list[int]:
        """By a receiver; life: None: by all that it was."""
        lives = range(1, self._lives[index] + 1) if life is None else [life]
        found: list[int] = []
        for number in lives:
            path = self.directory / f"out{index}.{number}"
            if path.exists():
                found += packets.numbers(path.read_bytes())
        return found

    def all_written(self) -> list[int]:
        return sorted(
            number
            for index in range(len(self.endpoints))
            for number in self.written(index)
        )

    def wait_for_all(self) -> None:
        """Until every packet that was fed is in an output."""
        wait_until(
            lambda: set(self.all_written()) == set(range(self.fed)), PATIENCE_S, "all"
        )

    def state(self, index: int, *options: str | Path) -> Any:
        """The ledger there, which is balanced."""
        tool = self.tools.start(
            *("pcap-zmq", "status", self.endpoints[index], "--json"),
            *options,
            stdout=subprocess.PIPE,
        )
        said = tool.stdout.read().decode()
        assert tool.wait() == 0, said + tool.said()
        return json.loads(said)

    def wait_for(self, index: int, **terms: int) -> None:
        """Until the ledger there has these terms, balanced all the while."""

        def has_them() -> bool:
            total = self.state(index)["total"]
            return all(total[name] == number for name, number in terms.items())

        wait_until(has_them, PATIENCE_S, f"{terms} at receiver {index}")


def wait_for_links(sender: Tool, count: int) -> None:
    """Until so many receivers take packets: machines differ in how long they start."""
    wait_until(
        lambda: sender.said().count("takes packets") == count, PATIENCE_S, "links"
    )


@pytest.fixture
def several(tools: Tools, tmp_path: Path) -> Several:
    return Several(tools, tmp_path)


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    path = tmp_path / "flows.pcap"
    path.write_bytes(packets.header() + records(range(2000)))
    return path


# Flows shared out.


def test_each_flow_goes_to_one_receiver_in_both_directions(
    several: Several, savefile: Path
) -> None:
    receivers = several.receive_all()
    several.fed = 2000
    totals = several.send(savefile, "--balance", "flow").finish()
    assert totals["acknowledged"] == totals["logged"] == 2000
    several.wait_for_all()
    assert several.all_written() == list(range(2000))
    where = defaultdict(set)
    for index in range(3):
        written = several.written(index)
        assert written == sorted(written)
        assert len(written) > 2000 // 10
        total = several.state(index)["total"]
        assert total["logged"] == total["delivered"] == len(written)
        for number in written:
            where[number % FLOWS].add(index)
    assert all(len(indices) == 1 for indices in where.values())
    for receiver in receivers:
        receiver.stop()


def test_the_share_of_a_dead_receiver_moves_to_the_others_and_back(
    several: Several,
) -> None:
    receivers = several.receive_all()
    options = ("--balance", "flow", "--failover", "200ms", "--report", "1s")
    sender = several.send("-", *options)
    wait_for_links(sender, 3)
    several.give(sender)
    several.wait_for_all()
    # What is not acknowledged would come again.
    sender.wait_to_say("ratio -, held 0,")
    shares = [{n % FLOWS for n in several.written(i)} for i in range(3)]
    receivers[1].kill()
    sender.wait_to_say("is down")
    before = [len(several.written(index)) for index in range(3)]
    several.give(sender)
    several.wait_for_all()
    assert len(several.written(1)) == before[1]
    for index in (0, 2):
        moved = {n % FLOWS for n in several.written(index)[before[index] :]}
        assert moved > shares[index]
    again = several.receive(1)
    wait_until(
        lambda: sender.said().count(f"{several.endpoints[1]} takes packets") == 2,
        PATIENCE_S,
        "it to be back",
    )
    before = [len(several.written(index)) for index in range(3)]
    several.give(sender)
    several.wait_for_all()
    after = [{n % FLOWS for n in several.written(i)[before[i] :]} for i in range(3)]
    assert after == shares
    assert several.all_written() == list(range(several.fed))
    sender.stdin.close()
    totals = sender.finish()
    assert totals["acknowledged"] == totals["logged"] == several.fed
    for index in range(3):
        total = several.state(index)["total"]
        assert total["delivered"] + total["elsewhere"] == total["logged"]
    again.stop()


def test_what_was_queued_for_one_that_never_comes_goes_to_the_others(
    several: Several, savefile: Path
) -> None:
    several.receive(0)
    several.receive(2)
    several.fed = 2000
    sender = several.send(savefile, "--balance", "flow", "--failover", "300ms")
    totals = sender.finish()
    assert totals["acknowledged"] == totals["logged"] == 2000
    assert totals["dropped"] == 0
    assert several.all_written() == list(range(2000))
    for index in (0, 2):
        total = several.state(index)["total"]
        assert total["logged"] == total["delivered"] == len(several.written(index))


def test_without_failover_what_is_for_one_that_is_away_waits_for_it(
    several: Several, savefile: Path
) -> None:
    several.receive(0)
    several.receive(2)
    several.fed = 2000
    sender = several.send(savefile, "--balance", "flow", "--failover", "0")
    several.wait_for(0, held_by_sender=0)
    several.wait_for(2, held_by_sender=0)
    assert sender.process.poll() is None
    assert len(several.all_written()) < 2000
    several.receive(1)
    assert sender.finish()["acknowledged"] == 2000
    assert several.all_written() == list(range(2000))


def test_what_a_killed_receiver_may_have_is_held_for_the_one_that_comes_after_it(
    several: Several,
) -> None:
    """It took packets and has not said that they are written: its reader is away."""
    fifo = several.directory / "fifo"
    first = several.tools.receive(several.endpoints[1], fifo)
    several.receive(0)
    several.receive(2)
    sender = several.send("-", "--balance", "flow", "--failover", "200ms")
    wait_for_links(sender, 3)
    several.give(sender)
    wait_until(
        lambda: several.state(1)["total"]["held_by_receiver"] > 50,
        PATIENCE_S,
        "packets to wait for a reader",
    )
    held = several.state(1)["total"]["held_by_receiver"]
    first.kill()
    sender.wait_to_say("is down")
    several.give(sender)
    wait_until(
        lambda: len(several.all_written()) == several.fed - held,
        PATIENCE_S,
        "all but what the dead one had",
    )
    several.receive(1)
    several.wait_for_all()
    assert several.all_written() == list(range(several.fed))
    assert set(several.written(1)) < set(range(400))
    sender.stdin.close()
    assert sender.finish()["acknowledged"] == several.fed


def test_a_stop_with_a_dead_receiver_counts_what_it_did_not_acknowledge(
    several: Several, tmp_path: Path
) -> None:
    receivers = [several.receive(0), several.receive(2)]
    fifo = tmp_path / "fifo"
    first = several.tools.receive(several.endpoints[1], fifo)
    sender = several.send("-", "--balance", "flow", "--linger", "500ms")
    wait_for_links(sender, 3)
    several.give(sender)
    wait_until(
        lambda: several.state(1)["total"]["held_by_receiver"] > 50,
        PATIENCE_S,
        "packets to wait for a reader",
    )
    first.kill()
    totals = sender.stop()
    lost = several.fed - len(several.all_written())
    assert totals.dropped == {"shutdown": lost}
    for receiver in receivers:
        receiver.stop()


# Copies.


def test_everything_goes_to_each_receiver(several: Several, savefile: Path) -> None:
    receivers = several.receive_all()
    totals = several.send(savefile, "--copy").finish()
    assert totals["acknowledged"] == totals["logged"] == 2000
    for index in range(3):
        assert several.written(index) == list(range(2000))
        total = several.state(index)["total"]
        assert total["logged"] == total["delivered"] == 2000
    for receiver in receivers:
        receiver.stop()


def test_a_dead_receiver_holds_up_no_other_and_only_it_loses(
    several: Several,
) -> None:
    several.receive(0)
    last = several.receive(2)
    sender = several.send("-", "--copy", "--failover", "300ms", "--send-queue", "1MiB")
    wait_for_links(sender, 2)
    for _ in range(20):
        several.give(sender, 400, 400)
    for index in (0, 2):
        wait_until(
            lambda: several.written(index)[-1:] == [several.fed - 1],  # noqa: B023
            PATIENCE_S,
            "all",
        )
        assert several.written(index) == list(range(several.fed))
        several.wait_for(index, logged=several.fed, delivered=several.fed)
    several.receive(1)
    several.wait_for(1, logged=several.fed, held_by_sender=0)
    sender.stdin.close()
    totals = sender.finish()
    # By the first.
    assert totals["acknowledged"] == several.fed
    assert totals["dropped"] == 0
    total = several.state(1)["total"]
    assert total["logged"] == several.fed
    assert total["dropped"]["send_queue_full"] == several.fed - total["delivered"] > 0
    assert total["delivered"] == len(several.written(1))
    last.stop()


def test_at_the_end_a_copy_for_a_dead_receiver_is_given_up(
    several: Several, savefile: Path
) -> None:
    several.receive(0)
    several.receive(2)
    totals = several.send(savefile, "--copy", "--failover", "300ms").finish()
    assert totals["acknowledged"] == 2000
    assert several.written(0) == several.written(2) == list(range(2000))


# What is refused.


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "say --balance flow"),
        (("--balance", "flow", "--copy"), "contradict each other"),
        (("--copy", "--spool", "/nowhere"), "--spool goes with one ENDPOINT"),
        (("--copy", "--failover", "1ms"), "--failover"),
        (("--copy", "--other-peer-key", "x"), "--other-peer-key is given 1 times"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    several: Several, options: tuple[str, ...], why: str
) -> None:
    sender = several.tools.start("pcap-zmq-send", "-", *several.endpoints, *options)
    assert sender.wait() == 2
    assert why in sender.said()
    assert "Traceback" not in sender.said()


def test_an_endpoint_that_is_given_twice_is_refused(several: Several) -> None:
    twice = several.endpoints[0]
    sender = several.tools.start("pcap-zmq-send", "-", twice, twice, "--copy")
    assert sender.wait() == 2
    assert "given twice" in sender.said()


def test_endpoints_may_stand_in_a_settings_file_one_or_several(
    several: Several, savefile: Path
) -> None:
    receivers = several.receive_all()
    for count, told in (
        (1, json.dumps(several.endpoints[0])),
        (3, f"{json.dumps(several.endpoints)}\ncopy = true"),
    ):
        path = several.directory / f"{count}.toml"
        path.write_text(f'[send]\nsource = "{savefile}"\nendpoint = {told}\n')
        sender = several.tools.start("pcap-zmq-send", "--config", path)
        assert sender.finish()["acknowledged"] == 2000
    assert [len(several.written(index)) for index in range(3)] == [4000, 2000, 2000]
    for receiver in receivers:
        receiver.stop()


def test_each_receiver_may_have_a_key_of_its_own(
    several: Several, tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    certificates, endpoints = [], []
    sender_keys: list[str | Path] = []
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
        keys = Keys(tmp_path / name)
        if not sender_keys:
            keys.admit("gw")
            sender_keys = ["--key", tmp_path / name / "gw.key_secret"]
        else:
            public = tmp_path / "near" / "gw.key"
            (keys.allow / "gw.key").write_bytes(public.read_bytes())
        _, endpoint = tools.receive_on_tcp(
            f"file:{tmp_path / name}.pcap", *keys.of_receiver()
        )
        endpoints.append(endpoint)
        certificates.append(tmp_path / name / "ids.key")
    sender = tools.start(
        *("pcap-zmq-send", str(savefile), *endpoints, "--copy"),
        *sender_keys,
        *("--peer-key", certificates[0], "--other-peer-key", certificates[1]),
    )
    assert sender.finish()["acknowledged"] == 2000
    for name in ("near", "far"):
        stream = (tmp_path / f"{name}.pcap").read_bytes()
        assert packets.numbers(stream) == list(range(2000))


def test_a_stop_takes_leave_of_all(several: Several) -> None:
    receivers = several.receive_all()
    sender = several.send("-", "--balance", "flow")
    several.give(sender)
    several.wait_for_all()
    totals = sender.stop(signal.SIGINT)
    assert totals["acknowledged"] == several.fed
    for receiver in receivers:
        receiver.wait_to_say("has left")
