"""A command that also takes its options and arguments from variables and a file.

Both are click's own: every parameter gets the variable of its name, and the file
becomes the context's default_map. What is here are the names, and errors that say which
of the three places is meant.

Specification: docs/configuration.md.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pcap_zmq import __version__, options
from pcap_zmq.cli.exits import Refused
from pcap_zmq.cli.naming import PREFIX, key_of, variable_of
from pcap_zmq.errors import ConfigError, PcapZmqError

if TYPE_CHECKING:
    from pcap_zmq.formats.settings import Given, Settings, Shape

Function = TypeVar("Function", bound=Callable[..., Any])

_COMMON = ("config", "log_level", "log_format", "version", "help")

# Keys of a context's meta.
_FAILURE = f"{__name__}.failure"
_SETTINGS = f"{__name__}.settings"


class ToolCommand(click.Command):
    """Sets up logging, so --log-level and --log-format do not reach the function."""

    rehearses = False
    """Whether nothing is to be opened."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        # What every command has is last in the help.
        self.params.sort(key=lambda parameter: parameter.name in _COMMON)
        for parameter in self.params:
            if parameter.expose_value or parameter.name == "config":
                parameter.envvar = variable_of(str(self.name), parameter)

    @property
    def settings(self) -> dict[str, click.Parameter]:
        """What a file may set, by key."""
        return {key_of(p): p for p in self.params if p.expose_value}

    @property
    def variables(self) -> list[str]:
        """All that set something of it."""
        return [str(p.envvar) for p in self.params if p.envvar]

    @property
    def shapes(self) -> "dict[str, Shape]":
        """What a file may say, by key."""
        from pcap_zmq.cli.settings import shape_of

        return {key: shape_of(p) for key, p in self.settings.items()}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            self._install_logs(ctx)
            raise ctx.meta.get(_FAILURE) or self._placed(error, ctx) from error
        if not ctx.resilient_parsing:
            self._install_logs(ctx)
        if _FAILURE in ctx.meta:
            raise ctx.meta[_FAILURE]
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        del ctx.params["log_format"], ctx.params["log_level"]
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise self._placed(error, ctx) from error

    def defaults(self, settings: "Settings") -> "dict[str, Given]":
        """What a file says, as click's default_map. Raises ConfigError for the first
        thing that is wrong with it."""
        from pcap_zmq.formats import settings as formats

        known = {name: command.shapes for name, command in tool_commands().items()}
        wrong = list(formats.complaints(settings, known))
        if wrong[1:]:
            told_by = f"pcap-zmq config check {settings.name}"
            raise ConfigError(f"{wrong[0]} (and {len(wrong) - 1} more: {told_by})")
        if wrong:
            raise ConfigError(wrong[0])
        return self.given(settings)

    def given(self, settings: "Settings") -> "dict[str, Given]":
        """The same without what is wrong."""
        from pcap_zmq.formats.settings import given

        shapes = self.shapes
        parameters = self.settings
        values: dict[str, Given] = {}
        for key, value in settings.table(str(self.name)).items():
            with contextlib.suppress(KeyError, ConfigError):
                parameter = parameters[key]
                values[str(parameter.name)] = given(value, shapes[key])
        return values

    def rehearse(self, values: "Mapping[str, Given]") -> Iterator[tuple[str, str]]:
        """What a start with these settings alone would say is wrong before it opens
        anything: the key where it is one's own fault, and why. An argument that is
        still to come is no fault."""
        deaf = copy.copy(self)
        deaf.rehearses = True
        deaf.params = [copy.copy(p) for p in self.params if p.name != "config"]
        for parameter in deaf.params:
            parameter.envvar = None
        by_name = {str(p.name): p for p in deaf.params}
        bare = click.Context(deaf, info_name=deaf.name)
        faults = 0
        for name, value in values.items():
            try:
                by_name[name].process_value(bare, value)
            except click.BadParameter as error:
                faults += 1
                yield key_of(by_name[name]), error.message
        if faults:
            return
        try:
            with deaf.make_context(deaf.name, [], default_map=dict(values)) as ctx:
                deaf.invoke(ctx)
        except click.MissingParameter:
            pass
        except click.BadParameter as error:
            at_fault = _parameter_of(error, bare)
            yield key_of(at_fault) if at_fault else "", error.message
        except PcapZmqError as error:
            yield "", str(error)

    def _install_logs(self, ctx: click.Context) -> None:
        if not self.rehearses:
            from pcap_zmq import logs

            form, level = ctx.params.get("log_format"), ctx.params.get("log_level")
            logs.install(form or "text", level or "info")

    def _placed(
        self, error: click.UsageError, ctx: click.Context
    ) -> click.ClickException:
        """The error with the place that the value came from: a variable or a file.
        Only who typed it is told of usage, and only in text."""
        from pcap_zmq import logs

        parameter = _parameter_of(error, ctx)
        place = parameter and _place_of(parameter, ctx)
        if self.rehearses:
            return error
        if place:
            return Refused(ConfigError(f"{place}: {error.message}"))
        if not logs.is_for_people():
            return Refused(ConfigError(error.format_message()))
        return error


