"""What `pcap-zmq-recv` is asked to do, and whether that makes sense."""

from dataclasses import dataclass, field

from pcap_zmq import options
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.metrics.exporters import ExportOptions
from pcap_zmq.tools.credentials import ServerKeys

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
