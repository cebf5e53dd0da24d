"""The command pcap-zmq config: looks over settings files, prints one to fill in."""

import sys
from collections.abc import Iterator

import click

from pcap_zmq.cli import exits
from pcap_zmq.cli.command import ToolCommand, tool_commands
from pcap_zmq.cli.options import Quantity
from pcap_zmq.errors import ConfigError

WIDTH = 80


@click.group()
def config() -> None:
    """Check settings files, and print one with every setting.

    A settings file is TOML with a table for each command, such as [send], and in it the
    names of the command's options and arguments: linger = "5s". It is named by
    --config. What is given on the command line comes first, then what a variable says
    (PCAP_ZMQ_SEND_LINGER), then the file.
    """


@config.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(readable=False)
)
def check(files: tuple[str, ...]) -> None:
    """Say what is wrong in each FILE, all of it, or that it is fine.

    Exit codes: 0 all are fine, 2 something is wrong, 3 a file may not be read.
    """
    from pcap_zmq import logs

    worst = exits.DONE
    for path in files:
        try:
            wrong = list(_faults(path))
        except ConfigError as error:
            wrong = [str(error)]
            worst = max(worst, exits.code_for(error))
        for fault in wrong:
            logs.say("error", fault)
            worst = max(worst, exits.USAGE)
        if not wrong:
            click.echo(f"{path} is fine")
    sys.exit(worst)


@config.command()
@click.argument("command", metavar="COMMAND")
def show(command: str) -> None:
    """Print a settings file with all that COMMAND (send, recv, ...) can be told.

    Every setting is commented out with its default; settings without one have what they
    take in angle brackets.
    """
    commands = tool_commands()
    if command not in commands:
        raise click.BadParameter(
            f"{command!r} takes no settings; write {' or '.join(commands)}",
            param_hint="COMMAND",
        )
    click.echo("\n".join(_lines(commands[command])))


def _faults(path: str) -> Iterator[str]:
    """All that is wrong with a file: first what its own words tell, then what a start
    with them would."""
    from pcap_zmq.cli.settings import read_settings
    from pcap_zmq.formats.settings import complaints

    settings = read_settings(path)
    commands = tool_commands()
    known = {name: command.shapes for name, command in commands.items()}
    yield from complaints(settings, known)
    for name in settings.tables:
        if name in commands:
            command = commands[name]
            for key, fault in command.rehearse(command.given(settings)):
                place = settings.place(name, key) if key else f"{path}: [{name}]"
                yield f"{place}: {fault}"


def _lines(command: ToolCommand) -> Iterator[str]:
    import inspect

    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from _comment(paragraph)
        yield "#"
    yield from _comment("Remove the # before a setting to change it.")
    yield f"[{command.name}]"
    for key, parameter in command.settings.items():
        yield ""
        yield from _comment(_help_of(parameter))
        yield f"# Variable: {parameter.envvar}"
        yield f"#{key} = {_default_of(parameter)}"


def _help_of(parameter: click.Parameter) -> str:
    choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
    listed = f" One of {', '.join(map(str, choices))}." if choices else ""
    what = getattr(parameter, "help", None) or f"The argument {_metavar(parameter)}."
    return f"{what}{listed}"


def _metavar(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        return parameter.human_readable_name
    return parameter.metavar or parameter.type.name.upper()


def _comment(text: str) -> Iterator[str]:
    import textwrap

    return iter(textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# "))


def _default_of(parameter: click.Parameter) -> str:
    """As the file has it; for what has none, what it takes."""
    import json

    from pcap_zmq.cli.settings import shape_of
    from pcap_zmq.formats.settings import Shape

    default = parameter.default
    match shape_of(parameter):
        case Shape.FLAG:
            return "true" if default is True else "false"
        case Shape.MANY:
            return "[]"
        case Shape.ONE if isinstance(default, str | int | float):
            kind = parameter.type
            text = kind.default_text if isinstance(kind, Quantity) else str(default)
            # A TOML string is written as one of JSON.
            return text if text.isdecimal() else json.dumps(text)
        case Shape.ONE | Shape.SOME:
            return f"<{_metavar(parameter)}>"
