"""The options of either end that make packets what they would be on the wire."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pcap_zmq import options
from pcap_zmq.cli.options import number, quantity_option

Command = TypeVar("Command", bound=Callable[..., Any])


def mend_options(command: Command) -> Command:
    """--checksums, --segment."""
    segment = quantity_option(
        "--segment",
        number(options.SEGMENT_MTU),
        "Split packets of more octets as segmentation offload would have done: the "
        "interface's MTU, mostly 1500. [default: none is split]",
        default=None,
    )
    checksums = click.option(
        "--checksums",
        type=click.Choice(options.CHECKSUMS),
        default=options.CHECKSUMS[0],
        show_default=True,
        help="fix: finish those that checksum offload has left unfinished.",
    )
    return checksums(segment(command))


def mending_of(flags: dict[str, Any]) -> dict[str, Any]:
    """What the tools call them; takes the flags out."""
    return {
        "fix_checksums": flags.pop("checksums") == "fix",
        "segment_mtu": flags.pop("segment"),
    }
