"""What commands that make one stream of capture files have in common."""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Protocol

from pcap_zmq import options
from pcap_zmq.captures.inputs import Passed
from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.counters import FilesCounters
from pcap_zmq.errors import (
    BrokenFilesError,
    FormatError,
    NoCaptureError,
    OutputError,
    PcapZmqError,
)
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.pipeline import Pipeline, count_packets
from pcap_zmq.poll import Poller, Stop, Watch
from pcap_zmq.ports import Attendant, Source, Stage
from pcap_zmq.privileges import drop_to
from pcap_zmq.stages.chain import as_one
from pcap_zmq.telemetry import FilesReport
from pcap_zmq.tools.tool import Tool
from pcap_zmq.tools.way_out import (
    WayOut,
    WayOutConfig,
    check_apart,
    load,
    open_way_out,
)

logger = logging.getLogger(__name__)

SHOWN_NS = 200 * NS_PER_MS
"""How often progress is."""


@dataclass(frozen=True, slots=True)
class FileToolConfig:
    """way_out: where packets go. user: whom to become."""

    way_out: WayOutConfig
    user: str | None = None
    linger_ns: int = options.LINGER_NS.default
    report_ns: int = 0

    def check(self) -> None:
        """Raises ConfigError."""
        self.way_out.check()
        options.LINGER_NS.check("--linger (ns)", self.linger_ns)
        options.REPORT_NS.check("--report (ns)", self.report_ns)


class Progress(Protocol):
    """Shows people how far it is."""

    def __call__(self, done: int, total: int) -> None:
        """So many octets of files of so many are read."""

    def finish(self) -> None:
        """No more will be shown."""


class _Showing:
    """Keeps it up to date, now and then."""

    def __init__(self, progress: Progress, passed: Passed) -> None:
        self._progress = progress
        self._passed = passed
        self._due_ns = 0

    def serve(self, now: Instant) -> None:
        if now.mono_ns >= self._due_ns:
            self._due_ns = now.mono_ns + SHOWN_NS
            self._progress(self._passed.octets, self._passed.total)

    def watch(self) -> Sequence[Watch]:
        return ()

    def due(self) -> int | None:
        return self._due_ns


class FileSource(Source[Batch], Protocol):
    """What the packets come from; `sources.files.FilesSource` is one."""

    @property
    def failure(self) -> BaseException | None:
        """What it has ended by, if not by its end."""


class FileTool(Tool):
    """Runs until the last file's end, or a signal. A file that breaks is told of at
    once, and again at the end: BrokenFilesError.

    A tool says what it is (`identity`), whether a savefile that it writes is to be
    there only when it is whole (`is_whole`), where packets come from and what becomes
    of them on their way. What it reads counts in `passed`, for `progress`.
    """

    identity: str
    is_whole: bool

    def __init__(
        self, config: FileToolConfig, progress: Progress | None = None
    ) -> None:
        config.check()
        super().__init__(None, config.linger_ns, config.report_ns)
        self._tool_config = config
        self._has_ended = False
        self._progress = progress
        self.counters = FilesCounters()
        self.passed = Passed()

    @abstractmethod
    def _open_source(self, opened: ExitStack) -> FileSource:
        """With the rights of whom we have become; may start threads."""

    def _prepare(self, opened: ExitStack) -> None:
        """What has to be there before OUTPUT is opened, with the rights of whom we have
        become."""

    def _inputs(self) -> Sequence[str]:
        """What is read, as it was named, as far as that is known."""
        return ()

    def _stages(self) -> Iterable[Stage[Any, Any]]:
        """What becomes of packets before they go out."""
        return ()

    def _more(self) -> Mapping[str, object]:
        """What else there is to say at the end, by name."""
        return {}

    def _open_way_out(self, opened: ExitStack) -> WayOut:
        """Gives up all rights but that of reading, in between."""
        config = self._tool_config
        check_apart(config.way_out, self._inputs())
        credentials = load(config.way_out)
        drop_to(config.user, reads_on=True)
        self._prepare(opened)
        return open_way_out(
            config.way_out,
            opened,
            credentials=credentials,
            identity=self.identity,
            is_whole=self.is_whole,
        )

    def _open(self, opened: ExitStack) -> None:
        if self._progress is not None:
            opened.callback(self._progress.finish)
        self._way = self._open_way_out(opened)
        self._source = opened.enter_context(closing(self._open_source(opened)))
        self._pipeline = Pipeline(
            self._source,
            as_one([*self._stages(), *self._way.stages]),
            self._way.sink,
            drop=None,
            linger_ns=self._linger_ns,
            clock=self._clock,
            poller=Poller(),
        )
        self._way.attach(lambda: self._pipeline.held)
        self._report = FilesReport(
            self.counters, self._way, self._held_packets, self._more
        )

    def run(self, stop: Stop) -> None:
        """Until the end, or a signal. Raises what goes wrong."""
        try:
            super().run(stop)
        except BaseException:
            # What goes on by itself ends, and is in the totals.
            self._way.sink.abandon()
            raise
        finally:
            if self._progress is not None:
                # What is said next has a line of its own.
                self._progress.finish()

    def _attend(self, stop: Stop) -> Sequence[Attendant]:
        self._stop = stop
        if self._progress is None:
            return ()
        return (_Showing(self._progress, self.passed),)

    def _settle(self) -> None:
        self._way.drop(count_packets(self._pipeline.held))
        self._has_ended = True
        self._way.sink.abandon()
        if self._source.failure is not None:
            raise self._source.failure
        if not self._stop.is_set:
            self._way.complete()
        elif self._way.needs_all:
            raise OutputError(
                f"interrupted: {self._tool_config.way_out.output} was not made"
            )
        if self.counters.broken_files:
            files = self.counters.broken_files
            raise BrokenFilesError(
                f"{files} {'file is' if files == 1 else 'files are'} broken or cannot "
                "be read: see above; what comes before the break went out"
            )

    def trouble(self, name: str, error: PcapZmqError) -> None:
        """A file breaks; `sources.packets.Trouble`. From any thread."""
        self.counters.broken_files += 1
        has_some = isinstance(error, FormatError) and not isinstance(
            error, NoCaptureError
        )
        logger.warning("%s%s", error, "; what came before went out" if has_some else "")

    def _held_packets(self) -> int:
        if self._has_ended:
            return self._way.held_packets
        return count_packets(self._pipeline.held) + self._way.held_packets
