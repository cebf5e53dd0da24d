"""The sending tool: NFLOG groups or a savefile to one receiver."""

import logging
import socket
import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import zmq

from nflog_ffi import limits
from pcap_ffi import keep_freed_memory
from pcap_zmq import options, sockets
from pcap_zmq.clock import SystemClock
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.sender_link import SenderLink
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import EncodedBatch
from pcap_zmq.pipeline import Pipeline, count_packets
from pcap_zmq.policy.shaper import Shaper
from pcap_zmq.poll import Poller, Stop
from pcap_zmq.privileges import drop_to
from pcap_zmq.sinks.link import LinkSink
from pcap_zmq.sources.nflog import NS_PER_CS, NflogSource, qtimeout_for
from pcap_zmq.sources.savefile import SavefileSource
from pcap_zmq.stages.encoder import Encoder
from pcap_zmq.telemetry import Reporter, SenderReport

logger = logging.getLogger(__name__)

MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True)
class NflogOptions:
    """Which groups, and how the kernel hands their packets over."""

    groups: tuple[int, ...]
    snaplen: int = limits.SNAPLEN.default
    nlbufsiz: int = limits.NLBUFSIZ.default
    qthreshold: int = limits.QTHRESHOLD.default
    qtimeout_cs: int | None = None
    """None: half of the batch age."""
    rcvbuf: int = limits.RCVBUF.default


@dataclass(frozen=True, slots=True)
class SavefileOptions:
    """Which savefile; "-": standard input."""

    path: str


SourceOptions: TypeAlias = NflogOptions | SavefileOptions


@dataclass(frozen=True, slots=True)
class SendConfig:
    """What `pcap-zmq-send` is asked to do. Watermarks in bytes per second."""

    source: SourceOptions
    endpoint: str
    bind: bool = False
    name: str = field(default_factory=socket.gethostname)
    batch_bytes: int = options.BATCH_BYTES.default
    batch_age_ns: int = options.BATCH_AGE_NS.default
    low_watermark: int = options.LOW_WATERMARK.default
    high_watermark: int = options.HIGH_WATERMARK.default
    codec: Codec = Codec.ZLIB
    level: int | None = None
    send_queue: int = options.SEND_QUEUE.default
    user: str | None = None
    linger_ns: int = options.LINGER_NS.default
    report_ns: int = options.REPORT_NS.default

    def check(self) -> None:
        """Raises ConfigError for a value out of bounds."""
        options.BATCH_BYTES.check("--batch-bytes", self.batch_bytes)
        options.BATCH_AGE_NS.check("--batch-age (ns)", self.batch_age_ns)
        options.LOW_WATERMARK.check("--low-watermark", self.low_watermark)
        options.HIGH_WATERMARK.check("--high-watermark", self.high_watermark)
        options.SEND_QUEUE.check("--send-queue", self.send_queue)
        options.LINGER_NS.check("--linger (ns)", self.linger_ns)
        options.REPORT_NS.check("--report (ns)", self.report_ns)
        if self.batch_bytes > self.send_queue:
            raise ConfigError(
                f"--batch-bytes {self.batch_bytes} is more than --send-queue "
                f"{self.send_queue} holds"
            )
        self._check_source()
        if not self.name:
            raise ConfigError("--name is empty")
        try:
            self.name.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"--name {self.name!r} is no UTF-8") from error

    def _check_source(self) -> None:
        if not isinstance(self.source, NflogOptions):
            return
        options.SNAPLEN.check("--snaplen", self.source.snaplen)
        options.NLBUFSIZ.check("--nlbufsiz", self.source.nlbufsiz)
        options.QTHRESHOLD.check("--qthreshold", self.source.qthreshold)
        options.RCVBUF.check("--rcvbuf", self.source.rcvbuf)
        qtimeout_cs = self.source.qtimeout_cs
        if qtimeout_cs is None:
            qtimeout_cs = qtimeout_for(self.batch_age_ns)
        options.QTIMEOUT_CS.check("--qtimeout", qtimeout_cs)
        if self.user is not None and 4 * qtimeout_cs * NS_PER_CS > self.linger_ns:
            raise ConfigError(
                f"a flush time of {qtimeout_cs}/100 s (--qtimeout, or half of "
                "--batch-age) is too long for --linger: without root the "
                "kernel cannot be told to give up what it holds at the end; make "
                "--linger four times as long, or leave --user out"
            )


