"""Which file comes next, and whether it may: what a dispatcher asks, whoever answers.

Theory of operation. Somebody queues files, somebody (else) says of each whether it may
go, and the dispatcher plays them in order. An agenda is where they meet: the queue of
this process (`queue.py`), or a server's. Of a file it says

    claim    the next one is this dispatcher's, and announced; nobody else gets it
    verdict  ALLOW, DENY, SKIP, or nobody has said yet
    done     what has become of it

and nothing of it ever waits: whoever has to talk to a server does so elsewhere, and
here are the answers that have come. What cannot go on for good (a password that is
wrong) raises EdgeError out of `serve`; what may still go on (a server that is away) is
logged, and looks like a claim or a verdict that has not come yet.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch


class Verdict(enum.Enum):
    """What was said of a file."""

    ALLOW = "allow"
    DENY = "deny"
    """It is not played."""
    SKIP = "skip"
    """The same; of one that is being played, the rest is left out."""


class Ending(enum.Enum):
    """What has become of a file that was claimed."""

    PROCESSED = "processed"
    """All its packets are in the output; its reader need not have read them."""
    BROKEN = "broken"
    """It could not be opened, or not be read to its end; what came before that is in
    the output."""
    DENIED = "denied"
    SKIPPED = "skipped"
    REQUEUE = "requeue"
    """Not dealt with: the dispatcher leaves, and it is to be the first of the queue
    again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended, with how many packets in the output, and for people why."""

    ending: Ending
    packets: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One file that is this dispatcher's until it is `done`."""

    key: str
    """No two claims of a run share it, however often a file is queued; it is the same
    in the next run where the file was not done (`--resume`)."""
    path: str
    """As it was queued."""
    arrived: int = 0
    """Packets of it that are in the output already, of an earlier run; the agenda
    knows, or it is 0."""
    is_allowed: bool = False
    """It was, in an earlier run: nobody is asked again."""


class Agenda(Protocol):
    """An attendant of the loop that also answers. Raises EdgeError from `serve`."""

    def serve(self, now: Instant) -> None:
        """Does what has become possible or due."""

    def due(self) -> int | None:
        """When (mono_ns) it wants a turn at the latest; None: only when woken."""

    def watch(self) -> Iterable[Watch]:
        """What would make another turn worthwhile before that."""

    def claim(self, now: Instant) -> Claim | None:
        """The next file, which is nobody else's from here on, and announced; None:
        nothing now. May be asked again before the one before is done."""

    def verdict(self, claim: Claim, now: Instant) -> Verdict | None:
        """What was said of it; None: nothing yet. Asked in every turn, also while the
        file is being played: then only SKIP changes anything. Of several that are
        played as one, only once the dispatcher was woken. Who has waited too long
        for an answer gets DENY from here, with a warning in the log."""

    def progress(self, claim: Claim, packets: int, now: Instant) -> None:
        """So many packets of it have arrived in the output; told when that changes, at
        most once a turn. May be fewer than before: a reader of a FIFO died."""

    def done(self, claim: Claim, outcome: Outcome, now: Instant) -> None:
        """It is over with this claim."""

    def has_heard(self, claim: Claim) -> bool:
        """Whether what was said last by `done` is known to whoever keeps the queue:
        what is not is to be remembered, since the file may be claimed once more."""

    def is_paused(self) -> bool:
        """Whether nothing shall be read for now, in the middle of a file either."""

    def is_drained(self) -> bool:
        """Nothing is queued, and nothing will ever be: the stream may end once what is
        claimed is done."""

    def queued(self) -> int | None:
        """Files that wait to be claimed; None: nobody knows."""

    def close(self) -> None:
        """Releases everything; twice is harmless. What was claimed and is not done is
        as after a crash."""
