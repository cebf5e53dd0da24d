"""Runs a tool for a command: logs, signals, totals, and errors as one line."""

import logging
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import click

from pcap_zmq import __version__
from pcap_zmq.cli import exits
from pcap_zmq.errors import PcapZmqError

Command = TypeVar("Command", bound=Callable[..., Any])

LOG_LEVELS = ("debug", "info", "warning", "error")


class Tool(Protocol):
    """What a command runs."""

    def run(self, stop: Any) -> str:
        """Until done or stopped; returns the totals."""


def common_options(command: Command) -> Command:
    """What every command has."""
    for option in (
        click.option(
            "--log-level",
            type=click.Choice(LOG_LEVELS),
            default="info",
            show_default=True,
            help="Least severe messages to write to stderr.",
        ),
        click.version_option(__version__, package_name="pcap-zmq"),
        click.help_option("-h", "--help"),
    ):
        command = option(command)
    return command


def run(make: Callable[[], Tool], log_level: str) -> None:
    """Makes a tool and runs it; ends the process with the code that fits."""
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.poll import Stop

    logging.basicConfig(
        level=log_level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        tool = make()
        stop = Stop()
        stop.install()
        totals = tool.run(stop)
    except PcapZmqError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(exits.code_for(error))
    click.echo(f"totals: {totals}", err=True)
    sys.exit(exits.DONE)
