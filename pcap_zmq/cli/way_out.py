"""The options of commands that make one stream of capture files: where it goes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pcap_zmq import options
from pcap_zmq.cli.keying import client_key_options, client_keys_of
from pcap_zmq.cli.options import Linktype, duration, quantity_option, size

if TYPE_CHECKING:
    from pcap_zmq.tools.file_tool import FileToolConfig

Command = TypeVar("Command", bound=Callable[..., Any])

CODECS = ("zlib", "zstd", "lz4", "none")
PRECISIONS = ("nano", "micro")


def way_out_options(command: Command) -> Command:
    """Adds them; they come after the command's own."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--linktype",
        type=Linktype(),
        metavar="NAME|NUMBER",
        help="Make packets be of this link type: raw, ethernet, ... "
        "[default: the first packet's]",
    ),
    click.option(
        "--format",
        "file_format",
        type=click.Choice(options.FORMATS),
        default=options.FORMATS[0],
        show_default=True,
        help="Of what is written; pcapng takes packets of several link types.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default=PRECISIONS[0],
        show_default=True,
        help="Resolution of packet times; micro for readers that know no other.",
    ),
    click.option(
        "--overwrite", is_flag=True, help="Replace what a regular file OUTPUT holds."
    ),
    click.option(
        "--codec",
        type=click.Choice(CODECS),
        default=CODECS[0],
        show_default=True,
        help="To a receiver: how to compress.",
    ),
    click.option(
        "--level",
        type=int,
        help="How hard to compress: zlib 0 to 3 [1], zstd 1 to 19 [1], lz4 0 to 12 "
        "[0].",
    ),
    quantity_option(
        "--send-queue",
        size(options.SEND_QUEUE),
        "To a receiver: octets held until it has written them.",
    ),
    click.option(
        "--name",
        metavar="NAME",
        help="What a receiver calls this sender. [default: the host's name]",
    ),
    client_key_options,
    click.option("--user", metavar="NAME", help="Become this user once open."),
    quantity_option(
        "--linger",
        duration(options.LINGER_NS),
        "After SIGTERM or SIGINT: how long to go on delivering what is held.",
    ),
    quantity_option(
        "--report",
        duration(options.REPORT_NS),
        "How often to log a line; 0: never.",
        default="0",
    ),
)


def file_tool_config(output: str, flags: dict[str, Any]) -> "FileToolConfig":
    """What they mean together; takes them out of a command's flags."""
    # Here, so that --help does not load ZeroMQ.
    from dataclasses import replace

    from pcap_zmq.formats.codec import Codec
    from pcap_zmq.tools.file_tool import FileToolConfig
    from pcap_zmq.tools.output_spec import DEFAULT
    from pcap_zmq.tools.way_out import WayOutConfig

    name = flags.pop("name")
    return FileToolConfig(
        WayOutConfig(
            output,
            replace(
                DEFAULT,
                linktype=flags.pop("linktype"),
                format=flags.pop("file_format"),
            ),
            nanoseconds=flags.pop("precision") == "nano",
            overwrite=flags.pop("overwrite"),
            keys=client_keys_of(flags),
            codec=Codec[flags.pop("codec").upper()],
            level=flags.pop("level"),
            send_queue=flags.pop("send_queue"),
            **({} if name is None else {"name": name}),
        ),
        user=flags.pop("user"),
        linger_ns=flags.pop("linger"),
        report_ns=flags.pop("report") or 0,
    )
