"""A sender with a spool, as a process: links down, kills, restarts, full disks."""

import os
import subprocess
from pathlib import Path

import pytest

from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import (
    AS_ANYBODY,
    PATIENCE_S,
    Tool,
    Tools,
    assert_receiver_conserves,
    assert_sender_conserves,
)

PIECE = 2_000
"""Packets that are written to a sender's standard input at a time."""

FEW = 5
SMALL = ("--send-queue", "1MiB", "--low-watermark", "0", "--batch-bytes", "64KiB")


class Feed:
    """A sender that reads numbered packets from its standard input, again and again
    another process with the same spool."""

    def __init__(self, tools: Tools, endpoint: str, spool: Path) -> None:
        self.next = 0
        self._tools = tools
        self._endpoint = endpoint
        self.spool = spool

    def start(self, *options: str | Path) -> Tool:
        arguments = ("--name", "one", *SMALL, "--spool", self.spool, *options)
        sender = self._tools.send(
            "-", self._endpoint, *arguments, stdin=subprocess.PIPE
        )
        sender.stdin.write(packets.header())
        sender.stdin.flush()
        return sender

    def give(self, sender: Tool, count: int = PIECE, size: int = 400) -> None:
        """The next packets; they are in the sender, or its pipe, on return."""
        numbers = range(self.next, self.next + count)
        self.next = numbers.stop
        sender.stdin.write(packets.records(numbers, size))
        sender.stdin.flush()

    def on_disk(self) -> int:
        """Octets in segments."""
        return sum(path.stat().st_size for path in self.spool.glob("*.segment"))


@pytest.fixture
def feed(tools: Tools, endpoint: str, tmp_path: Path) -> Feed:
    return Feed(tools, endpoint, tmp_path / "spool")


def written(output: Path) -> list[int]:
    """The numbers of the packets in the output so far."""
    if not output.exists():
        return []
    whole, _ = packets.split(output.read_bytes())
    return [packets.number_of(record) for record in whole]


def wait_for(output: Path, last: int) -> None:
    """Until the packet of this number has been written."""
    wait_until(lambda: written(output)[-1:] == [last], PATIENCE_S, f"packet {last}")


def test_what_a_receiver_missed_comes_from_the_disk_in_order_and_once(
    tools: Tools, endpoint: str, feed: Feed, tmp_path: Path
) -> None:
    """Many times what the memory holds."""
    sender = feed.start()
    for _ in range(10):
        feed.give(sender)
    wait_until(lambda: feed.on_disk() > 7 << 20, PATIENCE_S, "the disk to fill")
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}")
    for _ in range(5):
        feed.give(sender)
    wait_for(output, feed.next - 1)
    wait_until(lambda: feed.on_disk() == 0, PATIENCE_S, "the disk to be free")
    totals = sender.stop()
    received = receiver.stop()
    assert written(output) == list(range(feed.next))
    assert totals["acknowledged"] == totals["logged"] == feed.next
    assert received["repeated"] == 0
    assert_sender_conserves(totals)


def test_a_sender_killed_while_the_link_is_down_loses_nothing(
    tools: Tools, endpoint: str, feed: Feed, tmp_path: Path
) -> None:
    for _ in range(3):
        sender = feed.start()
        before = feed.next
        feed.give(sender)
        octets = len(packets.records(range(feed.next), 400))
        assert before < feed.next
        wait_until(lambda: feed.on_disk() >= octets, PATIENCE_S, "it to be on disk")  # noqa: B023
        sender.kill()
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}")
    sender = feed.start()
    feed.give(sender)
    wait_for(output, feed.next - 1)
    totals = sender.stop()
    received = receiver.stop()
    assert written(output) == list(range(feed.next))
    assert totals["logged"] == totals["acknowledged"] == feed.next
    assert_sender_conserves(totals)
    assert received["repeated"] == 0


