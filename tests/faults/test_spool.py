"""A gateway with a disk: the link goes, the sender is killed, no packet is lost."""

from pathlib import Path

import pytest

from testbed.waiting import wait_until
from tests.faults.ids import PATIENCE_S
from tests.faults.scene import RATE, Scene
from tests.faults.world import World

pytestmark = pytest.mark.netns

BUSY = 3 * RATE

RECORD_OCTETS = 16 + 200
"""Of a packet of the flow, at least, on the disk."""


def spooled(world: World) -> tuple[str, ...]:
    """Options of a sender whose memory lasts for a second or so."""
    return ("--spool", str(world.directory / "spool"), "--send-queue", "1MiB")


def on_disk(world: World) -> int:
    """Octets in segments."""
    return sum(
        path.stat().st_size for path in Path(world.directory, "spool").glob("*.segment")
    )


def test_a_receiver_that_is_away_for_long_and_a_sender_killed_meanwhile_cost_nothing(
    world: World,
) -> None:
    with Scene(world, rate=BUSY, send=spooled(world)) as scene:
        scene.receiver.stop()
        away = scene.flow.sent
        # Several times what memory holds.
        scene.flow.wait_for(away + 4 * (1 << 20) // RECORD_OCTETS)
        count = scene.flow.stop()
        world.settle(world.gateways[0])
        goal = (count - away) * RECORD_OCTETS
        wait_until(lambda: on_disk(world) >= goal, PATIENCE_S, "it to be on disk")
        for _ in range(2):
            scene.sender.kill()
            scene.restart_sender()
        scene.restart_receiver()
        scene.ids.wait_for(scene.flow.mark, count)
        seen = scene.ids.witness[scene.flow.mark]
        assert (seen.missing, seen.repeated, seen.packets) == ([], [], count)
        sender, _ = scene.end()
        # As if it had been one process all the time.
        assert (sender["logged"], sender["acknowledged"]) == (count, count)
        assert (sender["missed"], sender["dropped"], sender["held"]) == (0, 0, 0)
        assert on_disk(world) == 0


def test_a_sender_that_is_stopped_and_started_while_nobody_receives_costs_nothing(
    world: World,
) -> None:
    with Scene(world, rate=BUSY, send=spooled(world)) as scene:
        scene.receiver.stop()
        scene.flow.wait_for(scene.flow.sent + BUSY)
        count = scene.flow.stop()
        first = scene.sender.stop()
        assert first["logged"] == first["acknowledged"] + first["held"] == count
        assert first["held"] > 0
        scene.restart_sender()
        scene.restart_receiver()
        scene.ids.wait_for(scene.flow.mark, count)
        seen = scene.ids.witness[scene.flow.mark]
        assert (seen.missing, seen.repeated, seen.packets) == ([], [], count)
        sender, _ = scene.end()
        assert (sender["logged"], sender["acknowledged"]) == (count, count)


def test_a_sender_killed_at_load_goes_on_as_the_same_run_and_says_what_died(
    world: World,
) -> None:
    with Scene(world, rate=BUSY, send=spooled(world)) as scene:
        for _ in range(3):
            scene.sender.kill()
            scene.restart_sender()
            scene.wait_for_more()
        scene.stop_flow()
        seen = scene.ids.witness[scene.flow.mark]
        assert seen.repeated == []
        sender, receiver = scene.end()
        assert set(sender.dropped) <= {"sender_gone"}
        assert sender["logged"] == sender["acknowledged"] + sender["dropped"]
        assert receiver["written"] == seen.packets
        assert receiver["repeated"] == 0
        assert scene.line["delivered"] <= scene.line["logged"]
