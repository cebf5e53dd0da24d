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
from typing import Protocol

from pcap_zmq.agenda.port import Agenda, Claim, Ending, Outcome, Verdict
from pcap_zmq.counters import FilesCounters, Skipped
from pcap_zmq.disk.checkpoint import Checkpoint
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.formats.checkpoint import Play
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Watch
from pcap_zmq.sources.asking import Asking
from pcap_zmq.sources.playing import Part, Playing
from pcap_zmq.sources.plays import Plays
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
    has_news: bool = True
    """Something may have been said of one of several."""
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
        self._plays = Plays(agenda, checkpoint, together=together)
        self._asking = Asking(agenda, self._plays.may_join, self._plays.refuse)
        self._show: _Show | None = None
        self._next: tuple[Play, list[Claim]] | None = None
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
        if self._show is not None:
            self._show.has_news = True

    # For the pipeline.

    def serve(self, now: Instant) -> None:
        """Goes on as far as it may."""
        self._is_woken = False
        self._agenda.serve(now)
        self._plays.let_go()
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
        is_idle = self._show is None and self._next is None and not self._plays.untold
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
            self._plays.forget_left()
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
            self._begin_stream(self._plays.goes_on)
            return True
        if self._next is not None:
            self._begin(*self._next)
            return True
        if self._plays.untold:
            self._next = self._plays.untold.pop(0), []
            return True
        if self.is_paused:
            return False
        if self._asking.advance(now):
            return True
        claims = self._asking.take()
        if claims:
            self._next = self._plays.record_of(claims), claims
        return bool(claims)

    def _begin(self, record: Play, claims: list[Claim]) -> None:
        self._next = None
        self._counters.files += len(record.paths)
        opened = self._open_packets(record.paths, record.arrived, record.octets)
        ahead = ReadAhead(opened.batches, READ_AHEAD)
        playing = Playing(self._checkpoint, record, self._plays.moved)
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
        if show.has_news or len(show.claims) == 1:
            show.has_news = False
            for claim in show.claims:
                self._heed(show, claim, now)
        # Of several as one nobody knows whose packets have arrived.
        for claim in show.claims if len(show.claims) == 1 else ():
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
        if show.playing.has_ended:
            return
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
        self._plays.end(show.claims, playing)
