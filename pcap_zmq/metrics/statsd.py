"""Sends snapshots to a statsd server: counters as what was added, gauges as they are.

Theory of operation. Every few seconds the loop takes a snapshot and sends it in a few
UDP datagrams, without waiting for anything; what the network or a dead server loses is
lost. Plain statsd knows no labels, so that they become parts of the name; DogStatsD
does, where tags were asked for.

Specification: https://github.com/statsd/statsd/blob/master/docs/metric_types.md,
https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/.
"""

import logging
import re
import socket
from collections.abc import Iterable, Iterator, Sequence

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.errors import ConfigError, TransportError
from pcap_zmq.metrics.address import Address
from pcap_zmq.metrics.family import Distribution, Kind, Observe, Snapshot
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch

logger = logging.getLogger(__name__)
_library = logging.getLogger("datadog.dogstatsd")

PORT = 8125
INTERVAL_NS = 10 * NS_PER_S
"""As often as statsd itself passes on what it gathered, by default."""

DEFAULT_PREFIX = "{host}.pcap_zmq"

_COMMON_PREFIX = "pcap_zmq_"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
# A colon is for between key and value, which Datadog allows in values, too.
_NOT_IN_A_TAG = re.compile(r"[^\w.:/-]")
_TAG = re.compile(r"[A-Za-z][\w./-]*:[\w.:/-]+", re.ASCII)

_PROMETHEUS_ONLY = ("_info", "_timestamp_seconds")
"""Ends of names that make sense in its queries only."""

_Labels = tuple[tuple[str, str], ...]
_Key = tuple[str, _Labels]
_Line = tuple[str, _Labels, Kind, float]
"""A name, labels, a kind and a number."""


def expand_prefix(prefix: str, host: str) -> str:
    """What stands before every name; {host} is this host's name, whose dots would
    otherwise be taken for levels."""
    return prefix.replace("{host}", _NOT_IN_A_NAME.sub("_", host))


def check_prefix(option: str, prefix: str) -> None:
    """Raises ConfigError for what would not be read as part of a name."""
    if not re.fullmatch(r"[\w.-]*", prefix.replace("{host}", "h"), re.ASCII):
        raise ConfigError(
            f"{option} {prefix!r} has more than letters, digits, and _ - . in it"
        )


def check_tag(option: str, tag: str) -> None:
    """Raises ConfigError for what is no tag."""
    if not _TAG.fullmatch(tag):
        raise ConfigError(
            f"{option} {tag!r} is no tag; write KEY:VALUE, of letters, digits, and "
            "_ - . / :"
        )


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

    Raises ConfigError where the client library is not installed, TransportError where
    the server's name is not known.
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
        try:
            from datadog.dogstatsd.base import DogStatsd
        except ImportError as error:
            raise ConfigError(
                "--statsd needs a library: pip install 'pcap-zmq[statsd]'"
            ) from error
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
        self._last: dict[_Key, float] = {
            (name, labels): number for name, labels, _, number in _lines(observe(now))
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
        self._client.open_buffer()
        try:
            for line in _lines(snapshot):
                self._put(line)
        finally:
            # Sends what is left in it.
            self._client.close_buffer()
        if self._complaints.heard and not was_refused:
            logger.warning(
                "the statsd server at %s does not take what it is sent; tries go on",
                self._address,
            )

    def _put(self, line: _Line) -> None:
        name, labels, kind, number = line
        tags: list[str] = []
        series = (name, labels)
        if self._knows_labels:
            tags = [f"{key}:{_NOT_IN_A_TAG.sub('_', value)}" for key, value in labels]
        else:
            parts = (_NOT_IN_A_NAME.sub("_", value) or "_" for _, value in labels)
            name = ".".join((name, *parts))
        if kind is Kind.COUNTER:
            # What a sender counted before it came here was not added now.
            added = number - self._last.get(series, number)
            self._last[series] = number
            if added > 0:
                self._client.increment(name, added, tags=tags)
            return
        if number < 0 and not self._knows_labels:
            # Plain statsd takes a sign for a change of the gauge.
            self._client.gauge(name, 0)
        self._client.gauge(name, number, tags=tags)


def _lines(snapshot: Snapshot) -> Iterator[_Line]:
    for family in snapshot:
        metric = family.metric
        if metric.name.endswith(_PROMETHEUS_ONLY):
            continue
        name = _name(metric.name)
        if isinstance(family, Distribution):
            yield from _distribution(name, family)
            continue
        for labels, number in family.samples:
            named = tuple(zip(metric.labels, labels, strict=True))
            yield name, named, metric.kind, number


def _distribution(name: str, family: Distribution) -> Iterator[_Line]:
    bounds = (*map(str, family.bounds), "inf")
    for bound, count in zip(bounds, family.counts, strict=True):
        yield f"{name}_bucket", (("le", bound),), Kind.COUNTER, count
    yield f"{name}_count", (), Kind.COUNTER, family.counts[-1]
    yield f"{name}_sum", (), Kind.COUNTER, family.sum


def _name(metric: str) -> str:
    """pcap_zmq_sender_held_packets is sender.held_packets here; that a counter is one
    statsd is told by its type."""
    end, _, rest = metric.removeprefix(_COMMON_PREFIX).partition("_")
    return f"{end}.{rest.removesuffix('_total')}"


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
