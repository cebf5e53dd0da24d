"""Servers of Redis, clients of them, and dispatchers' agendas, each of one test."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from pcap_zmq.agenda.redis_agenda import RedisAgenda
from pcap_zmq.agenda.redis_errands import Habits
from pcap_zmq.agenda.redis_server import RedisServer as Connection
from pcap_zmq.agenda.redis_server import Tls
from pcap_zmq.formats import redis_url
from pcap_zmq.units import NS_PER_MS
from testbed.redis import RedisServer, is_installed
from tests.pipes.tools import Tools
from tests.redis.controllers import Client
from tests.redis.desk import Desk

LEASE_NS = 300 * NS_PER_MS


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    """Starts our commands; none outlives the test."""
    with Tools(tmp_path) as tools:
        yield tools


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The server's own."""
    if not is_installed():
        pytest.skip("no Redis: sh scripts/system-packages")
    folder = tmp_path / "redis"
    folder.mkdir()
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[RedisServer]:
    """Without a password, without TLS."""
    with RedisServer(folder) as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[Client]:
    """Of somebody else."""
    with redis.Redis(port=server.port) as client:
        yield client


Open = Callable[..., Desk]


@pytest.fixture
def open_desk(server: RedisServer) -> Iterator[Open]:
    """Opens agendas; closes them all."""
    with ExitStack() as opened:

        def open_one(
            *,
            prefix: str = "",
            queue: str = "PCAPDJ_IN_QUEUE",
            auth_string: bool = False,
            lease_ns: int = LEASE_NS,
            auth_timeout_ns: int | None = None,
            stays: bool = False,
        ) -> Desk:
            connection = Connection(redis_url.parse(server.url), None, Tls())
            habits = Habits(prefix, queue, auth_string, lease_ns)
            agenda = RedisAgenda(
                connection, habits, auth_timeout_ns=auth_timeout_ns, stays=stays
            )
            opened.callback(agenda.close)
            return Desk(agenda)

        yield open_one


@pytest.fixture
def desk(open_desk: Open) -> Desk:
    """One with everything as it is by default."""
    return open_desk()


@pytest.fixture
def certificates(folder: Path) -> Path:
    """A folder with ca, server and client, each with a key; and another ca."""
    for ca in ("ca", "other"):
        _openssl(
            folder,
            *("req", "-x509", *_new_key(ca), "-subj", f"/CN={ca}", "-days", "2"),
            *("-out", f"{ca}.crt"),
        )
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        _openssl(folder, "req", *_new_key(name), "-subj", f"/CN={name}", "-out", "csr")
        _openssl(
            folder,
            *("x509", "-req", "-in", "csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", "san"),
            *("-out", f"{name}.crt"),
        )
    return folder


def _new_key(name: str) -> tuple[str, ...]:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    return (*curve, "-nodes", "-keyout", f"{name}.key")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30
    )
