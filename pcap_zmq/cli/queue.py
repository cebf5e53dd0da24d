"""The command pcap-zmq queue: tells a running pcap-zmq dispatch which files may go."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli import exits
from pcap_zmq.cli.command import is_rehearsal, tool_command
from pcap_zmq.cli.options import duration, quantity_option
from pcap_zmq.cli.table import plain, table
from pcap_zmq.errors import PcapZmqError

if TYPE_CHECKING:
    from pcap_zmq.formats.control import Reply

ACTIONS = ("add", "list", "allow", "deny", "skip", "pause", "resume", "status")

NAMED_MAX = 5
"""Of files that are played as one, in a line."""

_HEAD = ("NUMBER", "FILE", "STATE", "SAID", "PACKETS", "WHY")


@tool_command("queue")
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("files", nargs=-1)
@click.option(
    "--control",
    required=True,
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="That of pcap-zmq dispatch --control.",
)
@click.option(
    "--all",
    "is_for_all",
    is_flag=True,
    help="allow, deny or skip whatever waits, and whatever comes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@quantity_option(
    "--timeout", duration(options.ANSWER_NS), "How long to wait for the answer."
)
def queue(
    action: str,
    files: tuple[str, ...],
    control: Path,
    is_for_all: bool,
    as_json: bool,
    timeout: int,
) -> None:
    """Tell the pcap-zmq dispatch at SOCKET what to do with the files of its queue.

    add FILES: queue them. list: show the queue. allow, deny, skip [FILES]: these, by
    path or by number ('#3'), may go, may not, or are passed over; without FILES the one
    that waits. skip also leaves out the rest of the file that is being played. pause,
    resume: stop reading, in the middle of a file, and go on. status: show where it
    stands. Exit codes: 0 done, 1 not done, 2 usage, 3 permission, 4 no answer.
    """
    # Here, so that --help loads nothing of it.
    import json

    from pcap_zmq.tools.queue import QueueConfig, ask

    try:
        config = QueueConfig(control, action, files, is_for_all, timeout)
        config.check()
        if is_rehearsal(click.get_current_context()):
            return
        reply = ask(config)
    except PcapZmqError as error:
        raise exits.Refused(error) from error
    if as_json:
        click.echo(json.dumps(reply.said))
    else:
        for line in _lines(action, reply):
            click.echo(plain(line))
    if reply.error:
        click.echo(plain(reply.error), err=True)
    sys.exit(exits.FAILED if reply.error else exits.DONE)


def _lines(action: str, reply: "Reply") -> list[str]:
    said = reply.said
    if action == "status":
        return _status(said) if said else []
    files = said.get("files", [])
    if not files:
        return []
    rows = [_HEAD, *(_row(file) for file in files)]
    return table(rows)


def _row(file: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"#{file['number']}",
        file["path"],
        file["state"],
        file["said"] or "-",
        str(file["packets"]),
        file["why"] or "-",
    )


def _status(said: dict[str, Any]) -> list[str]:
    playing, waiting = said["playing"], said["waiting"]
    lines = []
    if playing:
        names = ", ".join(playing[:NAMED_MAX])
        if playing[NAMED_MAX:]:
            names += f" and {len(playing) - NAMED_MAX} more"
        lines.append(f"playing {names}: {said['arrived']} packets so far")
    lines += [f"waiting for a word: {path}" for path in waiting]
    if not lines:
        lines.append("playing nothing")
    if said["paused"]:
        lines.append("paused")
    queued = said["queued"]
    lines.append(f"queued: {'unknown' if queued is None else queued}")
    numbers = said["numbers"]
    lines.append(
        ", ".join(f"{name} {numbers[name]}" for name in ("files", "read", "delivered"))
    )
    return lines
