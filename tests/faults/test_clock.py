"""Somebody sets the clock: packets' times follow it, and nothing else does."""

import re
import time
from pathlib import Path

import pytest

from tests.faults.clock import WallClock, library
from tests.faults.scene import GATEWAY, RATE, Scene
from tests.faults.world import World
from tests.netns.pipe import PORT
from tests.support.ledger import line_of

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(library() is None, reason="libfaketime is not installed"),
]

HOUR_S = 3_600
SLACK_S = 5
"""Between asking for the time here and there, on a machine that does much else."""

NS_PER_S = 1_000_000_000


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path / "clock")


@pytest.mark.parametrize("off_s", [-HOUR_S, HOUR_S])
def test_a_clock_that_steps_by_an_hour_moves_the_packets_times_and_nothing_else(
    world: World, clock: WallClock, off_s: int
) -> None:
    options = ("--report", "1s")
    began_s = time.time()
    with Scene(
        world,
        # Beyond a rate that the true one stays far below, packets would be dropped.
        send=(*options, "--high-watermark", "4MiB/s"),
        receive=options,
        within=clock.entry,
    ) as scene:
        scene.flow.wait_for(3 * RATE // 2)
        clock.set_off(off_s)
        stepped_s = time.time()
        scene.flow.wait_for(scene.flow.sent + 3 * RATE // 2)
        scene.wait_for_more()
        assert_ledger_is_sane(world)
        ended_s = time.time()
        sender, _ = scene.assert_nothing_lost_or_repeated()
        assert sender["reconnects"] == 0
        assert sender["stamped here"] == sender["logged"]
    seen = scene.ids.witness[scene.flow.mark]
    assert seen.backward == (off_s < 0)
    earliest_s, latest_s = seen.earliest_ns / NS_PER_S, seen.latest_ns / NS_PER_S
    if off_s < 0:
        assert abs(earliest_s - (stepped_s + off_s)) < SLACK_S
        assert began_s < latest_s < stepped_s + SLACK_S
    else:
        assert began_s < earliest_s < stepped_s
        assert abs(latest_s - (ended_s + off_s)) < SLACK_S
    for program in (scene.sender, scene.receiver):
        rates = re.findall(r" packets (?:logged|written) \((\d+)/s\)", program.said())
        assert len(rates) > 1
        assert all(int(rate) < 3 * RATE for rate in rates), rates


def assert_ledger_is_sane(world: World) -> None:
    """What is told of times and rates, for machines and for people."""
    line = line_of(world.ledger(), GATEWAY)
    assert line["is_here"]
    assert RATE / 3 < line["rate"] < 3 * RATE
    table = world.ids_host.run([*world.asking, f"tcp://127.0.0.1:{PORT}"], check=False)
    assert table.returncode == 0, table.stderr
    # One clock may be behind the other, by a little: its column has a unit.
    assert not re.search(r" -\d[\d.]*(?![\d.]|ms|s|min|h|d)", table.stdout)


def test_a_sender_that_starts_again_after_its_clock_was_set_back_is_a_later_run(
    world: World, clock: WallClock
) -> None:
    with Scene(world, within=clock.entry) as scene:
        first = scene.stop_flow()
        scene.sender.kill()
        clock.set_off(-HOUR_S)
        scene.restart_sender()
        scene.flow = world.flow(GATEWAY, RATE)
        scene.wait_for_more()
        second = scene.stop_flow()
        sender, receiver = scene.end()
        assert sender["logged"] == sender["acknowledged"] == second
        assert receiver["written"] == first + second
        assert scene.line["runs"] == 2
        assert scene.line["delivered"] == first + second
