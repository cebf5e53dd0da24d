"""The command pcap-zmq-send: flags to SendConfig."""

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli.command import tool_command
from pcap_zmq.cli.exporting import export_options, exports_of
from pcap_zmq.cli.keying import client_key_options, client_keys_of
from pcap_zmq.cli.mending import mend_options, mending_of
from pcap_zmq.cli.options import (
    Words,
    duration,
    number,
    quantity_option,
    rate,
    size,
)
from pcap_zmq.cli.running import run

if TYPE_CHECKING:
    from pcap_zmq.tools.send import Send
    from pcap_zmq.tools.send_config import SourceOptions

NFLOG_PREFIX = "nflog:"
PCAP_PREFIX = "pcap:"
CODECS = ("zlib", "zstd", "lz4", "none")
SHEDS = ("tail", "flow", "packet")
SPOOL_DROPS = ("newest", "oldest")
LINKTYPES = ("raw", "nflog", "ethernet")


@tool_command("send")
@click.argument("source")
@click.argument("endpoint", metavar="ENDPOINT...", nargs=-1, type=Words())
@click.option(
    "--balance",
    type=click.Choice(("flow",)),
    help="Several ENDPOINTs: each flow to one of them, both directions to the same.",
)
@click.option(
    "--balance-inner", is_flag=True, help="Go by what is within tunnels, if anything."
)
@click.option("--copy", is_flag=True, help="Several ENDPOINTs: everything to all.")
@quantity_option(
    "--failover",
    duration(options.FAILOVER_NS),
    "Several ENDPOINTs: after so long without one, its flows move to the others, or "
    "it is waited for no longer; 0: never.",
)
@click.option("--bind", is_flag=True, help="Listen on ENDPOINT; the receiver connects.")
@click.option(
    "--name",
    metavar="NAME",
    help="What the receiver calls this sender. [default: the host's name]",
)
@quantity_option(
    "--batch-bytes", size(options.BATCH_BYTES), "Octets of a batch at most."
)
@quantity_option(
    "--batch-age",
    duration(options.BATCH_AGE_NS),
    "How long a packet waits for others to travel with.",
)
@quantity_option(
    "--low-watermark",
    rate(options.LOW_WATERMARK),
    "Compress while more than this comes in; 0: never.",
)
@quantity_option(
    "--high-watermark",
    rate(options.HIGH_WATERMARK),
    "Drop what exceeds this; 0: never. A savefile waits instead.",
)
@click.option(
    "--shed",
    type=click.Choice(SHEDS),
    default="tail",
    show_default=True,
    help="What to drop then: the tails of flows, flows whole, or packets as they come.",
)
@quantity_option(
    "--flow-table",
    size(options.FLOW_TABLE),
    "Octets for what --shed tail remembers of flows, 16 for each.",
)
@click.option(
    "--codec",
    type=click.Choice(CODECS),
    default="zlib",
    show_default=True,
    help="How to compress.",
)
@click.option(
    "--level",
    type=int,
    help="How hard to compress: zlib 0 to 3 [1], zstd 1 to 19 [1], lz4 0 to 12 [0].",
)
@quantity_option(
    "--send-queue",
    size(options.SEND_QUEUE),
    "Octets held for a receiver that is away or slow; beyond, the newest are dropped.",
)
@click.option(
    "--spool",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Hold on disk what the send queue has no room for, over restarts too.",
)
@quantity_option(
    "--spool-size", size(options.SPOOL_SIZE), "Octets that the spool may hold."
)
@click.option(
    "--spool-drop",
    type=click.Choice(SPOOL_DROPS),
    default="newest",
    show_default=True,
    help="What is dropped when the spool is full.",
)
@quantity_option(
    "--linger",
    duration(options.LINGER_NS),
    "After SIGTERM or SIGINT: how long to go on delivering what is held.",
)
@mend_options
@client_key_options
@click.option(
    "--other-peer-key",
    "other_peer_keys",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Public certificates of the ENDPOINTs after the first, in their order. "
    "[default: that of --peer-key]",
)
@click.option("--user", metavar="NAME", help="Become this user once open.")
@quantity_option(
    "--report", duration(options.REPORT_NS), "How often to log a line; 0: never."
)
@click.option(
    "--linktype",
    type=click.Choice(LINKTYPES),
    default="raw",
    show_default=True,
    help="NFLOG: packets alone, with all that the kernel says of them, or behind "
    "Ethernet headers.",
)
@quantity_option(
    "--snaplen", size(options.SNAPLEN), "NFLOG: octets kept per packet at most."
)
@quantity_option(
    "--nlbufsiz", size(options.NLBUFSIZ), "NFLOG: octets the kernel gathers at most."
)
@quantity_option(
    "--qthreshold",
    number(options.QTHRESHOLD),
    "NFLOG: packets the kernel gathers at most; a rule's own threshold may be lower.",
)
@quantity_option(
    "--qtimeout",
    number(options.QTIMEOUT_CS),
    "NFLOG: hundredths of a second the kernel holds a packet at most. "
    "[default: half of the batch age]",
    default=None,
)
@quantity_option(
    "--rcvbuf",
    size(options.RCVBUF),
    "NFLOG: octets that may wait in the kernel for this program.",
)
@export_options
def send(source: str, endpoint: tuple[str, ...], **flags: Any) -> None:
    """Send packets from SOURCE to the pcap-zmq-recv at each ENDPOINT.

    SOURCE is NFLOG groups (0,1 or nflog:0,1), or a pcap or pcapng savefile (a path,
    pcap:PATH, or - for standard input), plain or compressed by gzip, xz, zstd or lz4.
    ENDPOINT is tcp://HOST:PORT or ipc://PATH.

    Packets are kept until the receiver has written them; reconnects are tried for ever.
    SIGTERM and SIGINT deliver what is held, say goodbye and print the totals. Exit
    codes: 0 done, 1 failed while running, 2 usage, 3 permission, 4 peer or format.
    """
    run(lambda: _make(source, endpoint, flags))


