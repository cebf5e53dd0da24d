"""The command pcap-zmq, and what its subcommands share."""

import click
from click.shell_completion import get_completion_class

from pcap_zmq import __version__
from pcap_zmq.cli.config import config
from pcap_zmq.cli.doctor import doctor
from pcap_zmq.cli.keygen import keygen
from pcap_zmq.cli.receive import receive
from pcap_zmq.cli.send import send
from pcap_zmq.cli.status import status

SHELLS = ("bash", "zsh", "fish")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="pcap-zmq")
def pcap_zmq() -> None:
    """Carry packets that netfilter selects on a gateway to an IDS elsewhere."""


@pcap_zmq.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete the options of all three commands.

    For example: pcap-zmq completion bash > /etc/bash_completion.d/pcap-zmq
    """
    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"{shell} cannot be completed for")
    commands = {"pcap-zmq": pcap_zmq, "pcap-zmq-send": send, "pcap-zmq-recv": receive}
    for name, command in commands.items():
        variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
        click.echo(complete(command, {}, name, variable).source())


pcap_zmq.add_command(config)
pcap_zmq.add_command(doctor)
pcap_zmq.add_command(keygen)
pcap_zmq.add_command(send)
pcap_zmq.add_command(receive)
pcap_zmq.add_command(status)


def main() -> None:
    """The entry point of pcap-zmq."""
    pcap_zmq(prog_name="pcap-zmq")
