"""Runs a tool for a command: logs, signals, totals, and errors as one line."""

import logging
import sys
from collections.abc import Callable
from typing import Any, Protocol, Self, TypeVar

import click

from pcap_zmq import __version__
from pcap_zmq.cli import exits
from pcap_zmq.errors import PcapZmqError

Command = TypeVar("Command", bound=Callable[..., Any])

LOG_LEVELS = ("debug", "info", "warning", "error")


class Tool(Protocol):
    """What a command runs; entered, it has opened all that it needs."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...

    def run(self, stop: Any) -> None:
        """Until done or stopped."""

    def totals(self) -> str:
        """What has happened altogether, for people."""


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
    stop = Stop()
    try:
        with make() as tool:
            # Only now: until then a signal ends the process, even one that waits in
            # open() for the other end of a FIFO.
            stop.install()
            try:
                tool.run(stop)
            finally:
                click.echo(f"totals: {tool.totals()}", err=True)
    except PcapZmqError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(exits.code_for(error))
    sys.exit(exits.DONE)
