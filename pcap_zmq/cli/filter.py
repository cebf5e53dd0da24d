"""The command pcap-zmq filter: of many capture files, the packets that are wanted."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli import exits
from pcap_zmq.cli.command import is_rehearsal, tool_command
from pcap_zmq.cli.options import duration, number, quantity_option
from pcap_zmq.cli.running import run
from pcap_zmq.cli.way_out import file_tool_config, way_out_options
from pcap_zmq.errors import PcapZmqError

if TYPE_CHECKING:
    from pcap_zmq.tools.filter import Filtering
    from pcap_zmq.tools.filter_config import FilterConfig
    from pcap_zmq.tools.filter_result import Filtered

_PATH = click.Path(path_type=Path)

COMPRESS = ("gzip", "zstd", "xz", "lz4")
LAYERS = ("outer", "inner", "any")


@tool_command("filter")
@click.argument("paths", nargs=-1)
@click.argument("output", required=False)
@click.option(
    "--filter",
    "expression",
    default="",
    metavar="BPF",
    help="Keep packets that it takes: pcap-filter(7).",
)
@click.option(
    "--rules",
    type=_PATH,
    metavar="FILE",
    help="Named filters, YAML or TOML; folder: has a folder for each of them.",
)
@click.option(
    "--rule",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this one of --rules; may be given several times. [default: all]",
)
@click.option(
    "--keep",
    type=_PATH,
    multiple=True,
    metavar="FILE",
    help="Keep what this list (CSV) names: hosts, subnets, flows.",
)
@click.option(
    "--drop",
    type=_PATH,
    multiple=True,
    metavar="FILE",
    help="Leave out what this list names.",
)
@click.option(
    "--eve",
    type=_PATH,
    multiple=True,
    metavar="FILE",
    help="Keep the flows of the events in this file of Suricata's (eve.json).",
)
@click.option(
    "--drop-eve",
    type=_PATH,
    multiple=True,
    metavar="FILE",
    help="Leave out the flows of the events in this file.",
)
@click.option(
    "--eve-events",
    default="alert",
    show_default=True,
    metavar="TYPE,...",
    help="Of which types events count.",
)
@click.option(
    "--per-flow",
    is_flag=True,
    help="Make a filter of its own for each flow of --eve, flow-NUMBER.",
)
@click.option(
    "--write-rules",
    type=_PATH,
    metavar="FILE",
    help="Write what was asked for as a file for --rules; PATHS and OUTPUT may be "
    "missing then.",
)
@click.option(
    "--asn-db",
    type=_PATH,
    metavar="FILE",
    help="MaxMind database of AS numbers, for filters of kind asn.",
)
@click.option(
    "--layer",
    type=click.Choice(LAYERS),
    default="any",
    show_default=True,
    help="Which packet is asked about addresses, ports and flows where packets are in "
    "packets.",
)
@click.option(
    "--decap",
    is_flag=True,
    help="Take packets out of tunnels first: VLAN, MPLS, GRE, ERSPAN, VXLAN, Geneve, "
    "GTP-U, IP in IP.",
)
@quantity_option(
    "--decap-depth",
    number(options.DECAP_DEPTH),
    "The same, out of so many tunnels at most.",
    default=None,
)
@quantity_option(
    "--dedup",
    duration(options.DEDUP_NS),
    "Keep one of packets that are the same within this time, such as 10ms, by their "
    "own times.",
    default=None,
)
@click.option(
    "--suffix",
    default="",
    metavar="TEXT",
    help="Of folders read files that end in this, such as .pcap, compressed or not. "
    "[default: all]",
)
@quantity_option(
    "--workers",
    number(options.WORKERS),
    "To folder:, files that are filtered at a time; one a processor without it.",
    default=None,
)
@click.option(
    "--compress",
    type=click.Choice(COMPRESS),
    help="Of savefiles. [default: as the name of OUTPUT ends]",
)
@way_out_options
def filter_command(output: str | None, **flags: Any) -> None:
    """Keep of the capture files PATHS the packets that are wanted, and write them to
    OUTPUT.

    PATHS are files, folders and patterns; pcap or pcapng, plain or compressed by gzip,
    xz, zstd or lz4, also within tar archives. OUTPUT is a savefile, or folder:DIR for a
    file for each input and filter; or a FIFO, -, pcap-over-ip://HOST:PORT,
    exec:COMMAND, or a receiver: tcp://HOST:PORT, ipc://PATH. Exit codes: 0 done, 1 some
    files are broken, 2 usage, 3 permission, 4 peer.
    """
    from pcap_zmq.tools.filter_config import Way

    try:
        config = _config(output or "", flags)
        if is_rehearsal(click.get_current_context()):
            if config.paths and config.output:
                config.check()
            return
        filtering = _begin(config)
        if not config.output:
            sys.exit(exits.DONE)
        if config.way is not Way.STREAM:
            sys.exit(_run(filtering))
    except PcapZmqError as error:
        raise exits.Refused(error) from error
    _stream(config, filtering, output or "", flags)


def _config(output: str, flags: dict[str, Any]) -> "FilterConfig":
    """Takes the command's own flags; those of its way out are left."""
    # Here, so that --help loads nothing of it.
    from pcap_zmq.tools.filter_asks import Asks
    from pcap_zmq.tools.filter_config import FilterConfig

    types = flags.pop("eve_events").split(",")
    names = ("expression", "rules", "names", "keep", "drop", "eve", "drop_eve")
    asks = {name: flags.pop(name) for name in (*names, "per_flow")}
    own = ("paths", "asn_db", "write_rules", "suffix", "workers", "compress", "layer")
    decap, depth = flags.pop("decap"), flags.pop("decap_depth")
    if decap and depth is None:
        depth = options.DECAP_DEPTH.default
    return FilterConfig(
        output=output,
        asks=Asks(**asks, eve_events=tuple(t.strip() for t in types if t.strip())),
        decap=depth,
        dedup_ns=flags.pop("dedup"),
        nanoseconds=flags["precision"] == "nano",
        overwrite=flags["overwrite"],
        is_plain=flags["file_format"] == "pcap" and flags["linktype"] is None,
        user=flags["user"],
        **{name: flags.pop(name) for name in own},
    )


