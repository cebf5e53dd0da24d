"""A Redis server of a test's own: started on a free port, killed, started again.

Debian's package redis-tools holds the server under another name; the package
redis-server would only add a service, which would run for nobody.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from testbed.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

PATIENCE_S = 30.0
PROGRAMS = ("redis-server", "valkey-server", "redis-check-rdb")
"""The last is the same program, which goes by the name that it is called by."""


class RedisServer:
    """Keeps its data in `folder`, every change of it, over a restart. tls: the files
    `ca.crt`, `server.crt` and `server.key` are there, and clients have to show a
    certificate of that ca, too. More options as redis.conf has them."""

    def __init__(
        self, folder: Path, *options: str, password: str = "", tls: bool = False
    ) -> None:
        self.folder = folder
        self.password = password
        self.port = _free_port()
        self._options = [
            *("--bind", "127.0.0.1", "--dir", str(folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always"),
            *options,
        ]
        if password:
            self._options += ["--requirepass", password]
        if tls:
            self._options += ["--port", "0", "--tls-port", str(self.port)]
            for option, name in (
                ("--tls-ca-cert-file", "ca.crt"),
                ("--tls-cert-file", "server.crt"),
                ("--tls-key-file", "server.key"),
            ):
                self._options += [option, str(folder / name)]
        else:
            self._options += ["--port", str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Without TLS."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        program = self.folder / "redis-server"
        if not program.is_symlink():
            program.symlink_to(_program())
        with (self.folder / "redis.log").open("ab") as log:
            start_of_log = log.tell()
            self._process = process = subprocess.Popen(
                [str(program), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def is_ready() -> bool:
            said = self.said()[start_of_log:]
            if process.poll() is not None:
                raise RuntimeError(f"no server of Redis: {said}")
            return "Ready to accept connections" in said

        wait_until(is_ready, PATIENCE_S, "a server of Redis")

    def kill(self) -> None:
        """At once; what it has acknowledged is on the disk."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None

    def said(self) -> str:
        """Its log."""
        return (self.folder / "redis.log").read_text(errors="replace")


def is_installed() -> bool:
    """Whether there is any."""
    return any(map(shutil.which, PROGRAMS))


def _program() -> str:
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise FileNotFoundError("no Redis: sh scripts/system-packages installs it")
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
