"""Thousands of connections that come and go: nothing is lost by it, nothing grows."""

import sys

import pytest

from testbed.waiting import wait_until
from tests.faults.ids import PATIENCE_S
from tests.faults.scene import GATEWAY
from tests.faults.swarm import FIRST_MARK, ROOT, Swarm
from tests.faults.world import IDS_HOST, Program, World
from tests.netns.pipe import PORT
from tests.pipes.tools import assert_receiver_conserves, assert_sender_conserves

pytestmark = pytest.mark.netns

MIB = 1 << 20

GROWTH_BYTES = 12 << 20
"""About a kilobyte for each connection: what allocators and busy queues do anyway."""


class Size:
    """How large a program was at some time."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._descriptors = program.descriptors()
        self._bytes = program.resident_bytes()

    def assert_kept(self) -> None:
        """It has no more descriptors, and hardly more memory."""
        program = self._program
        # Connections that have just ended take a moment to be closed.
        wait_until(
            lambda: program.descriptors() <= self._descriptors,
            PATIENCE_S,
            f"{program.descriptors()} descriptors to be {self._descriptors} again",
        )
        assert program.resident_bytes() - self._bytes < GROWTH_BYTES


def test_a_receiver_does_not_grow_over_ten_thousand_reconnects(world: World) -> None:
    senders, batches = 50, 200
    with world.read() as ids:
        receiver = world.receive()
        load = {"senders": senders, "octets": 1_000, "restless": True}
        # Fills what is remembered of a reader's pipe, and whatever is kept to be used
        # again.
        Swarm(world, GATEWAY, first_mark=1, batches=40, **load).outcome()
        size = Size(receiver)
        outcome = Swarm(world, GATEWAY, batches=batches, **load).outcome()
        assert outcome["hellos"] >= senders * batches == 10_000
        size.assert_kept()
        world.ledger()
        totals = receiver.stop()
        ids.check()
    for mark in range(FIRST_MARK, FIRST_MARK + senders):
        seen = ids.witness[mark]
        assert (seen.packets, seen.missing, seen.repeated) == (batches, [], [])
    assert_receiver_conserves(totals)


def test_a_sender_does_not_grow_over_hundreds_of_receivers_that_come_and_go(
    world: World,
) -> None:
    small = ("--batch-bytes", "64KiB", "--batch-age", "10ms")
    listening = f"tcp://0.0.0.0:{PORT}"
    sender = world.send(GATEWAY, "--bind", *small, endpoint=listening)
    flow = world.flow(GATEWAY, 2_000)
    # Held from the beginning, so that every visitor finds a batch.
    flow.wait_for(2_000)
    taken = visit(world, 50)
    size = Size(sender)
    taken += visit(world, 250)
    size.assert_kept()
    count = flow.stop()
    totals = sender.stop()
    assert_sender_conserves(totals)
    assert totals["logged"] == count
    # What the first fifty took last the others took again.
    assert totals["acknowledged"] <= taken
    assert totals["reconnects"] >= 299


def visit(world: World, times: int) -> int:
    """So many visits of a receiver that comes and goes; how many packets it took."""
    address = f"tcp://10.0.{world.gateways.index(GATEWAY)}.1:{PORT}"
    argv = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "testbed.fickle"]
    done = world.network[IDS_HOST].run([*argv, address, str(times)])
    return int(done.stdout)
