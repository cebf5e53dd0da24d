"""What `pcap-zmq-send` is asked to do, and whether that makes sense."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from nflog_ffi import limits
from pcap_zmq import options
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.codec import Codec
from pcap_zmq.metrics.exporters import ExportOptions
from pcap_zmq.sources.nflog import NS_PER_CS, qtimeout_for
from pcap_zmq.tools.credentials import ClientKeys


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
    spool: Path | None = None
    spool_size: int = options.SPOOL_SIZE.default
    spool_drops_oldest: bool = False
    user: str | None = None
    keys: ClientKeys = field(default_factory=ClientKeys)
    linger_ns: int = options.LINGER_NS.default
    report_ns: int = options.REPORT_NS.default
    exports: ExportOptions = field(default_factory=ExportOptions)

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
        self._check_spool()
        self.exports.check()
        if not self.name:
            raise ConfigError("--name is empty")
        try:
            self.name.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"--name {self.name!r} is no UTF-8") from error

    def _check_spool(self) -> None:
        options.SPOOL_SIZE.check("--spool-size", self.spool_size)
        if self.spool is None:
            return
        if isinstance(self.source, SavefileOptions) and self.source.path != "-":
            raise ConfigError(
                "--spool is for NFLOG and standard input: a savefile waits for the "
                "receiver, and is on a disk already"
            )
        if self.spool_size < self.send_queue:
            raise ConfigError(
                f"--spool-size {self.spool_size} is less than --send-queue "
                f"{self.send_queue}, which has to fit"
            )

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
        if 0 < self.linger_ns < 4 * qtimeout_cs * NS_PER_CS:
            raise ConfigError(
                f"a flush time of {qtimeout_cs}/100 s (--qtimeout, or half of "
                "--batch-age) is too long for --linger: without privileges the "
                "kernel cannot be told to give up what it holds at the end; make "
                "--linger four times as long, or 0 to leave that behind"
            )
