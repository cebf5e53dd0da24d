"""What the checkpoint says of what is played: from where it begins, and for how long it
is to be remembered.

Theory of operation. A record of it is there before its first packet, says at every
moment how far it has come, and is forgotten when all of it has arrived and the agenda
knows. Where the reader of a FIFO dies then, with its end unread, it is there again,
told already. What an earlier run has not brought to its end is where the next begins.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from pcap_zmq.agenda.port import Agenda, Claim
from pcap_zmq.disk.checkpoint import Checkpoint
from pcap_zmq.formats.checkpoint import Play
from pcap_zmq.sources.playing import Playing

logger = logging.getLogger(__name__)


class Plays:
    """agenda, checkpoint: stay the caller's. together: all that is queued at a time is
    played as one."""

    def __init__(
        self, agenda: Agenda, checkpoint: Checkpoint, *, together: bool
    ) -> None:
        self._agenda = agenda
        self._checkpoint = checkpoint
        self._together = together
        plays = checkpoint.memory.plays
        self._next_serial = max(plays, default=0) + 1
        # What an earlier run did not bring to its end.
        self._left = {play.key: play for play in plays.values() if not play.is_told}
        self.untold = [play for play in plays.values() if play.is_told]
        """Of an earlier run: the agenda need not be asked, and what a reader left
        unread comes before all else."""
        self.goes_on = False
        """What comes first is the very file that an earlier run was at."""
        # The agenda was told, and may not have heard.
        self._ended: list[tuple[list[Claim], Playing]] = []

    def may_join(self, first: Claim, count: int) -> bool:
        """Whether another file is to be played as one with so many; of what an earlier
        run played as one, exactly those."""
        left = self._left.get(first.key)
        is_there = left is not None and count >= len(left.paths)
        return self._together and not is_there

    def record_of(self, claims: Sequence[Claim]) -> Play:
        """Where an earlier run left it, or its beginning."""
        first = claims[0]
        paths = [claim.path for claim in claims]
        left = self._left.pop(first.key, None)
        mark = "" if self._together else mark_of(paths[0])
        if left is not None and left.paths == paths:
            self.goes_on = bool(mark) and left.mark == mark
            return left
        if left is not None:
            logger.warning("%s is not what was played before: from the start", paths)
            self._forget(left)
        record = Play(self._next_serial, first.key, paths, first.arrived, mark=mark)
        self._next_serial += 1
        self._checkpoint.remember(record)
        return record

    def moved(self, playing: Playing) -> None:
        """Notes how far it is: at once, since a kill may come next."""
        record, arrived = playing.record, playing.arrived
        if record.is_over and arrived < playing.read:
            # Its reader died with the end of it unread.
            record.is_over = False
            record.arrived, record.octets = arrived, 0
            self._checkpoint.remember(record)
        if not record.is_over:
            self._checkpoint.note(record, arrived)
            if record.is_told and arrived == playing.read:
                self._forget(record)

    def end(self, claims: list[Claim], playing: Playing) -> None:
        """All of it has arrived, and the agenda was told."""
        self._ended.append((claims, playing))
        self.let_go()

    def let_go(self) -> None:
        """Of what the agenda knows to be over. Only then: in between it would be played
        again from its beginning."""
        while self._ended and all(map(self._agenda.has_heard, self._ended[0][0])):
            _, playing = self._ended.pop(0)
            playing.record.is_told = True
            if playing.is_over:
                self._forget(playing.record)
            else:
                # Its reader has died meanwhile, with the end of it unread.
                self._checkpoint.remember(playing.record)

    def refuse(self, claim: Claim) -> None:
        """It is not to be played, wherever an earlier run left it."""
        left = self._left.pop(claim.key, None)
        if left is not None:
            self._forget(left)

    def forget_left(self) -> None:
        """Nothing is queued any more: another has played what an earlier run left."""
        for left in self._left.values():
            self._forget(left)
        self._left.clear()

    def _forget(self, record: Play) -> None:
        record.is_over = True
        self._checkpoint.remember(record)


def mark_of(path: str) -> str:
    """What a file is known by; "": it cannot be looked at."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
