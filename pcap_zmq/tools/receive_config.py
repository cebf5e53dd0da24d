"""What `pcap-zmq-recv` is asked to do, and whether that makes sense."""

from dataclasses import dataclass, field

from pcap_zmq import options
from pcap_zmq.errors import ConfigError
from pcap_zmq.metrics.exporters import ExportOptions
from pcap_zmq.tools.credentials import ServerKeys
from pcap_zmq.tools.output_spec import OutputSpec, check_together


@dataclass(frozen=True, slots=True)
class ReceiveConfig:
    """What `pcap-zmq-recv` is asked to do. balance: each flow to one of the outputs,
    rather than everything to each; balance_inner: by what is within tunnels."""

    address: str
    outputs: tuple[OutputSpec, ...]
    balance: bool = False
    balance_inner: bool = False
    connect: bool = False
    status: str | None = None
    nanoseconds: bool = True
    receive_queue: int = options.RECEIVE_QUEUE.default
    reorder_ns: int = options.REORDER_NS.default
    keep: options.Keep | None = None
    overwrite: bool = False
    once: bool = False
    user: str | None = None
    keys: ServerKeys = field(default_factory=ServerKeys)
    max_connections: int = options.MAX_CONNECTIONS.default
    fix_checksums: bool = False
    segment_mtu: int | None = None
    linger_ns: int = options.LINGER_NS.default
    report_ns: int = options.REPORT_NS.default
    exports: ExportOptions = field(default_factory=ExportOptions)

    def check(self) -> None:
        """Raises ConfigError for a value out of bounds."""
        options.RECEIVE_QUEUE.check("--receive-queue", self.receive_queue)
        options.REORDER_NS.check("--reorder (ns)", self.reorder_ns)
        if self.keep is not None:
            options.KEEP_BYTES.check("--keep", self.keep.nbytes)
            if self.keep.age_ns is not None:
                options.KEEP_NS.check("--keep (ns)", self.keep.age_ns)
        options.MAX_CONNECTIONS.check("--max-connections", self.max_connections)
        if self.segment_mtu is not None:
            options.SEGMENT_MTU.check("--segment", self.segment_mtu)
        options.LINGER_NS.check("--linger (ns)", self.linger_ns)
        options.REPORT_NS.check("--report (ns)", self.report_ns)
        check_together(self.outputs)
        if self.balance and len(self.outputs) < 2:
            raise ConfigError("--balance flow wants several OUTPUTs")
        if self.balance_inner and not self.balance:
            raise ConfigError("--balance-inner says how to balance: --balance flow")
        self.exports.check()
