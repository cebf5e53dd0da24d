"""The command pcap-zmq dispatch: queued capture files as one stream."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq.cli.command import tool_command
from pcap_zmq.cli.progress import Bar
from pcap_zmq.cli.redis import redis_of, redis_options
from pcap_zmq.cli.running import run
from pcap_zmq.cli.way_out import file_tool_config, way_out_options

if TYPE_CHECKING:
    from pcap_zmq.tools.dispatch import Dispatch

_PATH = click.Path(path_type=Path)

APPROVE = ("auto", "ask", "control")


@tool_command("dispatch")
@click.argument("paths", nargs=-1)
@click.argument("output")
@click.option(
    "--approve",
    type=click.Choice(APPROVE),
    default="auto",
    show_default=True,
    help="Who says of each file whether it may go: nobody has to, somebody at the "
    "terminal, or somebody on the control socket (pcap-zmq queue).",
)
@click.option(
    "--control",
    type=_PATH,
    metavar="SOCKET",
    help="Where pcap-zmq queue finds this dispatch: a Unix socket of mode 0600.",
)
@click.option(
    "--watch",
    multiple=True,
    metavar="FOLDER",
    help="Take up files as they are completed in FOLDER, or fit a pattern of names in "
    "one, and keep running.",
)
@click.option(
    "--stay", is_flag=True, help="Keep running when the queue is empty: more is added."
)
@click.option(
    "--checkpoint",
    type=_PATH,
    metavar="FILE",
    help="Keep here where the stream stands, to the packet.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on where --checkpoint says; PATHS that are in it are not queued again.",
)
@click.option(
    "--merge",
    is_flag=True,
    help="Put packets of files that overlap in order by their times.",
)
@redis_options
@way_out_options
def dispatch(output: str, **flags: Any) -> None:
    """Feed capture files PATHS, one after the other, as one uninterrupted stream to
    OUTPUT, and hold each back until it is allowed.

    PATHS are files, folders and patterns; pcap or pcapng, plain or compressed by gzip,
    xz, zstd or lz4, also within tar archives. OUTPUT is a FIFO, a savefile, -,
    pcap-over-ip://HOST:PORT, exec:COMMAND, or a receiver: tcp://HOST:PORT, ipc://PATH.
    Exit codes: 0 done, 1 some files are broken, 2 usage, 3 permission, 4 peer.
    """

    def make() -> "Dispatch":
        # Here, so that --help loads nothing of it.
        from pcap_zmq.tools.dispatch import Dispatch, DispatchConfig

        flags["redis"] = redis_of(flags)
        tool = file_tool_config(output, flags)
        return Dispatch(DispatchConfig(tool, **flags), Bar("dispatching"))

    run(make)
