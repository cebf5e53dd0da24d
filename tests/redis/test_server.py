"""How a server is reached, and in one line why it is not."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest
import redis

from pcap_zmq.errors import (
    ConfigError,
    ConfigPermissionError,
    TransportError,
    TransportPermissionError,
)
from pcap_zmq.tools.redis_config import RedisConfig
from testbed.redis import RedisServer
from tests.redis.controllers import Client
from tests.redis.desk import Desk

SECRET = "s3:cr/et@ #?"  # noqa: S105  # whatever a URL has to escape
ESCAPED = "s3%3Acr%2Fet%40%20%23%3F"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\nnot this\n")
    path.chmod(0o600)
    return path


def claims_a_file(config: RedisConfig, client: Client) -> bool:
    """Whether it is what it takes."""
    client.rpush("PCAPDJ_IN_QUEUE", "/a")
    config.check()
    agenda = config.open()
    try:
        return Desk(agenda).claim().path == "/a"
    finally:
        agenda.close()


# What cannot be.


def test_nobody_there_is_one_line(server: RedisServer) -> None:
    server.kill()
    with pytest.raises(
        TransportError,
        match=rf"^Redis at redis://127.0.0.1:{server.port} cannot be reached: "
        "Connection refused$",
    ):
        RedisConfig(server.url).open()


class Babbler:
    """Listens, and says the same to everything."""

    def __init__(self, word: bytes) -> None:
        self._word = word
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    while connection.recv(1 << 16):
                        connection.sendall(self._word)


@pytest.mark.parametrize(
    "word",
    [
        b":abc\r\n",
        b":5\r\n",
        b"+OK\r\n",
        b"$abc\r\n",
        b"$-1\r\n",
        b"*abc\r\n",
        b"*2\r\n$-1\r\n:5\r\n",
        b"*1\r\n$3\r\n\xff\xfe\xfd\r\n",
        b"*1\r\n" * 5_000,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_what_is_no_redis_is_one_line(word: bytes) -> None:
    babbler = Babbler(word)
    try:
        with pytest.raises(TransportError, match=r"^Redis at redis://127.0.0.1:\d+ "):
            RedisConfig(f"redis://127.0.0.1:{babbler.port}").open()
    finally:
        babbler.close()


def test_an_unknown_host_is_one_line() -> None:
    with pytest.raises(
        TransportError, match=r"cannot be reached: .*(known|resolution)"
    ):
        RedisConfig("redis://nowhere.invalid").open()


@pytest.mark.parametrize("secret", ["", ":wrong@", "somebody:wrong@"])
def test_a_wrong_password_is_one_line_without_it(folder: Path, secret: str) -> None:
    with RedisServer(folder, password=SECRET) as server:
        config = RedisConfig(f"redis://{secret}127.0.0.1:{server.port}")
        with pytest.raises(
            TransportPermissionError, match=r"refuses our user or password: .*; see --"
        ) as caught:
            config.open()
    assert "wrong@" not in str(caught.value)


def test_a_user_who_may_not_is_one_line(folder: Path) -> None:
    options = ("--user", "ids", "on", ">pass", "~PCAPDJ_*", "+@connection")
    with (
        RedisServer(folder, *options) as server,
        pytest.raises(TransportError, match="its user may not do that; see what docs"),
    ):
        RedisConfig(f"redis://ids:pass@127.0.0.1:{server.port}").open()


def test_a_user_with_the_rights_of_the_manual_may(folder: Path) -> None:
    manual = Path(__file__).parents[2] / "docs" / "redis.md"
    (rights,) = (
        line.removeprefix("user pcap-zmq ").replace("SECRET", "pass")
        for line in manual.read_text().splitlines()
        if line.startswith("user pcap-zmq ")
    )
    with (
        RedisServer(folder, "--user", "ids", *rights.split()) as server,
        redis.Redis(port=server.port) as client,
    ):
        config = RedisConfig(f"redis://ids:pass@127.0.0.1:{server.port}")
        assert claims_a_file(config, client)
        assert client.acl_log() == []


def test_a_replica_is_no_place_to_write(server: RedisServer) -> None:
    with redis.Redis(port=server.port) as client:
        client.replicaof("127.0.0.1", "1")
    with pytest.raises(TransportError, match="it is a replica"):
        RedisConfig(server.url).open()


def test_a_password_that_others_can_read_is_refused(password_file: Path) -> None:
    password_file.chmod(0o644)
    config = RedisConfig("redis://", password_file=password_file)
    with pytest.raises(ConfigPermissionError, match=r"others can read .*: chmod 600"):
        config.open()


@pytest.mark.parametrize("octets", [b"", b"\nsecret", b"\xff", b"x" * 5000])
def test_a_file_without_a_password_is_refused(
    password_file: Path, octets: bytes
) -> None:
    password_file.write_bytes(octets)
    config = RedisConfig("redis://", password_file=password_file)
    with pytest.raises(ConfigError, match=r"--redis-password-file .*(no text|no pass)"):
        config.open()


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ConfigError, match=r"--redis-password-file .*: No such file"):
        RedisConfig("redis://", password_file=nowhere).open()
    with pytest.raises(ConfigError, match=r"--redis-ca .*: No such file"):
        RedisConfig("rediss://", ca=nowhere).open()


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (RedisConfig("http://here"), "--redis: http is none of Redis's; write redis"),
        (RedisConfig("redis://:a@here", password_file=Path("b")), "give one"),
        (RedisConfig("redis://here", ca=Path("ca")), "--redis-ca is for rediss://"),
        (RedisConfig("rediss://here", cert=Path("c")), "go together"),
        (RedisConfig("redis://here", lease_ns=1), "--redis-lease 1 is out of bounds"),
        (RedisConfig("redis://here", auth_timeout_ns=1), "--auth-timeout 1 is out"),
        (RedisConfig("redis://here", queue=""), "--redis-queue is empty"),
    ],
)
def test_what_makes_no_sense_is_refused(config: RedisConfig, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        config.check()


# Ways in.


def test_a_password_may_stand_in_the_url(folder: Path) -> None:
    with (
        RedisServer(folder, password=SECRET) as server,
        redis.Redis(port=server.port, password=SECRET) as client,
    ):
        config = RedisConfig(f"redis://:{ESCAPED}@127.0.0.1:{server.port}")
        assert claims_a_file(config, client)


def test_a_password_may_come_from_a_file(folder: Path, password_file: Path) -> None:
    with (
        RedisServer(folder, password=SECRET) as server,
        redis.Redis(port=server.port, password=SECRET) as client,
    ):
        url = f"redis://127.0.0.1:{server.port}/3"
        client.select(3)
        assert claims_a_file(RedisConfig(url, password_file=password_file), client)


def test_a_socket_of_this_host_will_do(folder: Path) -> None:
    path = folder / "socket"
    with (
        RedisServer(folder, "--unixsocket", str(path)),
        redis.Redis(unix_socket_path=str(path)) as client,
    ):
        assert claims_a_file(RedisConfig(f"unix://{path}"), client)


def test_what_goes_over_the_network_in_the_clear_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(TransportError):
        RedisConfig("redis://:secret@nowhere.invalid").open()
    assert "is not encrypted: whoever is on the way can allow files, and" in caplog.text
    assert "secret" not in caplog.text


# TLS.


def test_tls_with_certificates_of_both_ends(certificates: Path) -> None:
    with (
        RedisServer(certificates, tls=True) as server,
        redis.Redis(
            port=server.port,
            host="127.0.0.1",
            ssl=True,
            ssl_ca_certs=str(certificates / "ca.crt"),
            ssl_certfile=str(certificates / "client.crt"),
            ssl_keyfile=str(certificates / "client.key"),
        ) as client,
    ):
        config = RedisConfig(
            f"rediss://127.0.0.1:{server.port}",
            ca=certificates / "ca.crt",
            cert=certificates / "client.crt",
            cert_key=certificates / "client.key",
        )
        assert claims_a_file(config, client)


@pytest.mark.parametrize(
    ("scheme", "ca", "with_certificate", "why"),
    [
        ("rediss", "other.crt", True, "has a certificate that cannot be trusted: "),
        ("rediss", None, True, "has a certificate that cannot be trusted: "),
        ("rediss", "ca.crt", False, "does not agree on TLS: .*--redis-cert"),
        ("redis", None, False, "gave no answer|cannot be reached"),
    ],
)
def test_tls_that_does_not_fit_is_one_line(
    certificates: Path, scheme: str, ca: str | None, with_certificate: bool, why: str
) -> None:
    with RedisServer(certificates, tls=True) as server:
        config = RedisConfig(
            f"{scheme}://127.0.0.1:{server.port}",
            ca=None if ca is None else certificates / ca,
            cert=certificates / "client.crt" if with_certificate else None,
            cert_key=certificates / "client.key" if with_certificate else None,
        )
        with pytest.raises(TransportError, match=why) as caught:
            config.open()
    assert "\n" not in str(caught.value)


def test_a_certificate_for_another_name_is_refused(certificates: Path) -> None:
    with RedisServer(certificates, tls=True) as server:
        config = RedisConfig(
            f"rediss://localhost:{server.port}", ca=certificates / "ca.crt"
        )
        with pytest.raises(TransportError, match=r"cannot be trusted: .*localhost"):
            config.open()


def test_the_password_is_in_no_text_of_ours() -> None:
    config = RedisConfig(f"redis://somebody:{ESCAPED}@here")
    assert ESCAPED not in repr(config)
