"""The command pcap-zmq replay: capture files at their times."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli.command import tool_command
from pcap_zmq.cli.moments import EXAMPLES, MomentType
from pcap_zmq.cli.options import Quantity, duration, number, quantity_option
from pcap_zmq.cli.progress import Bar
from pcap_zmq.cli.running import run
from pcap_zmq.cli.way_out import file_tool_config, way_out_options

if TYPE_CHECKING:
    from pcap_zmq.tools.replay import Replay


def _parts(unit: int) -> Callable[[int], str]:
    """How so many parts of a unit are written."""
    return lambda parts: f"{parts / unit:f}".rstrip("0").rstrip(".")


_SPEED = Quantity(
    "speed",
    {"": options.MILLION, "x": options.MILLION},
    options.SPEED_MILLIONTHS,
    _parts(options.MILLION),
)
_PPS = Quantity("rate", {"": 1_000}, options.PPS_THOUSANDTHS, _parts(1_000))
_MBPS = Quantity(
    "rate", {"": options.MILLION}, options.BITS_PER_S, _parts(options.MILLION)
)
_BUSY_WAIT = Quantity(
    "duration",
    {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000},
    options.BUSY_WAIT_NS,
    lambda nanoseconds: f"{nanoseconds // 1_000}us",
)


@tool_command("replay")
@click.argument("paths", nargs=-1)
@click.argument("output")
@quantity_option(
    "--speed",
    _SPEED,
    "So many times as fast as captured; below 1 slower.",
    default=None,
)
@quantity_option(
    "--fit",
    duration(options.FIT_NS),
    "As fast as it takes for all to go within this time. All files are looked through "
    "first, but those that --map knows.",
    default=None,
)
@quantity_option(
    "--pps", _PPS, "So many packets a second, at equal distances.", default=None
)
@quantity_option(
    "--mbps",
    _MBPS,
    "So many millions of bits a second, link headers too.",
    default=None,
)
@click.option("--topspeed", is_flag=True, help="As fast as it goes.")
@quantity_option(
    "--loop",
    number(options.LOOPS),
    "How often all of it, with times that go on; 0: for ever.",
)
@click.option(
    "--from",
    "from_ns",
    type=MomentType(),
    help=f"Only packets from then on, by their own times: {EXAMPLES}.",
)
@click.option("--to", "until_ns", type=MomentType(), help="Only packets before then.")
@click.option(
    "--together",
    is_flag=True,
    help="Let every file begin when the earliest does, whenever it was captured.",
)
@click.option(
    "--filter",
    "expression",
    default="",
    metavar="FILTER",
    help="Only packets that it takes: pcap-filter(7).",
)
@quantity_option(
    "--skip-mtu",
    number(options.MTU),
    "Leave out packets with more octets than this behind the header of the link.",
    default=None,
)
@quantity_option(
    "--cut-mtu", number(options.MTU), "Cut such packets instead.", default=None
)
@click.option(
    "--order",
    type=click.Choice(options.ORDERS),
    default=options.ORDERS[0],
    show_default=True,
    help="Packets that are earlier than one before them in their file: sent at once, "
    "put where they belong, or left out.",
)
@click.option(
    "--timestamps",
    type=click.Choice(options.TIMESTAMPS),
    default=options.TIMESTAMPS[0],
    show_default=True,
    help="The times that packets have in OUTPUT: their own, or when they go.",
)
@click.option(
    "--map",
    "index",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What is known of the files: an index of pcap-zmq map, or what GopherCap's "
    "map writes. Without PATHS it names them.",
)
@quantity_option(
    "--busy-wait",
    _BUSY_WAIT,
    "Onto an interface: look at the clock for so long before a packet, at most, which "
    "takes a processor and spares what the kernel's timers are late by; 0us: sleep.",
)
@way_out_options
def replay(paths: tuple[str, ...], output: str, **flags: Any) -> None:
    """Send the packets of capture files PATHS to OUTPUT at the times at which they were
    captured, or faster or slower, merged by time.

    PATHS are files, folders and patterns; pcap or pcapng, plain or compressed by gzip,
    xz, zstd or lz4, also within tar archives. OUTPUT is interface:NAME, a FIFO, a
    savefile, -, pcap-over-ip://HOST:PORT, exec:COMMAND, or a receiver:
    tcp://HOST:PORT, ipc://PATH.

    One of --speed, --fit, --pps, --mbps and --topspeed says how fast; without any it is
    as captured. How late packets went is said at the end, and while they do. Exit
    codes: 0 done, 1 failed while running or some files are broken, 2 usage, 3
    permission, 4 peer or format.
    """
    run(lambda: _make(paths, output, flags))


def _make(paths: tuple[str, ...], output: str, flags: dict[str, Any]) -> "Replay":
    # Here, so that --help loads nothing of it.
    from pcap_zmq.tools.replay import Replay
    from pcap_zmq.tools.replay_config import (
        MergePlan,
        Mtu,
        Order,
        Pace,
        ReplayConfig,
    )

    if flags["skip_mtu"] is not None and flags["cut_mtu"] is not None:
        raise click.UsageError("--skip-mtu and --cut-mtu contradict each other")
    skipped, cut = flags.pop("skip_mtu"), flags.pop("cut_mtu")
    longest = skipped if cut is None else cut
    # Of what has no end nobody can be shown how far it is.
    bar = Bar("replaying") if flags["loop"] else None
    common = file_tool_config(output, flags)
    return Replay(
        ReplayConfig(
            common.way_out,
            user=common.user,
            linger_ns=common.linger_ns,
            report_ns=common.report_ns,
            paths=paths,
            index=flags.pop("index"),
            plan=MergePlan(
                Order(flags.pop("order")),
                from_ns=flags.pop("from_ns"),
                until_ns=flags.pop("until_ns"),
                loops=flags.pop("loop"),
                together=flags.pop("together"),
            ),
            pace=Pace(
                speed=flags.pop("speed"),
                fit_ns=flags.pop("fit"),
                pps=flags.pop("pps"),
                bits_per_s=flags.pop("mbps"),
                top=flags.pop("topspeed"),
            ),
            filter=flags.pop("expression"),
            mtu=None if longest is None else Mtu(longest, cuts=cut is not None),
            stamps=flags.pop("timestamps") == "now",
            busy_wait_ns=flags.pop("busy_wait"),
            **flags,
        ),
        bar,
    )
