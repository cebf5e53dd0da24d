"""What `pcap-zmq-send` is asked to do, and whether that makes sense."""

import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from nflog_ffi import limits
from pcap_zmq import options
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.codec import Codec
from pcap_zmq.metrics.exporters import ExportOptions
from pcap_zmq.policy.shed import How
from pcap_zmq.sources.nflog import NS_PER_CS, qtimeout_for
from pcap_zmq.tools.credentials import ClientKeys

ENDPOINTS_MAX = 64
"""Receivers of one sender: each has a queue of its own."""


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
    linktype: int = field(default=linktypes.RAW, repr=False)
    """Not what a sender is known by."""


@dataclass(frozen=True, slots=True)
class SavefileOptions:
    """Which savefile; "-": standard input."""

    path: str


SourceOptions: TypeAlias = NflogOptions | SavefileOptions


@dataclass(frozen=True, slots=True)
class SendConfig:
    """What `pcap-zmq-send` is asked to do. Watermarks in bytes per second. others: more
    endpoints; balance or copy: what they get. other_peer_keys: their certificates, in
    their order; none where they have the first one's."""

    source: SourceOptions
    endpoint: str
    others: tuple[str, ...] = ()
    balance: bool = False
    balance_inner: bool = False
    copy: bool = False
    failover_ns: int = options.FAILOVER_NS.default
    other_peer_keys: tuple[Path, ...] = ()
    bind: bool = False
    name: str = field(default_factory=socket.gethostname)
    batch_bytes: int = options.BATCH_BYTES.default
    batch_age_ns: int = options.BATCH_AGE_NS.default
    low_watermark: int = options.LOW_WATERMARK.default
    high_watermark: int = options.HIGH_WATERMARK.default
    shed: How = How.TAIL
    flow_table: int = options.FLOW_TABLE.default
    codec: Codec = Codec.ZLIB
    level: int | None = None
    fix_checksums: bool = False
    segment_mtu: int | None = None
    send_queue: int = options.SEND_QUEUE.default
    spool: Path | None = None
    spool_size: int = options.SPOOL_SIZE.default
    spool_drops_oldest: bool = False
    user: str | None = None
    keys: ClientKeys = field(default_factory=ClientKeys)
    linger_ns: int = options.LINGER_NS.default
    report_ns: int = options.REPORT_NS.default
    exports: ExportOptions = field(default_factory=ExportOptions)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All of them."""
        return (self.endpoint, *self.others)

    @property
    def keys_of_all(self) -> tuple[ClientKeys, ...]:
        """For each endpoint."""
        if not self.other_peer_keys:
            return (self.keys,) * len(self.endpoints)
        others = (replace(self.keys, peer_key=key) for key in self.other_peer_keys)
        return (self.keys, *others)

    def check(self) -> None:
        """Raises ConfigError for a value out of bounds."""
        options.FAILOVER_NS.check("--failover (ns)", self.failover_ns)
        options.BATCH_BYTES.check("--batch-bytes", self.batch_bytes)
        options.BATCH_AGE_NS.check("--batch-age (ns)", self.batch_age_ns)
        options.LOW_WATERMARK.check("--low-watermark", self.low_watermark)
        options.HIGH_WATERMARK.check("--high-watermark", self.high_watermark)
        options.FLOW_TABLE.check("--flow-table", self.flow_table)
        options.SEND_QUEUE.check("--send-queue", self.send_queue)
        if self.segment_mtu is not None:
            options.SEGMENT_MTU.check("--segment", self.segment_mtu)
        options.LINGER_NS.check("--linger (ns)", self.linger_ns)
        options.REPORT_NS.check("--report (ns)", self.report_ns)
        if self.batch_bytes > self.send_queue:
            raise ConfigError(
                f"--batch-bytes {self.batch_bytes} is more than --send-queue "
                f"{self.send_queue} holds"
            )
        self._check_source()
        self._check_spool()
        self._check_endpoints()
        self.exports.check()
        if not self.name:
            raise ConfigError("--name is empty")
        try:
            self.name.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"--name {self.name!r} is no UTF-8") from error

    def _check_endpoints(self) -> None:
        if self.balance and self.copy:
            raise ConfigError("--balance and --copy contradict each other")
        if self.other_peer_keys and len(self.other_peer_keys) != len(self.others):
            raise ConfigError(
                f"--other-peer-key is given {len(self.other_peer_keys)} times, for "
                f"{len(self.others)} ENDPOINTs beyond the first; give none where all "
                "have the key of --peer-key"
            )
        if not self.others:
            return
        if not self.balance and not self.copy:
            raise ConfigError(
                "several ENDPOINTs: say --balance flow, for each flow to one of them, "
                "or --copy, for everything to all"
            )
        if len(set(self.endpoints)) < len(self.endpoints):
            raise ConfigError("an ENDPOINT is given twice")
        if len(self.endpoints) > ENDPOINTS_MAX:
            raise ConfigError(f"more than {ENDPOINTS_MAX} ENDPOINTs")
        if self.spool is not None:
            raise ConfigError(
                "--spool goes with one ENDPOINT; put a pcap-zmq relay with a spool "
                "before each receiver, or start a sender for each"
            )

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
        if self.source.linktype not in limits.LINKTYPES:
            raise ConfigError(
                f"--linktype {linktypes.describe(self.source.linktype)} is none that "
                "NFLOG's packets can have: raw, nflog or ethernet"
            )
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
