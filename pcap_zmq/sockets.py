"""How our ZeroMQ sockets are set up: every option that matters, said outright.

Specification: zmq_setsockopt(3), zmq_socket_monitor(3).
"""

import contextlib
import errno
import ipaddress
import re
import struct

import zmq

import linux_ffi
from pcap_zmq.errors import ConfigError, TransportError
from pcap_zmq.formats import wire
from pcap_zmq.formats.certificate import Certificate
from pcap_zmq.units import NS_PER_MS

HEARTBEAT_INTERVAL_MS = 1_000
HEARTBEAT_TIMEOUT_MS = 5_000
"""A peer that answers no ping for this long is gone, whatever TCP believes."""

HANDSHAKE_MS = 5_000
"""A connection that has not shaken hands by then is somebody else's."""

CONNECT_MS = 5_000
"""A connection that is not made by then is tried anew: where packets vanish, TCP alone
would wait for minutes, also when they do not vanish any more."""

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

_EVENT = struct.Struct("=Hi")
"""What a monitor says: an event's number and its value."""

SCHEMES = ("tcp", "ipc")

ZAP_DOMAIN = "pcap-zmq"


def new_context() -> zmq.Context[zmq.Socket[bytes]]:
    """A context whose ROUTERs do not count their peers from a number that everybody
    knows: who says to have the number of the next one makes libzmq 4.3 end the process
    (router.cpp, identify_peer). It draws the first from rand(), which nobody seeds."""
    linux_ffi.seed_random()
    return zmq.Context()


def prepare(socket: zmq.Socket[bytes]) -> None:
    """Sets what both ends have in common. Must come before connect or bind."""
    options = {
        zmq.LINGER: 0,
        zmq.HEARTBEAT_IVL: HEARTBEAT_INTERVAL_MS,
        zmq.HEARTBEAT_TIMEOUT: HEARTBEAT_TIMEOUT_MS,
        zmq.HEARTBEAT_TTL: HEARTBEAT_TIMEOUT_MS,
        zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
        zmq.CONNECT_TIMEOUT: CONNECT_MS,
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


def secure_server(socket: zmq.Socket[bytes], own: Certificate) -> None:
    """Lets in whom the ZAP handler of the context lets in, and nobody where there is
    none. Must come before connect or bind; either end of TCP may be the server."""
    _set_keys(socket, own)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt_string(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def secure_client(socket: zmq.Socket[bytes], own: Certificate, server: str) -> None:
    """Speaks to the owner of this public key (Z85) and to nobody else. Must come before
    connect or bind."""
    _set_keys(socket, own)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server.encode())


def _set_keys(socket: zmq.Socket[bytes], own: Certificate) -> None:
    if own.secret is None:
        raise ValueError("a certificate without its secret")
    socket.setsockopt(zmq.CURVE_PUBLICKEY, own.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret.reveal().encode())


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


def check_reach(endpoint: str, *, options: str) -> None:
    """Raises ConfigError for an endpoint through which other hosts could listen or
    talk. options: those that would secure it."""
    if endpoint.startswith("ipc://"):
        return
    address = endpoint.partition("://")[2].rpartition(";")[2]
    if not is_loopback(address.rpartition(":")[0].strip("[]")):
        raise ConfigError(
            f"{endpoint} leaves this host and there are no keys, so anybody on the way "
            "could read the packets or send some; make keys with pcap-zmq keygen and "
            f"give {options}, or accept that with --insecure"
        )


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is for this host alone."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def plain(address: str) -> str:
    """As people write it: our sockets are IPv6 ones, which take IPv4 too."""
    return address.removeprefix("::ffff:")


class Redial:
    """Connects again where ZeroMQ has given up: it does so for good after a handshake
    that was refused or made no sense, be it for a key that is about to be allowed.

    Told by the socket's monitor: a connection that ended without the news that it is
    being tried again will not be.
    """

    EVENTS = (
        zmq.EVENT_DISCONNECTED
        | zmq.EVENT_CONNECT_RETRIED
        | zmq.EVENT_HANDSHAKE_SUCCEEDED
    )
    """What the monitor must tell."""

    FIRST_NS = 1_000 * NS_PER_MS
    """More than the news takes; doubled for each try."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self._socket = socket
        self._endpoint = endpoint
        self._wait_ns = self.FIRST_NS
        self._due_ns: int | None = None

    def note(self, event: int, now_ns: int) -> None:
        """Takes note of an event of the monitor; of any other too."""
        if event == zmq.EVENT_DISCONNECTED:
            self._due_ns = now_ns + self._wait_ns
        elif event == zmq.EVENT_CONNECT_RETRIED:
            self._due_ns = None
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._due_ns = None
            self._wait_ns = self.FIRST_NS

    def serve(self, now_ns: int) -> None:
        """Connects when it is time."""
        if self._due_ns is None or now_ns < self._due_ns:
            return
        self._due_ns = None
        self._wait_ns = min(2 * self._wait_ns, RECONNECT_MAX_MS * NS_PER_MS)
        with contextlib.suppress(zmq.ZMQError):
            # Where ZeroMQ has forgotten it there is nothing to end.
            self._socket.disconnect(self._endpoint)
        self._socket.connect(self._endpoint)

    def due(self) -> int | None:
        """When to try again (mono_ns)."""
        return self._due_ns


def has_message(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message can be received without waiting."""
    return bool(int(socket.get(_EVENTS)) & _POLLIN)


def take_event(monitor: zmq.Socket[bytes]) -> tuple[int, int]:
    """The event that waits in a monitor's socket, and its value."""
    # pyzmq's own function is in a module that imports asyncio and with it ssl: a fifth
    # of what a start costs.
    event, _address = monitor.recv_multipart()
    number, value = _EVENT.unpack(event)
    return number, value
