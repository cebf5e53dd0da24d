"""What `pcap-zmq relay` is asked to do, and whether that makes sense."""

import socket
from dataclasses import dataclass, field
from pathlib import Path

from pcap_zmq import options
from pcap_zmq.errors import ConfigError
from pcap_zmq.metrics.exporters import ExportOptions
from pcap_zmq.stages.recode import Recoding as Recoding
from pcap_zmq.tools.credentials import ClientKeys, ServerKeys


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """What `pcap-zmq relay` is asked to do. address: where senders come to; endpoint:
    where the next hop is. keys: towards the senders; next_keys: towards that."""

    address: str
    endpoint: str
    connect: bool = False
    bind: bool = False
    status: str | None = None
    name: str = field(default_factory=socket.gethostname)
    recoding: Recoding = field(default_factory=Recoding)
    receive_queue: int = options.RECEIVE_QUEUE.default
    send_queue: int = options.SEND_QUEUE.default
    spool: Path | None = None
    spool_size: int = options.SPOOL_SIZE.default
    spool_drops_oldest: bool = False
    user: str | None = None
    keys: ServerKeys = field(default_factory=ServerKeys)
    next_keys: ClientKeys = field(default_factory=ClientKeys)
    max_connections: int = options.MAX_CONNECTIONS.default
    linger_ns: int = options.LINGER_NS.default
    report_ns: int = options.REPORT_NS.default
    exports: ExportOptions = field(default_factory=ExportOptions)

    def check(self) -> None:
        """Raises ConfigError for a value out of bounds."""
        options.RECEIVE_QUEUE.check("--receive-queue", self.receive_queue)
        options.SEND_QUEUE.check("--send-queue", self.send_queue)
        options.SPOOL_SIZE.check("--spool-size", self.spool_size)
        options.MAX_CONNECTIONS.check("--max-connections", self.max_connections)
        options.LINGER_NS.check("--linger (ns)", self.linger_ns)
        options.REPORT_NS.check("--report (ns)", self.report_ns)
        self.exports.check()
        if self.spool is not None and self.spool_size < self.send_queue:
            raise ConfigError(
                f"--spool-size {self.spool_size} is less than --send-queue "
                f"{self.send_queue}, which has to fit"
            )
        if self.address == self.endpoint and not self.connect and not self.bind:
            raise ConfigError(
                f"ADDRESS and ENDPOINT are both {self.address}: a relay cannot be its "
                "own next hop"
            )
        if self.recoding.recompress and not self.recoding.codec:
            raise ConfigError("--recompress takes a --codec to compress with")
        if self.recoding.level is not None and not self.recoding.codec:
            raise ConfigError("--level takes a --codec to compress with")
        if not self.name:
            raise ConfigError("--name is empty")
        try:
            self.name.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"--name {self.name!r} is no UTF-8") from error