def test_a_sender_stopped_while_the_link_is_down_goes_on_where_it_was(
    tools: Tools, endpoint: str, feed: Feed, tmp_path: Path
) -> None:
    sender = feed.start()
    feed.give(sender)
    octets = len(packets.records(range(feed.next), 400))
    wait_until(lambda: feed.on_disk() >= octets, PATIENCE_S, "all to be read")
    first = sender.stop()
    assert first["held"] == first["logged"] == feed.next
    assert first["dropped"] == 0
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}")
    sender = feed.start()
    wait_for(output, feed.next - 1)
    second = sender.stop()
    receiver.stop()
    assert written(output) == list(range(feed.next))
    assert second["logged"] == second["acknowledged"] == feed.next


def test_a_stop_at_once_leaves_what_memory_held_on_the_disk(
    tools: Tools, endpoint: str, feed: Feed, tmp_path: Path
) -> None:
    sender = feed.start("--linger", "0", "--report", "1s")
    feed.give(sender, 100)
    sender.wait_to_say(" 100 packets logged")
    first = sender.stop()
    assert first["held"] == first["logged"]
    assert feed.on_disk() > 0
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}")
    sender = feed.start()
    wait_until(
        lambda: len(written(output)) == first["held"], PATIENCE_S, "what was held"
    )
    sender.stop()
    receiver.stop()


def test_a_sender_killed_again_and_again_under_load_repeats_nothing(
    tools: Tools, endpoint: str, feed: Feed, tmp_path: Path
) -> None:
    """What only memory held dies with it, is counted, and nothing else is amiss."""
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}", "--receive-queue", "1MiB")
    for _ in range(5):
        sender = feed.start()
        enough = len(written(output)) + 500
        feed.give(sender)
        wait_until(lambda: len(written(output)) >= enough, PATIENCE_S, "it to flow")  # noqa: B023
        sender.kill()
    sender = feed.start()
    feed.give(sender)
    wait_for(output, feed.next - 1)
    totals = sender.stop()
    received = receiver.stop()
    numbers = written(output)
    assert numbers == sorted(set(numbers))
    assert received["repeated"] == 0
    assert totals["acknowledged"] <= len(numbers)
    assert_sender_conserves(totals)
    assert_receiver_conserves(received)


def test_a_sender_killed_while_a_stalled_reader_fills_the_disk_repeats_nothing(
    tools: Tools, endpoint: str, feed: Feed
) -> None:
    """The link is up, batches are under way, and more are on the disk."""
    options = ("--receive-queue", "1MiB")
    receiver = tools.receive(endpoint, "-", *options, stdout=subprocess.PIPE)
    sender = feed.start()
    for _ in range(5):
        feed.give(sender)
    octets = len(packets.records(range(feed.next), 400))
    wait_until(
        lambda: feed.on_disk() >= octets - (2 << 20), PATIENCE_S, "the disk to fill"
    )
    sender.kill()
    sender = feed.start()
    sender.wait_to_say("takes packets")
    stream = receiver.stdout.read(24 + octets - (1 << 20))
    sender.kill()
    sender = feed.start()
    feed.give(sender)
    rest = 24 + len(packets.records(range(feed.next), 400)) - len(stream)
    stream += receiver.stdout.read(rest)
    totals = sender.stop()
    received = receiver.stop()
    assert packets.numbers(stream) == list(range(feed.next))
    assert received["repeated"] == 0
    assert totals["logged"] == totals["acknowledged"] == feed.next
    assert totals["dropped"] == 0


