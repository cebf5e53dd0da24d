"""A dispatcher in the hands of a test: asks an agenda until there is an answer."""

from collections.abc import Callable
from typing import TypeVar

from pcap_zmq.agenda.port import Claim, Ending, Outcome, Verdict
from pcap_zmq.agenda.redis_agenda import RedisAgenda
from pcap_zmq.clock import SystemClock
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Poller
from testbed.waiting import wait_until
from tests.pipes.tools import PATIENCE_S
from tests.redis.controllers import Client

T = TypeVar("T")


class Desk:
    """agenda: the test's own."""

    def __init__(self, agenda: RedisAgenda) -> None:
        self.agenda = agenda
        self._clock = SystemClock()
        self._ahead_ns = 0

    @property
    def now(self) -> Instant:
        now = self._clock.now()
        return Instant(now.mono_ns + self._ahead_ns, now.wall_ns)

    def pass_time(self, ns: int) -> None:
        """For whoever is told the time."""
        self._ahead_ns += ns

    def claim(self) -> Claim:
        """The next file, when there is one."""
        return self.until(lambda: self.agenda.claim(self.now), "a file")

    def verdict(self, claim: Claim) -> Verdict:
        """What was said of it, when something was."""
        return self.until(lambda: self.agenda.verdict(claim, self.now), "a verdict")

    def is_drained(self) -> bool:
        """When a claim found nothing, and nothing can come."""

        def is_drained() -> bool:
            assert self.agenda.claim(self.now) is None
            return self.agenda.is_drained()

        return self.until(is_drained, "the end")

    def done(self, claim: Claim, ending: Ending, packets: int = 0) -> None:
        """It is over with it."""
        self.agenda.done(claim, Outcome(ending, packets), self.now)

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Turns until there is one."""

        def turn() -> T | None:
            self.agenda.serve(self.now)
            return condition()

        found = wait_until(turn, PATIENCE_S, what)
        assert found is not None
        return found

    def wait_for_a_look(self, client: Client) -> None:
        """Until it has looked at everything as it is now."""
        instances = client.hkeys("PCAPDJ_INSTANCES")
        client.set("PCAPDJ_SUSPEND", next(name for name in instances if b":" in name))
        self.until(self.agenda.is_paused, "a look")
        client.delete("PCAPDJ_SUSPEND")
        self.until(lambda: not self.agenda.is_paused(), "another")

    def is_ready(self) -> bool:
        """Whether what it watches would wake the loop now."""
        watches = list(self.agenda.watch())
        Poller().wait(watches, 0)
        return any(watch.is_ready for watch in watches)
