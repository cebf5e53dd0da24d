"""Sends snapshots to a statsd server: counters as what was added, gauges as they are.

Theory of operation. Every few seconds the loop takes a snapshot and sends it in a few
UDP datagrams, without waiting for anything; what the network or a dead server loses is
lost. What it is called there: `statsd_lines.py`.
"""

import logging
import socket
from collections.abc import Iterable, Mapping, Sequence

from datadog.dogstatsd.base import DogStatsd

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.errors import TransportError
from pcap_zmq.metrics.address import Address
from pcap_zmq.metrics.family import Kind, Observe, Snapshot
from pcap_zmq.metrics.statsd_lines import Key, Line, lines, plain_name, tags_of
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch

logger = logging.getLogger(__name__)
_library = logging.getLogger("datadog.dogstatsd")

INTERVAL_NS = 10 * NS_PER_S
"""As often as statsd itself passes on what it gathered, by default."""


class _Complaints(logging.Filter):
    """Keeps the library quiet, whose warnings come with every datagram and name no
    server; ours do better."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = False

    def filter(self, record: logging.LogRecord) -> bool:
        self.heard = self.heard or record.levelno >= logging.WARNING
        return False


class StatsdExporter:
    """Sends to `address` until closed, the last of it then. tags: of every metric;
    none: plain statsd.

    Raises TransportError where the server's name is not known.
    """

    def __init__(
        self,
        address: Address,
        observe: Observe,
        now: Instant,
        *,
        prefix: str,
        tags: Sequence[str],
    ) -> None:
        self._address = address
        self._client = DogStatsd(
            # The library would ask the DNS again whenever it opens its socket: there
            # is no time for that in the loop.
            host=_resolve(address),
            port=address.port,
            namespace=prefix.strip(".") or None,
            disable_telemetry=True,
            origin_detection_enabled=False,
            disable_aggregation=True,
            disable_buffering=True,
            track_instance=False,
        )
        self._complaints = _Complaints()
        _library.addFilter(self._complaints)
        # Instead of what the library finds in the environment, which is not ours.
        self._client.constant_tags = list(tags)
        self._observe = observe
        self._knows_labels = bool(tags)
        # An earlier run's packets are in some of them from the start.
        self._last: dict[Key, float] = {
            (name, labels): number for name, labels, _, number in lines(observe(now))
        }
        self._due_ns = now.mono_ns + INTERVAL_NS

    def serve(self, now: Instant) -> None:
        """Sends a snapshot when it is time."""
        if now.mono_ns >= self._due_ns:
            self._due_ns = now.mono_ns + INTERVAL_NS
            self._send(self._observe(now))

    def due(self) -> int | None:
        """When the next snapshot goes out."""
        return self._due_ns

    def watch(self) -> Iterable[Watch]:
        """Nothing but time gives it a turn."""
        return ()

    def close(self, now: Instant) -> None:
        """Sends what was added since the last time."""
        self._send(self._observe(now))
        self._client.close_socket()
        _library.removeFilter(self._complaints)

    def _send(self, snapshot: Snapshot) -> None:
        was_refused, self._complaints.heard = self._complaints.heard, False
        # Whoever is not there any more is forgotten.
        last, self._last = self._last, {}
        self._client.open_buffer()
        try:
            for line in lines(snapshot):
                self._put(line, last)
        finally:
            # Sends what is left in it.
            self._client.close_buffer()
        if self._complaints.heard and not was_refused:
            logger.warning(
                "the statsd server at %s does not take what it is sent; tries go on",
                self._address,
            )

    def _put(self, line: Line, last: Mapping[Key, float]) -> None:
        name, labels, kind, number = line
        series = (name, labels)
        tags: list[str] = []
        if self._knows_labels:
            tags = tags_of(labels)
        else:
            name = plain_name(name, labels)
        if kind is Kind.COUNTER:
            # What a sender counted before it came here was not added now.
            added = number - last.get(series, number)
            self._last[series] = number
            if added > 0:
                self._client.increment(name, added, tags=tags)
            return
        if number < 0 and not self._knows_labels:
            # Plain statsd takes a sign for a change of the gauge.
            self._client.gauge(name, 0)
        self._client.gauge(name, number, tags=tags)


def _resolve(address: Address) -> str:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no host name"
        raise TransportError(
            f"--statsd {address}: {why}; name a host that is known here"
        ) from error
    # The older first, as the library itself has it: few servers listen on both.
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return str(found[0][4][0])
