"""The output takes no more for a while: a full disk, and an IDS that stands still."""

from pathlib import Path

import pytest

from testbed.numbered import Witness
from testbed.waiting import wait_until
from tests.faults.disk import SmallDisk
from tests.faults.ids import PATIENCE_S
from tests.faults.scene import GATEWAY, RATE, Scene
from tests.faults.world import World
from tests.pipes.tools import assert_receiver_conserves, assert_sender_conserves
from tests.support.ledger import line_of

pytestmark = pytest.mark.netns

MIB = 1 << 20


def test_a_full_disk_is_waited_for_and_costs_nothing(
    world: World, tmp_path: Path
) -> None:
    disk = SmallDisk(world, tmp_path / "disk", 16 * MIB)
    output = disk.path / "out.pcap"
    disk.run("fallocate", "-l", f"{16 * MIB - 256 * 1024}", f"{disk.path}/filling")
    receiver = world.receive(output=f"file:{output}", within=disk.entry)
    sender = world.send(GATEWAY)
    flow = world.flow(GATEWAY, RATE)
    receiver.wait_to_say("No space left on device")
    flow.wait_for(flow.sent + RATE)
    assert len(disk.read("out.pcap")) <= 256 * 1024
    world.ledger()
    disk.run("rm", f"{disk.path}/filling")
    count = flow.stop()

    def is_all_there() -> bool:
        size = int(disk.run("stat", "-c", "%s", str(output)))
        return size == 24 + count * (16 + 200)

    wait_until(is_all_there, PATIENCE_S, "the packets to be written")
    sent = sender.stop()
    line = line_of(world.ledger(), GATEWAY)
    assert line["logged"] == line["delivered"] == count
    received = receiver.stop()
    witness = Witness()
    witness.begin()
    witness.feed(disk.read("out.pcap"))
    seen = witness[flow.mark]
    assert (seen.missing, seen.repeated, seen.packets) == ([], [], count)
    assert witness.end() == 0
    assert_sender_conserves(sent)
    assert_receiver_conserves(received)
    assert sent["acknowledged"] == received["written"] == count
    assert (sent["dropped"], received["dropped"]) == (0, 0)


def test_an_ids_that_stands_still_for_ten_seconds_costs_nothing(
    world: World,
) -> None:
    octets, rate, seconds = 500, 10_000, 10
    with Scene(world, rate=rate, octets=octets) as scene:
        scene.ids.pause()
        stopped = scene.ids.witness[scene.flow.mark].packets
        scene.flow.wait_for(scene.flow.sent + seconds * rate)
        # More than a receiver may hold for one sender: the sender had to wait.
        assert seconds * rate * octets > 40 * MIB
        line = line_of(world.ledger(), GATEWAY)
        assert line["held_by_sender"] * octets > 8 * MIB
        assert line["held_by_receiver"] * octets > 16 * MIB
        came = scene.ids.witness[scene.flow.mark].packets - stopped
        assert came * octets < MIB
        scene.ids.resume()
        scene.wait_for_more()
        sender, _ = scene.assert_nothing_lost_or_repeated()
        assert sender["reconnects"] == 0


def test_an_ids_that_stands_still_for_longer_than_the_queues_last_is_counted(
    world: World,
) -> None:
    queues = {
        "send": ("--send-queue", "1MiB", "--batch-bytes", "64KiB"),
        "receive": ("--receive-queue", "1MiB"),
    }
    with Scene(world, rate=5 * RATE, octets=500, **queues) as scene:
        scene.ids.pause()
        # Both queues, and the two pipes behind them.
        scene.flow.wait_for(scene.flow.sent + 8 * MIB // 500)
        world.ledger()
        scene.ids.resume()
        scene.wait_for_more()
        count = scene.stop_flow()
        seen = scene.ids.witness[scene.flow.mark]
        sender, receiver = scene.end()
    assert seen.repeated == []
    assert seen.missing_count > 0
    assert sender.dropped == {"send_queue_full": seen.missing_count}
    assert sender["logged"] == count
    assert sender["acknowledged"] == receiver["written"] == seen.packets
