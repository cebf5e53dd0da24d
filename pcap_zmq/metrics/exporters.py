"""Opens the exporters that were asked for, and keeps them together."""

import logging
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pcap_zmq.errors import ConfigError
from pcap_zmq.metrics.address import Address, parse_address
from pcap_zmq.metrics.family import Observe
from pcap_zmq.metrics.statsd_lines import (
    DEFAULT_PREFIX,
    PORT,
    check_prefix,
    check_tag,
    expand_prefix,
)
from pcap_zmq.packet import Instant
from pcap_zmq.ports import Attendant

if TYPE_CHECKING:
    from pcap_zmq.metrics.prometheus import PrometheusExporter
    from pcap_zmq.metrics.statsd import StatsdExporter

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
"""Who wants to be seen from elsewhere says so."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Who shall be shown the numbers."""

    metrics: str | None = None
    """HOST:PORT, where Prometheus finds them."""
    statsd: str | None = None
    """HOST:PORT, where they are sent to."""
    statsd_prefix: str = DEFAULT_PREFIX
    statsd_tags: tuple[str, ...] = ()

    @property
    def are_wanted(self) -> bool:
        """Whether anybody shall be shown anything."""
        return self.metrics is not None or self.statsd is not None

    def check(self) -> None:
        """Raises ConfigError for what cannot be meant."""
        self.metrics_address()
        self.statsd_address()
        check_prefix("--statsd-prefix", self.statsd_prefix)
        for tag in self.statsd_tags:
            check_tag("--statsd-tag", tag)
        if self.statsd_tags and self.statsd is None:
            raise ConfigError("--statsd-tag tells nobody anything without --statsd")

    def load(self) -> None:
        """Loads what exporting takes, before root is given up: then it may not be
        readable any more. Raises ConfigError for a library that is not installed."""
        if self.are_wanted:
            # Python looks for this codec when it first meets a host's name.
            "localhost".encode("idna")
        if self.metrics is not None:
            _load_prometheus()
        if self.statsd is not None:
            _load_statsd()

    def metrics_address(self) -> Address | None:
        """Where to listen; port 0: a free one."""
        if self.metrics is None:
            return None
        return parse_address("--metrics", self.metrics, host=LOOPBACK)

    def statsd_address(self) -> Address | None:
        """Where to send to."""
        if self.statsd is None:
            return None
        address = parse_address("--statsd", self.statsd, host=LOOPBACK, port=PORT)
        if not address.port:
            raise ConfigError(f"--statsd {self.statsd!r} cannot be sent to: port 0")
        return address


def _load_prometheus() -> "type[PrometheusExporter]":
    # Here, since few need them, as below.
    try:
        from pcap_zmq.metrics.prometheus import PrometheusExporter
    except ImportError as error:
        raise _missing("--metrics", "metrics") from error
    return PrometheusExporter


def _load_statsd() -> "type[StatsdExporter]":
    try:
        from pcap_zmq.metrics.statsd import StatsdExporter
    except ImportError as error:
        raise _missing("--statsd", "statsd") from error
    return StatsdExporter


def _missing(option: str, extra: str) -> ConfigError:
    return ConfigError(f"{option} needs a library: pip install 'pcap-zmq[{extra}]'")


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> Instant: ...


class Exporter(Attendant, Protocol):
    """What shows or sends the numbers of its observer."""

    def close(self, now: Instant) -> None:
        """Sends what is left to send, and releases everything."""


class Exporters:
    """All that were asked for, open. Raises ConfigError for a library that is missing,
    TransportError for an address that cannot be had."""

    def __init__(self, options: ExportOptions, observe: Observe, clock: Clock) -> None:
        self._clock = clock
        self.attendants: list[Exporter] = []
        with ExitStack() as opened:
            opened.callback(self.close)
            self._open(options, observe)
            opened.pop_all()

    def _open(self, options: ExportOptions, observe: Observe) -> None:
        now = self._clock.now()
        address = options.metrics_address()
        if address is not None:
            prometheus = _load_prometheus()(address, observe, now)
            self.attendants.append(prometheus)
            logger.info("metrics at %s", prometheus.url)
        address = options.statsd_address()
        if address is not None:
            exporter = _load_statsd()(
                address,
                observe,
                now,
                prefix=expand_prefix(options.statsd_prefix, socket.gethostname()),
                tags=options.statsd_tags,
            )
            self.attendants.append(exporter)
            logger.info("metrics go to statsd at %s", address)

    def close(self) -> None:
        """The last numbers are sent; twice is harmless."""
        now = self._clock.now()
        while self.attendants:
            self.attendants.pop().close(now)
