"""Batches out to whoever connects: PCAP-over-IP, a live stream for many readers.

Specification: docs/outputs.md; tcp(7), epoll(7).

Theory of operation. We listen. A client that connects gets a file header and then
every batch that comes from now on; it has nothing to say, and what it says is passed
over. A batch is encoded once and shared: each client has a queue of references, and its
place in the first of them. A live stream waits for nobody: whoever has more in his
queue than the bound is cut off, and a batch that nobody was there for is dropped.

A batch is written when the kernel has taken all of it for one client, the fastest, and
it is dropped when all that had it in their queues have gone before. It has arrived, for
who waits for that, at once: a client that stands still holds up no sender, and so no
other output.
"""

import contextlib
import errno
import logging
import select
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import OutputCounts, OutputEvent, Reason
from pcap_zmq.formats.file_format import FileFormat
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import READABLE, Watch
from pcap_zmq.sinks.clients import Client, Piece, prepare
from pcap_zmq.sinks.listening import check_reach, listen, written

logger = logging.getLogger(__name__)

CLIENTS_MAX = 64
"""Each may hold as much memory as its queue; beyond, connections are refused."""

PIECES_A_CALL = 64
"""Handed to the kernel at once: small batches need no call each."""

SAID_MAX = 1 << 16
"""Octets that a client may send, which has nothing to say; it is cut off beyond."""

SAID_A_TURN = 1 << 12

REST_NS = NS_PER_S
"""How long not to accept anybody when there are no descriptors left."""

