"""The command pcap-zmq keygen: flags to KeygenConfig, and what to do with the files."""

import shlex
from pathlib import Path
from typing import Any

import click

from pcap_zmq.cli import exits
from pcap_zmq.errors import PcapZmqError

ROLES = ("sender", "operator")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=".")
@click.option(
    "--name",
    metavar="NAME",
    help="What the files and their owner are called. [default: the host's name]",
)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="sender",
    show_default=True,
    help="sender: may send packets. operator: may ask for the whole ledger (pcap-zmq "
    "status), and send nothing.",
)
def keygen(directory: Path, name: str | None, role: str) -> None:
    """Make NAME.key, to be given away, and NAME.key_secret, which stays here.

    They are written to DIRECTORY, the current one by default. Every gateway and every
    receiver needs a pair of its own. Nothing is ever overwritten.
    """
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.tools.keygen import KeygenConfig, make_keys

    flags: dict[str, Any] = {} if name is None else {"name": name}
    try:
        public, secret = make_keys(KeygenConfig(directory, role=role, **flags))
    except PcapZmqError as error:
        raise exits.Refused(error) from error
    click.echo(f"{secret} is secret and stays on this host; {public} is not.")
    shown, hidden = shlex.quote(str(public)), shlex.quote(str(secret))
    if role == "operator":
        click.echo(
            f"Copy {shown} into the receiver's --allow directory, and ask it with\n"
            f"pcap-zmq status --key {hidden} --peer-key RECEIVER.key ADDRESS"
        )
        return
    click.echo(
        f"On a gateway, copy {shown} into the receiver's --allow directory, and run\n"
        f"pcap-zmq-send --key {hidden} --peer-key RECEIVER.key ...\n"
        f"On an IDS host, copy {shown} to every gateway, and run\n"
        f"pcap-zmq-recv --key {hidden} --allow DIRECTORY ..."
    )