class Send:
    """Entered, it opens everything and gives up root; then it runs once, until the
    source ends or a signal asks for the end."""

    def __init__(self, config: SendConfig) -> None:
        config.check()
        sockets.check_endpoint(config.endpoint, bind=config.bind)
        self._config = config
        self._clock = SystemClock()
        self._waits = isinstance(config.source, SavefileOptions)
        self._open = ExitStack()
        self._has_ended = False
        self.counters = SenderCounters()
        self._encoder = Encoder(
            # A file waits, so nothing of it has to be dropped.
            Shaper(config.low_watermark, 0 if self._waits else config.high_watermark),
            config.codec,
            config.level,
            self.counters,
        )

    def __enter__(self) -> Self:
        keep_freed_memory()
        with ExitStack() as opened:
            self._source = opened.enter_context(closing(self._open_source()))
            context = opened.enter_context(zmq.Context())
            self._sink = opened.enter_context(
                closing(self._open_sink(context, self._source.linktype))
            )
            if self._config.user is not None:
                drop_to(self._config.user)
            for warning in self._source.warnings:
                logger.warning("%s", warning)
            self._pipeline = Pipeline(
                self._source,
                self._encoder,
                self._sink,
                drop=None if self._waits else self._drop,
                linger_ns=self._config.linger_ns,
                clock=self._clock,
                poller=Poller(),
            )
            self._report = SenderReport(self.counters, self._held_packets)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def run(self, stop: Stop) -> None:
        """Raises what goes wrong; what was read from a file before that is delivered
        first."""
        reporter = Reporter(self._report, self._config.report_ns, self._clock.now())
        self._pipeline.run(stop, [reporter])
        self._sink.abandon()
        left = self._source.held_packets + count_packets(self._pipeline.held)
        self.counters.dropped[Reason.SHUTDOWN] += left
        self._has_ended = True
        if self._source.failure is not None:
            raise self._source.failure

    def totals(self) -> str:
        """What has happened altogether, for people."""
        return self._report.totals()

    def _open_source(self) -> NflogSource | SavefileSource:
        config = self._config
        if isinstance(config.source, SavefileOptions):
            return SavefileSource(
                config.source.path,
                batch_bytes=config.batch_bytes,
                batch_age_ns=config.batch_age_ns,
                counters=self.counters,
            )
        return NflogSource(
            config.source.groups,
            batch_bytes=config.batch_bytes,
            batch_age_ns=config.batch_age_ns,
            snaplen=config.source.snaplen,
            nlbufsiz=config.source.nlbufsiz,
            qthreshold=config.source.qthreshold,
            qtimeout_cs=config.source.qtimeout_cs,
            rcvbuf=config.source.rcvbuf,
            counters=self.counters,
        )

    def _open_sink(
        self, context: zmq.Context[zmq.Socket[bytes]], linktype: int
    ) -> LinkSink:
        config = self._config
        link = SenderLink(
            StreamId(sender_id(config), self._clock.now().wall_ns),
            config.name,
            linktype,
            config.send_queue,
            self.counters,
        )
        return LinkSink(
            context,
            config.endpoint,
            bind=config.bind,
            link=link,
            counters=self.counters,
        )

    def _held_packets(self) -> int:
        if self._has_ended:
            return 0
        return (
            self._source.held_packets
            + count_packets(self._pipeline.held)
            + self._sink.held_packets
        )

    def _drop(self, item: EncodedBatch) -> None:
        self.counters.dropped[Reason.SEND_QUEUE_FULL] += item.count


def sender_id(config: SendConfig) -> bytes:
    """The same 16 octets whenever this sender starts on this host; new ones for what is
    on standard input, of which there may be several at a time."""
    if config.source == SavefileOptions("-"):
        return uuid.uuid4().bytes
    try:
        machine = MACHINE_ID.read_text().strip()
    except OSError:
        machine = f"{uuid.getnode():012x}"
    identity = f"{machine}/{config.name}/{config.source}"
    return uuid.uuid5(uuid.NAMESPACE_OID, identity).bytes
