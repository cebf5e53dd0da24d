"""Those who read a live stream, and what is on its way to them.

Specification: tcp(7).
"""

import socket
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from pcap_zmq.packet import Batch

IDLE_S, PROBE_S, PROBES = 30, 10, 3
"""A client that answers nothing for a minute has gone, without a word."""

UNACKNOWLEDGED_MS = 120_000
"""So has one that does not acknowledge, or makes no room, for so long."""

BACKLOG = 128


@dataclass(eq=False, slots=True)
class Piece:
    """A batch as all clients get it."""

    item: Batch
    octets: memoryview
    clients: int = 0
    """In whose queues it is."""
    sent: int = 0
    """Octets, by the one that got most of it."""
    is_taken: bool = False
    """By one client, whole."""

    @property
    def count(self) -> int:
        return self.item.count

    @property
    def receipt(self) -> Any:
        return self.item.receipt


@dataclass(eq=False, slots=True)
class Client:
    """Somebody who has connected."""

    connection: socket.socket
    name: str
    greeting: bytes = b""
    """What is left of the file header."""
    has_header: bool = False
    queue: deque[Piece] = field(default_factory=deque)
    at: int = 0
    """Octets of the first piece that it has got."""
    queued: int = 0
    """Octets that it has yet to get."""
    is_full: bool = False
    """The kernel takes no more for it now."""
    said: int = 0
    has_finished: bool = False
    """It will say nothing more, and may still listen."""
    events: int = 0
    """What epoll was asked for."""


def prepare(connection: socket.socket) -> bool:
    """It never waits, and does not outlive its other end for long. False: that has gone
    already."""
    try:
        connection.setblocking(False)
        for level, option, value in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        ):
            connection.setsockopt(level, option, value)
    except OSError:
        return False
    return True
