"""The pipe at load, for one fault after the other: two gateways whose flows never stop,
a receiver, an IDS, and the books on what has become of every packet."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed.namespaces import Network
from testbed.numbered import Flow
from testbed.waiting import wait_until
from tests.faults.clock import WallClock, library
from tests.faults.world import Program, World
from tests.netns.pipe import PORT
from tests.pipes.tools import assert_receiver_conserves, assert_sender_conserves
from tests.support.ledger import line_of

GATEWAYS = ("west", "east")

SPOOLING = "east"
"""The gateway whose sender has a spool; the other one holds packets in memory only."""

HEAL_S = 60.0
"""Against reconnects that were put off for 5 s, and a machine that does much else."""

RESIDENT_MAX = 512 << 20
"""For either program: its queue of 64 MiB, and what comes with it."""

SENDER_GONE = "sender_gone"

FIRST_MARK = 100_000
"""Beyond what flows get."""


@dataclass(slots=True)
class Lane:
    """One gateway: its programs, and what the books say of it."""

    name: str
    flow: Flow
    sender: Program
    bursts: list[Flow]
    """Flows of this round only, that may be cut short by an overrun."""
    hole: range | None = None
    """Numbers that may be missing, in one piece: there was no sender to log them."""
    in_holes: int = 0
    """Packets that were in one, altogether."""
    rewinds: int = 0
    """How often packets may come again in this round."""
    missing: int = 0
    repeated: int = 0
    """How many ranges of the witness's have been judged."""
    started_ns: int = 0
    """When this run of the sender began: with a spool, it goes on in the next one."""
    lost_by_run: int = 0
    """What this run of the sender has missed or dropped."""
    lost_by_line: int = 0
    """What the ledger's line says of all the runs that it knows of."""


