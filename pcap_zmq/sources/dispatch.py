"""Files that an agenda allows in, one after the other; batches of one stream out.

Theory of operation, a turn at a time:

    idle      the agenda has a next file      asked   it is announced
    asked     ALLOW                           playing its packets flow
              DENY, SKIP                      idle
    playing   all of it has been read, and    idle    the agenda is told, and then the
              has arrived in the output               checkpoint

Nothing new begins before what came before it is on the disk. What is played as one
(`--merge`) is asked for all together, and goes through the same states.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pcap_zmq.counters import FilesCounters, Skipped
from pcap_zmq.disk.checkpoint import Checkpoint
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.formats.checkpoint import Play
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Watch
from pcap_zmq.sources.agenda import Agenda, Claim, Ending, Outcome, Verdict
from pcap_zmq.sources.asking import Asking
from pcap_zmq.sources.playing import Part, Playing
from pcap_zmq.sources.read_ahead import ReadAhead

logger = logging.getLogger(__name__)

READ_AHEAD = 2


class Opened(Protocol):
    """The packets of what is played as one."""

    batches: Generator[Batch, None, None]
    """Run in a thread."""
    left_out: int
    """Packets at the beginning, once the first batch is there, or the end."""

    def why_broken(self, path: str) -> str:
        """Once all are read, of one of the paths; "": it is not."""

    def packets_of(self, path: str) -> int | None:
        """Of one of several; None: there is one, or nobody knows."""


@dataclass(slots=True)
class _Show:
    """What is being played: nothing, or some files of which one may be over. claims:
    none where an earlier run had told the agenda already."""

    claims: list[Claim]
    playing: Playing
    opened: Opened
    ahead: ReadAhead[Batch]
    has_begun: bool = False
    ending: Ending = Ending.PROCESSED


class DispatchSource:
    """agenda, checkpoint: stay the caller's. open_packets: of these paths as one,
    without the first so many, and so many octets of the records after them. together:
    all that is queued at a time is played as one. begin: is told before the first
    packet whether an earlier run's file goes on as it was."""

    def __init__(
        self,
        agenda: Agenda,
        checkpoint: Checkpoint,
        open_packets: Callable[[Sequence[str], int, int], Opened],
        counters: FilesCounters,
        begin: Callable[[bool], None] = lambda goes_on: None,
        *,
        together: bool = False,
    ) -> None:
        self.failure: BaseException | None = None
        self._agenda = agenda
        self._checkpoint = checkpoint
        self._open_packets = open_packets
        self._counters = counters
        self._begin_stream = begin
        self._has_begun = False
        self._together = together
        self._asking = Asking(agenda, self._may_join, self._refused)
        self._show: _Show | None = None
        self._next: tuple[Play, list[Claim]] | None = None
        self._goes_on = False
        # The agenda was told, and may not have heard.
        self._ended: list[tuple[list[Claim], Playing]] = []
        plays = checkpoint.memory.plays
        self._next_serial = max(plays, default=0) + 1
        # What an earlier run did not bring to its end.
        self._left = {play.key: play for play in plays.values() if not play.is_told}
        self._untold = [play for play in plays.values() if play.is_told]
        self._progress: tuple[str, int] | None = None
        self._is_stopping = False
        self._is_woken = False

    @property
    def asked(self) -> list[Claim]:
        """What waits for a word."""
        return self._asking.waiting

    @property
    def playing(self) -> tuple[list[str], int] | None:
        """The paths of what is being played, and packets of it that have arrived."""
        if self._show is None:
            return None
        playing = self._show.playing
        return playing.record.paths, playing.arrived

    @property
    def is_paused(self) -> bool:
        """Nothing is read for now."""
        return self._checkpoint.memory.is_paused or self._agenda.is_paused()

    def pause(self, *, paused: bool) -> None:
        """Reads nothing, in the middle of a file either, until it is said again."""
        self._checkpoint.remember(paused)

    def wake(self) -> None:
        """The agenda knows something new."""
        self._is_woken = True

    # For the pipeline.

    def serve(self, now: Instant) -> None:
        """Goes on as far as it may."""
        self._is_woken = False
        self._agenda.serve(now)
        self._let_go()
        while self._advance(now):
            pass
        self._checkpoint.save(now)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """A batch that lies ready; whatever the agenda waits for."""
        yield from self._agenda.watch()
        if wanted and self._show is not None and not self.is_paused:
            yield from self._show.ahead.watch()

    def due(self) -> int | None:
        """When the agenda or the checkpoint wants a turn; at once where something has
        arrived since."""
        if self._is_woken or (self._show is not None and self._show.playing.is_over):
            return 0
        dues = (self._agenda.due(), self._checkpoint.due())
        return min((due for due in dues if due is not None), default=None)

    def read(self, now: Instant) -> Batch | None:
        """The next batch of the file that is being played."""
        show = self._show
        if show is None or self._is_stopping or self.is_paused:
            return None
        batch = show.ahead.get()
        if batch is None and not show.ahead.is_exhausted():
            return None
        if not show.has_begun:
            show.has_begun = True
            self._skip(show)
        if batch is None:
            show.playing.has_ended = True
            return None
        self._counters.read += batch.count
        part = show.playing.part(batch.count, len(batch.records), batch.receipt)
        return Batch(batch.linktype, batch.records, batch.count, part)

    def settle(self, receipt: object, now: Instant) -> None:
        """It has arrived."""
        if isinstance(receipt, Part):
            receipt.settle()

    def stop(self, now: Instant) -> None:
        """The rest of the file is for the next run."""
        self._is_stopping = True
        if self._show is not None:
            self._show.ahead.stop()

    def is_exhausted(self) -> bool:
        """A stop; or nothing is queued, and nothing ever will be."""
        if self._is_stopping:
            return True
        is_idle = self._show is None and self._next is None and not self._untold
        is_idle = is_idle and not self._asking.claims
        return is_idle and self._agenda.is_drained()

    def leave(self, now: Instant) -> None:
        """The pipeline has ended: what has not arrived is told to be somebody's, this
        one's where it starts again. Once."""
        show, self._show = self._show, None
        if show is not None and show.playing.is_over:
            self._end(show, now)
        elif show is not None:
            show.ahead.close()
            arrived = show.playing.arrived
            self._checkpoint.note(show.playing.record, arrived)
            for claim in show.claims:
                self._agenda.done(claim, Outcome(Ending.REQUEUE, arrived), now)
        for claim in self._next[1] if self._next is not None else ():
            self._agenda.done(claim, Outcome(Ending.REQUEUE), now)
        self._asking.leave(now)
        if self._agenda.is_drained():
            # Another has played it meanwhile.
            for left in self._left.values():
                self._forget(left)
            self._left.clear()
        self._checkpoint.save(now)

    def close(self) -> None:
        """Ends the thread that reads, unless it is stuck."""
        if self._show is not None:
            self._show.ahead.close()

    # From one state to the next.

    def _advance(self, now: Instant) -> bool:
        """Whether there was anything to do."""
        show = self._show
        if show is not None:
            return self._follow(show, now)
        if self._is_stopping or not self._checkpoint.save(now):
            return False
        if self._next is not None and not self._has_begun:
            self._has_begun = True
            self._begin_stream(self._goes_on)
            return True
        if self._next is not None:
            self._begin(*self._next)
            return True
        if self._untold:
            self._next = self._untold.pop(0), []
            return True
        if self.is_paused:
            return False
        if self._asking.advance(now):
            return True
        claims = self._asking.take()
        if claims:
            self._next = self._record_of(claims), claims
        return bool(claims)

    def _may_join(self, claims: list[Claim]) -> bool:
        """Whether another file is to be played as one with these; of what an earlier
        run played as one, exactly those."""
        left = self._left.get(claims[0].key)
        is_there = left is not None and len(claims) >= len(left.paths)
        return self._together and not is_there

    def _refused(self, claim: Claim) -> None:
        left = self._left.pop(claim.key, None)
        if left is not None:
            self._forget(left)

    def _record_of(self, claims: Sequence[Claim]) -> Play:
        """Where an earlier run left it, or its beginning."""
        first = claims[0]
        paths = [claim.path for claim in claims]
        left = self._left.pop(first.key, None)
        mark = "" if self._together else _mark_of(paths[0])
        if left is not None and left.paths == paths:
            self._goes_on = bool(mark) and left.mark == mark
            return left
        if left is not None:
            logger.warning("%s is not what was played before: from the start", paths)
            self._forget(left)
        record = Play(self._next_serial, first.key, paths, first.arrived, mark=mark)
        self._next_serial += 1
        self._checkpoint.remember(record)
        return record

    def _begin(self, record: Play, claims: list[Claim]) -> None:
        self._next = None
        self._counters.files += len(record.paths)
        opened = self._open_packets(record.paths, record.arrived, record.octets)
        ahead = ReadAhead(opened.batches, READ_AHEAD)
        playing = Playing(self._checkpoint, record, self._moved)
        self._show = _Show(claims, playing, opened, ahead)

    def _skip(self, show: _Show) -> None:
        """What an earlier run has sent of it."""
        left_out = show.opened.left_out
        self._counters.read += left_out
        self._counters.skipped[Skipped.ALREADY_SENT] += left_out
        if left_out:
            paths = ", ".join(show.playing.record.paths)
            logger.info("%s goes on after packet %d", paths, left_out)
            show.playing.begin_at(left_out)

    def _follow(self, show: _Show, now: Instant) -> bool:
        playing = show.playing
        for claim in show.claims:
            if not playing.has_ended:
                self._heed(show, claim, now)
            if self._progress != (claim.key, playing.arrived):
                self._progress = claim.key, playing.arrived
                self._agenda.progress(claim, playing.arrived, now)
        if not playing.is_over:
            return False
        self._show = None
        self._end(show, now)
        return True

    def _heed(self, show: _Show, claim: Claim, now: Instant) -> None:
        """Whether the rest is to be left out."""
        if self._agenda.verdict(claim, now) is Verdict.SKIP:
            show.ahead.stop()
            show.playing.has_ended = True
            show.ending = Ending.SKIPPED

    def _end(self, show: _Show, now: Instant) -> None:
        show.ahead.close()
        failure = show.ahead.failure
        if failure is not None and not isinstance(failure, PcapZmqError):
            raise failure
        playing = show.playing
        for claim in show.claims:
            packets = show.opened.packets_of(claim.path)
            packets = playing.arrived if packets is None else packets
            why = str(failure or "") or show.opened.why_broken(claim.path)
            ending = show.ending
            if why and ending is Ending.PROCESSED:
                ending = Ending.BROKEN
            because = f" ({why})" if why else ""
            logger.info(
                "%s is %s: %d packets%s", claim.path, ending.value, packets, because
            )
            self._agenda.done(claim, Outcome(ending, packets, why), now)
        self._ended.append((show.claims, playing))
        self._let_go()

    def _let_go(self) -> None:
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

    def _forget(self, record: Play) -> None:
        record.is_over = True
        self._checkpoint.remember(record)

    def _moved(self, playing: Playing) -> None:
        """At once, since a kill may come next."""
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


def _mark_of(path: str) -> str:
    """What a file is known by; "": it cannot be looked at."""
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
