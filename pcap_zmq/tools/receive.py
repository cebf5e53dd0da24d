"""The receiving tool: any number of senders to one FIFO, file or standard output."""

import logging
import stat
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from pcap_ffi import keep_freed_memory
from pcap_zmq import logs, options, sockets
from pcap_zmq.answers import Answers
from pcap_zmq.clock import SystemClock
from pcap_zmq.connections import Connections, make_room
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.certificate import Certificate
from pcap_zmq.formats.codec import load_libraries
from pcap_zmq.formats.inquiry import Question
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.stream import Identity, Receipt
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.metrics.exporters import Exporters, ExportOptions
from pcap_zmq.metrics.latency import Latency
from pcap_zmq.metrics.receiver import ReceiverObserver, ReceiverSources
from pcap_zmq.packet import Instant
from pcap_zmq.pipeline import Counted, Pipeline, count_packets
from pcap_zmq.poll import Poller, Stop
from pcap_zmq.privileges import drop_to, harden
from pcap_zmq.sinks.fifo import FifoSink, State
from pcap_zmq.sinks.savefile import SavefileSink
from pcap_zmq.sources.door import Door
from pcap_zmq.sources.link import LinkSource
from pcap_zmq.stages.decoder import Decoder
from pcap_zmq.supervisor import Manager, Supervisor
from pcap_zmq.telemetry import ReceiverReport, Reporter
from pcap_zmq.tools.credentials import ServerKeys

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
    status: str | None = None
    linktype: int | None = None
    nanoseconds: bool = True
    receive_queue: int = options.RECEIVE_QUEUE.default
    overwrite: bool = False
    once: bool = False
    user: str | None = None
    keys: ServerKeys = field(default_factory=ServerKeys)
    max_connections: int = options.MAX_CONNECTIONS.default
    linger_ns: int = options.LINGER_NS.default
    report_ns: int = options.REPORT_NS.default
    exports: ExportOptions = field(default_factory=ExportOptions)

    def check(self) -> None:
        """Raises ConfigError for a value out of bounds."""
        options.RECEIVE_QUEUE.check("--receive-queue", self.receive_queue)
        options.MAX_CONNECTIONS.check("--max-connections", self.max_connections)
        options.LINGER_NS.check("--linger (ns)", self.linger_ns)
        options.REPORT_NS.check("--report (ns)", self.report_ns)
        if self.linktype is not None and not 0 <= self.linktype <= linktypes.MAXIMUM:
            raise ConfigError(f"--linktype {self.linktype} is no LINKTYPE number")
        if not self.output.removeprefix(FILE_PREFIX).removeprefix(FIFO_PREFIX):
            raise ConfigError("OUTPUT is empty")
        self.exports.check()


