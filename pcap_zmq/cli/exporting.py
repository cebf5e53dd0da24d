"""The options that say who shall be shown the numbers, for every tool that has some."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pcap_zmq.metrics.exporters import ExportOptions

Function = TypeVar("Function", bound=Callable[..., Any])


def export_options(function: Function) -> Function:
    """Adds them; `exports_of` takes what they say."""
    # The last decorator is the first in the help.
    for option in (
        click.option(
            "--statsd-tag",
            "statsd_tags",
            multiple=True,
            metavar="KEY:VALUE",
            help="Tag of every statsd metric, any number of times: makes it DogStatsD, "
            "with labels as tags; without, they are parts of the names.",
        ),
        click.option(
            "--statsd-prefix",
            default="{host}.pcap_zmq",
            show_default=True,
            metavar="PREFIX",
            help="What every statsd name begins with; {host} is this host's name.",
        ),
        click.option(
            "--statsd",
            metavar="HOST[:PORT]",
            help="Send metrics to this statsd server every 10 s; port 8125 if none is "
            "named.",
        ),
        click.option(
            "--metrics",
            metavar="[HOST:]PORT",
            help="Show metrics to Prometheus at http://HOST:PORT/metrics; HOST is "
            "127.0.0.1 if none is named, IPv6 in brackets.",
        ),
    ):
        function = option(function)
    return function


def exports_of(flags: dict[str, Any]) -> "ExportOptions":
    """Takes them out of the flags of a command."""
    # Here, so that --help does not load what exports.
    from pcap_zmq.metrics.exporters import ExportOptions

    return ExportOptions(
        metrics=flags.pop("metrics"),
        statsd=flags.pop("statsd"),
        statsd_prefix=flags.pop("statsd_prefix"),
        statsd_tags=flags.pop("statsd_tags"),
    )
