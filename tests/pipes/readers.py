"""Readers of a FIFO for tests: one that can be killed at any octet, and a TCP proxy."""

import contextlib
import mmap
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbed.waiting import wait_until

# The kernel copies from the pipe into memory that outlives the process: whatever it
# took out of the pipe is there, wherever the process was killed.
_PROGRAM = """
import mmap, os, sys
fifo, path, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(path, "r+b") as file:
    memory = memoryview(mmap.mmap(file.fileno(), 0))
pipe = os.open(fifo, os.O_RDONLY)
at = 0
while taken := os.readv(pipe, [memory[at:at + step]]):
    at += taken
"""


class KillableReader:
    """A process that reads the FIFO; what it took out of it is never lost."""

    def __init__(self, fifo: Path, path: Path, capacity: int, step: int) -> None:
        self._path = path
        with path.open("wb") as file:
            file.truncate(capacity)
        argv = [sys.executable, "-S", "-c", _PROGRAM, str(fifo), str(path), str(step)]
        self.process = subprocess.Popen(argv)

    def has_read(self, octets: int) -> bool:
        """At least so many, or it has ended."""
        with self._path.open("rb") as file:
            file.seek(octets)
            # The packets of these tests have no run of zeros as long as this.
            return any(file.read(64)) or self.process.poll() is not None

    def kill(self) -> bytes:
        """Ends it at once; returns what it has taken out of the pipe."""
        self.process.kill()
        self.process.wait()
        return self.stream()

    def stream(self) -> bytes:
        """What it has taken out of the pipe."""
        with (
            self._path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory,
        ):
            return memory[:].rstrip(b"\0")


class Proxy:
    """Passes octets on between a port of its own and another one. After so many octets
    of the client's it resets the connection, as often as it was told; `hold` makes it
    deaf and dumb while its connections stay open."""

    def __init__(self, endpoint: str, resets: Sequence[int] = ()) -> None:
        self._target = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._resets = list(resets)
        self._ended, self._end = os.pipe()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._passed: dict[socket.socket, int] = {}
        self._held: set[socket.socket] = set()
        self._is_holding = threading.Event()
        self.connections = 0
        self.octets = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def resets_left(self) -> int:
        return len(self._resets)

    def hold(self) -> None:
        """The connections there are go silent for good; new ones work."""
        self._is_holding.set()
        wait_until(lambda: not self._is_holding.is_set(), 10, "the proxy")

    def close(self) -> None:
        os.write(self._end, b"\0")
        self._thread.join()
        for connection in (*self._pairs, *self._held, self._listener):
            connection.close()
        os.close(self._end)
        os.close(self._ended)

    def _run(self) -> None:
        while True:
            watched: list[socket.socket | int] = [*self._pairs, self._listener]
            ready = select.select([*watched, self._ended], [], [], 0.02)[0]
            if self._ended in ready:
                return
            if self._is_holding.is_set():
                self._held.update(self._pairs)
                self._pairs.clear()
                self._is_holding.clear()
                continue
            for connection in ready:
                if connection is self._listener:
                    self._accept()
                elif isinstance(connection, socket.socket):
                    self._pass_on(connection)

    def _accept(self) -> None:
        client = self._listener.accept()[0]
        try:
            server = socket.create_connection(self._target, timeout=5)
        except ConnectionError:
            client.close()
            return
        self.connections += 1
        self._pairs[client], self._pairs[server] = server, client
        self._passed[client] = 0

    def _pass_on(self, here: socket.socket) -> None:
        there = self._pairs.get(here)
        if there is None:
            return
        octets = b""
        with contextlib.suppress(ConnectionError):
            octets = here.recv(1 << 16)
        is_client = here in self._passed
        if is_client and self._resets:
            octets = octets[: self._resets[0] - self._passed[here]]
        with contextlib.suppress(ConnectionError):
            there.sendall(octets)
        self.octets += len(octets)
        if is_client:
            self._passed[here] += len(octets)
            if self._resets and self._passed[here] >= self._resets[0]:
                self._resets.pop(0)
                octets = b""
        if not octets:
            self._reset(here, there)

    def _reset(self, *pair: socket.socket) -> None:
        for connection in pair:
            lingers_not = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingers_not)
            self._pairs.pop(connection, None)
            self._passed.pop(connection, None)
            connection.close()


@contextlib.contextmanager
def proxy(endpoint: str, resets: Sequence[int] = ()) -> Iterator[Proxy]:
    """A proxy in front of a receiver."""
    running = Proxy(endpoint, resets)
    try:
        yield running
    finally:
        running.close()
