"""Runs a tool for a command: signals, totals, and errors as one line."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

import click

from pcap_zmq.cli import exits
from pcap_zmq.cli.command import is_rehearsal
from pcap_zmq.errors import PcapZmqError


class Tool(Protocol):
    """What a command runs; entered, it has opened all that it needs."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...

    def run(self, stop: Any) -> None:
        """Until done or stopped."""

    def totals(self) -> str:
        """What has happened altogether, for people."""

    def numbers(self) -> Mapping[str, object]:
        """The same for machines."""


def run(make: Callable[[], Tool]) -> None:
    """Makes a tool and runs it; ends the process with the code that fits. Making it
    opens nothing: that much is done where only the settings are checked, too."""
    if is_rehearsal(click.get_current_context()):
        make()
        return
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq import logs
    from pcap_zmq.poll import Stop
    from pcap_zmq.supervisor import Manager

    stop = Stop()
    try:
        with make() as tool:
            # Only now: until then a signal ends the process, even one that waits in
            # open() for the other end of a FIFO.
            stop.install()
            try:
                tool.run(stop)
            finally:
                logs.say("totals", tool.totals(), tool.numbers())
    except PcapZmqError as error:
        Manager().tell(STOPPING=1, STATUS=f"error: {error}")
        raise exits.Refused(error) from error
    sys.exit(exits.DONE)
