"""The command pcap-zmq map: what is in many capture files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pcap_zmq import options
from pcap_zmq.cli import exits
from pcap_zmq.cli.command import is_rehearsal, tool_command
from pcap_zmq.cli.options import number, quantity_option
from pcap_zmq.cli.progress import Bar
from pcap_zmq.cli.table import plain, table
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.formats.quantity import describe_size
from pcap_zmq.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from pcap_zmq.formats.capture_index import Entry
    from pcap_zmq.tools.map import Map

FORMATS = ("table", "json", "csv", "gophercap")
_PATH = click.Path(path_type=Path)

_HEAD = (
    "FILE",
    "LINK TYPES",
    "PACKETS",
    "OCTETS",
    "BEGINS",
    "SECONDS",
    "PACKETS/S",
    "MOST",
    "TRUNCATED",
    "BACKWARDS",
)


@tool_command("map")
@click.argument("paths", nargs=-1, required=True)
@quantity_option(
    "--workers",
    number(options.WORKERS),
    "Files that are looked through at a time; one a processor without it.",
    default=None,
)
@click.option(
    "--index",
    type=_PATH,
    metavar="FILE",
    help="Keep what is known here, and look only through what has changed since.",
)
@click.option(
    "--no-hash",
    is_flag=True,
    help="Leave out the content hash, which takes most of the time.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="What is printed.",
)
@click.option(
    "--plot", type=_PATH, metavar="FILE", help="Draw the files on an axis of time."
)
@click.option(
    "--output", "-o", type=_PATH, metavar="FILE", help="Write there, when it is whole."
)
@click.option(
    "--overwrite", is_flag=True, help="Replace what is there under these names."
)
def map_command(
    paths: tuple[str, ...],
    workers: int | None,
    index: Path | None,
    no_hash: bool,
    style: str,
    plot: Path | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Say what is in capture files: packets, times, rates, link types, and where one
    breaks.

    PATHS are files, folders and patterns; pcap or pcapng, plain or compressed by gzip,
    xz, zstd or lz4, also within tar archives; or an index of ours or GopherCap's
    (*.json), for the files that it names. Exit codes: 0 done, 1 some files are
    broken, 2 usage, 3 permission.
    """
    # Here, so that --help loads nothing of it.
    from pcap_zmq.tools.map import Map, MapConfig
    from pcap_zmq.tools.whole_file import check_free, write_whole

    try:
        for path in (plot, output):
            if path is not None and not overwrite:
                check_free(path)
        mapping = Map(MapConfig(paths, workers, index, hashes=not no_hash))
        if is_rehearsal(click.get_current_context()):
            return
        entries = _run(mapping)
        text = _render(entries, style)
        if plot is not None:
            from pcap_zmq.tools.map_plot import plot as draw

            draw(entries, plot)
        if output is None:
            click.echo(text.encode("utf-8", "surrogateescape"), nl=False)
        else:
            # Names of files need not be UTF-8.
            write_whole(output, text.encode("utf-8", "surrogateescape"))
    except PcapZmqError as error:
        raise exits.Refused(error) from error
    broken = [entry for entry in entries if entry.broken_why]
    for entry in broken:
        click.echo(plain(f"{entry.path}: {entry.broken_why}"), err=True)
    sys.exit(exits.FAILED if broken else exits.DONE)


def _run(mapping: "Map") -> "list[Entry]":
    """With a bar on a terminal, once it takes a second."""
    with Bar("looking through") as bar:
        return mapping.run(bar)


def _render(entries: "Sequence[Entry]", style: str) -> str:
    from pcap_zmq.clock import utc_ns_text
    from pcap_zmq.formats import capture_index, gophercap

    match style:
        case "json":
            return capture_index.encode_index(entries)
        case "csv":
            return capture_index.encode_csv(entries)
        case "gophercap":
            return gophercap.encode_gophercap(entries, utc_ns_text)
        case _:
            return "\n".join([*table([_HEAD, *map(_row, entries)]), ""])


def _row(entry: "Entry") -> tuple[str, ...]:
    from pcap_zmq.clock import utc_text
    from pcap_zmq.formats.linktype import describe

    begins = utc_text(entry.first_ns // NS_PER_MS) if entry.packets else "-"
    return (
        plain(entry.path),
        " ".join(map(describe, entry.linktypes)) or "-",
        str(entry.packets),
        describe_size(entry.octets),
        begins,
        f"{entry.duration_ns / NS_PER_S:.3f}",
        f"{entry.packets_per_s:.1f}",
        f"{entry.most_packets_per_s:.1f}",
        str(entry.truncated),
        str(entry.backwards),
    )
