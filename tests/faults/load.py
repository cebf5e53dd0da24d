"""The pipe at load, for faults of any kind one after the other: two gateways whose flows
never stop, a receiver, an IDS, and the books on what happened to every packet."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.namespaces import Network
from testbed.numbered import Flow
from testbed.waiting import wait_until
from tests.faults.clock import WallClock, library
from tests.faults.ids import Ids
from tests.faults.world import Program, World
from tests.support.ledger import line_of

GATEWAYS = ("west", "east")

HEAL_S = 60.0
"""Against reconnects that were put off for 5 s, and a machine that does much else."""


@dataclass(slots=True)
class Allowance:
    """What the faults of a round may do to the packets of one gateway."""

    hole: range | None = None
    """Numbers that may be missing, in one piece: there was no sender to log them."""
    rewinds: int = 0
    """How often packets may come again."""


class Load:
    """Entered, everything runs. One round at a time: `begin_round`, faults, `heal`."""

    def __init__(self, network: Network, directory: Path, rate: int) -> None:
        self.world = World(network, directory, GATEWAYS)
        self.clock = WallClock(directory / "clock")
        self.flows: dict[str, Flow] = {}
        self.senders: dict[str, Program] = {}
        self.allowances: dict[str, Allowance] = {}
        self.bursts: list[Flow] = []
        self.has_new_receiver = False
        self._within: Sequence[str] = self.clock.entry if library() else ()
        self._books = {gateway: _Book() for gateway in GATEWAYS}
        self.ids: Ids = self.world.read()
        self.ids.__enter__()
        self.start_receiver()
        for gateway in GATEWAYS:
            self.start_sender(gateway)
            self.flows[gateway] = self.world.flow(gateway, rate)
        self.begin_round()
        self.heal()

    def start_receiver(self) -> None:
        """The first one, or one in place of one that has ended."""
        self.receiver = self.world.receive("--report", "0", within=self._within)
        self.has_new_receiver = True

    def start_sender(self, gateway: str) -> None:
        """The first one, or one in place of one that has ended."""
        options = ("--report", "0", "--low-watermark", "1MiB/s")
        self.senders[gateway] = self.world.send(
            gateway, *options, within=self._within
        )

    def open_hole(self, gateway: str) -> None:
        """Right before a sender ends: what it has not handed over may go with it."""
        came = self.ids.witness[self.flows[gateway].mark].highest + 1
        self.allowances[gateway].hole = range(came, came)

    def close_hole(self, gateway: str) -> None:
        """The next sender is there: from now on everything is logged again."""
        hole = self.allowances[gateway].hole
        assert hole is not None
        self.allowances[gateway].hole = range(hole.start, self.flows[gateway].sent)

    def allow_rewinds(self) -> None:
        """Right before a receiver crashes: senders send again what it had written and
        they had not found acknowledged."""
        for allowance in self.allowances.values():
            allowance.rewinds += 1

    def begin_round(self) -> None:
        """Nothing is allowed until a fault says so."""
        self.allowances = {gateway: Allowance() for gateway in GATEWAYS}
        self.bursts.clear()

    def heal(self) -> float:
        """Waits until all that was sent by now has come out or is known to be lost, and
        holds it against the books; how many seconds that took. Raises AssertionError
        where a packet's fate is unknown, or came out other than allowed."""
        began = time.monotonic()
        for gateway, flow in self.flows.items():
            for mark, sent in [(flow.mark, flow.sent)] + [
                (burst.mark, burst.sent)
                for burst in self.bursts
                if burst.host.name == gateway
            ]:
                self.ids.wait_for(mark, sent, HEAL_S) if burst_is_whole else None
        return time.monotonic() - began

    def state(self) -> dict[str, Any]:
        """The ledger, which has to balance."""
        return self.world.ledger()
