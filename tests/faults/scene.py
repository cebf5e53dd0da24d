"""The pipe at work, for one fault: a flow on a gateway, all the way to an IDS."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from tests.faults.ids import Ids
from tests.faults.world import Program, World
from tests.pipes.tools import (
    Totals,
    assert_receiver_conserves,
    assert_sender_conserves,
)
from tests.support.ledger import line_of

GATEWAY = "gateway"

RATE = 2_000
"""Packets a second: some 400 kB, so that queues of 64 MiB last for minutes."""

FLOWING = 200
"""Packets that have come out before anything is done to the pipe."""


class Scene:
    """Entered, packets flow from the one gateway of a world to the IDS."""

    def __init__(
        self,
        world: World,
        *,
        rate: int = RATE,
        octets: int = 200,
        send: tuple[str, ...] = (),
        receive: tuple[str, ...] = (),
        within: Sequence[str] = (),
    ) -> None:
        """within: a command that becomes each of the two programs."""
        self.world = world
        self.line: dict[str, Any] = {}
        """The sender's line in the ledger after it has left."""
        self._receive = receive
        self._send = send
        self._within = within
        self._rate = rate
        self._octets = octets

    def __enter__(self) -> Self:
        world = self.world
        self.ids: Ids = world.read().__enter__()
        try:
            self.receiver = world.receive(*self._receive, within=self._within)
            self.sender = world.send(GATEWAY, *self._send, within=self._within)
            self.flow = world.flow(GATEWAY, self._rate, self._octets)
            self.ids.wait_for(self.flow.mark, FLOWING)
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
        if error is not None:
            for program in self.world.programs:
                error.add_note(f"{program.log.name}:\n{program.said()[-2_000:]}")

    def restart_receiver(self) -> Program:
        """A new one in place of one that has ended."""
        self.receiver = self.world.receive(*self._receive, within=self._within)
        return self.receiver

    def restart_sender(self) -> Program:
        """A new one in place of one that has ended."""
        self.sender = self.world.send(GATEWAY, *self._send, within=self._within)
        return self.sender

    def wait_for_more(self, count: int = FLOWING) -> None:
        """Until what is sent from now on comes out, some of it; meanwhile no packet is
        unaccounted for."""
        self.world.ledger()
        self.ids.wait_for(self.flow.mark, self.flow.sent + count)

    def stop_flow(self) -> int:
        """No more packets; waits until the last has come out. Returns how many were
        sent."""
        count = self.flow.stop()
        self.ids.wait_for(self.flow.mark, count)
        return count

    def end(self) -> tuple[Totals, Totals]:
        """Ends both programs in good order; their totals have to add up, and what the
        sender says last is in the ledger."""
        sender = self.sender.stop()
        assert_sender_conserves(sender)
        self.line = line_of(self.world.ledger(), GATEWAY)
        assert self.line["held_by_sender"] == self.line["held_by_receiver"] == 0
        receiver = self.receiver.stop()
        assert_receiver_conserves(receiver)
        return sender, receiver

    def assert_nothing_lost_or_repeated(self) -> tuple[Totals, Totals]:
        """To be asked last: every packet that was logged came out once, in order, and
        both programs, which were never restarted, say so."""
        count = self.stop_flow()
        seen = self.ids.witness[self.flow.mark]
        assert (seen.missing, seen.repeated) == ([], [])
        assert seen.packets == count
        sender, receiver = self.end()
        assert (sender["logged"], sender["acknowledged"]) == (count, count)
        assert (sender["missed"], sender["dropped"], sender["held"]) == (0, 0, 0)
        assert (receiver["written"], receiver["dropped"]) == (count, 0)
        assert (self.line["logged"], self.line["delivered"]) == (count, count)
        assert self.ids.last_torn() == 0
        return sender, receiver
