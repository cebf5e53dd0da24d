"""The command pcap-zmq: its subcommands, each imported when it is wanted."""

import click

from pcap_zmq import __version__

NAMES = (
    "completion",
    "config",
    "dispatch",
    "doctor",
    "extcap",
    "extract",
    "filter",
    "keygen",
    "map",
    "query",
    "queue",
    "recv",
    "relay",
    "replay",
    "send",
    "status",
)
SHELLS = ("bash", "zsh", "fish")


class Subcommands(click.Group):
    """Knows them by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return subcommand(cmd_name)


def subcommand(name: str) -> click.Command | None:
    """The one of this name; None where there is none."""
    match name:
        case "completion":
            return completion
        case "config":
            from pcap_zmq.cli.config import config

            return config
        case "dispatch":
            from pcap_zmq.cli.dispatch import dispatch

            return dispatch
        case "doctor":
            from pcap_zmq.cli.doctor import doctor

            return doctor
        case "extcap":
            from pcap_zmq.cli.extcap import extcap

            return extcap
        case "extract":
            from pcap_zmq.cli.extract import extract

            return extract
        case "filter":
            from pcap_zmq.cli.filter import filter_command

            return filter_command
        case "keygen":
            from pcap_zmq.cli.keygen import keygen

            return keygen
        case "map":
            from pcap_zmq.cli.map import map_command

            return map_command
        case "query":
            from pcap_zmq.cli.query import query

            return query
        case "queue":
            from pcap_zmq.cli.queue import queue

            return queue
        case "recv":
            from pcap_zmq.cli.receive import receive

            return receive
        case "relay":
            from pcap_zmq.cli.relay import relay

            return relay
        case "replay":
            from pcap_zmq.cli.replay import replay

            return replay
        case "send":
            from pcap_zmq.cli.send import send

            return send
        case "status":
            from pcap_zmq.cli.status import status

            return status
        case _:
            return None


@click.group(cls=Subcommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="pcap-zmq")
def pcap_zmq() -> None:
    """Carry packets that netfilter selects on a gateway to an IDS elsewhere."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete the options of all three commands.

    For example: pcap-zmq completion bash > /etc/bash_completion.d/pcap-zmq
    """
    from click.shell_completion import get_completion_class

    from pcap_zmq.cli.receive import receive
    from pcap_zmq.cli.send import send

    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"{shell} cannot be completed for")
    commands = {"pcap-zmq": pcap_zmq, "pcap-zmq-send": send, "pcap-zmq-recv": receive}
    for name, command in commands.items():
        variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
        click.echo(complete(command, {}, name, variable).source())


def main() -> None:
    """The entry point of pcap-zmq."""
    pcap_zmq(prog_name="pcap-zmq")
