"""Settings as they come from outside: files, variables, and what each may hold.

Specification: docs/configuration.md.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import click

from pcap_zmq.cli.naming import PREFIX
from pcap_zmq.errors import ConfigError, ConfigPermissionError
from pcap_zmq.formats import settings as formats
from pcap_zmq.formats.settings import Settings, Shape

_OTHER_VARIABLES = frozenset({"PCAP_ZMQ_NFLOG"})
"""Of the build."""
# What Kubernetes tells every container of a service called pcap-zmq-recv.
_SERVICE_LINK = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)"
)


def shape_of(parameter: click.Parameter) -> Shape:
    """What a file may say of it."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return Shape.FLAG
    if isinstance(parameter, click.Argument) and parameter.nargs == -1:
        return Shape.SOME
    is_many = parameter.multiple or parameter.nargs != 1
    return Shape.MANY if is_many else Shape.ONE


def read_settings(path: str) -> Settings:
    """Raises ConfigError, or ConfigPermissionError where it may not be read."""
    if not path:
        raise ConfigError("--config names no file")
    try:
        with Path(path).open("rb") as file:
            octets = file.read(formats.SIZE_MAX + 1)
    except PermissionError as error:
        raise ConfigPermissionError(
            f"{path} may not be read: {error.strerror}; let the user who starts this "
            "read it"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return formats.decode(octets, path)


def check_variables(names: Iterable[str]) -> None:
    """Raises ConfigError for a variable that looks like ours and is none of these,
    which are looked at only where there is one."""
    ours = [name for name in sorted(os.environ) if _is_ours(name)]
    known = frozenset(names) if ours else frozenset()
    for name in ours:
        if name not in known:
            near = formats.suggestion(name, known)
            raise ConfigError(f"the variable {name} sets nothing{near or '; unset it'}")


def _is_ours(name: str) -> bool:
    is_another = name in _OTHER_VARIABLES or _SERVICE_LINK.fullmatch(name)
    return name.startswith(PREFIX) and not is_another