class Load:
    """Entered, packets flow. Rounds: `begin`, then faults, then `heal`."""

    def __init__(self, network: Network, directory: Path, rate: int) -> None:
        self.world = World(network, directory, GATEWAYS)
        self.clock = WallClock(directory / "clock")
        self.ids = self.world.read()
        self.lanes: dict[str, Lane] = {}
        self._within: Sequence[str] = self.clock.entry if library() else ()
        self._rate = rate
        self._has_new_receiver = False
        self._next_mark = FIRST_MARK

    def __enter__(self) -> Self:
        self.ids.__enter__()
        try:
            self.start_receiver()
            for name in GATEWAYS:
                sender = self._send(name)
                flow = self.world.flow(name, self._rate)
                self.lanes[name] = Lane(name, flow, sender, [])
            self.begin()
            self.heal()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ids.__exit__(kind, error, traceback)
        for program in self.world.programs:
            program.kill()

    def start_receiver(self) -> None:
        """The first one, or one in place of one that has ended."""
        self.receiver = self.world.receive("--report", "0", within=self._within)
        self._has_new_receiver = True

    def end_sender(self, name: str, *, by_force: bool) -> None:
        """What it has not handed over may be lost; and nothing is logged until
        `start_sender`."""
        lane = self.lanes[name]
        came = self.ids.witness[lane.flow.mark].highest + 1
        if by_force:
            lane.sender.kill()
        else:
            assert_sender_conserves(lane.sender.stop())
        lane.hole = range(came, came)

    def start_sender(self, name: str) -> None:
        """One in place of one that has ended."""
        lane = self.lanes[name]
        assert lane.hole is not None
        lane.sender = self._send(name)
        lane.hole = range(lane.hole.start, lane.flow.sent)

    def _send(self, name: str) -> Program:
        options = ["--report", "0", "--low-watermark", "1MiB/s"]
        if name == SPOOLING:
            options += ["--spool", str(self.world.directory / "spool")]
        return self.world.send(name, *options, within=self._within)

    def burst(self, name: str) -> Flow:
        """As many packets as go, beside the flow, until `stop` of it."""
        burst = self.world.flow(name, 0)
        self.lanes[name].bursts.append(burst)
        return burst

    def new_marks(self, count: int) -> range:
        """Marks that nobody else has, for senders beside ours."""
        marks = range(self._next_mark, self._next_mark + count)
        self._next_mark = marks.stop
        return marks

    def allow_rewinds(self) -> None:
        """A receiver crashes: senders send again what it has written and they have not
        found acknowledged."""
        for lane in self.lanes.values():
            lane.rewinds += 1

    def begin(self) -> None:
        """A round in which nothing is allowed yet."""
        for lane in self.lanes.values():
            lane.hole, lane.rewinds = None, 0
            lane.bursts.clear()

    def heal(self) -> float:
        """Waits until all that was sent before has come out or is known to be lost, and
        holds it against the books; returns how many seconds that took. Raises
        AssertionError where a packet's fate is unknown, or other than allowed."""
        began = time.monotonic()
        for program in (self.receiver, *(lane.sender for lane in self.lanes.values())):
            assert program.resident_bytes() < RESIDENT_MAX, program.log
        for lane in self.lanes.values():
            self.ids.wait_for(lane.flow.mark, lane.flow.sent, HEAL_S)
        for lane in self.lanes.values():
            self._judge(lane)
        self._has_new_receiver = False
        return time.monotonic() - began

    def end(self) -> str:
        """Ends everything in good order; returns the last ledger, for people."""
        for lane in self.lanes.values():
            count = lane.flow.stop()
            self.ids.wait_for(lane.flow.mark, count, HEAL_S)
        self.begin()
        self.heal()
        for lane in self.lanes.values():
            assert_sender_conserves(lane.sender.stop())
        self.world.ledger()
        address = f"tcp://127.0.0.1:{PORT}"
        table = self.world.ids_host.run([*self.world.asking, address]).stdout
        assert_receiver_conserves(self.receiver.stop())
        return table

    def _judge(self, lane: Lane) -> None:
        seen = self.ids.witness[lane.flow.mark]
        rewinds = seen.repeated[lane.repeated :]
        lane.repeated = len(seen.repeated)
        assert len(rewinds) <= lane.rewinds, (lane.name, rewinds)
        missing = seen.missing[lane.missing :]
        lane.missing = len(seen.missing)
        if lane.hole is not None:
            # What is lost from the end of one sender to the next is in one piece.
            holes = [gap for gap in missing if gap.stop > lane.hole.start]
            assert len(holes) <= 1, (lane.name, holes)
            for hole in holes:
                assert lane.hole.start <= hole.start < hole.stop <= lane.hole.stop
                missing.remove(hole)
                lane.in_holes += len(hole)
        self._balance(lane, sum(map(len, missing)))

    def _balance(self, lane: Lane, missing: int) -> None:
        """What has not come out is what the ledger calls missed or dropped."""
        bursts = lane.bursts

        def lost() -> int:
            came = sum(self.ids.witness[burst.mark].packets for burst in bursts)
            return missing + sum(burst.sent for burst in bursts) - came

        known = 0

        def is_balanced() -> bool:
            nonlocal known
            line = line_of(self.world.ledger(), lane.name)
            known = self._newly_lost(lane, line)
            is_exact = not line["missed_tail"]
            # What a sender that has ended did not tell of, nobody knows.
            return is_exact and (lane.hole is not None or known == lost())

        try:
            wait_until(is_balanced, HEAL_S, "the books to balance")
        except TimeoutError:
            raise AssertionError(
                f"{lane.name}: {lost()} packets did not come out, and the ledger "
                f"knows of {known}"
            ) from None
        self._book(lane, line_of(self.world.ledger(), lane.name))

    def _newly_lost(self, lane: Lane, line: dict[str, Any]) -> int:
        """What the ledger says that was missed or dropped in this round."""
        if not self._has_new_receiver:
            return _lost(line) - lane.lost_by_line
        # A new receiver knows only of the present run, but of all of that.
        is_same_run = line["started_ns"] == lane.started_ns
        return _lost(line) - (lane.lost_by_run if is_same_run else 0)

    def _book(self, lane: Lane, line: dict[str, Any]) -> None:
        newly = self._newly_lost(lane, line)
        is_same_run = line["started_ns"] == lane.started_ns
        lane.lost_by_run = newly + (lane.lost_by_run if is_same_run else 0)
        lane.lost_by_line = _lost(line)
        lane.started_ns = line["started_ns"]


def _lost(line: dict[str, Any]) -> int:
    """Missed or dropped while there was a sender."""
    dropped: dict[str, int] = {**line["dropped"], SENDER_GONE: 0}
    return int(line["missed"]) + sum(dropped.values())
