"""A thousand senders at once, and one that floods beside fifty that trickle."""

import pytest

from testbed.waiting import wait_until
from tests.faults.ids import PATIENCE_S
from tests.faults.scene import GATEWAY
from tests.faults.swarm import FIRST_MARK, Swarm
from tests.faults.world import World
from tests.pipes.tools import assert_receiver_conserves

pytestmark = pytest.mark.netns

LATE_S = 2.0
"""Against a machine that does much else; a flood that gets in the way takes longer."""


def test_a_thousand_senders_that_connect_at_once_all_deliver(world: World) -> None:
    senders, batches = 1_000, 3
    with world.read() as ids:
        receiver = world.receive()
        outcome = Swarm(world, GATEWAY, senders=senders, batches=batches).outcome()
        assert outcome["acknowledged"] == senders * batches
        wait_until(lambda: len(ids.witness.marks) == senders, PATIENCE_S, "all of them")
        state = world.ledger()
        assert len(state["senders"]) == senders
        assert state["total"]["delivered"] == senders * batches
        totals = receiver.stop()
        ids.check()
    assert_receiver_conserves(totals)
    assert totals["written"] == senders * batches
    assert totals["malformed messages"] == 0
    for seen in ids.witness.marks.values():
        assert (seen.packets, seen.missing, seen.repeated) == (batches, [], [])


@pytest.mark.parametrize("is_polite", [True, False], ids=["polite", "impolite"])
def test_fifty_senders_that_trickle_beside_one_that_floods_lose_nothing_and_are_prompt(
    world: World, is_polite: bool
) -> None:
    """The impolite one goes by no window: it sends what the connection takes."""
    senders, batches = 50, 30
    with world.read() as ids:
        receiver = world.receive()
        flood = Swarm(
            world,
            GATEWAY,
            senders=1,
            first_mark=1,
            batches=100_000,
            packets=100,
            octets=1_000,
            timeout=2 * PATIENCE_S,
            ignore_window=not is_polite,
        )
        ids.wait_for(1, 5_000)
        trickle = Swarm(world, GATEWAY, senders=senders, batches=batches, interval=0.1)
        outcome = trickle.outcome()
        assert not flood.is_over()
        flooded = ids.witness[1].packets
        world.ledger()
        totals = receiver.stop()
        ids.check()
    assert outcome["acknowledged"] == senders * batches
    assert outcome["hellos"] == senders
    assert outcome["slowest_s"] < LATE_S
    for mark in range(FIRST_MARK, FIRST_MARK + senders):
        seen = ids.witness[mark]
        assert (seen.packets, seen.missing, seen.repeated) == (batches, [], [])
        assert seen.slowest_ns < LATE_S * 1e9
    assert flooded > 20_000
    assert (ids.witness[1].missing, ids.witness[1].repeated) == ([], [])
    assert_receiver_conserves(totals)
