"""Faults in random order on the pipe at load, for as long as asked: after each, every
packet has to be accounted for. At the end the ledger is printed.

`make soak`, with SOAK_MINUTES, SOAK_SEED and SOAK_RATE in the environment.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import Random, SystemRandom

from testbed.namespaces import Network, why_unavailable
from testbed.waiting import wait_until
from tests.faults.load import GATEWAYS, Load
from tests.faults.table import Fault, table

MINUTES = 30.0
RATE = 5_000
"""Packets a second on each gateway."""

HOLD_S = (0.2, 8.0)
"""How long faults are there: heartbeats give up after five or six seconds."""

AT_ONCE = (1, 1, 2, 3)
"""How many faults are there together; as often as they stand here."""

LAST_PROGRAMS = 6
LAST_WORDS = 1_000
"""How many logs are shown of a soak that failed, and how much of each."""


def main() -> int:
    """The exit code: 0 where no packet was unaccounted for."""
    reason = why_unavailable()
    if reason is not None:
        print(f"soak: {reason}", file=sys.stderr)
        return 3
    minutes = float(os.environ.get("SOAK_MINUTES") or MINUTES)
    seed = int(os.environ.get("SOAK_SEED") or SystemRandom().randrange(1_000_000))
    rate = int(os.environ.get("SOAK_RATE") or RATE)
    print(f"soak: {minutes:g} minutes, SOAK_SEED={seed}, {len(GATEWAYS)} x {rate}/s")
    directory = Path(tempfile.mkdtemp(prefix="pcap-zmq-soak-"))
    with Network() as network, Load(network, directory, rate) as load:
        try:
            _run(load, Random(seed), minutes)  # noqa: S311 - to be repeated by its seed
        except (AssertionError, TimeoutError, ValueError) as error:
            print(f"\nsoak: failed with SOAK_SEED={seed}: {error}")
            for program in load.world.programs[-LAST_PROGRAMS:]:
                print(f"{program.log}:\n{program.said()[-LAST_WORDS:]}")
            return 1
    shutil.rmtree(directory)
    return 0


def _run(load: Load, random: Random, minutes: float) -> None:
    faults = table(load, random)
    end = time.monotonic() + 60 * minutes
    rounds = 0
    # Every fault once before any comes again: a short soak has seen most of them.
    queue: list[Fault] = []
    while time.monotonic() < end:
        if len(queue) < max(AT_ONCE):
            queue += random.sample(faults, len(faults))
        _round(load, _pick(queue, random.choice(AT_ONCE)), random.uniform(*HOLD_S))
        rounds += 1
    ledger = load.end()
    print(f"soak: {rounds} rounds, and every packet is accounted for:")
    for line in ledger.splitlines():
        if not line.startswith("swarm-"):
            print(line)
    for gateway, lane in load.lanes.items():
        seen = load.ids.witness[lane.flow.mark]
        print(
            f"{gateway}: {lane.flow.sent} sent, {seen.packets} came out, "
            f"{seen.missing_count - lane.in_holes} missed, {lane.in_holes} while there "
            f"was no sender, {seen.repeated_count} repeated after crashes, "
            f"slowest {seen.slowest_ns / 1e9:.1f} s"
        )


def _pick(queue: list[Fault], count: int) -> list[Fault]:
    """The next ones that get on with each other; they leave the queue."""
    picked: list[Fault] = []
    touched: set[str] = set()
    for fault in list(queue):
        if len(picked) < count and not fault.touches & touched:
            picked.append(fault)
            touched |= fault.touches
            queue.remove(fault)
    return picked


def _round(load: Load, picked: list[Fault], hold_s: float) -> None:
    names = ", ".join(fault.name for fault in picked)
    print(f"{time.strftime('%T')} {hold_s:4.1f} s of {names}", end="", flush=True)
    load.begin()
    undos = [(fault, fault.begin()) for fault in picked]
    until = time.monotonic() + hold_s
    wait_until(
        lambda: time.monotonic() >= until, hold_s + 1, "the fault to have passed"
    )
    for _, undo in sorted(undos, key=lambda pair: pair[0].waits):
        undo()
    seconds = load.heal()
    print(f": healed in {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
