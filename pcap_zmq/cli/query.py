"""The command pcap-zmq query: packets that a receiver has kept, as a savefile."""

import sys
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli import exits
from pcap_zmq.cli.command import is_rehearsal, tool_command
from pcap_zmq.cli.keying import client_key_options, client_keys_of
from pcap_zmq.cli.options import duration, quantity_option
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.options import Bounds
from pcap_zmq.units import NS_PER_S

if TYPE_CHECKING:
    from pcap_zmq.tools.query import Moment

_AGO = duration(Bounds(0, 30 * NS_PER_S, 100 * 365 * 86_400 * NS_PER_S))


class MomentType(click.ParamType):  # type: ignore[type-arg]  # only newer ones have
    """30s, 5min (before now), 2026-01-31T12:00:00Z, @1769860800.5 (since the epoch)."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Moment":
        from pcap_zmq.clock import utc_ns
        from pcap_zmq.formats.excerpt import EVER_NS
        from pcap_zmq.tools.query import Moment

        if isinstance(value, Moment):
            return value
        text = str(value)
        if text.startswith("@") or "-" in text:
            try:
                moment_ns = utc_ns(text)
                if moment_ns > EVER_NS:
                    raise ValueError
                return Moment(max(0, moment_ns))
            except (ValueError, OverflowError):
                self.fail(
                    f"{text!r} is no moment; write it as 2026-01-31T12:00:00Z, "
                    "@1769860800.5 or, before now, 30s",
                    param,
                    ctx,
                )
        return Moment(_AGO.convert(text, param, ctx), is_ago=True)


@tool_command("query")
@click.argument("address")
@click.option(
    "--since",
    type=MomentType(),
    help="Packets from then on: 30s (before now), 2026-01-31T12:00:00Z or "
    "@1769860800.5. [default: all that is kept]",
)
@click.option(
    "--until", type=MomentType(), help="Packets before then. [default: all there is]"
)
@click.option(
    "--filter",
    "expression",
    default="",
    help="Only packets that it takes: pcap-filter(7).",
)
@click.option(
    "--output",
    "-o",
    default="-",
    show_default="standard output",
    metavar="FILE",
    help="A savefile; it is there when it is whole.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@quantity_option(
    "--timeout", duration(options.ANSWER_NS), "How long to wait for each answer."
)
@client_key_options
def query(
    address: str,
    since: "Moment | None",
    until: "Moment | None",
    expression: str,
    output: str,
    overwrite: bool,
    timeout: int,
    **keys: Any,
) -> None:
    """Fetch packets that the receiver at ADDRESS, started with --keep, has kept, as a
    savefile.

    Times are the packets' own. With keys, an operator's is wanted (pcap-zmq keygen
    --role operator). Exit codes: 0 done, 1 interrupted, or some had been forgotten
    meanwhile or were left out, 2 usage, 3 permission, 4 no answer.
    """
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.poll import Stop
    from pcap_zmq.tools.asker import AskerConfig
    from pcap_zmq.tools.query import Query, QueryConfig

    given = {"since": since, "until": until}
    moments = {name: moment for name, moment in given.items() if moment is not None}
    try:
        fetching = Query(
            QueryConfig(
                AskerConfig(address, timeout, client_keys_of(keys)),
                filter=expression,
                output=output,
                overwrite=overwrite,
                **moments,
            )
        )
        if is_rehearsal(click.get_current_context()):
            return
        fetched = fetching.run(Stop())
    except PcapZmqError as error:
        raise exits.Refused(error) from error
    if not fetched.is_whole:
        click.echo("interrupted", err=True)
    else:
        click.echo(f"{fetched.packets} packets", err=True)
    if fetched.forgotten:
        click.echo(
            f"{fetched.forgotten} more were forgotten before they could be looked at: "
            "give --keep more room",
            err=True,
        )
    if fetched.others:
        click.echo(
            f"{fetched.others} more are of other link types, which one savefile cannot "
            "hold, and were left out",
            err=True,
        )
    is_complete = fetched.is_whole and not fetched.forgotten and not fetched.others
    sys.exit(exits.DONE if is_complete else exits.FAILED)
