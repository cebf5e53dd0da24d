"""The HTTP server against those who waste its time, on real sockets."""

import contextlib
import http.client
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pcap_zmq.errors import TransportError
from pcap_zmq.metrics.address import Address
from pcap_zmq.metrics.server import CONNECTIONS_MAX, SILENCE_S, HttpServer
from testbed.waiting import wait_until

PATIENCE_S = 20.0


def hello(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """The least that can be served."""
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = HttpServer("--metrics", Address("127.0.0.1", 0), hello)
    yield server
    server.close()


def get(address: Address) -> bytes:
    connection = http.client.HTTPConnection(
        address.host, address.port, timeout=PATIENCE_S
    )
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    finally:
        connection.close()


def is_served(address: Address) -> bool:
    try:
        return get(address) == b"hello"
    except (OSError, http.client.HTTPException):
        return False


def test_an_address_that_is_taken_is_said_in_one_line(server: HttpServer) -> None:
    with pytest.raises(TransportError, match=r"--metrics cannot .*in use; .*port"):
        HttpServer("--metrics", server.address, hello)


@pytest.mark.parametrize("host", ["192.0.2.1", "::1%nowhere0", "x" * 64])
def test_an_address_that_is_not_ours_is_said_in_one_line(host: str) -> None:
    with pytest.raises(TransportError, match=r"--metrics cannot listen on .*: .*;"):
        HttpServer("--metrics", Address(host, 0), hello)


def test_a_port_is_served_at_the_one_that_was_free(server: HttpServer) -> None:
    assert server.address.port > 0
    assert get(server.address) == b"hello"


def test_ipv6_is_served() -> None:
    server = HttpServer("--metrics", Address("::1", 0), hello)
    try:
        assert str(server.address).startswith("[::1]:")
        assert get(server.address) == b"hello"
    finally:
        server.close()


def test_whoever_says_nothing_takes_no_more_than_his_place_and_time(
    server: HttpServer,
) -> None:
    """More than there are places for: the rest are hung up on, and all in the end."""
    where = (server.address.host, server.address.port)
    with ExitStack() as opened:
        silent = [
            opened.enter_context(socket.create_connection(where, PATIENCE_S))
            for _ in range(CONNECTIONS_MAX + 20)
        ]
        refused = [peer for peer in silent[CONNECTIONS_MAX:] if not peer.recv(1)]
        assert len(refused) == 20
        wait_until(
            lambda: is_served(server.address), SILENCE_S + PATIENCE_S, "a free place"
        )
        assert [peer.recv(1) for peer in silent] == [b""] * len(silent)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"\xff" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n" * 3,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1_000 + b"\r\n",
        b"\0" * 100,
    ],
    ids=["tls", "long", "version", "old", "headers", "zeros"],
)
def test_nonsense_is_answered_or_hung_up_on_and_harms_nobody(
    server: HttpServer, octets: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    where = (server.address.host, server.address.port)
    # It may be hung up on before all was said.
    with (
        socket.create_connection(where, PATIENCE_S) as peer,
        contextlib.suppress(OSError),
    ):
        peer.sendall(octets)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65_536):
            pass
    assert get(server.address) == b"hello"
    assert capfd.readouterr().err == ""


def test_a_server_that_is_closed_frees_its_port_at_once() -> None:
    server = HttpServer("--metrics", Address("127.0.0.1", 0), hello)
    address = server.address
    server.close()
    server.close()
    assert not is_served(address)
    again = HttpServer("--metrics", address, hello)
    again.close()
