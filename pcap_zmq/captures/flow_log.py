"""The packets of one flow, out of files as Suricata's pcap-log leaves them.

Waits for what it reads: for a thread (`ReadAhead`), or a process of its own.

Theory of operation. Each file is looked at once, to know when it begins; a file ends
about when the next one of its log begins. So those are known in which the flow begins:
by the time that the event says, or, where it says none, by going back from its packet
as long as packets of the flow are found. From there on all is merged by time, until
nothing of the flow has come for `idle_ns`, and later files are not even opened.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq.captures.flow_sieve import FlowSieve, first_ns_of
from pcap_zmq.captures.inputs import Passed, find
from pcap_zmq.captures.merge_input import MergedFile, MergeInputs
from pcap_zmq.captures.merged import Merged
from pcap_zmq.captures.packets import BATCH_BYTES, Trouble, packets_of_all
from pcap_zmq.errors import NoCaptureError, PcapZmqError
from pcap_zmq.formats.eve_event import EveEvent
from pcap_zmq.formats.file_part import FileTally
from pcap_zmq.formats.pcap_log import log_of
from pcap_zmq.packet import Batch
from pcap_zmq.policy.merge_plan import MergePlan
from pcap_zmq.units import NS_PER_S

SLACK_NS = NS_PER_S
"""By which packets may be out of order, in a file and over its end."""


@dataclass(slots=True)
class _File:
    path: Path
    first_ns: int


class FlowLog:
    """paths: files, folders, patterns. event: names the flow. idle_ns: when so long
    nothing of it comes, it has ended. trouble: is told of what breaks, in the thread
    that reads; the rest goes on. warn: is told, there too, what is no error. passed:
    how far it is. leave_out: a file that is not read, although it is among them. Raises
    InputError for a path that names nothing."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        event: EveEvent,
        idle_ns: int,
        trouble: Trouble,
        *,
        warn: Callable[[str], None] = lambda text: None,
        passed: Passed | None = None,
        leave_out: Path | None = None,
    ) -> None:
        found = find([str(path) for path in paths])
        self._paths = [path for path in found if not _is_same(path, leave_out)]
        self._named = {str(Path(path)) for path in paths}
        self._event = event
        self._idle_ns = idle_ns
        self._told: set[str] = set()
        self._trouble = trouble
        self._warn = warn
        self._passed = Passed() if passed is None else passed
        self.files = 0
        """That were read, of those that the paths name."""
        self.looked_through = 0
        """Packets, of whatever flow; not those that only told where it begins."""

    def batches(self) -> Generator[Batch, None, None]:
        """The flow's packets, by time; to be asked for once."""
        logs = self._logs()
        begins_ns = self._event.begins_ns
        if begins_ns is None:
            begins_ns = min(
                (self._begins(log) for log in logs), default=self._event.at_ns
            )
        begins_ns -= SLACK_NS
        chosen = [path for log in logs for path in _from(log, begins_ns)]
        if not chosen:
            return
        until_ns = self._event.ends_ns
        plan = MergePlan(
            from_ns=max(0, begins_ns),
            until_ns=None if until_ns is None else until_ns + SLACK_NS,
        )
        self._passed.octets = self._passed.total = 0
        merged = Merged(chosen, self._tell, plan, passed=self._passed)
        try:
            yield from self._of_the_flow(merged)
        finally:
            self.files = sum(file.is_begun for file in merged.files)

    def _of_the_flow(self, merged: Merged) -> Generator[Batch, None, None]:
        """Until it is idle."""
        sieve = FlowSieve(self._event)
        event = self._event
        # What Suricata says of a flow that was idle has a time of no packet.
        last_ns = max(event.at_ns, event.begins_ns or 0, event.ends_ns or 0)
        for batch in merged.batches():
            self.looked_through += batch.count
            if first_ns_of(batch.records) > last_ns + self._idle_ns:
                return
            for run in sieve.runs(batch, self._idle_ns):
                if run.first_ns > last_ns + self._idle_ns:
                    return
                last_ns = max(last_ns, run.last_ns)
                yield Batch(batch.linktype, run.records, run.packets)

    def _logs(self) -> list[list[_File]]:
        """The files of each log, by time; of one alone where it is known."""
        logs: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for path in self._paths:
            logs[path.parent, log_of(path.name)].append(path)
        chosen = list(logs.values())
        if self._event.capture_file is not None:
            name = Path(self._event.capture_file).name
            # The file itself may be gone by now, or be compressed.
            named = [log for key, log in logs.items() if key[1] == log_of(name)]
            if not named:
                self._warn(
                    f"the event's capture_file {name!r} is of none of the logs here: "
                    "all of them are looked through"
                )
            chosen = named or chosen
        inputs = MergeInputs(self._tell_of, Passed(), BATCH_BYTES)
        try:
            found = [self._looked_at(log, inputs) for log in chosen]
        finally:
            inputs.close()
        return [log for log in found if log]

    def _looked_at(self, log: Sequence[Path], inputs: MergeInputs) -> list[_File]:
        """Those with packets, by when they begin."""
        files = []
        for path in log:
            file = MergedFile(path, FileTally(str(path)))
            inputs.look(file)
            if file.first_ns is not None:
                files.append(_File(path, file.first_ns))
        return sorted(files, key=lambda file: file.first_ns)

    def _begins(self, log: Sequence[_File]) -> int:
        """When the flow does, of which there is a packet at the event's time. Reads
        files from that one backwards."""
        begins_ns = self._event.at_ns
        place = _place(log, begins_ns)
        while place >= 0:
            begins_ns = self._begins_in(log[place].path, begins_ns)
            if log[place].first_ns < begins_ns - self._idle_ns:
                break
            place -= 1
        return begins_ns

    def _begins_in(self, path: Path, until_ns: int) -> int:
        """The time of the first of the packets in a file after which the flow is never
        idle until that time; that time where there is none."""
        sieve = FlowSieve(self._event)
        first_ns, last_ns = until_ns, -self._idle_ns
        for batch in packets_of_all([path], self._tell):
            if first_ns_of(batch.records) > until_ns + SLACK_NS:
                break
            for run in sieve.runs(batch, self._idle_ns):
                if run.first_ns > until_ns:
                    break
                if run.first_ns > last_ns + self._idle_ns:
                    first_ns = run.first_ns
                last_ns = max(last_ns, run.last_ns)
        return first_ns if last_ns + self._idle_ns >= until_ns else until_ns

    def _tell_of(self, name: str, error: PcapZmqError) -> None:
        # In a folder there may be others: Suricata's events, for one.
        if name in self._named or not isinstance(error, NoCaptureError):
            self._tell(name, error)

    def _tell(self, name: str, error: PcapZmqError) -> None:
        # Some files are looked at before they are read.
        if name not in self._told:
            self._told.add(name)
            self._trouble(name, error)


def _is_same(path: Path, other: Path | None) -> bool:
    try:
        return other is not None and path.samefile(other)
    except OSError:
        return False


def _place(log: Sequence[_File], time_ns: int) -> int:
    """Of the file that was written then; -1 where the first one begins later."""
    return bisect_right(log, time_ns, key=lambda file: file.first_ns) - 1


def _from(log: Sequence[_File], begins_ns: int) -> Iterator[Path]:
    """The files in which there may be something since then."""
    return (file.path for file in log[max(0, _place(log, begins_ns)) :])
