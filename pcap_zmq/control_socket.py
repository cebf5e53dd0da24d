"""A socket on which those who may tell a running tool what to do: a line each way.

Specification: unix(7), SO_PEERCRED. Who may: the user whom the tool runs as, and root;
the socket's mode keeps others out, and whoever comes is asked for in any case.
"""

import contextlib
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.packet import Instant
from pcap_zmq.poll import READABLE, WRITABLE, Watch

logger = logging.getLogger(__name__)

CLIENTS_MAX = 32
"""At a time."""

PATIENCE_NS = 30 * NS_PER_S
"""How long a client may say nothing, or not listen."""

CHUNK = 1 << 16

_CREDENTIALS = struct.Struct("iII")


class _Client:
    """Owns the connection."""

    def __init__(self, connection: socket.socket, now: Instant) -> None:
        self.connection = connection
        self.heard = b""
        self.answer = memoryview(b"")
        self.since_ns = now.mono_ns


class ControlSocket:
    """An attendant of the loop. answer: what to say to a line; never fails. line_max:
    octets of one. Replaces a socket that nobody listens on any more.

    Raises ConfigError where something else is there or somebody listens, OutputError
    and OutputPermissionError where it cannot be made.
    """

    def __init__(
        self, path: Path, answer: Callable[[bytes], bytes], line_max: int
    ) -> None:
        self._path = path
        self._answer = answer
        self._line_max = line_max
        self._clients: list[_Client] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._is_bound = False
        try:
            self._listener.setblocking(False)
            self._listen()
        except PermissionError as error:
            self.close()
            raise OutputPermissionError(
                f"--control {path} may not be made: {error.strerror}"
            ) from error
        except OSError as error:
            self.close()
            # AF_UNIX path too long has no number.
            raise OutputError(
                f"--control {path} cannot be made: {error.strerror or error}"
            ) from error
        except BaseException:
            self.close()
            raise

    def serve(self, now: Instant) -> None:
        """Takes whoever comes, and answers whoever asks."""
        self._accept(now)
        for client in list(self._clients):
            try:
                is_there = self._hear(client, now) and self._talk(client, now)
            except OSError:
                is_there = False
            if not is_there or now.mono_ns >= client.since_ns + PATIENCE_NS:
                client.connection.close()
                self._clients.remove(client)

    def watch(self) -> Iterable[Watch]:
        """Who comes, asks, or has room for an answer."""
        if len(self._clients) < CLIENTS_MAX:
            yield Watch(self._listener.fileno(), READABLE)
        for client in self._clients:
            events = WRITABLE if client.answer else READABLE
            yield Watch(client.connection.fileno(), events)

    def due(self) -> int | None:
        """When patience is at an end."""
        if any(b"\n" in c.heard and not c.answer for c in self._clients):
            # It has asked for more than it was told.
            return 0
        since = (client.since_ns for client in self._clients)
        return min((ns + PATIENCE_NS for ns in since), default=None)

    def close(self) -> None:
        """Nobody can come any more; twice is harmless."""
        for client in self._clients:
            client.connection.close()
        self._clients.clear()
        self._listener.close()
        if self._is_bound:
            self._is_bound = False
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _listen(self) -> None:
        """Under its name it is there when somebody listens."""
        self._clear_way()
        part = self._path.with_name(f".{self._path.name}.part")
        part.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._listener.bind(str(part))
        finally:
            os.umask(mask)
        try:
            self._listener.listen(CLIENTS_MAX)
            part.replace(self._path)
        except BaseException:
            part.unlink()
            raise
        self._is_bound = True

    def _clear_way(self) -> None:
        """A socket that an earlier run has left goes."""
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ConfigError(f"--control {self._path} is there, and is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.setblocking(False)
            try:
                caller.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
            except BlockingIOError:
                # Somebody listens, and is busy.
                pass
        raise ConfigError(
            f"--control {self._path} is another dispatch's; give each one of its own"
        )

    def _accept(self, now: Instant) -> None:
        while len(self._clients) < CLIENTS_MAX:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                # Nobody; or who came is gone; or descriptors are: the next turn tells.
                return
            connection.setblocking(False)
            if self._may(connection):
                self._clients.append(_Client(connection, now))
            else:
                connection.close()

    def _may(self, connection: socket.socket) -> bool:
        told = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        process, user, _ = _CREDENTIALS.unpack(told)
        if user in {0, os.geteuid()}:
            return True
        logger.warning(
            "process %d of user %d asks at %s, and may not", process, user, self._path
        )
        return False

    def _hear(self, client: _Client, now: Instant) -> bool:
        """False: it is gone, or talks nonsense without end. Who does not listen is
        not heard any further: answers are long, and would pile up."""
        if client.answer:
            return True
        if b"\n" in client.heard:
            self._answer_first(client)
            return True
        try:
            octets = client.connection.recv(CHUNK)
        except BlockingIOError:
            return True
        if not octets:
            return False
        client.since_ns = now.mono_ns
        client.heard += octets
        if b"\n" in octets:
            self._answer_first(client)
            return True
        return len(client.heard) <= self._line_max

    def _answer_first(self, client: _Client) -> None:
        line, _, client.heard = client.heard.partition(b"\n")
        client.answer = memoryview(self._answer(line))

    def _talk(self, client: _Client, now: Instant) -> bool:
        if client.answer:
            try:
                sent = client.connection.send(client.answer)
            except BlockingIOError:
                return True
            client.answer = client.answer[sent:]
            client.since_ns = now.mono_ns
        return True
