"""Queues what comes to be complete in the folders that are watched."""

import logging
from collections.abc import Iterable
from pathlib import Path

from pcap_zmq.agenda.naming import whole
from pcap_zmq.agenda.queue import QueueAgenda
from pcap_zmq.captures.inputs import may_be_capture
from pcap_zmq.disk.checkpoint import Checkpoint
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.formats.checkpoint import Seen
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch
from pcap_zmq.sources.dispatch import DispatchSource
from pcap_zmq.sources.read_ahead import ReadAhead
from pcap_zmq.sources.watched_folder import Found, WatchedFolder

logger = logging.getLogger(__name__)

READ_AHEAD = 64


class Watching:
    """An attendant of the loop. Raises InputError where there is no such folder, and in
    a turn once it is gone."""

    def __init__(
        self,
        place: str,
        agenda: QueueAgenda,
        source: DispatchSource,
        checkpoint: Checkpoint,
    ) -> None:
        self._place = place
        self._agenda = agenda
        self._source = source
        self._checkpoint = checkpoint
        folder = WatchedFolder(str(whole(Path(place))), checkpoint.memory.seen)
        self._ahead: ReadAhead[Found] = ReadAhead(folder.complete(), READ_AHEAD)

    def serve(self, now: Instant) -> None:
        """To the end of the queue, in the order in which they were written."""
        while (found := self._ahead.get()) is not None:
            if found.begins and may_be_capture(Path(found.path)):
                logger.info("%s is complete, and queued", found.path)
                self._agenda.add([found.path])
                self._source.wake()
            # Last: rather queued twice than never, where the machine ends in between.
            self._checkpoint.remember(Seen(found.path, found.begins))
        failure = self._ahead.failure
        if isinstance(failure, PcapZmqError):
            raise failure

    def watch(self) -> Iterable[Watch]:
        """Something was found."""
        return self._ahead.watch()

    def due(self) -> int | None:
        """Never: a thread looks."""
        return None

    def close(self) -> None:
        """Looks no more."""
        self._ahead.close()