_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what the kernel still has for a client goes at once, and it is told so."""


class BroadcastSink:
    """host: a name or an address; port: 0 for any. queue: octets that may wait for a
    client. linktype: None takes the first batch's. insecure: other hosts may connect.

    Raises ConfigError where others could read the packets without `insecure`, and
    OutputError or OutputPermissionError where nothing can listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        linktype: int | None,
        file_format: FileFormat,
        queue: int,
        insecure: bool,
        counters: OutputCounts,
    ) -> None:
        self._name = f"pcap-over-ip://{written(host, port)}"
        check_reach(self._name, host, insecure)
        self._linktype = linktype
        self._format = file_format
        self._queue_max = queue
        self._counters = counters
        self._clients: dict[int, Client] = {}
        # Pieces that no client has got whole, oldest first.
        self._undecided: dict[Piece, None] = {}
        self._arrived: list[Any] = []
        self._due_ns: int | None = None
        self._is_finishing = False
        self._is_over = False
        self._listeners: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        try:
            for listener in listen(self._name, host, port):
                self._listeners[listener.fileno()] = listener
        except BaseException:
            self.close()
            raise
        for place in self.addresses:
            logger.info("readers may connect to %s", written(*place))
        self._accept_again()

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens: hosts and ports."""
        return [listener.getsockname()[:2] for listener in self._listeners.values()]

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    @property
    def held(self) -> Sequence[Piece]:
        """What no client has got whole."""
        return tuple(self._undecided)

    def serve(self, now: Instant) -> None:
        """Lets clients in, hears them out, and gives them what they have room for."""
        if self._due_ns is not None and now.mono_ns >= self._due_ns:
            self._due_ns = None
            self._accept_again()
        if self._epoll.closed:
            return
        for fd, events in self._epoll.poll(0):
            if fd in self._listeners:
                self._accept(self._listeners[fd], now)
                continue
            client = self._clients.get(fd)
            if client is None:
                continue
            if events & (select.EPOLLERR | select.EPOLLHUP):
                self._forget(client, "has left")
                continue
            if events & select.EPOLLOUT:
                client.is_full = False
                self._give(client)
            if events & select.EPOLLIN and fd in self._clients:
                self._hear(client)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """All that there is to wait for, in one descriptor."""
        if not self._epoll.closed:
            yield Watch(self._epoll.fileno(), READABLE)

    def due(self) -> int | None:
        """When to listen again after descriptors ran out."""
        return self._due_ns

    def offer(self, item: Batch, now: Instant) -> bool:
        """Always takes it: a live stream does not wait."""
        if self._linktype is None:
            self._linktype = item.linktype
        if item.receipt is not None:
            self._arrived.append(item.receipt)
        if not item.records:
            return True
        if not self._clients:
            self._drop(item, Reason.NO_READER)
            return True
        clients = tuple(self._clients.values())
        for client in clients:
            self._greet(client)
        octets = memoryview(self._format.encode(item, now))
        piece = Piece(item, octets, clients=len(clients))
        self._undecided[piece] = None
        for client in clients:
            client.queue.append(piece)
            client.queued += len(octets)
        for client in clients:
            self._give(client)
            if client.queued > self._queue_max:
                self._cut(client, "is too slow")
        return True

    def cut(self) -> int:
        """Nothing is ever on offer for long."""
        return 0

    def skip(self, item: Batch) -> None:
        """It will not be offered: whoever dropped it has counted it."""
        self._format.skip(item)

    def arrived(self) -> Sequence[Any]:
        """What was taken: nobody is waited for."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def finish(self, deadline_ns: int | None) -> None:
        """Nobody else is let in; who is there gets the rest."""
        self._is_finishing = True
        self._stop_listening()

    def is_finished(self) -> bool:
        """Every client has got everything."""
        return self._is_finishing and not any(
            client.queued or client.greeting for client in self._clients.values()
        )

    def abandon(self) -> None:
        """What nobody has got is nobody's any more."""
        self._is_over = True
        for piece in tuple(self._undecided):
            self._lose(piece, Reason.SHUTDOWN)

    def close(self) -> None:
        """Ends every client's stream."""
        self._is_over = True
        self._stop_listening()
        for client in tuple(self._clients.values()):
            # What came and was not read would make a reset of the end.
            with contextlib.suppress(OSError):
                client.connection.shutdown(socket.SHUT_WR)
                client.connection.recv(SAID_A_TURN)
            self._forget(client, None)
        self._epoll.close()

    # Who comes.

    def _accept_again(self) -> None:
        for fd in self._listeners:
            self._epoll.register(fd, select.EPOLLIN)

    def _stop_listening(self) -> None:
        self._due_ns = None
        for listener in self._listeners.values():
            # epoll forgets what is closed.
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket, now: Instant) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SCARCE:
                    self._rest(error, now)
                    return
                # The connection was gone again, or had an error of its own: accept(2).
                continue
            self._admit(connection, written(*address[:2]))

    def _rest(self, error: OSError, now: Instant) -> None:
        logger.warning("%s: %s; nobody is let in", self._name, error.strerror)
        for fd in self._listeners:
            self._epoll.unregister(fd)
        self._due_ns = now.mono_ns + REST_NS

    def _admit(self, connection: socket.socket, name: str) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            self._counters.count_event(OutputEvent.REFUSED_READER)
            logger.warning("%s: %s is one too many", self._name, name)
            connection.close()
            return
        client = Client(connection, name)
        if not prepare(connection):
            # It has left already.
            connection.close()
            return
        client.events = select.EPOLLIN
        self._epoll.register(connection.fileno(), client.events)
        self._clients[connection.fileno()] = client
        self._counters.count_reader()
        logger.info("%s: %s reads from now on", self._name, name)
        self._greet(client)
        self._give(client)

    def _greet(self, client: Client) -> None:
        """The file header, as soon as that is known."""
        if self._linktype is not None and not client.has_header:
            client.has_header = True
            client.greeting = self._format.header(self._linktype)

    # What goes out.

    def _give(self, client: Client) -> None:
        """As much as the kernel takes now."""
        while (client.greeting or client.queue) and not client.is_full:
            parts: list[bytes | memoryview] = []
            if client.greeting:
                parts.append(client.greeting)
            for place in range(min(len(client.queue), PIECES_A_CALL)):
                octets = client.queue[place].octets
                parts.append(octets if place else octets[client.at :])
            try:
                sent = client.connection.sendmsg(parts)
            except BlockingIOError:
                client.is_full = True
            except OSError:
                self._forget(client, "has left")
                return
            else:
                client.is_full = sent < sum(map(len, parts))
                self._pass_sent(client, sent)
        self._ask_for(client)

    def _pass_sent(self, client: Client, sent: int) -> None:
        greeted = min(sent, len(client.greeting))
        client.greeting = client.greeting[greeted:]
        sent -= greeted
        client.queued -= sent
        while sent:
            piece = client.queue[0]
            came = min(len(piece.octets), client.at + sent)
            sent -= came - client.at
            client.at = came
            piece.sent = max(piece.sent, came)
            if came == len(piece.octets):
                client.queue.popleft()
                client.at = 0
                piece.clients -= 1
                self._take(piece)

    def _take(self, piece: Piece) -> None:
        """Somebody has got it whole."""
        if piece.is_taken:
            return
        piece.is_taken = True
        del self._undecided[piece]
        self._counters.count_written(piece.receipt, piece.count)
        self._counters.count_bytes(len(piece.octets))

    def _ask_for(self, client: Client) -> None:
        events = 0 if client.has_finished else select.EPOLLIN
        if client.is_full:
            events |= select.EPOLLOUT
        if events != client.events:
            client.events = events
            self._epoll.modify(client.connection.fileno(), events)

    # What comes in, and who goes.

    def _hear(self, client: Client) -> None:
        """Whatever it says means nothing, but that it says nothing more."""
        try:
            said = client.connection.recv(SAID_A_TURN)
        except BlockingIOError:
            return
        except OSError:
            self._forget(client, "has left")
            return
        client.said += len(said)
        if client.said > SAID_MAX:
            self._cut(client, "sends what nobody asked for")
        elif not said:
            # Half of it may be closed and the other be read: nc does so.
            client.has_finished = True
            self._ask_for(client)

    def _cut(self, client: Client, why: str) -> None:
        if client.connection.fileno() not in self._clients:
            return
        self._counters.count_event(OutputEvent.CUT_READER)
        logger.warning(
            "%s: %s %s (%d octets waited) and is cut off",
            self._name,
            client.name,
            why,
            client.queued,
        )
        with contextlib.suppress(OSError):
            client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._forget(client, None)

    def _forget(self, client: Client, why: str | None) -> None:
        if why is not None:
            logger.info("%s: %s %s", self._name, client.name, why)
        del self._clients[client.connection.fileno()]
        # epoll forgets what is closed.
        client.connection.close()
        for piece in client.queue:
            piece.clients -= 1
            if not piece.clients and not piece.is_taken and not self._is_over:
                self._lose(piece, Reason.NO_READER)
        client.queue.clear()
        client.queued = 0

    def _lose(self, piece: Piece, reason: Reason) -> None:
        """Nobody will get all of it; what one has got of it was written."""
        del self._undecided[piece]
        whole = self._format.whole(piece.octets, piece.sent)
        written = self._format.count(piece.octets[:whole])
        self._counters.count_written(piece.receipt, written)
        self._counters.count_bytes(whole)
        self._drop(replace(piece.item, count=piece.count - written), reason)

    def _drop(self, item: Batch, reason: Reason) -> None:
        """Nobody will ever get it."""
        self._format.skip(item)
        self._counters.count_dropped(item.receipt, reason, item.count)
