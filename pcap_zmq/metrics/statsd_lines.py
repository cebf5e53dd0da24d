"""What a snapshot is in statsd: names, labels, and a number each.

Plain statsd knows no labels, so that they become parts of the name; DogStatsD has tags.

Specification: https://github.com/statsd/statsd/blob/master/docs/metric_types.md,
https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/.
"""

import re
from collections.abc import Iterator

from pcap_zmq.errors import ConfigError
from pcap_zmq.metrics.family import Distribution, Kind, Snapshot

PORT = 8125
DEFAULT_PREFIX = "{host}.pcap_zmq"

_COMMON_PREFIX = "pcap_zmq_"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
# A colon is for between key and value, which Datadog allows in values, too.
_NOT_IN_A_TAG = re.compile(r"[^\w.:/-]")
_TAG = re.compile(r"[A-Za-z][\w./-]*:[\w.:/-]+", re.ASCII)

_PROMETHEUS_ONLY = ("_info", "_timestamp_seconds")
"""Ends of names that make sense in its queries only."""

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
Line = tuple[str, Labels, Kind, float]
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


def lines(snapshot: Snapshot) -> Iterator[Line]:
    """All that statsd can make use of."""
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


def plain_name(name: str, labels: Labels) -> str:
    """With the labels' values as further levels, whatever is in them."""
    levels = (_NOT_IN_A_NAME.sub("_", value) or "_" for _, value in labels)
    return ".".join((name, *levels))


def tags_of(labels: Labels) -> list[str]:
    """The labels as DogStatsD's tags, whatever is in them."""
    return [f"{key}:{_NOT_IN_A_TAG.sub('_', value)}" for key, value in labels]


def _distribution(name: str, family: Distribution) -> Iterator[Line]:
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