class Receive:
    """Entered, it gives up every privilege of the process and opens the output, then
    the address; then it runs once, until a signal asks for the end or, once, every
    sender has left."""

    def __init__(self, config: ReceiveConfig) -> None:
        config.check()
        sockets.check_endpoint(config.address, bind=not config.connect)
        if config.status is not None:
            sockets.check_endpoint(config.status, bind=True)
        config.keys.check(config.address, config.status)
        # While this user may still read it.
        config.exports.load()
        self._config = config
        self._clock = SystemClock()
        self._open = ExitStack()
        self._has_ended = False
        self._answers: Answers | None = None
        self._stop: Stop | None = None
        self.counters = ReceiverCounters()

    def __enter__(self) -> Self:
        config = self._config
        # Before anything secret is read, and any thread started.
        harden()
        keep_freed_memory()
        # While we may still read what only root may.
        own = config.keys.read()
        if config.user is not None:
            load_libraries()
        # Nothing from here on takes a capability, and a FIFO that could not be replaced
        # later shall be refused now.
        drop_to(config.user)
        with ExitStack() as opened:
            self._sink = opened.enter_context(closing(self._open_sink()))
            context = opened.enter_context(sockets.new_context())
            # Before anything listens: ZeroMQ asks it who may come in.
            self._door = opened.enter_context(closing(self._open_door(context, own)))
            self._source = opened.enter_context(closing(self._open_source(context)))
            decoder = Decoder(
                config.linktype,
                config.nanoseconds,
                self._source.sender_of,
                self.counters,
                self._source.blame,
            )
            latency = Latency(self._clock, nanoseconds=config.nanoseconds)
            self._pipeline = Pipeline(
                self._source,
                decoder,
                self._sink,
                drop=None,
                linger_ns=config.linger_ns,
                clock=self._clock,
                poller=Poller(),
                delivered=latency.delivered if config.exports.are_wanted else None,
            )
            self._exporters = opened.enter_context(
                closing(self._open_exporters(latency))
            )
            self._report = ReceiverReport(
                self.counters,
                self._held_packets,
                lambda: self._ledger(self._clock.now()),
            )
            self._open = opened.pop_all()
        self._answers = Answers(
            address=self._source.address,
            output=config.output,
            counters=self.counters,
            held=self._held_packets,
            ledger=self._ledger,
            clock=self._clock,
        )
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
        if self._config.keys.allow is not None:
            stop.heed_hangup()
            self._stop = stop
        reporter = Reporter(self._report, self._config.report_ns, self._clock.now())
        supervisor = Supervisor(
            Manager(), self._report.status, stop, self._config.linger_ns
        )
        try:
            attendants = (self._door, reporter, supervisor, logs.HeldBack())
            self._pipeline.run(stop, [*attendants, *self._exporters.attendants])
        finally:
            supervisor.stopping()
        # What is held of a sender that is still there it will send again.
        for item in self._held():
            if self._source.has_left(item.receipt):
                owner = item.receipt if isinstance(item.receipt, Receipt) else None
                self.counters.count_dropped(owner, Reason.SHUTDOWN, item.count)
        self._has_ended = True

    def totals(self) -> str:
        """What has happened altogether, for people."""
        return self._report.totals()

    def numbers(self) -> dict[str, object]:
        """The same for machines."""
        return self._report.numbers()

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
            status=config.status,
            once=config.once,
            link=link,
            answer=self._answer,
            door=self._door,
            counters=self.counters,
        )

    def _open_exporters(self, latency: Latency) -> Exporters:
        sink = self._sink
        sources = ReceiverSources(
            counters=self.counters,
            libzmq=zmq.zmq_version(),
            held=self._held_packets,
            ledger=self._ledger,
            latency=latency,
            queue_bytes=lambda: self._source.held_bytes,
            queue_limit=self._config.receive_queue,
            connections=lambda: self._door.connections,
            connections_limit=lambda: self._door.connections_max,
            has_reader=(
                (lambda: sink.state is not State.ABSENT)
                if isinstance(sink, FifoSink)
                else None
            ),
        )
        observer = ReceiverObserver(sources)
        return Exporters(self._config.exports, observer, self._clock)

    def _open_door(
        self, context: zmq.Context[zmq.Socket[bytes]], own: Certificate | None
    ) -> Door:
        config = self._config
        room = make_room(config.max_connections)
        if room < config.max_connections:
            logger.warning(
                "at most %d connections, not %d: the limit of open descriptors does "
                "not allow more (ulimit -Hn, LimitNOFILE=)",
                room,
                config.max_connections,
            )
        return Door(
            context,
            own=own,
            allowed=config.keys.read_allowed(),
            connections=Connections(room, config.receive_queue),
            hangup=self._hangup,
            counters=self.counters,
        )

    def _hangup(self) -> bool:
        return self._stop is not None and self._stop.take_hangup()

    def _held(self) -> list[Counted]:
        held = (*self._sink.held, *self._pipeline.held, *self._source.held)
        if self._has_ended:
            # What its sender will not send again was given up at the end.
            return [item for item in held if not self._source.has_left(item.receipt)]
        return list(held)

    def _held_packets(self) -> int:
        return count_packets(self._held())

    def _ledger(self, now: Instant) -> Sequence[Line]:
        held: Counter[StreamId] = Counter()
        for item in self._held():
            if isinstance(item.receipt, Receipt):
                held[item.receipt.stream] += item.count
        return self._source.lines(held, now)

    def _answer(self, question: Question, identity: Identity) -> bytes:
        if self._answers is None:
            raise AssertionError("asked before anything was open")
        return self._answers.answer(question, identity)


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
            f"{path} may not be looked at: {error.strerror}; run as a user who may "
            "(--user)"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{path} is a directory; name a file or a FIFO in it")
    return path if stat.S_ISFIFO(mode) else None
