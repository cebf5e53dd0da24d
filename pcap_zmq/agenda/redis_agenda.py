"""An agenda that Redis keeps, as pcapdj has it: files from its list, permissions from
its set, and what became of each file back into its lists.

Specification: docs/redis.md. What has to be done there is in `redis_errands.py`, what
is one step there in `redis_agenda.lua`, and who waits for it `redis_clerk.py`. Here are
the answers.
"""

import logging
import os
from collections import deque
from collections.abc import Iterable

from pcap_zmq.agenda.port import Claim, Ending, Outcome, Verdict
from pcap_zmq.agenda.redis_clerk import Clerk
from pcap_zmq.agenda.redis_errands import Habits
from pcap_zmq.agenda.redis_events import (
    Away,
    Back,
    Claimed,
    Complaint,
    Empty,
    Ended,
    Event,
    Heard,
    Said,
    Seen,
)
from pcap_zmq.agenda.redis_server import RedisServer
from pcap_zmq.clock import NS_PER_S
from pcap_zmq.errors import TransportError
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch

logger = logging.getLogger(__name__)

_WORDS = {"allow": Verdict.ALLOW, "deny": Verdict.DENY, "skip": Verdict.SKIP}

_LISTS = {
    Ending.PROCESSED: ("PROCESSED",),
    Ending.BROKEN: ("BROKEN",),
    Ending.DENIED: ("REFUSED",),
    Ending.SKIPPED: ("REFUSED",),
    Ending.REQUEUE: (),
}
"""Where a file goes, by how it ended; none: to the front of the queue."""


class RedisAgenda:
    """auth_timeout_ns: how long a file waits to be allowed; None: for ever. stays:
    an empty queue is no end. Raises TransportError where the server cannot be used now,
    ConfigError where its keys are something else; later a server that is away is
    waited for."""

    def __init__(
        self,
        server: RedisServer,
        habits: Habits,
        *,
        auth_timeout_ns: int | None = None,
        stays: bool = False,
    ) -> None:
        self._clerk = Clerk(server, habits)
        self._url = server.url
        self._auth_timeout_ns = auth_timeout_ns
        self._stays = stays
        self._ready: deque[Claim] = deque()
        self._paths: dict[str, str] = {}
        self._unheard: set[str] = set()
        self._verdicts: dict[str, Verdict] = {}
        self._deadlines: dict[str, int] = {}
        self._is_wanted = self._is_over = self._is_away = self._is_closed = False
        self._seen = Seen(0, is_suspended=False)
        self._given_back = 0

    def serve(self, now: Instant) -> None:
        """Takes what the clerk has heard. Raises TransportError where nobody asks the
        server any more."""
        for event in self._clerk.events():
            self._take(event, now)
        if self._is_away:
            # Nobody can have allowed anything.
            return
        for key in [key for key, at in self._deadlines.items() if at <= now.mono_ns]:
            del self._deadlines[key]
            self._verdicts[key] = Verdict.DENY
            self._clerk.refuse(key)
            logger.warning(
                "%s is refused: nobody has allowed it for %g s (--auth-timeout)",
                self._paths[key],
                (self._auth_timeout_ns or 0) / NS_PER_S,
            )

    def due(self) -> int | None:
        """When somebody has waited for too long."""
        return (
            min(self._deadlines.values(), default=None) if not self._is_away else None
        )

    def watch(self) -> Iterable[Watch]:
        """Readable when the clerk has heard something."""
        return self._clerk.watch()

    def claim(self, now: Instant) -> Claim | None:
        """The next one that the clerk has got; if there is none, he is sent for it."""
        if self._ready:
            return self._ready.popleft()
        if not self._is_wanted:
            self._is_wanted = True
            self._clerk.want()
        return None

    def verdict(self, claim: Claim, now: Instant) -> Verdict | None:
        """What was said. DENY: nobody said anything in time. SKIP, too: the server has
        given it to another, who will play it."""
        return self._verdicts.get(claim.key)

    def progress(self, claim: Claim, packets: int, now: Instant) -> None:
        """The server does not want to know."""

    def done(self, claim: Claim, outcome: Outcome, now: Instant) -> None:
        """Into the list of its ending. As with pcapdj, what is broken and was played up
        to there has been processed, too."""
        for known in (self._verdicts, self._deadlines, self._paths):
            known.pop(claim.key, None)
        self._unheard.add(claim.key)
        self._given_back += outcome.ending is Ending.REQUEUE
        lists = _LISTS[outcome.ending]
        if outcome.ending is Ending.BROKEN and outcome.packets:
            lists += _LISTS[Ending.PROCESSED]
        self._clerk.done(claim.key, lists)

    def has_heard(self, claim: Claim) -> bool:
        """It has answered."""
        return claim.key not in self._unheard

    def is_paused(self) -> bool:
        """PCAPDJ_SUSPEND names us."""
        return self._seen.is_suspended

    def is_drained(self) -> bool:
        """The queue is empty, as far as anybody can know."""
        return self._is_over and not self._stays and not self._ready

    def queued(self) -> int:
        """When the clerk looked last, and what we give back since."""
        return self._seen.queued + self._given_back + len(self._ready)

    def close(self) -> None:
        """What is still ours goes back to the queue."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._clerk.close():
            logger.warning(
                "Redis at %s could not be told how it ended: what it takes for ours "
                "will be in its queue again",
                self._url,
            )

    def _take(self, event: Event, now: Instant) -> None:
        match event:
            case Claimed():
                self._is_wanted = self._is_over = False
                claim = Claim(
                    event.key, os.fsdecode(event.path), is_allowed=event.is_allowed
                )
                self._ready.append(claim)
                self._paths[claim.key] = claim.path
                if event.is_allowed:
                    self._verdicts[claim.key] = Verdict.ALLOW
                else:
                    self._wait_for(claim.key, now)
            case Empty():
                self._is_over = event.is_over
            case Said():
                self._hear(event)
            case Heard():
                self._unheard.discard(event.key)
            case Seen():
                if event.is_suspended is not self._seen.is_suspended:
                    how = "stops" if event.is_suspended else "goes on"
                    logger.info("the stream %s: PCAPDJ_SUSPEND", how)
                self._seen, self._given_back = event, 0
            case Complaint():
                logger.warning(event.message, *event.values)
            case Away():
                self._is_away = True
                logger.warning("%s; tries go on, and the stream waits", event.why)
            case Back():
                self._is_away = False
                logger.info("Redis at %s answers again", self._url)
                for key in self._deadlines:
                    self._wait_for(key, now)
            case Ended():
                raise TransportError(f"nobody asks Redis at {self._url} any more")

    def _hear(self, said: Said) -> None:
        if said.key not in self._paths:
            # It is over with it.
            return
        self._deadlines.pop(said.key, None)
        if said.word != "lost":
            self._verdicts[said.key] = _WORDS[said.word]
            return
        self._verdicts[said.key] = Verdict.SKIP
        logger.warning(
            "%s is left to %s: we were away for longer than its lease, and there it "
            "is played from its beginning",
            self._paths[said.key],
            said.by,
        )

    def _wait_for(self, key: str, now: Instant) -> None:
        if self._auth_timeout_ns is not None:
            self._deadlines[key] = now.mono_ns + self._auth_timeout_ns
