"""A small HTTP server that stands its ground: few threads, no look-ups, no waiting.

prometheus-client's own starts a thread for everybody who connects, for as long as they
like; and http.server asks the DNS for its own name before it serves.
"""

import os
import select
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from pcap_zmq.errors import TransportError
from pcap_zmq.metrics.address import Address
from pcap_zmq.poll import new_wake

CONNECTIONS_MAX = 8
"""Served at the same time; whoever comes beyond is hung up on."""

SILENCE_S = 2
"""How long one of them may say nothing."""

Application = Callable[..., Any]


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are no news."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # For handle_request: what has gone again since it was announced is not waited for.
    timeout = 0
    # So that whoever is hung up on learns it at once, and need not try again.
    request_queue_size = 128

    def __init__(self, family: int, where: Any, application: Application) -> None:
        self.address_family = family
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(where, _Handler)
        self.set_app(application)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the DNS who we are.
        socketserver.TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), port
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            # No thread to be had.
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hung up, or talked nonsense, has only harmed itself."""


class HttpServer:
    """Serves a WSGI application in threads of its own from now on.

    Raises TransportError where the address cannot be had.
    """

    def __init__(self, option: str, address: Address, application: Application) -> None:
        try:
            (family, _, _, _, where), *_ = socket.getaddrinfo(
                address.host,
                address.port,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )
            self._server = _Server(family, where, application)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no host name"
            raise TransportError(
                f"{option} cannot listen on {address}: {why}; name an "
                "address of this host and a free port"
            ) from error
        self.address = Address(self._server.server_name, self._server.server_port)
        # Not serve_forever, which looks twice a second whether it shall end.
        self._wake, self._woken = new_wake()
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nobody new is served any more; twice is harmless."""
        if not self._thread.is_alive():
            return
        os.write(self._woken, b"\0")
        self._thread.join()
        self._server.server_close()
        os.close(self._wake)
        os.close(self._woken)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._server, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while self._wake not in {fd for fd, _ in poll.poll()}:
            self._server.handle_request()
