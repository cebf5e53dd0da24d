"""Which keys either end was given, whether they go together, and reading them."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import zmq

from pcap_zmq import sockets
from pcap_zmq.allowed import AllowList
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.certificate import Certificate
from pcap_zmq.keys import read_own, read_public

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """Of a sender, or of whoever asks a receiver. key: its own secret certificate.
    peer_key: the receiver's public one. insecure: none, wherever the other end is."""

    key: Path | None = None
    peer_key: Path | None = None
    insecure: bool = False

    def check(self, endpoint: str) -> None:
        """Raises ConfigError for what makes no sense together, or leaves the link
        open."""
        options = ("--key", self.key), ("--peer-key", self.peer_key)
        _check_pair(options, self.insecure, [endpoint])

    def read(self) -> "Credentials | None":
        """None without keys. Raises KeyFileError."""
        if self.key is None or self.peer_key is None:
            return None
        return Credentials(read_own(self.key), read_public(self.peer_key).public)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client proves who it is by, and knows the receiver by."""

    own: Certificate
    server: str

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Must come before connect or bind."""
        sockets.secure_client(socket, self.own, self.server)


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """Of a receiver. key: its own secret certificate. allow: the directory with the
    public ones of those who may connect. insecure: none, wherever others are."""

    key: Path | None = None
    allow: Path | None = None
    insecure: bool = False

    def check(self, *addresses: str | None) -> None:
        """Raises ConfigError for what makes no sense together, or leaves an address
        open."""
        options = ("--key", self.key), ("--allow", self.allow)
        _check_pair(options, self.insecure, [a for a in addresses if a is not None])

    def read(self) -> Certificate | None:
        """The secret half, to be read while one still may; None without keys. Raises
        KeyFileError."""
        return None if self.key is None else read_own(self.key)

    def read_allowed(self) -> AllowList | None:
        """To be read by whoever will read it again; None without keys. Raises
        KeyFileError."""
        return None if self.allow is None else AllowList(self.allow)


def _check_pair(
    options: tuple[tuple[str, Path | None], tuple[str, Path | None]],
    insecure: bool,
    endpoints: Iterable[str],
) -> None:
    (first, one), (second, other) = options
    for name, path, missing in ((first, one, second), (second, other, first)):
        if path is not None and insecure:
            raise ConfigError(f"{name} and --insecure contradict each other")
        if path is not None and None in (one, other):
            raise ConfigError(f"{name} takes {missing}, too: keys go in pairs")
    if one is not None:
        return
    for endpoint in endpoints:
        try:
            sockets.check_reach(endpoint, options=f"{first} and {second}")
        except ConfigError:
            if not insecure:
                raise
            logger.warning(
                "%s has no keys: anybody on the way can read the packets and send some",
                endpoint,
            )
