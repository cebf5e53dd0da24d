"""Files that are claimed, and what was said of them: allowed ones out.

What is played as one is asked for all together, and goes when all has been said.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pcap_zmq.agenda.port import Agenda, Claim, Ending, Outcome, Verdict
from pcap_zmq.packet import Instant

logger = logging.getLogger(__name__)

_UNLESS_ALLOWED = {Verdict.DENY: Ending.DENIED, Verdict.SKIP: Ending.SKIPPED}


@dataclass(slots=True)
class _Asked:
    claim: Claim
    verdict: Verdict | None = None


class Asking:
    """agenda: stays the caller's. may_join: whether one more may be played as one with
    so many, of which this is the first. refused: is told of each file that is not to be
    played, which the agenda knows then."""

    def __init__(
        self,
        agenda: Agenda,
        may_join: Callable[[Claim, int], bool],
        refused: Callable[[Claim], None],
    ) -> None:
        self._agenda = agenda
        self._may_join = may_join
        self._refused = refused
        self._asked: list[_Asked] = []

    @property
    def claims(self) -> list[Claim]:
        """In their order."""
        return [asked.claim for asked in self._asked]

    @property
    def waiting(self) -> list[Claim]:
        """Those of which nothing was said."""
        return [asked.claim for asked in self._asked if asked.verdict is None]

    def advance(self, now: Instant) -> bool:
        """Asks for more, or hears what was said; whether there was anything."""
        return self._claim(now) or self._hear(now)

    def take(self) -> list[Claim]:
        """All that may be played now, once nothing waits for a word; they are the
        caller's."""
        if self.waiting:
            return []
        claims = self.claims
        self._asked.clear()
        return claims

    def leave(self, now: Instant) -> None:
        """Gives back what was asked for."""
        for asked in self._asked:
            self._agenda.done(asked.claim, Outcome(Ending.REQUEUE), now)
        self._asked.clear()

    def _claim(self, now: Instant) -> bool:
        before = len(self._asked)
        # All at once: what is claimed is saved after each turn.
        while not self._asked or self._may_join(self._asked[0].claim, len(self._asked)):
            claim = self._agenda.claim(now)
            if claim is None:
                break
            logger.info("next is %s", claim.path)
            said = Verdict.ALLOW if claim.is_allowed else None
            self._asked.append(_Asked(claim, said))
        return len(self._asked) > before

    def _hear(self, now: Instant) -> bool:
        has_heard = False
        waiting = [asked for asked in self._asked if asked.verdict is None]
        for asked in waiting:
            asked.verdict = self._agenda.verdict(asked.claim, now)
            has_heard = has_heard or asked.verdict is not None
            if asked.verdict in _UNLESS_ALLOWED:
                ending = _UNLESS_ALLOWED[asked.verdict]
                logger.info("%s is %s", asked.claim.path, ending.value)
                self._agenda.done(asked.claim, Outcome(ending), now)
                self._refused(asked.claim)
        self._asked = [
            asked for asked in self._asked if asked.verdict not in _UNLESS_ALLOWED
        ]
        return has_heard
