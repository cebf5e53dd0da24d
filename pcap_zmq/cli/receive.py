"""The command pcap-zmq-recv: flags to ReceiveConfig."""

from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli.command import tool_command
from pcap_zmq.cli.exporting import export_options, exports_of
from pcap_zmq.cli.keying import server_key_options, server_keys_of
from pcap_zmq.cli.options import Linktype, duration, quantity_option, size
from pcap_zmq.cli.running import run

if TYPE_CHECKING:
    from pcap_zmq.tools.receive import Receive


@tool_command("recv")
@click.argument("address")
@click.argument("output")
@click.option(
    "--connect", is_flag=True, help="Connect to ADDRESS, where a sender listens."
)
@click.option(
    "--status",
    metavar="ENDPOINT",
    help="Answer pcap-zmq status here, too; with --connect, only here.",
)
@click.option(
    "--linktype",
    type=Linktype(),
    metavar="NAME|NUMBER",
    help="The stream's link type: raw, ethernet, ... [default: the first sender's]",
)
@click.option(
    "--precision",
    type=click.Choice(("nano", "micro")),
    default="nano",
    show_default=True,
    help="Resolution of packet times; micro for readers that know no other.",
)
@quantity_option(
    "--receive-queue",
    size(options.RECEIVE_QUEUE),
    "Octets held for a slow reader, shared among the senders.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace what a regular file OUTPUT holds."
)
@click.option(
    "--once",
    is_flag=True,
    help="Leave when every sender seen has said goodbye and all is written.",
)
@server_key_options
@click.option(
    "--user", metavar="NAME", help="Become this user first: it has to own OUTPUT."
)
@quantity_option(
    "--linger",
    duration(options.LINGER_NS),
    "After SIGTERM or SIGINT: how long to go on writing what is held.",
)
@quantity_option(
    "--report", duration(options.REPORT_NS), "How often to log a line; 0: never."
)
@export_options
def receive(address: str, output: str, **flags: Any) -> None:
    """Receive packets on ADDRESS and write one pcap stream to OUTPUT.

    ADDRESS is tcp://HOST:PORT (tcp://0.0.0.0:5140 for every address) or ipc://PATH.
    OUTPUT is a FIFO (made with mode 0600 where there is nothing), a regular file
    (file:PATH makes one), or - for standard output.

    The FIFO's reader may come late, be slow, leave and come back: each gets a file
    header and whole packets. Meanwhile the senders hold theirs. Exit codes: 0 done, 1
    failed while running, 2 usage, 3 permission, 4 peer or format.
    """
    run(lambda: _make(address, output, flags))


def _make(address: str, output: str, flags: dict[str, Any]) -> "Receive":
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.tools.receive import Receive
    from pcap_zmq.tools.receive_config import ReceiveConfig

    return Receive(
        ReceiveConfig(
            address,
            output,
            keys=server_keys_of(flags),
            nanoseconds=flags.pop("precision") == "nano",
            linger_ns=flags.pop("linger"),
            report_ns=flags.pop("report"),
            exports=exports_of(flags),
            **flags,
        )
    )


def main() -> None:
    """The entry point of pcap-zmq-recv."""
    receive(prog_name="pcap-zmq-recv")
