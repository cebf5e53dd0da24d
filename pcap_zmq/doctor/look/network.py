"""The way to the other end: what its name means, through which interface it leads, and
who answers there."""

import json
import socket
from ipaddress import ip_address

from pcap_zmq.doctor.judge.endpoint import (
    GREETING_LENGTH,
    SIGNATURE,
    Endpoint,
)
from pcap_zmq.doctor.look import programs
from pcap_zmq.formats.ip import Address
from pcap_zmq.formats.rules import Stream

TIMEOUT_S = 3.0

_EVERYWHERE = {"*", "0.0.0.0", "[::]"}  # noqa: S104  # compared with, not listened on


def stream_to(endpoint: str) -> Stream | None:
    """The stream as rules see it; None where it is not TCP. `endpoint` has been
    checked."""
    parsed = _host_and_port(endpoint)
    if parsed is None:
        return None
    host, port = parsed
    if host in _EVERYWHERE:
        return Stream(endpoint, (), port, is_listening=True)
    addresses = _addresses(host)
    interface = _interface(addresses[0]) if addresses else None
    return Stream(endpoint, addresses, port, interface=interface)


def try_endpoint(endpoint: str) -> Endpoint:
    """Connects, has itself greeted and leaves: to a receiver, a handshake that failed.
    Takes twice TIMEOUT_S at most for each address."""
    parsed = _host_and_port(endpoint)
    try:
        if parsed is None:
            path = endpoint.removeprefix("ipc://")
            # @ stands for Linux's abstract namespace: zmq_ipc(7).
            path = "\0" + path[1:] if path.startswith("@") else path
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.connect(path)
                return Endpoint(endpoint, None, _greet(connection))
        host, port = parsed
        where = (host.strip("[]"), port)
        with socket.create_connection(where, timeout=TIMEOUT_S) as connection:
            return Endpoint(endpoint, None, _greet(connection))
    except OSError as error:
        return Endpoint(endpoint, error.strerror or str(error))


def _greet(connection: socket.socket) -> bytes:
    """What comes back, up to a whole greeting; less where the peer says no more."""
    connection.settimeout(TIMEOUT_S)
    said = b""
    try:
        connection.sendall(SIGNATURE)
        while len(said) < GREETING_LENGTH:
            more = connection.recv(GREETING_LENGTH - len(said))
            if not more:
                break
            said += more
    except OSError:
        pass  # what was said until then tells enough
    return said


def _host_and_port(endpoint: str) -> tuple[str, int] | None:
    scheme, _, rest = endpoint.partition("://")
    if scheme != "tcp":
        return None
    # Before a semicolon stands the address to connect from: zmq_tcp(7).
    host, _, port = rest.rpartition(";")[2].rpartition(":")
    return host, int(port) if port.isdecimal() else 0


def _addresses(host: str) -> tuple[Address, ...]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return tuple(ip_address(text) for text in texts)


def _interface(address: Address) -> str | None:
    said = programs.run("ip", "-j", "route", "get", str(address))
    if said is None or not said.is_done:
        return "lo" if address.is_loopback else None
    try:
        route = json.loads(said.output)[0]
    except (ValueError, IndexError):
        return None
    return "lo" if route.get("type") == "local" else route.get("dev")
