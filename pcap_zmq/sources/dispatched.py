"""The packets of a file whose turn has come, or of several as one, from where a run
before left them. Waits for what it reads: for a thread.
"""

import logging
import stat
from collections.abc import Generator, Sequence
from pathlib import Path

from pcap_ffi import Period, count_records, record_end, whole_records
from pcap_zmq.captures.inputs import Passed, explained, members, unnameable
from pcap_zmq.captures.merged import Merged
from pcap_zmq.captures.packets import Trouble, packets_of
from pcap_zmq.counters import FilesCounters
from pcap_zmq.errors import InputError, PcapZmqError
from pcap_zmq.packet import Batch
from pcap_zmq.policy.merge_plan import MergePlan
from pcap_zmq.units import NS_PER_S

logger = logging.getLogger(__name__)

BATCH_BYTES = 1 << 18
"""Less than elsewhere, so that a word about a file that is being played is heard
soon."""


class Times:
    """How the times of a stream go on from file to file."""

    def __init__(self, counters: FilesCounters) -> None:
        self._counters = counters
        self._period = Period()

    def look(self, name: str, batch: Batch, *, is_first: bool) -> None:
        """Counts packets that are before one before them; says of a file that it
        begins so."""
        newest_ns = self._period.newest_ns
        records = memoryview(batch.records)
        self._period.count(records)
        self._counters.backwards += self._period.backwards
        behind_ns = 0 if newest_ns is None else newest_ns - _first_ns(records)
        if is_first and behind_ns > 0:
            logger.warning(
                "%s goes back in time: it begins %.6f s before the latest packet so "
                "far; --merge puts files that overlap in order",
                name,
                behind_ns / NS_PER_S,
            )


class OneFile:
    """A file, or an archive with all that is in it. sent: packets, and octets of the
    records after them, that an earlier run has sent. passed: how far it is. regular:
    it has to be a file, since who names it is somewhere else: a pipe without a writer
    would hold up all that comes after it."""

    def __init__(
        self,
        path: str,
        sent: tuple[int, int],
        times: Times,
        trouble: Trouble,
        passed: Passed,
        *,
        regular: bool = False,
    ) -> None:
        self._path = path
        self._must_be_regular = regular
        self._sent = _Sent(*sent)
        self.left_out = 0
        self._times = times
        self._trouble = trouble
        self._passed = passed
        self._why = ""
        self.batches = self._read()

    def why_broken(self, path: str) -> str:
        """See `sources.dispatch.Opened`."""
        return self._why

    def packets_of(self, path: str) -> int | None:
        """There is one."""
        return None

    def _read(self) -> Generator[Batch, None, None]:
        name, is_first = self._path, True
        try:
            path = Path(self._path)
            if self._must_be_regular:
                path = _regular(path)
            with members(path, self._passed) as found:
                for member in found:
                    name = member.name
                    try:
                        for batch in packets_of(member, BATCH_BYTES):
                            self._times.look(name, batch, is_first=is_first)
                            is_first = False
                            rest = self._sent.without(batch)
                            if rest is not None:
                                self.left_out = self._sent.packets
                                yield rest
                    except PcapZmqError as error:
                        self._note(name, error)
        except PcapZmqError as error:
            self._note(name, error)
        self.left_out = self._sent.packets
        self._sent.check(self._path)

    def _note(self, name: str, error: PcapZmqError) -> None:
        self._why = self._why or str(error)
        self._trouble(name, error)


class AsOne:
    """Several files by their times. sent: packets, and octets of the records
    after them, that an earlier run has sent of all."""

    def __init__(
        self,
        paths: Sequence[str],
        sent: tuple[int, int],
        counters: FilesCounters,
        trouble: Trouble,
        passed: Passed,
    ) -> None:
        self._paths = paths
        self._sent = _Sent(*sent)
        self.left_out = 0
        self._counters = counters
        self._trouble = trouble
        self._passed = passed
        self._whys: dict[str, str] = {}
        self._read_of: dict[str, int] = {}
        self.batches = self._read()

    def why_broken(self, path: str) -> str:
        """See `sources.dispatch.Opened`."""
        return self._whys.get(path, "")

    def packets_of(self, path: str) -> int | None:
        """As many as were read of it."""
        return self._read_of.get(path)

    def _read(self) -> Generator[Batch, None, None]:
        there = []
        for path in self._paths:
            try:
                # What is gone since it was queued shall not keep the others back.
                with members(Path(path)):
                    there.append(path)
            except PcapZmqError as error:
                self._note(path, error)
        if not there:
            return
        merged = Merged(
            [Path(path) for path in there],
            self._note,
            MergePlan(),
            batch_bytes=BATCH_BYTES,
            warn=logger.warning,
            passed=self._passed,
        )
        try:
            for batch in merged.batches():
                rest = self._sent.without(batch)
                if rest is not None:
                    self.left_out = self._sent.packets
                    yield rest
            self.left_out = self._sent.packets
        finally:
            self._counters.backwards += sum(file.backwards for file in merged.files)
            self._read_of = {str(file.path): file.tally.read for file in merged.files}

    def _note(self, name: str, error: PcapZmqError) -> None:
        for path in self._paths:
            if name == path or name.startswith(f"{path}:"):
                self._whys.setdefault(path, str(error))
        self._trouble(name, error)


def _regular(path: Path) -> Path:
    """The same, which is standard input by no name. Raises InputError."""
    try:
        status = path.stat()
    except OSError as error:
        raise explained(path, error) from error
    except ValueError as error:
        raise unnameable(path) from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} cannot be read: it is no regular file")
    return path.absolute()


def _first_ns(records: memoryview) -> int:
    seconds, ns = (int.from_bytes(records[at : at + 4], "little") for at in (0, 4))
    return seconds * NS_PER_S + ns


class _Sent:
    """What an earlier run has sent: so many packets, and of the records after them so
    many octets; the rest of a record that is torn there was not."""

    def __init__(self, packets: int, octets: int) -> None:
        self._left = packets
        self._octets_left = octets
        self.packets = 0
        """Left out so far."""

    def without(self, batch: Batch) -> Batch | None:
        """None: all of it was sent."""
        count = min(self._left, batch.count)
        self._left -= count
        records = memoryview(batch.records)
        at = record_end(records, count) if count else 0
        if count < batch.count and self._octets_left:
            end = at + whole_records(records[at:], self._octets_left)
            count += count_records(records[at:end])
            self._octets_left -= end - at
            at = end
            if count < batch.count:
                # What is left is the beginning of a packet.
                self._octets_left = 0
        self.packets += count
        if count == batch.count:
            return None
        if not count:
            return batch
        return Batch(batch.linktype, records[at:], batch.count - count, batch.receipt)

    def check(self, path: str) -> None:
        """Says where there was less than was sent."""
        if self._left:
            logger.warning(
                "%s has %d packets fewer than an earlier run sent of it: it is another "
                "file now",
                path,
                self._left,
            )
