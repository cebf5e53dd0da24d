"""Where a live stream may be read: who may come near, and the sockets they come to.

Specification: getaddrinfo(3), ipv6(7).
"""

import contextlib
import errno
import socket

from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.sockets import is_loopback

BACKLOG = 128


def listen(name: str, host: str, port: int) -> list[socket.socket]:
    """One for each address of the host, all with the same port: the caller's to close.
    name: of the output, for people. Raises OutputError and OutputPermissionError."""
    try:
        # Octets: for a text Python would load its codec for international names, and
        # privileges have been given up.
        found = socket.getaddrinfo(
            host.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise OutputError(
            f"{name}: {host} is no address of a host: {error.strerror}"
        ) from error
    with contextlib.ExitStack() as opened:
        listeners: list[socket.socket] = []
        for family, _, _, _, address in found:
            place = (address[0], port, *address[2:])
            try:
                listener = opened.enter_context(_bound(family, place))
            except OSError as error:
                is_missing = error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
                if is_missing and len(found) > 1:
                    # localhost, where there is no IPv6.
                    continue
                raise _explained(name, error) from error
            port = port or listener.getsockname()[1]
            listeners.append(listener)
        if not listeners:
            raise OutputError(f"{name}: this host has no such address")
        opened.pop_all()
    return listeners


def _bound(family: int, place: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::] stands for every address there is.
            only = place[0] != "::"
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        listener.bind(place)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def check_reach(name: str, host: str, insecure: bool) -> None:
    """Raises ConfigError where other hosts could read, and nobody has said so."""
    if not host:
        raise ConfigError(
            f"{name} names no host; write 127.0.0.1 for readers on this host"
        )
    if not insecure and not is_loopback(host):
        raise ConfigError(
            f"{name}: other hosts could read the packets, and PCAP-over-IP knows "
            "neither keys nor encryption; listen on 127.0.0.1 and let readers come "
            "through a tunnel (ssh -L), or accept that with insecure=yes"
        )


def _explained(name: str, error: OSError) -> OutputError:
    if isinstance(error, PermissionError):
        return OutputPermissionError(
            f"{name}: {error.strerror}; ports below 1024 are root's: take another"
        )
    hints = {
        errno.EADDRINUSE: "; another process listens there",
        errno.EADDRNOTAVAIL: "; this host has no such address",
    }
    hint = hints.get(error.errno or 0, "")
    return OutputError(f"{name} cannot be listened on: {error.strerror}{hint}")


def written(host: str, port: int) -> str:
    """As people write it."""
    host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
