"""Ten thousand connections that say nothing, and a sender that must not notice."""

import contextlib
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcap_zmq.connections import RESERVE
from testbed.waiting import wait_until
from tests.pipes.guarded import Feed, Keys, receive
from tests.pipes.tools import PATIENCE_S, Tools

HALF_OPEN = 10_000
MAXIMUM = 4_096
"""The receiver's default."""

SOURCES = 8
UNHURRIED_S = 20.0
"""For what takes well below a second on a machine with nothing else to do."""


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with Tools(tmp_path) as tools:
        yield tools


@pytest.fixture
def room() -> Iterator[None]:
    """Enough of them for the attacker."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < HALF_OPEN + 1_000:
        pytest.skip(f"only {hard} descriptors may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HALF_OPEN + 1_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def open_silently(port: int, opened: contextlib.ExitStack) -> list[socket.socket]:
    """Connections from several addresses, none of which will say anything. As many as
    the other end's backlog takes; the kernel goes on trying for the others."""
    connections = []
    for number in range(HALF_OPEN):
        connection = opened.enter_context(socket.socket())
        connection.setblocking(False)
        # The port is chosen when it connects: there are too few for it to be reserved.
        connection.setsockopt(socket.SOL_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((f"127.0.1.{1 + number % SOURCES}", 0))
        with contextlib.suppress(BlockingIOError):
            connection.connect(("127.0.0.1", port))
        connections.append(connection)
    return connections


def hung_up(connections: list[socket.socket]) -> int:
    """How many of them the other end has ended."""
    poller = select.poll()
    for connection in connections:
        poller.register(connection, select.POLLRDHUP)
    return len(poller.poll(0))


@pytest.mark.inside
@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("user_namespace", [True])
def test_ten_thousand_half_open_connections_touch_nobody(
    tools: Tools, tmp_path: Path, user_namespace: bool
) -> None:
    (tmp_path / "keys").mkdir()
    keys = Keys(tmp_path / "keys")
    for name in ("gw1", "gw2"):
        keys.admit(name)
    receiver, endpoint = receive(tools, tmp_path, *keys.of_receiver())
    feed = Feed(tools, tmp_path, receiver, endpoint, *keys.of("gw1"))
    feed.feed(range(1_000))

    def descriptors() -> int:
        return len(list(Path(f"/proc/{receiver.pid}/fd").iterdir()))

    with contextlib.ExitStack() as opened:
        silent = open_silently(feed.port, opened)
        started = time.monotonic()
        for number in range(1, 6):
            feed.feed(range(number * 1_000, (number + 1) * 1_000))
        assert time.monotonic() - started < UNHURRIED_S
        # Somebody new gets in, too.
        started = time.monotonic()
        newcomer = Feed(tools, tmp_path, receiver, endpoint, *keys.of("gw2"))
        newcomer.sender.wait_to_say("takes packets", UNHURRIED_S)
        newcomer.sender.kill()
        bound = MAXIMUM + RESERVE
        wait_until(lambda: descriptors() < bound, PATIENCE_S, "the bound to hold")
        wait_until(
            lambda: hung_up(silent) == HALF_OPEN,
            2 * PATIENCE_S,
            "all of them to be hung up on",
        )
        feed.feed(range(6_000, 7_000))
    sent, received = feed.finish()
    assert sent["reconnects"] == 0
    assert sent["acknowledged"] == 7_000
    assert received["received"] == 7_000