def test_a_full_disk_is_no_end_and_costs_nothing_where_the_source_can_wait(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    """A small file system of its own is the disk."""
    spool = tmp_path / "disk"
    spool.mkdir()
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    script = f'mount -t tmpfs -o size=3m none {spool} && exec "$0" "$@"'
    within = ("unshare", "--mount", *user, "--", "sh", "-c", script)
    path = tmp_path / "many.pcap"
    packets.write(path, range(20_000), 400)
    with path.open("rb") as stdin:
        sender = tools.send(
            "-",
            endpoint,
            *SMALL,
            *("--spool", spool / "here"),
            stdin=stdin,
            within=within,
        )
        sender.wait_to_say("No space left on device")
        output = tmp_path / "out.pcap"
        tools.receive(endpoint, f"file:{output}")
        totals = sender.finish()
    assert written(output) == list(range(20_000))
    assert totals["dropped"] == 0
    # When it fills up, which it may do again, and not for each batch.
    assert sender.said().count("No space left") < FEW


def test_a_full_spool_drops_its_oldest_packets_where_asked_to(
    tools: Tools, endpoint: str, feed: Feed, tmp_path: Path
) -> None:
    sender = feed.start("--spool-size", "4MiB", "--spool-drop", "oldest")
    for _ in range(15):
        feed.give(sender)
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}")
    wait_for(output, feed.next - 1)
    totals = sender.stop()
    receiver.stop()
    numbers = written(output)
    assert numbers == sorted(set(numbers))
    assert totals.dropped == {"spool_full": feed.next - len(numbers)}
    assert 0 < totals["dropped"] < feed.next
    assert_sender_conserves(totals)


def test_two_senders_cannot_share_a_spool(feed: Feed) -> None:
    first = feed.start()
    first.wait_to_say("nothing answers")
    second = feed.start()
    assert second.wait() == 1
    assert "in use by another sender" in second.said()
    assert "Traceback" not in second.said()


@pytest.mark.parametrize("mode", [0o500, 0o777])
def test_a_directory_that_is_no_place_for_packets_is_refused_in_one_line(
    tools: Tools, endpoint: str, tmp_path: Path, mode: int
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    spool.chmod(mode)
    sender = tools.send(
        "-", endpoint, "--spool", spool, stdin=subprocess.PIPE, within=AS_ANYBODY
    )
    sender.stdin.write(packets.header())
    sender.stdin.flush()
    assert sender.wait() == 3
    last = sender.said().splitlines()[-1]
    assert last.startswith(f"error: --spool {spool} ")
    assert "Traceback" not in sender.said()


def test_a_file_in_place_of_a_spool_is_refused(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.touch()
    sender = tools.send("-", endpoint, "--spool", spool, stdin=subprocess.PIPE)
    sender.stdin.write(packets.header())
    sender.stdin.flush()
    assert sender.wait() == 2
    assert "is no directory" in sender.said()


def test_a_savefile_needs_no_spool(tools: Tools, endpoint: str, tmp_path: Path) -> None:
    path = tmp_path / "few.pcap"
    packets.write(path, range(10))
    sender = tools.send(path, endpoint, "--spool", tmp_path / "spool")
    assert sender.wait() == 2
    assert "a savefile waits" in sender.said()


def test_only_the_owner_may_read_what_is_on_the_disk(feed: Feed) -> None:
    sender = feed.start()
    feed.give(sender)
    wait_until(lambda: feed.on_disk() > 0, PATIENCE_S, "the disk to be used")
    assert feed.spool.stat().st_mode & 0o777 == 0o700
    modes = {path.stat().st_mode & 0o777 for path in feed.spool.iterdir()}
    assert modes == {0o600}


def test_while_the_receiver_keeps_up_nothing_is_written_to_the_disk(
    tools: Tools, endpoint: str, feed: Feed, tmp_path: Path
) -> None:
    output = tmp_path / "out.pcap"
    tools.receive(endpoint, f"file:{output}")
    sender = feed.start()
    sender.wait_to_say("takes packets")
    for _ in range(5):
        feed.give(sender)
        wait_for(output, feed.next - 1)
    assert feed.on_disk() == 0
    sender.stop()
    # Nothing is left over, so the next run is a stream of its own.
    sender = feed.start()
    feed.give(sender, 10)
    wait_for(output, feed.next - 1)
    assert sender.stop()["logged"] == 10
