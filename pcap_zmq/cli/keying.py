"""The options for keys: of whoever connects to a receiver, and of the receiver."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pcap_zmq import options
from pcap_zmq.cli.options import number, quantity_option

if TYPE_CHECKING:
    from pcap_zmq.tools.credentials import ClientKeys, ServerKeys

Function = TypeVar("Function", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path)


def client_key_options(function: Function) -> Function:
    """Adds them; the last is the first in the help."""
    for option in (
        click.option(
            "--insecure",
            is_flag=True,
            help="Do without keys, although others may be on the way.",
        ),
        click.option(
            "--peer-key",
            type=_PATH,
            metavar="FILE",
            help="The receiver's public certificate.",
        ),
        click.option(
            "--key",
            type=_PATH,
            metavar="FILE",
            help="Our own secret certificate: see pcap-zmq keygen.",
        ),
    ):
        function = option(function)
    return function


def client_keys_of(flags: dict[str, Any]) -> "ClientKeys":
    """Takes them out of a command's flags."""
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.tools.credentials import ClientKeys

    return ClientKeys(flags.pop("key"), flags.pop("peer_key"), flags.pop("insecure"))


def server_key_options(function: Function) -> Function:
    """Adds them; the last is the first in the help."""
    for option in (
        quantity_option(
            "--max-connections",
            number(options.MAX_CONNECTIONS),
            "Open at a time; beyond, those that say nothing are cut off.",
        ),
        click.option(
            "--insecure",
            is_flag=True,
            help="Do without keys, although others may be on the way.",
        ),
        click.option(
            "--allow",
            type=_PATH,
            metavar="DIR",
            help="Public certificates (*.key) of those who may connect; read again "
            "when they change, and on SIGHUP.",
        ),
        click.option(
            "--key",
            type=_PATH,
            metavar="FILE",
            help="Our own secret certificate: see pcap-zmq keygen.",
        ),
    ):
        function = option(function)
    return function


def server_keys_of(flags: dict[str, Any]) -> "ServerKeys":
    """Takes them out of a command's flags; --max-connections stays."""
    from pcap_zmq.tools.credentials import ServerKeys

    return ServerKeys(flags.pop("key"), flags.pop("allow"), flags.pop("insecure"))
