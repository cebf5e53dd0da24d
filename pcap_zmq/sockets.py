"""How our ZeroMQ sockets are set up: every option that matters, said outright.

Specification: zmq_setsockopt(3).
"""

import errno
import re

import zmq

from pcap_zmq.errors import ConfigError, TransportError
from pcap_zmq.formats import wire

HEARTBEAT_INTERVAL_MS = 1_000
HEARTBEAT_TIMEOUT_MS = 5_000
"""A peer that answers no ping for this long is gone, whatever TCP believes."""

HANDSHAKE_MS = 5_000
"""A connection that has not shaken hands by then is somebody else's."""

RECONNECT_MS = 100
RECONNECT_MAX_MS = 5_000
"""Tries to reconnect come ever later, up to this."""

RECEIVE_HWM = 1_000
"""Messages of one peer that wait in ZeroMQ; beyond, TCP holds the peer back. Windows
keep well-behaved senders far below."""

BACKLOG = 1_024

SOCKET_BUFFER = 4 << 20
"""Octets in the kernel in each direction: a batch goes in one piece."""

# Plain numbers: the enumerations cost more than the call.
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)

SCHEMES = ("tcp", "ipc")


def prepare(socket: zmq.Socket[bytes]) -> None:
    """Sets what both ends have in common. Must come before connect or bind."""
    options = {
        zmq.LINGER: 0,
        zmq.HEARTBEAT_IVL: HEARTBEAT_INTERVAL_MS,
        zmq.HEARTBEAT_TIMEOUT: HEARTBEAT_TIMEOUT_MS,
        zmq.HEARTBEAT_TTL: HEARTBEAT_TIMEOUT_MS,
        zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
        zmq.RECONNECT_IVL: RECONNECT_MS,
        zmq.RECONNECT_IVL_MAX: RECONNECT_MAX_MS,
        zmq.MAXMSGSIZE: wire.CUT_OFF,
        zmq.BACKLOG: BACKLOG,
        # What waits to be sent is bounded in bytes by the windows, not in messages.
        zmq.SNDHWM: 0,
        zmq.RCVHWM: RECEIVE_HWM,
        zmq.SNDBUF: SOCKET_BUFFER,
        zmq.RCVBUF: SOCKET_BUFFER,
        # No queue for a connection that is not there: the link keeps its own.
        zmq.IMMEDIATE: 1,
        zmq.IPV6: 1,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)


def attach(socket: zmq.Socket[bytes], endpoint: str, *, bind: bool) -> str:
    """Binds to or connects to the endpoint; returns the endpoint, with the port that
    was given for port 0 or *. Raises ConfigError for what is no endpoint,
    TransportError for one that cannot be had."""
    check_endpoint(endpoint, bind=bind)
    try:
        if bind:
            socket.bind(endpoint)
        else:
            socket.connect(endpoint)
    except zmq.ZMQError as error:
        verb = "listen on" if bind else "connect to"
        hint = _HINTS.get(error.errno or 0, "")
        raise TransportError(
            f"cannot {verb} {endpoint}: {error.strerror}{hint}"
        ) from error
    if bind and endpoint.endswith((":*", ":0")):
        return socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return endpoint


_HINTS = {
    zmq.EADDRINUSE: "; another process listens there",
    zmq.EADDRNOTAVAIL: "; this host has no such address",
    errno.ENODEV: "; this host has no such interface or address",
}


def check_endpoint(endpoint: str, *, bind: bool) -> None:
    """Raises ConfigError for what is no ZeroMQ endpoint."""
    scheme, separator, rest = endpoint.partition("://")
    if scheme not in SCHEMES or not separator or not endpoint.isprintable():
        raise ConfigError(
            f"{endpoint!r} is no ZeroMQ endpoint; write tcp://HOST:PORT or ipc://PATH"
        )
    if not rest:
        raise ConfigError(f"{endpoint!r} names no address after {scheme}://")
    if scheme == "tcp":
        # Before a semicolon stands the address to connect from: zmq_tcp(7).
        _check_tcp(endpoint, rest.rpartition(";")[2], bind=bind)


def _check_tcp(endpoint: str, address: str, *, bind: bool) -> None:
    host, _, port = address.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    is_host = host and (is_bracketed or not set(host) & set("[]:"))
    is_number = re.fullmatch(r"[0-9]{1,5}", port) is not None and int(port) <= 0xFFFF
    if not is_host or not (is_number or port == "*"):
        raise ConfigError(
            f"{endpoint!r} has no host and port; write tcp://HOST:PORT, an IPv6 "
            "address in brackets"
        )
    if not bind and (host == "*" or port == "*" or int(port) == 0):
        raise ConfigError(
            f"{endpoint!r} cannot be connected to; name the other end's host and port"
        )


def has_message(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message can be received without waiting."""
    return bool(int(socket.get(_EVENTS)) & _POLLIN)
