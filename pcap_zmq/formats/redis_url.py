"""Where a Redis server is, as a URL says it: redis://, rediss:// (TLS) or unix://.

Specification: the "redis" and "rediss" entries of IANA's URI schemes. What a URL may
ask of a client beyond that, in its query, is refused: there is one way to say it.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from pcap_zmq.errors import FormatError

PORT = 6379
FORM = "write redis://HOST:PORT/DATABASE, rediss:// for TLS, or unix:///PATH"

ESCAPES = "in a password / is written %2F, : %3A, @ %40, # %23 and ? %3F"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """host and port, or path: a socket of this host. Shown without its password."""

    host: str = ""
    port: int = PORT
    path: str = ""
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    is_encrypted: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "rediss" if self.is_encrypted else "redis"
        return f"{scheme}://{host}:{self.port}"

    @property
    def is_open_to_others(self) -> bool:
        """Whether somebody on the way could read what is said, and say something."""
        is_here = self.host == "localhost" or self.host.startswith("127.")
        return not (self.path or self.is_encrypted or is_here or self.host == "::1")


def parse(text: str) -> RedisUrl:
    """Raises FormatError, which never repeats the password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        # What it says may be a part of the password.
        raise FormatError(f"host or port are none; {FORM}; {ESCAPES}") from error
    user = unquote(parts.username) if parts.username else None
    # redis://secret@HOST names a user to redis-cli, too; an empty password is none.
    password = unquote(parts.password) if parts.password else None
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise FormatError(f"{parts.scheme or 'no scheme'} is none of Redis's; {FORM}")
    if parts.fragment:
        raise FormatError(f"there is a # in it; {ESCAPES}")
    if parts.scheme == "unix":
        return RedisUrl(
            path=_socket_path(parts.hostname, unquote(parts.path)),
            database=_database_of_query(parts.query),
            user=user,
            password=password,
        )
    if parts.query:
        raise FormatError("it asks for something after ?; there are options for that")
    return RedisUrl(
        host=parts.hostname or "127.0.0.1",
        port=PORT if port is None else port,
        database=_database(parts.path.removeprefix("/")),
        user=user,
        password=password,
        is_encrypted=parts.scheme == "rediss",
    )


def _socket_path(host: str | None, path: str) -> str:
    if host or not path.startswith("/") or path == "/":
        raise FormatError(f"unix:// takes the whole path of a socket; {FORM}")
    return path


def _database_of_query(query: str) -> int:
    asked = dict(parse_qsl(query))
    if set(asked) - {"db"}:
        raise FormatError("of a socket only ?db=NUMBER may be asked")
    return _database(asked.get("db", ""))


def _database(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal() or not text.isascii() or len(text) > 4:
        raise FormatError(f"after the host comes no number of a database; {ESCAPES}")
    return int(text)
