"""The receiving tool: any number of senders to one FIFO, file or standard output."""

import logging
import stat
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from pcap_ffi import keep_freed_memory
from pcap_zmq import options, sockets
from pcap_zmq.clock import SystemClock
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.packet import Batch, EncodedBatch
from pcap_zmq.pipeline import Pipeline, count_packets
from pcap_zmq.poll import Poller, Stop
from pcap_zmq.sinks.fifo import FifoSink
from pcap_zmq.sinks.savefile import SavefileSink
from pcap_zmq.sources.link import LinkSource
from pcap_zmq.stages.decoder import Decoder
from pcap_zmq.telemetry import ReceiverReport, Reporter

logger = logging.getLogger(__name__)

FILE_PREFIX = "file:"
FIFO_PREFIX = "fifo:"


@dataclass(frozen=True, slots=True)
class ReceiveConfig:
    """What `pcap-zmq-recv` is asked to do. output: "-", file:PATH, fifo:PATH, or a path
    that is what lies there, a FIFO where nothing does."""

    address: str
    output: str
    connect: bool = False
    linktype: int | None = None
    nanoseconds: bool = True
    receive_queue: int = options.RECEIVE_QUEUE.default
    overwrite: bool = False
    once: bool = False
    linger_ns: int = options.LINGER_NS.default
    report_ns: int = options.REPORT_NS.default

    def check(self) -> None:
        """Raises ConfigError for a value out of bounds."""
        options.RECEIVE_QUEUE.check("--receive-queue", self.receive_queue)
        options.LINGER_NS.check("--linger (ns)", self.linger_ns)
        options.REPORT_NS.check("--report (ns)", self.report_ns)
        if self.linktype is not None and not 0 <= self.linktype <= linktypes.MAXIMUM:
            raise ConfigError(f"--linktype {self.linktype} is no LINKTYPE number")
        if not self.output.removeprefix(FILE_PREFIX).removeprefix(FIFO_PREFIX):
            raise ConfigError("OUTPUT is empty")


class Receive:
    """Entered, it opens the output, then the address; then it runs once, until a signal
    asks for the end or, once, every sender has left."""

    def __init__(self, config: ReceiveConfig) -> None:
        config.check()
        sockets.check_endpoint(config.address, bind=not config.connect)
        self._config = config
        self._clock = SystemClock()
        self._open = ExitStack()
        self._orphans = 0
        self.counters = ReceiverCounters()

    def __enter__(self) -> Self:
        config = self._config
        keep_freed_memory()
        with ExitStack() as opened:
            sink = opened.enter_context(closing(self._open_sink()))
            context = opened.enter_context(zmq.Context())
            self._source = opened.enter_context(closing(self._open_source(context)))
            decoder = Decoder(
                config.linktype,
                config.nanoseconds,
                self._source.sender_of,
                self.counters,
            )
            self._pipeline = Pipeline(
                self._source,
                decoder,
                sink,
                drop=None,
                linger_ns=config.linger_ns,
                clock=self._clock,
                poller=Poller(),
            )
            self._report = ReceiverReport(
                self.counters, self._held_packets, self._source.senders
            )
            self._open = opened.pop_all()
        logger.info("listening on %s", self._source.address)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def run(self, stop: Stop) -> None:
        """Raises OutputError where the output takes no more for good."""
        reporter = Reporter(self._report, self._config.report_ns, self._clock.now())
        self._pipeline.run(stop, [reporter])
        # What is held of a sender that is still there it will send again.
        orphans = [item for item in self._held() if self._source.has_left(item.receipt)]
        self._orphans = count_packets(orphans)
        self.counters.dropped[Reason.SHUTDOWN] += self._orphans

    def totals(self) -> str:
        """What has happened altogether, for people."""
        return self._report.totals()

    def _open_sink(self) -> FifoSink | SavefileSink:
        config = self._config
        path = _fifo_path(config.output)
        if path is not None:
            return FifoSink(
                path,
                linktype=config.linktype,
                nanoseconds=config.nanoseconds,
                counters=self.counters,
            )
        return SavefileSink(
            config.output.removeprefix(FILE_PREFIX),
            linktype=config.linktype,
            nanoseconds=config.nanoseconds,
            overwrite=config.overwrite,
            counters=self.counters,
        )

    def _open_source(self, context: zmq.Context[zmq.Socket[bytes]]) -> LinkSource:
        config = self._config
        link = ReceiverLink(
            self._clock.now().wall_ns, config.receive_queue, self.counters
        )
        return LinkSource(
            context,
            config.address,
            connect=config.connect,
            once=config.once,
            link=link,
            counters=self.counters,
        )

    def _held(self) -> tuple[Batch | EncodedBatch, ...]:
        return (*self._pipeline.held, *self._source.held)

    def _held_packets(self) -> int:
        return count_packets(self._held()) - self._orphans


def _fifo_path(output: str) -> Path | None:
    """The FIFO that the output is; None where it is a file or standard output."""
    if output == "-" or output.startswith(FILE_PREFIX):
        return None
    if output.startswith(FIFO_PREFIX):
        return Path(output.removeprefix(FIFO_PREFIX))
    path = Path(output)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path
    except PermissionError as error:
        raise OutputPermissionError(
            f"{path} may not be looked at: {error.strerror}"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{path} is a directory; name a file or a FIFO in it")
    return path if stat.S_ISFIFO(mode) else None
