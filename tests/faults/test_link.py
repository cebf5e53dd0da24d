"""The link between the two hosts goes down, falls silent, or changes its address: what
the sender's queue holds is not lost, and nothing comes twice."""

import pytest

from testbed import faults
from testbed.namespaces import Namespace
from testbed.waiting import wait_until
from tests.faults.ids import PATIENCE_S
from tests.faults.scene import GATEWAY, RATE, Scene
from tests.faults.world import IDS_HOST, World

pytestmark = pytest.mark.netns

DOWN_S = 2
"""Longer than TCP needs to send again, shorter than heartbeats need to give up."""


def connections(host: Namespace) -> list[str]:
    """The TCP connections of a host that are established, one a line."""
    argv = ["ss", "--no-header", "--tcp", "--numeric", "state", "established"]
    return host.run(argv).stdout.splitlines()


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


def test_a_link_that_is_down_for_seconds_costs_nothing(scene: Scene) -> None:
    with scene:
        gateway = scene.world.network[GATEWAY]
        faults.pull_cable(gateway, IDS_HOST)
        pulled_at = scene.flow.sent
        scene.flow.wait_for(pulled_at + DOWN_S * RATE)
        # What was on its way when the cable was pulled, and nothing of the two seconds.
        assert not scene.ids.has(scene.flow.mark, pulled_at + RATE)
        faults.plug_cable(gateway, IDS_HOST)
        scene.wait_for_more()
        scene.assert_nothing_lost_or_repeated()


@pytest.mark.parametrize("deaf", [(IDS_HOST,), (GATEWAY,), (IDS_HOST, GATEWAY)])
def test_a_link_that_falls_silent_is_noticed_by_heartbeats_and_costs_nothing(
    scene: Scene, deaf: tuple[str, ...]
) -> None:
    """Packets vanish in a firewall, in one direction or in both: nobody says so."""
    with scene:
        network = scene.world.network
        other = {IDS_HOST: GATEWAY, GATEWAY: IDS_HOST}
        for name in deaf:
            faults.silence(network[name], other[name])
        scene.sender.wait_to_say("is down; packets are held")
        for name in deaf:
            faults.end_silence(network[name], other[name])
        scene.wait_for_more()
        totals, _ = scene.assert_nothing_lost_or_repeated()
        assert totals["reconnects"] == 1


def test_a_sender_whose_address_changes_goes_on_from_the_new_one(scene: Scene) -> None:
    with scene:
        gateway = scene.world.network[GATEWAY]
        faults.change_address(gateway, IDS_HOST, "10.0.0.1/24", "10.0.0.7/24")
        scene.sender.wait_to_say("takes packets", times=2)
        assert any("10.0.0.7" in line for line in connections(gateway))
        scene.wait_for_more()
        scene.assert_nothing_lost_or_repeated()


def test_a_link_that_goes_up_and_down_all_the_time_costs_nothing(scene: Scene) -> None:
    with scene:
        gateway = scene.world.network[GATEWAY]
        for _ in range(10):
            faults.pull_cable(gateway, IDS_HOST)
            scene.flow.wait_for(scene.flow.sent + RATE // 20)
            faults.plug_cable(gateway, IDS_HOST)
            scene.flow.wait_for(scene.flow.sent + RATE // 20)
        scene.wait_for_more()
        scene.assert_nothing_lost_or_repeated()


def test_connections_reset_again_and_again_cost_nothing(either_world: World) -> None:
    with Scene(either_world) as scene:
        gateway, ids_host = scene.world.network[GATEWAY], scene.world.ids_host
        for times in range(1, 6):
            faults.reset(ids_host, GATEWAY)
            faults.reset(gateway, IDS_HOST)
            wait_until(lambda: not connections(gateway), PATIENCE_S, "the resets")
            faults.end_reset(gateway, IDS_HOST)
            faults.end_reset(ids_host, GATEWAY)
            scene.sender.wait_to_say("takes packets", times=1 + times)
            scene.wait_for_more()
        totals, _ = scene.assert_nothing_lost_or_repeated()
        assert totals["reconnects"] == 5
