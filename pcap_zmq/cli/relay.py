"""The command pcap-zmq relay: flags to RelayConfig."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli.command import tool_command
from pcap_zmq.cli.exporting import export_options, exports_of
from pcap_zmq.cli.keying import server_key_options
from pcap_zmq.cli.options import duration, quantity_option, size
from pcap_zmq.cli.running import run

if TYPE_CHECKING:
    from pcap_zmq.tools.relay import Relay

CODECS = ("keep", "none", "zlib", "zstd", "lz4")
SPOOL_DROPS = ("newest", "oldest")

_PATH = click.Path(path_type=Path)


@tool_command("relay")
@click.argument("address")
@click.argument("endpoint")
@click.option(
    "--connect", is_flag=True, help="Connect to ADDRESS, where a sender listens."
)
@click.option("--bind", is_flag=True, help="Listen on ENDPOINT; the next hop connects.")
@click.option(
    "--status",
    metavar="ADDRESS",
    help="Answer pcap-zmq status here, too; with --connect, only here.",
)
@click.option(
    "--name",
    metavar="NAME",
    help="What the next hop calls this relay. [default: the host's name]",
)
@click.option(
    "--codec",
    type=click.Choice(CODECS),
    default="keep",
    show_default=True,
    help="keep: batches go as they come; none: nothing goes compressed; else what is "
    "not compressed becomes so.",
)
@click.option(
    "--level",
    type=int,
    help="How hard to compress: zlib 0 to 3 [1], zstd 1 to 19 [1], lz4 0 to 12 [0].",
)
@click.option(
    "--recompress",
    is_flag=True,
    help="With --codec: also what another codec has compressed.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Look into every batch, and drop here what is malformed.",
)
@quantity_option(
    "--receive-queue",
    size(options.RECEIVE_QUEUE),
    "Octets taken that neither the next hop has acknowledged nor the spool has on "
    "disk, shared among the senders.",
)
@quantity_option(
    "--send-queue",
    size(options.SEND_QUEUE),
    "Octets held in memory for a next hop that is away or slow; beyond, the spool or "
    "the senders hold theirs.",
)
@click.option(
    "--spool",
    metavar="DIR",
    type=_PATH,
    help="Hold on disk what the send queue has no room for, over restarts too; what is "
    "there its sender may forget.",
)
@quantity_option(
    "--spool-size", size(options.SPOOL_SIZE), "Octets that the spool may hold."
)
@click.option(
    "--spool-drop",
    type=click.Choice(SPOOL_DROPS),
    default="newest",
    show_default=True,
    help="When the spool is full: newest takes no more, so the senders hold theirs; "
    "oldest makes room.",
)
@quantity_option(
    "--linger",
    duration(options.LINGER_NS),
    "After SIGTERM or SIGINT: how long to go on relaying what is held.",
)
@server_key_options
@click.option(
    "--next-key",
    type=_PATH,
    metavar="FILE",
    help="Our secret certificate towards the next hop. [default: that of --key]",
)
@click.option(
    "--peer-key",
    type=_PATH,
    metavar="FILE",
    help="The next hop's public certificate.",
)
@click.option("--user", metavar="NAME", help="Become this user first.")
@quantity_option(
    "--report", duration(options.REPORT_NS), "How often to log a line; 0: never."
)
@export_options
def relay(address: str, endpoint: str, **flags: Any) -> None:
    """Take packets from senders on ADDRESS and send them on to ENDPOINT.

    ADDRESS and ENDPOINT are tcp://HOST:PORT or ipc://PATH. The senders are
    pcap-zmq-send or other relays; at ENDPOINT, the next hop, is a pcap-zmq-recv or
    another relay.

    A batch is acknowledged to its sender when the next hop has acknowledged it, or the
    spool has it on disk. pcap-zmq status ADDRESS shows each sender; at the next hop
    this relay has a line with the sums. Exit codes: 0 done, 1 failed while running, 2
    usage, 3 permission, 4 peer or format.
    """
    run(lambda: _make(address, endpoint, flags))


def _make(address: str, endpoint: str, flags: dict[str, Any]) -> "Relay":
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.formats.codec import Codec
    from pcap_zmq.tools.credentials import ClientKeys, ServerKeys
    from pcap_zmq.tools.relay import Relay
    from pcap_zmq.tools.relay_config import Recoding, RelayConfig

    codec = flags.pop("codec")
    recoding = Recoding(
        codec=None if codec == "keep" else Codec[codec.upper()],
        level=flags.pop("level"),
        recompress=flags.pop("recompress"),
        checks=flags.pop("check"),
    )
    key, allow = flags.pop("key"), flags.pop("allow")
    next_key, peer_key = flags.pop("next_key"), flags.pop("peer_key")
    insecure = flags.pop("insecure")
    if next_key is None and peer_key is not None:
        next_key = key
    if flags["name"] is None:
        del flags["name"]
    return Relay(
        RelayConfig(
            address,
            endpoint,
            recoding=recoding,
            # One of the two sides may do with keys, and the other without.
            keys=ServerKeys(key, allow, insecure and key is None),
            next_keys=ClientKeys(next_key, peer_key, insecure and next_key is None),
            linger_ns=flags.pop("linger"),
            report_ns=flags.pop("report"),
            exports=exports_of(flags),
            spool_drops_oldest=flags.pop("spool_drop") == "oldest",
            **flags,
        )
    )
