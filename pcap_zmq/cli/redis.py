"""The options for a queue of files that Redis keeps."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pcap_zmq import options
from pcap_zmq.cli.options import duration, quantity_option
from pcap_zmq.errors import ConfigError

if TYPE_CHECKING:
    from pcap_zmq.tools.redis_config import RedisConfig

Function = TypeVar("Function", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)


def redis_options(function: Function) -> Function:
    """Adds them; the last is the first in the help."""
    for option in (
        click.option(
            "--redis-cert-key",
            type=_FILE,
            metavar="FILE",
            help="The key of --redis-cert, in PEM.",
        ),
        click.option(
            "--redis-cert",
            type=_FILE,
            metavar="FILE",
            help="Our own certificate for rediss://, where the server wants one, in "
            "PEM.",
        ),
        click.option(
            "--redis-ca",
            type=_FILE,
            metavar="FILE",
            help="Who vouches for the server of rediss://, in PEM. [default: whom this "
            "host trusts]",
        ),
        click.option(
            "--redis-password-file",
            type=_FILE,
            metavar="FILE",
            help="The server's password is the first line of it.",
        ),
        quantity_option(
            "--redis-lease",
            duration(options.LEASE_NS),
            "Files of a dispatcher of which nothing is heard for so long, twice, go "
            "back into the queue.",
        ),
        quantity_option(
            "--auth-timeout",
            duration(options.AUTH_TIMEOUT_NS),
            "Refuse a file that nobody has allowed for so long, and go on; 0: wait for "
            "ever.",
        ),
        click.option(
            "--auth-string",
            is_flag=True,
            help="PCAPDJ_AUTH is a string with one path, as older controllers set it, "
            "and not a set.",
        ),
        click.option(
            "--redis-queue",
            metavar="NAME",
            help="The list that files come from. [default: PCAPDJ_IN_QUEUE]",
        ),
        click.option(
            "--redis-prefix",
            metavar="TEXT",
            help="Comes before every key, so that dispatchers keep apart.",
        ),
        click.option(
            "--redis",
            metavar="URL",
            help="Take files and permissions from Redis, as pcapdj does: "
            "redis://HOST:PORT/DATABASE, rediss:// with TLS, unix:///PATH.",
        ),
    ):
        function = option(function)
    return function


def redis_of(flags: dict[str, Any]) -> "RedisConfig | None":
    """Takes them out of a command's flags; None without --redis. Raises ConfigError for
    one that is nothing without it."""
    url = flags.pop("redis")
    given = {name: flags.pop(name) for name in list(flags) if name.startswith("redis_")}
    auth_string, auth_timeout = flags.pop("auth_string"), flags.pop("auth_timeout")
    if url is None:
        given["redis_lease"] -= options.LEASE_NS.default
        given |= {"auth_string": auth_string, "auth_timeout": auth_timeout}
        for name, value in given.items():
            if value:
                option = "--" + name.replace("_", "-")
                raise ConfigError(f"{option} is for --redis, which is not given")
        return None
    # Here, so that --help does not load it.
    from pcap_zmq.tools.redis_config import QUEUE, RedisConfig

    return RedisConfig(
        url,
        prefix=given["redis_prefix"] or "",
        queue=QUEUE if given["redis_queue"] is None else given["redis_queue"],
        auth_string=auth_string,
        auth_timeout_ns=auth_timeout,
        lease_ns=given["redis_lease"],
        password_file=given["redis_password_file"],
        ca=given["redis_ca"],
        cert=given["redis_cert"],
        cert_key=given["redis_cert_key"],
    )