def _begin(config: "FilterConfig") -> "Filtering":
    import logging

    from pcap_zmq.tools.filter import Filtering

    filtering = Filtering(config)
    for note in filtering.asked.notes:
        logging.getLogger(__name__).info("%s", note)
    filtering.write_rules()
    return filtering


def _run(filtering: "Filtering") -> int:
    """Into files, with a bar on a terminal; the exit code."""
    from pcap_zmq.cli.progress import Bar

    # As Ctrl-C: what is half-written goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Bar("filtering") as bar:
        filtered = filtering.run(bar)
    return _report(filtered)


def _report(filtered: "Filtered") -> int:
    import logging

    from pcap_zmq import logs
    from pcap_zmq.formats.quantity import describe_size

    logger = logging.getLogger(__name__)

    for trouble in filtered.found.troubles:
        logs.say("error", trouble)
    for name, taken in filtered.taken.items():
        if name and taken.packets:
            size = describe_size(taken.octets)
            files = f"{taken.files} files"
            logger.info("%s: %d packets, %s, in %s", name, taken.packets, size, files)
    logs.say("totals", filtered.text(), filtered.numbers())
    return exits.FAILED if filtered.found.troubles else exits.DONE


def _stream(
    config: "FilterConfig", filtering: "Filtering", output: str, flags: dict[str, Any]
) -> None:
    from pcap_zmq.cli.progress import Bar
    from pcap_zmq.tools.filter_stream import FilterStream

    bar = Bar("filtering")
    run(
        lambda: FilterStream(
            filtering, config.preparation, file_tool_config(output, flags), bar
        )
    )
