"""The command pcap-zmq-recv: flags to ReceiveConfig."""

from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli.command import tool_command
from pcap_zmq.cli.exporting import export_options, exports_of
from pcap_zmq.cli.keying import server_key_options, server_keys_of
from pcap_zmq.cli.mending import mend_options, mending_of
from pcap_zmq.cli.options import (
    KeepType,
    Lines,
    Linktype,
    Words,
    duration,
    quantity_option,
    size,
)
from pcap_zmq.cli.running import run

if TYPE_CHECKING:
    from pcap_zmq.tools.output_spec import OutputSpec
    from pcap_zmq.tools.receive import Receive


@tool_command("recv")
@click.argument("address")
@click.argument("output", metavar="OUTPUT...", nargs=-1, type=Words())
@click.option(
    "--exec",
    "commands",
    type=Lines(),
    metavar="COMMAND",
    multiple=True,
    help="Start COMMAND, and again when it ends, as an OUTPUT: it reads packets from "
    "its standard input. May be given several times.",
)
@click.option(
    "--when-slow",
    type=click.Choice(options.WHEN_SLOW),
    default="wait",
    show_default=True,
    help="When an OUTPUT is slow: wait for it, or drop what it has no time for.",
)
@quantity_option(
    "--output-queue",
    size(options.OUTPUT_QUEUE),
    "Octets that wait for one OUTPUT before it is slow.",
)
@click.option(
    "--balance",
    type=click.Choice(("flow",)),
    help="Each flow to one OUTPUT, both directions to the same. "
    "[default: everything to each]",
)
@click.option(
    "--balance-inner", is_flag=True, help="Go by what is within tunnels, if anything."
)
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
    help="Make packets be of this link type: raw, ethernet, ... "
    "[default: the first sender's]",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(options.FORMATS),
    default=options.FORMATS[0],
    show_default=True,
    help="Of what is written; pcapng tells senders apart, and where something is "
    "missing.",
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
@quantity_option(
    "--reorder",
    duration(options.REORDER_NS),
    "Merge what several senders send by its time; each packet waits at most so long "
    "for others. 0: in the order in which it comes.",
)
@click.option(
    "--keep",
    type=KeepType(),
    metavar="SIZE|DURATION",
    help="Keep the last packets in memory for pcap-zmq query: 256MiB, or 60s and at "
    "most 1GiB. [default: none]",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace what a regular file OUTPUT holds."
)
@click.option(
    "--once",
    is_flag=True,
    help="Leave when every sender seen has said goodbye and all is written.",
)
@mend_options
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
def receive(address: str, output: tuple[str, ...], **flags: Any) -> None:
    """Receive packets on ADDRESS and write them to each OUTPUT.

    ADDRESS is tcp://HOST:PORT (tcp://0.0.0.0:5140 for every address) or ipc://PATH.
    OUTPUT is a FIFO (made with mode 0600 where there is nothing), a regular file
    (file:PATH makes one), - for standard output, or pcap-over-ip://HOST:PORT for
    whoever connects. It may end in options: ,when-slow=drop ,queue=64MiB
    ,linktype=raw ,format=pcapng, and for files ,size= ,age= ,count= ,compress=.

    The FIFO's reader may come late, be slow, leave and come back: each gets a file
    header and whole packets. Meanwhile the senders hold theirs. Exit codes: 0 done, 1
    failed while running, 2 usage, 3 permission, 4 peer or format.
    """
    run(lambda: _make(address, output, flags))


def _make(address: str, output: tuple[str, ...], flags: dict[str, Any]) -> "Receive":
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.tools.receive import Receive
    from pcap_zmq.tools.receive_config import ReceiveConfig

    return Receive(
        ReceiveConfig(
            address,
            _outputs(output, flags),
            balance=flags.pop("balance") is not None,
            keys=server_keys_of(flags),
            nanoseconds=flags.pop("precision") == "nano",
            reorder_ns=flags.pop("reorder"),
            linger_ns=flags.pop("linger"),
            report_ns=flags.pop("report"),
            exports=exports_of(flags),
            **mending_of(flags),
            **flags,
        )
    )


def _outputs(
    output: tuple[str, ...], flags: dict[str, Any]
) -> "tuple[OutputSpec, ...]":
    from dataclasses import replace

    from pcap_zmq.tools.output_spec import (
        DEFAULT,
        WHEN_SLOW,
        parse_command,
        parse_output,
    )

    defaults = replace(
        DEFAULT,
        drops=WHEN_SLOW[flags.pop("when_slow")],
        queue=flags.pop("output_queue"),
        linktype=flags.pop("linktype"),
        format=flags.pop("file_format"),
    )
    outputs = [parse_output(text, defaults) for text in output]
    outputs += [parse_command(text, defaults) for text in flags.pop("commands")]
    if not outputs:
        raise click.MissingParameter(param_hint="'OUTPUT...'", param_type="argument")
    return tuple(outputs)


def main() -> None:
    """The entry point of pcap-zmq-recv."""
    receive(prog_name="pcap-zmq-recv")
