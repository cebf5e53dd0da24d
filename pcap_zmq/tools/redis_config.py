"""How a dispatcher is to talk to Redis, checked; and the agenda that comes of it."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pcap_zmq import options
from pcap_zmq.errors import ConfigError, ConfigPermissionError, FormatError
from pcap_zmq.formats import redis_url
from pcap_zmq.formats.redis_url import RedisUrl
from pcap_zmq.keys import is_foreign, is_writable_for_others

if TYPE_CHECKING:
    from pcap_zmq.agenda.redis_agenda import RedisAgenda

logger = logging.getLogger(__name__)

QUEUE = "PCAPDJ_IN_QUEUE"

_READABLE_FOR_OTHERS = 0o044
_PASSWORD_MAX = 4096


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """prefix: of every key; queue: the input list, after that. auth_string: permissions
    are one string, as with older pcapdj. auth_timeout_ns: 0 is for ever. The paths are
    of files in PEM, and of one with a password."""

    url: str = field(repr=False)
    prefix: str = ""
    queue: str = QUEUE
    auth_string: bool = False
    auth_timeout_ns: int = options.AUTH_TIMEOUT_NS.default
    lease_ns: int = options.LEASE_NS.default
    password_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    cert_key: Path | None = None

    def check(self) -> None:
        """Raises ConfigError for what makes no sense."""
        self._check_url()
        options.AUTH_TIMEOUT_NS.check("--auth-timeout", self.auth_timeout_ns)
        options.LEASE_NS.check("--redis-lease", self.lease_ns)
        if not self.queue:
            raise ConfigError("--redis-queue is empty; name the list of files")

    def open(self, *, stays: bool = False) -> "RedisAgenda":
        """Reads the files and connects. stays: an empty queue is no end. Raises
        ConfigError and TransportError."""
        # Here, since hardly anybody asks for it.
        from pcap_zmq.agenda.redis_agenda import RedisAgenda
        from pcap_zmq.agenda.redis_errands import Habits
        from pcap_zmq.agenda.redis_server import RedisServer, Tls

        url = self._check_url()
        for option, path in self._tls_files():
            _check_readable(option, path)
        password = None
        if self.password_file is not None:
            password = _read_password(self.password_file)
        if url.is_open_to_others:
            logger.warning(
                "what is said to Redis at %s is not encrypted: whoever is on the way "
                "can allow files%s; use rediss://",
                url,
                ", and read the password" if password or url.password else "",
            )
        server = RedisServer(url, password, Tls(self.ca, self.cert, self.cert_key))
        habits = Habits(self.prefix, self.queue, self.auth_string, self.lease_ns)
        return RedisAgenda(
            server,
            habits,
            auth_timeout_ns=self.auth_timeout_ns or None,
            stays=stays,
        )

    def _check_url(self) -> RedisUrl:
        try:
            url = redis_url.parse(self.url)
        except FormatError as error:
            raise ConfigError(f"--redis: {error}") from error
        if self.password_file is not None and url.password is not None:
            raise ConfigError(
                "--redis has a password, and --redis-password-file another; give one"
            )
        given = [option for option, _ in self._tls_files()]
        if given and not url.is_encrypted:
            raise ConfigError(f"{given[0]} is for rediss://, and --redis is {url}")
        if (self.cert is None) is not (self.cert_key is None):
            raise ConfigError("--redis-cert and --redis-cert-key go together")
        return url

    def _tls_files(self) -> list[tuple[str, Path]]:
        files = {
            "--redis-ca": self.ca,
            "--redis-cert": self.cert,
            "--redis-cert-key": self.cert_key,
        }
        return [(option, path) for option, path in files.items() if path is not None]


def _check_readable(option: str, path: Path) -> None:
    """TLS reads it anew for each connection, and says less well why it cannot."""
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise _refusal(option, path, error) from error


def _read_password(path: Path) -> str:
    """Its first line."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            octets = file.read(_PASSWORD_MAX + 1)
    except OSError as error:
        raise _refusal("--redis-password-file", path, error) from error
    if (
        is_foreign(status)
        or is_writable_for_others(status)
        or status.st_mode & _READABLE_FOR_OTHERS
    ):
        raise ConfigPermissionError(
            f"--redis-password-file {path} is a secret and others can read or write "
            "it: chmod 600"
        )
    line = octets.partition(b"\n")[0].removesuffix(b"\r")
    try:
        password = line.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"--redis-password-file {path} is no text in UTF-8"
        ) from error
    if not password or len(octets) > _PASSWORD_MAX:
        raise ConfigError(
            f"--redis-password-file {path} has no password in its first line"
        )
    return password


def _refusal(option: str, path: Path, error: OSError) -> ConfigError:
    kind = ConfigPermissionError if isinstance(error, PermissionError) else ConfigError
    return kind(f"{option} {path} cannot be read: {error.strerror}")
