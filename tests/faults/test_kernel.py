"""The kernel has no room for what it logs: every packet that it loses is counted."""

import pytest

from tests.faults.scene import FLOWING, Scene
from tests.faults.world import World

pytestmark = pytest.mark.netns

FLAT_OUT = 0


def test_what_overruns_while_the_sender_stands_still_is_counted_to_the_packet(
    world: World,
) -> None:
    with Scene(world, rate=FLAT_OUT, send=("--rcvbuf", "128KiB")) as scene:
        for _ in range(3):
            scene.sender.pause()
            # The kernel has room for far fewer.
            scene.flow.wait_for(scene.flow.sent + 20_000)
            scene.sender.resume()
            scene.wait_for_more()
        assert_losses_are_known(scene)


def test_what_overruns_at_full_load_is_counted_to_the_packet(world: World) -> None:
    """The smallest buffer there is, and a sender with far too much to do."""
    slow = ("--codec", "zstd", "--level", "19", "--low-watermark", "1KiB/s")
    small = ("--rcvbuf", "128KiB")
    with Scene(world, rate=FLAT_OUT, octets=1400, send=(*small, *slow)) as scene:
        scene.flow.wait_for(scene.flow.sent + 50_000)
        assert_losses_are_known(scene)


def assert_losses_are_known(scene: Scene) -> None:
    """Each packet that was sent came out or was missed, and the sender knows which."""
    flat_out = scene.flow
    count = flat_out.stop()
    # What is lost last shows only when another packet comes.
    scene.flow = scene.world.flow(scene.world.gateways[0], 1_000)
    scene.ids.wait_for(scene.flow.mark, FLOWING)
    more = scene.stop_flow()
    sender, receiver = scene.end()
    seen = scene.ids.witness[flat_out.mark]
    assert seen.repeated == []
    assert sender["logged"] == count + more
    assert sender["missed"] == count - seen.packets > 0
    assert sender.tail == 0
    assert sender["overruns"] > 0
    assert sender["acknowledged"] == receiver["written"] == seen.packets + more