def is_rehearsal(ctx: click.Context) -> bool:
    """Whether nothing is to be opened."""
    return isinstance(ctx.command, ToolCommand) and ctx.command.rehearses


def tool_commands() -> dict[str, ToolCommand]:
    """All that take settings, by name."""
    # Here, since that module imports the commands, and they this one.
    from pcap_zmq.cli.main import NAMES, subcommand

    return {
        name: command
        for name in NAMES
        if isinstance(command := subcommand(name), ToolCommand)
    }


def _variables() -> Iterator[str]:
    """All that set something of any command."""
    for command in tool_commands().values():
        yield from command.variables


def _load(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """The callback of --config. What goes wrong waits until the form of error messages
    is known, and until it is clear that not only help was asked for."""
    command = ctx.command
    if ctx.resilient_parsing or not isinstance(command, ToolCommand):
        return
    from pcap_zmq.cli.settings import check_variables, read_settings

    try:
        check_variables(_variables())
        if path is not None:
            settings = ctx.meta[_SETTINGS] = read_settings(path)
            ctx.default_map = command.defaults(settings)
    except ConfigError as error:
        ctx.meta[_FAILURE] = Refused(error)


def _parameter_of(
    error: click.UsageError, ctx: click.Context
) -> click.Parameter | None:
    """The one whose value is bad."""
    if not isinstance(error, click.BadParameter):
        return None
    parameters = ctx.command.params
    named = (p for p in parameters if p.human_readable_name == error.param_hint)
    return error.param or next(named, None)


def _place_of(parameter: click.Parameter, ctx: click.Context) -> str | None:
    source = ctx.get_parameter_source(str(parameter.name))
    settings: Settings | None = ctx.meta.get(_SETTINGS)
    if source is click.core.ParameterSource.ENVIRONMENT:
        return str(parameter.envvar)
    if source is click.core.ParameterSource.DEFAULT_MAP and settings is not None:
        return settings.place(str(ctx.command.name), key_of(parameter))
    return None


def tool_command(name: str) -> Callable[[Callable[..., Any]], ToolCommand]:
    """Makes a function the command of this name, with what every command has."""

    def decorate(function: Callable[..., Any]) -> ToolCommand:
        for option in _common_options(name):
            function = option(function)
        settings = {"max_content_width": 100}
        return click.command(name, cls=ToolCommand, context_settings=settings)(function)

    return decorate


def _common_options(name: str) -> Iterator[Callable[[Function], Function]]:
    """The last is the first in the help."""
    yield click.help_option("-h", "--help")
    yield click.version_option(__version__, package_name="pcap-zmq")
    yield click.option(
        "--log-level",
        type=click.Choice(options.LOG_LEVELS),
        default="info",
        show_default=True,
        help="Least severe messages to write to stderr.",
    )
    # Early, so that errors in other options have this form too; but after the file,
    # which may say so.
    yield click.option(
        "--log-format",
        type=click.Choice(options.LOG_FORMATS),
        default="text",
        show_default=True,
        is_eager=True,
        help="Form of the lines on stderr; json: one object a line.",
    )
    yield click.option(
        "--config",
        type=click.Path(readable=False),
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_load,
        help="TOML file with what is given neither here nor in variables "
        f"({PREFIX}{name.upper()}_...); see pcap-zmq config show {name}.",
    )
