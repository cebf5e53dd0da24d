"""One connection to a Redis server: runs the steps of redis_agenda.lua, and says what
goes wrong in our words.

Every call may wait for the network, for TIMEOUT_S at most: none is for the loop. What
was lost is connected again by the next call.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcap_zmq.errors import ConfigError, TransportError, TransportPermissionError
from pcap_zmq.formats.redis_url import RedisUrl

TIMEOUT_S = 5.0

SCRIPT = Path(__file__).with_name("redis_agenda.lua")

_KINDS = {
    "NoPermissionError": "its user may not do that; see what docs/redis.md asks for",
    "ReadOnlyError": "it is a replica and cannot be changed; name the one it follows",
    "OutOfMemoryError": "it has no memory left; raise its maxmemory",
    "BusyLoadingError": "it is still loading its data",
}


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM. ca: who may vouch for the server; None: whom this host trusts.
    certificate and key: our own, where the server asks for one."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class RedisServer:
    """password: where the URL has none. Nothing is connected yet. Raises ConfigError
    where there is no client library."""

    def __init__(self, url: RedisUrl, password: str | None, tls: Tls) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ModuleNotFoundError as error:
            raise ConfigError(
                "--redis needs the Python package redis: pip install 'pcap-zmq[redis]'"
            ) from error
        self.url = url
        self._failures = (redis.RedisError, OSError)
        self._client = redis.Redis(
            # The older protocol, which every server speaks.
            protocol=2,
            db=url.database,
            username=url.user,
            password=password if url.password is None else url.password,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # A step that was lost on its way is for whoever asked for it to ask again.
            retry=Retry(NoBackoff(), 0),
            **_place(url, tls),
        )
        self._script = self._client.register_script(SCRIPT.read_text())

    def run(self, arguments: Sequence[str | bytes | int]) -> Any:
        """What the step gives: octets, or a list of them. Raises TransportError."""
        try:
            answer = self._script(args=arguments)
        except self._failures as error:
            raise _in_our_words(self.url, error) from error
        except (ValueError, TypeError, RecursionError) as error:
            # Out of the client library: numbers that are none, and the like.
            raise self.nonsense() from error
        parts = answer if isinstance(answer, list) else [answer]
        if not all(isinstance(part, bytes) for part in parts):
            raise self.nonsense()
        return answer

    def nonsense(self) -> TransportError:
        """To be raised where an answer is none to what was asked: what comes after it
        is not to be trusted either, so it is connected anew."""
        self._client.connection_pool.disconnect()
        return TransportError(
            f"Redis at {self.url} answers what makes no sense: is it a Redis server, "
            "and does nobody else write to its keys?"
        )

    def close(self) -> None:
        """Twice is harmless."""
        self._client.close()


def _place(url: RedisUrl, tls: Tls) -> dict[str, Any]:
    if url.path:
        return {"unix_socket_path": url.path}
    place: dict[str, Any] = {"host": url.host, "port": url.port}
    if url.is_encrypted:
        place |= {
            "ssl": True,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
            "ssl_ca_certs": None if tls.ca is None else str(tls.ca),
            "ssl_certfile": None if tls.certificate is None else str(tls.certificate),
            "ssl_keyfile": None if tls.key is None else str(tls.key),
        }
    return place


def _in_our_words(url: RedisUrl, error: BaseException) -> TransportError:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "AuthenticationError" in kinds:
        return TransportPermissionError(
            f"Redis at {url} refuses our user or password: {_text(error)}; see "
            "--redis-password-file"
        )
    for kind, why in _KINDS.items():
        if kind in kinds:
            return TransportError(f"Redis at {url}: {why} ({_text(error)})")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TransportError(
                f"Redis at {url} has a certificate that cannot be trusted: "
                f"{cause.verify_message}; see --redis-ca"
            )
        if isinstance(cause, ssl.SSLError):
            return TransportError(
                f"Redis at {url} does not agree on TLS: {cause.reason or cause}; it "
                "may expect --redis-cert and --redis-cert-key, or no TLS (redis://)"
            )
        if isinstance(cause, OSError) and cause.strerror:
            return TransportError(f"Redis at {url} cannot be reached: {cause.strerror}")
        cause = cause.__cause__ or cause.__context__
    if "ResponseError" in kinds:
        return TransportError(f"Redis at {url} refuses: {_text(error)}")
    hint = "; does it speak TLS (rediss://)?" if url.is_encrypted else ""
    return TransportError(f"Redis at {url} gave no answer: {_text(error)}{hint}")


def _text(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