def _make(source: str, endpoint: tuple[str, ...], flags: dict[str, Any]) -> "Send":
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.formats import linktype as linktypes
    from pcap_zmq.formats.codec import Codec
    from pcap_zmq.policy.shed import How
    from pcap_zmq.tools.send import Send
    from pcap_zmq.tools.send_config import NflogOptions, SavefileOptions, SendConfig

    nflog = {
        "snaplen": flags.pop("snaplen"),
        "nlbufsiz": flags.pop("nlbufsiz"),
        "qthreshold": flags.pop("qthreshold"),
        "qtimeout_cs": flags.pop("qtimeout"),
        "rcvbuf": flags.pop("rcvbuf"),
        "linktype": linktypes.NAMES[flags.pop("linktype")],
    }
    if not endpoint:
        raise click.MissingParameter(param_hint="'ENDPOINT'", param_type="argument")
    groups = parse_groups(source)
    chosen: SourceOptions = (
        SavefileOptions(source.removeprefix(PCAP_PREFIX))
        if groups is None
        else NflogOptions(groups, **nflog)
    )
    if flags["name"] is None:
        del flags["name"]
    return Send(
        SendConfig(
            chosen,
            endpoint[0],
            endpoint[1:],
            balance=flags.pop("balance") is not None,
            failover_ns=flags.pop("failover"),
            keys=client_keys_of(flags),
            codec=Codec[flags.pop("codec").upper()],
            shed=How(flags.pop("shed")),
            batch_age_ns=flags.pop("batch_age"),
            linger_ns=flags.pop("linger"),
            report_ns=flags.pop("report"),
            exports=exports_of(flags),
            **mending_of(flags),
            spool_drops_oldest=flags.pop("spool_drop") == "oldest",
            **flags,
        )
    )


def parse_groups(source: str) -> tuple[int, ...] | None:
    """The NFLOG groups that SOURCE names; None where it names a savefile."""
    if source == "-" or source.startswith(PCAP_PREFIX):
        return None
    is_path = not source.startswith(NFLOG_PREFIX) and _exists(source)
    if is_path:
        return None
    text = source.removeprefix(NFLOG_PREFIX)
    if not re.fullmatch(r"\d{1,20}(,\d{1,20})*", text, re.ASCII):
        raise click.BadParameter(
            f"{source!r} is neither NFLOG groups (0,1 or nflog:0,1) nor a savefile "
            "that exists",
            param_hint="SOURCE",
        )
    groups = tuple(int(group) for group in text.split(","))
    for group in groups:
        if group > options.GROUP.maximum:
            raise click.BadParameter(
                f"NFLOG group {group} is above {options.GROUP.maximum}",
                param_hint="SOURCE",
            )
    if len(set(groups)) < len(groups):
        raise click.BadParameter(f"{source!r} names a group twice", param_hint="SOURCE")
    return groups


def _exists(path: str) -> bool:
    if not path:
        return False
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    # A folder called "5" shall not hide group 5.
    return not stat.S_ISDIR(mode) or not path.isdigit()


def main() -> None:
    """The entry point of pcap-zmq-send."""
    send(prog_name="pcap-zmq-send")
