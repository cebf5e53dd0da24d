"""Errors to exit codes: the one table."""

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
