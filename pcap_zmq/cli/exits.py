"""Errors to exit codes: the one table; and their way there."""

from typing import Any

import click

from pcap_zmq.errors import (
    ConfigError,
    FormatError,
    InputError,
    PcapZmqError,
    TransportError,
)

DONE = 0
FAILED = 1
USAGE = 2
PERMISSION = 3
PEER_OR_FORMAT = 4

# The first that fits counts, so the more special come first.
_CODES: tuple[tuple[type[Exception], int], ...] = (
    (PermissionError, PERMISSION),
    (ConfigError, USAGE),
    (FormatError, PEER_OR_FORMAT),
    (TransportError, PEER_OR_FORMAT),
    (InputError, USAGE),
    (PcapZmqError, FAILED),
)


def code_for(error: PcapZmqError) -> int:
    """What the process exits with for this error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


class Refused(click.ClickException):
    """An error of ours on its way to standard error and to the exit code."""

    def __init__(self, error: PcapZmqError) -> None:
        super().__init__(str(error))
        # As click's own errors do.
        self.exit_code = code_for(error)  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        """One line, in the form that was asked for."""
        from pcap_zmq import logs

        logs.say("error", self.message)
