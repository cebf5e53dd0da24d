"""Tells a running dispatcher what to do, on its control socket."""

import socket
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq import options
from pcap_zmq.agenda.naming import whole
from pcap_zmq.clock import NS_PER_S
from pcap_zmq.errors import (
    ConfigError,
    ConfigPermissionError,
    FormatError,
    TransportError,
)
from pcap_zmq.formats.control import (
    LINE_MAX,
    WITH_FILES,
    Reply,
    Request,
    decode_reply,
    encode_request,
)

CHUNK = 1 << 16
ANSWER_MAX = 1 << 28
"""Octets: a list of a million files fits."""


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """control: where the socket is. do: one of ORDERS. files: as they were typed."""

    control: Path
    do: str
    files: tuple[str, ...] = ()
    is_for_all: bool = False
    timeout_ns: int = options.ANSWER_NS.default

    def check(self) -> None:
        """Raises ConfigError."""
        options.ANSWER_NS.check("--timeout (ns)", self.timeout_ns)
        if self.files and self.do not in WITH_FILES:
            raise ConfigError(f"{self.do} takes no FILES")
        if self.do == "add" and not self.files:
            raise ConfigError("add needs FILES")
        if self.is_for_all and (self.files or self.do not in {"allow", "deny", "skip"}):
            raise ConfigError("--all goes with allow, deny or skip, and without FILES")

    @property
    def request(self) -> Request:
        """What is asked; of paths, those that the dispatcher knows them by."""
        files = [
            name if name.startswith("#") else str(whole(Path(name)))
            for name in self.files
        ]
        return Request(self.do, files, self.is_for_all)

    @property
    def line(self) -> bytes:
        """The same, as it is sent. Raises ConfigError where it is too long."""
        line = encode_request(self.request)
        if len(line) > LINE_MAX:
            raise ConfigError(
                f"{len(self.files)} FILES are too many at once: name their folder, or "
                "a pattern in quotes"
            )
        return line


def ask(config: QueueConfig) -> Reply:
    """Raises ConfigError, ConfigPermissionError, and TransportError where nobody
    answers."""
    config.check()
    line = config.line
    path = config.control
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(config.timeout_ns / NS_PER_S)
            connection.connect(str(path))
            connection.sendall(line)
            return decode_reply(_line(connection, path))
    except FileNotFoundError as error:
        raise ConfigError(
            f"--control {path} is not there; start pcap-zmq dispatch with the same "
            "--control"
        ) from error
    except PermissionError as error:
        raise ConfigPermissionError(
            f"--control {path}: {error.strerror}; be the user whom the dispatch runs as"
        ) from error
    except ConnectionRefusedError as error:
        raise TransportError(
            f"nobody listens at {path}: the dispatch has ended"
        ) from error
    except FormatError as error:
        raise TransportError(f"{path}: {error}") from error
    except TimeoutError as error:
        raise TransportError(f"{path} does not answer") from error
    except OSError as error:
        raise TransportError(
            f"{path} cannot be asked: {error.strerror or error}"
        ) from error


def _line(connection: socket.socket, path: Path) -> bytes:
    heard = bytearray()
    while not heard.endswith(b"\n"):
        octets = connection.recv(CHUNK)
        if not octets:
            raise TransportError(
                f"{path} hangs up: you may not ask there, or the dispatch has ended"
            )
        heard += octets
        if len(heard) > ANSWER_MAX:
            raise FormatError("it never stops")
    return bytes(heard)
