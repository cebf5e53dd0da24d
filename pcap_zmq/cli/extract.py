"""The command pcap-zmq extract: one flow, or members of archives, out of much."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli import exits
from pcap_zmq.cli.command import is_rehearsal, tool_command
from pcap_zmq.cli.options import duration, quantity_option
from pcap_zmq.cli.running import run
from pcap_zmq.cli.way_out import file_tool_config, way_out_options
from pcap_zmq.errors import ConfigError, PcapZmqError

if TYPE_CHECKING:
    from pcap_zmq.tools.extract_members import Extracted, Members

FOLDER = "folder:"
COMPRESS = ("gzip", "zstd", "xz", "lz4")


@tool_command("extract")
@click.argument("paths", nargs=-1)
@click.argument("output", required=False)
@click.option(
    "--event",
    metavar="JSON|FILE|-",
    help="The packets of this event's flow, one of Suricata's (eve.json).",
)
@quantity_option(
    "--idle",
    duration(options.FLOW_IDLE_NS),
    "With --event: when nothing has come for so long, the flow has ended.",
)
@click.option(
    "--members",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="The members of tar archives whose names, with their folders, are like this: "
    "'*.pcap'; may be given several times.",
)
@click.option(
    "--regex",
    "is_regex",
    is_flag=True,
    help="PATTERN is a regular expression that a part of a name fits.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="With --members: only list them; OUTPUT may be missing.",
)
@click.option(
    "--compress",
    type=click.Choice(COMPRESS),
    help="With --members: what is not compressed yet.",
)
@way_out_options
def extract(
    paths: tuple[str, ...],
    output: str | None,
    event: str | None,
    idle: int,
    patterns: tuple[str, ...],
    is_regex: bool,
    dry_run: bool,
    compress: str | None,
    **flags: Any,
) -> None:
    """Write the packets of one event's flow, or members of archives, to OUTPUT.

    With --event PATHS are capture files or the folder that Suricata's pcap-log writes
    to, and OUTPUT is a savefile, a FIFO, -, pcap-over-ip://HOST:PORT, exec:COMMAND, or
    a receiver: tcp://HOST:PORT, ipc://PATH. With --members PATHS are tar archives,
    compressed or not, and OUTPUT is folder:DIR. Exit codes: 0 done, 1 failed while
    running or not all is there, 2 usage, 3 permission, 4 peer.
    """
    rehearses = is_rehearsal(click.get_current_context())
    if rehearses and event is None and not patterns:
        # It is still to come.
        return
    try:
        if (event is None) == (not patterns):
            raise ConfigError("say what: --event or --members, one of them")
        if event is None:
            chosen = patterns, is_regex, compress
            members = _members(paths, output, chosen, dry_run, flags["overwrite"])
            if not rehearses:
                sys.exit(_run(members, lists=dry_run))
            return
        if dry_run or compress or is_regex:
            raise ConfigError("--dry-run, --compress and --regex are for --members")
        if output is None:
            raise ConfigError("no OUTPUT: name a file, - or what else takes a stream")
        if output.startswith(FOLDER):
            raise ConfigError("with --event OUTPUT is one stream, not folder:")
    except PcapZmqError as error:
        raise exits.Refused(error) from error
    _flow(paths, event, idle, output, flags)


def _flow(
    paths: tuple[str, ...], event: str, idle: int, output: str, flags: dict[str, Any]
) -> None:
    # Here, so that --help loads nothing of it.
    from pcap_zmq.cli.progress import Bar
    from pcap_zmq.tools.extract_flow import ExtractFlow, FlowConfig

    config = FlowConfig(paths, event, idle)
    bar = Bar("extracting")
    run(lambda: ExtractFlow(config, file_tool_config(output, flags), bar))


def _members(
    paths: tuple[str, ...],
    output: str | None,
    chosen: tuple[tuple[str, ...], bool, str | None],
    dry_run: bool,
    overwrite: bool,
) -> "Members":
    from pcap_zmq.tools.extract_members import Members, MembersConfig

    folder: Path | None = None
    if output is not None and output.startswith(FOLDER):
        if output == FOLDER:
            raise ConfigError("OUTPUT folder: names no folder")
        folder = Path(output.removeprefix(FOLDER))
    elif not dry_run:
        raise ConfigError("with --members OUTPUT, the last word, is folder:DIR")
    elif output is not None:
        paths = (*paths, output)
    if not paths:
        raise ConfigError("no PATHS: name tar archives, then folder:DIR")
    patterns, is_regex, compress = chosen
    return Members(
        MembersConfig(
            paths,
            patterns,
            None if dry_run else folder,
            is_regex=is_regex,
            compress=compress,
            overwrite=overwrite,
        )
    )


def _run(members: "Members", *, lists: bool) -> int:
    """With a bar on a terminal; the exit code."""
    from pcap_zmq.cli.progress import Bar
    from pcap_zmq.cli.table import plain

    def found(member: Any) -> None:
        if lists:
            click.echo(f"{member.octets:>14}  {plain(member.name)}")

    # As Ctrl-C: what is half-written goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Bar("extracting") as bar:
        extracted = members.run(found, bar)
    return _report(extracted)


def _report(extracted: "Extracted") -> int:
    from pcap_zmq import logs
    from pcap_zmq.cli.table import plain
    from pcap_zmq.formats.quantity import describe_size

    for trouble in extracted.troubles:
        logs.say("error", plain(trouble))
    text = (
        f"{extracted.files} of {extracted.looked_at} members, "
        f"{describe_size(extracted.octets)}"
    )
    numbers = {
        "members": extracted.files,
        "looked_at": extracted.looked_at,
        "octets": extracted.octets,
        "troubles": len(extracted.troubles),
    }
    logs.say("totals", text, numbers)
    return exits.FAILED if extracted.troubles else exits.DONE
