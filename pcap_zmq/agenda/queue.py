"""The queue of files within this process: whoever is asked allows what is in it.

Theory of operation, for each file:

    queued ── claim ──► claimed ── ALLOW ──► playing ── done ──► processed, broken
                           │                    └────── SKIP ──► skipped
                           └── DENY, SKIP ─────────────────────► denied, skipped

What is said of a file may be said before its turn has come. All of it is in the
checkpoint, so that the next run knows.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence

from pcap_zmq.agenda.port import Claim, Ending, Outcome, Verdict
from pcap_zmq.disk.checkpoint import Checkpoint
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.checkpoint import Item, Where
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch

logger = logging.getLogger(__name__)

_ENDED = {
    Ending.PROCESSED: Where.PROCESSED,
    Ending.BROKEN: Where.BROKEN,
    Ending.DENIED: Where.DENIED,
    Ending.SKIPPED: Where.SKIPPED,
    Ending.REQUEUE: Where.QUEUED,
}

QUEUE_MAX = 1_000_000
"""Files that wait at a time: a list that grows for ever is somebody's mistake."""


class QueueAgenda:
    """checkpoint: what is in it is the queue; stays the caller's. default: what holds
    where nothing is said; None: somebody has to say. stays: more may be queued at any
    time."""

    def __init__(
        self, checkpoint: Checkpoint, default: Verdict | None, *, stays: bool = False
    ) -> None:
        self.default = default
        self._checkpoint = checkpoint
        self._stays = stays
        self._items = checkpoint.memory.items
        self._next = max(self._items, default=0) + 1
        # What an earlier run was at comes first; it has the lowest numbers.
        waiting = (item for item in self._items.values() if not item.where.is_over)
        self._queued = deque(sorted(waiting, key=lambda item: item.number))
        self._claimed: dict[str, Item] = {}

    # For the dispatcher.

    def serve(self, now: Instant) -> None:
        """Nobody else has a part in it."""

    def due(self) -> int | None:
        """Never."""
        return None

    def watch(self) -> Iterable[Watch]:
        """Whoever changes it has a turn of the loop."""
        return ()

    def claim(self, now: Instant) -> Claim | None:
        """The first that waits."""
        if not self._queued:
            return None
        item = self._queued.popleft()
        was_playing = item.where is Where.PLAYING
        if not was_playing:
            self._set(item, Where.CLAIMED)
        claim = Claim(str(item.number), item.path, is_allowed=was_playing)
        self._claimed[claim.key] = item
        return claim

    def verdict(self, claim: Claim, now: Instant) -> Verdict | None:
        """What was said, or else the default."""
        item = self._claimed[claim.key]
        said = Verdict(item.verdict) if item.verdict else self.default
        if item.where is Where.CLAIMED and said is Verdict.ALLOW:
            item.verdict = said.value
            self._set(item, Where.PLAYING)
        return said

    def progress(self, claim: Claim, packets: int, now: Instant) -> None:
        """For `listed`."""
        self._claimed[claim.key].packets = packets

    def done(self, claim: Claim, outcome: Outcome, now: Instant) -> None:
        """It is not forgotten: `listed`."""
        item = self._claimed.pop(claim.key)
        item.packets, item.why = outcome.packets, outcome.why
        if outcome.ending is Ending.REQUEUE:
            self._queued.appendleft(item)
            if item.where is Where.PLAYING:
                # Nobody has to be asked again.
                return
        self._set(item, _ENDED[outcome.ending])

    def has_heard(self, claim: Claim) -> bool:
        """At once."""
        return True

    def is_paused(self) -> bool:
        """Never: that is told to the dispatcher."""
        return False

    def is_drained(self) -> bool:
        """Nothing waits, and nobody comes."""
        return not self._queued and not self._stays

    def queued(self) -> int:
        """Files that wait."""
        return len(self._queued)

    def close(self) -> None:
        """The checkpoint has it all."""

    # For whoever says what is to happen.

    def add(self, paths: Iterable[str]) -> list[Item]:
        """To the end of the queue. Raises ConfigError where it is full."""
        added = []
        for path in paths:
            if len(self._queued) >= QUEUE_MAX:
                raise ConfigError(f"more than {QUEUE_MAX} files in the queue")
            item = Item(self._next, path)
            self._next += 1
            self._queued.append(item)
            self._checkpoint.remember(item)
            added.append(item)
        return added

    def say(
        self, verdict: Verdict, names: Sequence[str]
    ) -> tuple[list[Item], list[str]]:
        """Of the files of these numbers (#3) or paths; without any, of the one that
        waits for it: those of which it was said, and the names that fit none. SKIP also
        leaves out the rest of what is being played."""
        open_items = [
            item
            for item in (*self._claimed.values(), *self._queued)
            if item.where is not Where.PLAYING or verdict is Verdict.SKIP
        ]
        if names:
            named = frozenset(names)
            chosen = [
                i for i in open_items if i.path in named or f"#{i.number}" in named
            ]
        else:
            chosen = [i for i in open_items if str(i.number) in self._claimed][:1]
        for item in chosen:
            item.verdict = verdict.value
            self._checkpoint.remember(item)
        said_of = {word for item in chosen for word in (item.path, f"#{item.number}")}
        unknown = [name for name in names if name not in said_of]
        for name in unknown:
            logger.warning(
                "somebody says %s of %r, which waits for nothing", verdict.value, name
            )
        return chosen, unknown

    def listed(self) -> list[Item]:
        """All that is known of, in the order of the queue."""
        return sorted(self._items.values(), key=lambda item: item.number)

    def _set(self, item: Item, where: Where) -> None:
        item.where = where
        self._checkpoint.remember(item)
