"""Programs are killed and started again, at load."""

import pytest

from tests.faults.scene import RATE, Scene
from tests.faults.world import World

pytestmark = pytest.mark.netns

BUSY = 3 * RATE
"""Packets a second at which a kill finds something under way."""


def test_a_receiver_killed_at_load_costs_repetitions_and_nothing_else(
    either_world: World,
) -> None:
    with Scene(either_world, rate=BUSY) as scene:
        for _ in range(2):
            # Half a second: an acknowledgement may wait for half as long.
            scene.wait_for_more(BUSY // 2)
            scene.receiver.kill()
            # What comes meanwhile is held.
            scene.flow.wait_for(scene.flow.sent + BUSY // 4)
            scene.restart_receiver()
            scene.wait_for_more()
        count = scene.stop_flow()
        seen = scene.ids.witness[scene.flow.mark]
        assert seen.missing == []
        assert len(seen.repeated) <= 2
        sender, receiver = scene.end()
        assert (sender["logged"], sender["acknowledged"]) == (count, count)
        assert (sender["missed"], sender["dropped"]) == (0, 0)
        assert receiver["received"] == receiver["written"] == scene.line["delivered"]
        # What the earlier receivers had acknowledged, this one cannot vouch for.
        assert scene.line["logged"] == count
        assert scene.line["elsewhere"] == count - scene.line["delivered"] > 0


def test_a_receiver_that_is_stopped_and_started_repeats_nothing(world: World) -> None:
    with Scene(world, rate=BUSY) as scene:
        for _ in range(2):
            scene.receiver.stop()
            scene.flow.wait_for(scene.flow.sent + BUSY // 4)
            scene.restart_receiver()
            scene.wait_for_more()
        count = scene.stop_flow()
        seen = scene.ids.witness[scene.flow.mark]
        assert (seen.missing, seen.repeated, seen.packets) == ([], [], count)
        sender, _ = scene.end()
        assert (sender["logged"], sender["acknowledged"]) == (count, count)


def test_a_sender_killed_when_all_is_delivered_loses_nothing(world: World) -> None:
    with Scene(world) as scene:
        first = scene.stop_flow()
        scene.sender.kill()
        scene.restart_sender()
        scene.flow = world.flow(world.gateways[0], RATE)
        scene.wait_for_more()
        second = scene.stop_flow()
        sender, receiver = scene.end()
        assert sender["logged"] == sender["acknowledged"] == second
        assert receiver["written"] == first + second
        for seen in scene.ids.witness.marks.values():
            assert (seen.missing, seen.repeated) == ([], [])


def test_a_sender_killed_at_load_loses_only_what_it_held(world: World) -> None:
    with Scene(world, rate=BUSY) as scene:
        came = scene.ids.witness[scene.flow.mark].highest + 1
        scene.sender.kill()
        scene.restart_sender()
        back = scene.flow.sent
        scene.wait_for_more()
        scene.stop_flow()
        seen = scene.ids.witness[scene.flow.mark]
        # One hole, made while there was no sender; whole on both sides of it.
        assert len(seen.missing) == 1
        assert came <= seen.missing[0].start < seen.missing[0].stop <= back
        assert seen.repeated == []
        sender, receiver = scene.end()
        assert sender["logged"] == sender["acknowledged"]
        assert receiver["written"] == seen.packets
        # What it had told of, and not handed over, is known to have died with it.
        assert scene.line["runs"] == 2
        assert set(scene.line["dropped"]) <= {"sender_gone"}
        assert scene.ids.last_torn() == 0


def test_a_sender_that_is_stopped_hands_over_all_that_was_logged(world: World) -> None:
    with Scene(world, rate=BUSY) as scene:
        totals = scene.sender.stop()
        assert totals["logged"] == totals["acknowledged"]
        scene.restart_sender()
        scene.wait_for_more()
        scene.stop_flow()
        seen = scene.ids.witness[scene.flow.mark]
        assert len(seen.missing) == 1
        assert seen.missing[0].start == totals["logged"]
        assert seen.repeated == []


def test_an_ids_killed_in_the_middle_of_records_costs_its_successor_nothing(
    world: World,
) -> None:
    with Scene(world, rate=BUSY) as scene:
        for _ in range(5):
            scene.ids.kill_in_a_record(scene.flow)
            scene.wait_for_more()
        _, receiver = scene.assert_nothing_lost_or_repeated()
        assert receiver["readers"] == 6
        assert any(scene.ids.torn)
