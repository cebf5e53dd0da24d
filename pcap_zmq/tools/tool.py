"""What all tools with a pipeline have in common: opened in order, run once, and closed
whatever happens."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from pcap_ffi import keep_freed_memory
from pcap_zmq import logs
from pcap_zmq.clock import SystemClock
from pcap_zmq.metrics.exporters import Exporters, ExportOptions
from pcap_zmq.pipeline import Pipeline
from pcap_zmq.poll import Stop
from pcap_zmq.ports import Attendant
from pcap_zmq.privileges import harden
from pcap_zmq.supervisor import Manager, Supervisor
from pcap_zmq.telemetry import Report, Reporter


class Tool(ABC):
    """Entered, it opens everything and gives up every privilege of the process; then it
    runs once."""

    _pipeline: Pipeline[Any, Any]
    _report: Report
    _exporters: Exporters | None = None

    def __init__(
        self, exports: ExportOptions | None, linger_ns: int, report_ns: int
    ) -> None:
        if exports is not None:
            # While this user may still read it.
            exports.load()
        self._linger_ns = linger_ns
        self._report_ns = report_ns
        self._clock = SystemClock()
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        # Before anything secret is read, and any thread started.
        harden()
        keep_freed_memory()
        with ExitStack() as opened:
            self._open(opened)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()

    def run(self, stop: Stop) -> None:
        """Until the end, or a signal. Raises what goes wrong."""
        reporter = Reporter(self._report, self._report_ns, self._clock.now())
        supervisor = Supervisor(Manager(), self._report.status, stop, self._linger_ns)
        attendants: list[Attendant] = [reporter, supervisor, logs.HeldBack()]
        attendants += self._attend(stop)
        if self._exporters is not None:
            attendants += self._exporters.attendants
        try:
            self._pipeline.run(stop, attendants)
        finally:
            supervisor.stopping()
        self._settle()

    def totals(self) -> str:
        """What has happened altogether, for people."""
        return self._report.totals()

    def numbers(self) -> dict[str, object]:
        """The same for machines."""
        return self._report.numbers()

    @abstractmethod
    def _open(self, opened: ExitStack) -> None:
        """Opens all that is needed, in an order that loses no right too early, and sets
        the pipeline and the report; the exporters where there are some."""

    @abstractmethod
    def _settle(self) -> None:
        """Accounts for what is left when the pipeline has ended."""

    def _attend(self, stop: Stop) -> Iterable[Attendant]:
        """Who else wants a turn."""
        return ()
