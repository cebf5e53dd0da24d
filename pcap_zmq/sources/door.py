"""Lets senders in by their keys, tells who speaks, and puts out who may not stay.

Theory of operation. ZeroMQ asks us about each key that a peer has proven to have
(ZAP); we answer in the loop, without a thread. It then writes the key on every message
of that connection, and each message's is compared with the one that was looked up. When
the list changes all are looked up anew: a key that was taken off it is nobody's from
that moment on, whatever is still under way.

Specification: docs/security.md; https://rfc.zeromq.org/spec/27/ (ZAP).
"""

import logging
from collections.abc import Callable, Iterable

import zmq

from link_ffi import TakenMessage
from pcap_zmq import sockets
from pcap_zmq.allowed import AllowList
from pcap_zmq.connections import Connection, Connections
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.certificate import Certificate, Role
from pcap_zmq.formats.stream import Identity
from pcap_zmq.packet import Instant
from pcap_zmq.poll import READABLE, Watch
from pcap_zmq.sources.gate import Gate

logger = logging.getLogger(__name__)

EVENTS_A_TURN = 1_024
"""So that a flood of connections does not stop the rest."""

_FAILURES = {
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL),
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL),
}
_OPENINGS = {int(zmq.EVENT_ACCEPTED), int(zmq.EVENT_CONNECTED)}
_EVENTS = sockets.Redial.EVENTS | sum(_FAILURES) | sum(_OPENINGS)

_MISMATCHES = {
    int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH): (
        "somebody wants to connect without keys, or with keys where there are none: "
        "the handshake failed"
    ),
    int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC): (
        "somebody wants to connect who takes another key for this receiver's: the "
        "handshake failed"
    ),
}


class Door:
    """own, allowed: with keys both, without keys None. hangup: whether somebody asked
    for the list to be read again."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        own: Certificate | None,
        allowed: AllowList | None,
        connections: Connections,
        hangup: Callable[[], bool],
        counters: ReceiverCounters,
    ) -> None:
        self._context = context
        self._own = own
        self._allowed = allowed
        self._connections = connections
        self._hangup = hangup
        self._counters = counters
        self._identities: dict[tuple[str, str], Identity] = {}
        self._heard_since: Callable[[int], Iterable[tuple[int, int]]] = lambda _: ()
        self._looked_ns = 0
        self.lists = 0
        """How often the list has changed: who was known before is to be asked again."""
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._gate: Gate | None = None
        self._redial: sockets.Redial | None = None
        if allowed is not None:
            self._gate = Gate(context, lambda: allowed.people, counters)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    @property
    def connections_max(self) -> int:
        """How many may be."""
        return self._connections.maximum

    def guard(
        self,
        socket: zmq.Socket[bytes],
        connects_to: str | None,
        heard_since: Callable[[int], Iterable[tuple[int, int]]],
    ) -> None:
        """Stands at this socket, which must not be bound or connected yet.
        connects_to: where it is about to connect to; None: it listens. heard_since:
        since when (mono_ns), to the descriptors of who spoke without our being asked,
        with when they were heard last."""
        self._heard_since = heard_since
        if self._own is not None:
            sockets.secure_server(socket, self._own)
        self._socket = socket
        # By hand, since pyzmq's would have room for so many events that ZeroMQ has to
        # wait when it is full, and with it all that is going on.
        address = f"inproc://pcap-zmq.door.{id(self)}"
        socket.monitor(address, _EVENTS)
        self._monitor = self._context.socket(zmq.PAIR)
        self._monitor.setsockopt(zmq.LINGER, 0)
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect(address)
        if connects_to is not None:
            self._redial = sockets.Redial(socket, connects_to)

    @property
    def wants_keys(self) -> bool:
        """Whether whoever speaks has proven to have a key."""
        return self._allowed is not None

    def identify(self, message: TakenMessage, now: Instant) -> Identity | None:
        """Who sent it; None for who is not, or no longer, allowed to speak."""
        if message.fd < 0:
            # ZMTP 1.0, which knows no keys and tells nothing of who speaks: scans, and
            # who means harm. Its connection counts as silent.
            self._counters.malformed_messages += 1
            return None
        connection = self._heard(message, now)
        address = connection.address if connection else sockets.plain(message.address)
        if self._allowed is None:
            return Identity(address=address)
        key = message.key
        person = self._allowed.people.get(key)
        if connection is not None and not connection.key:
            connection.key = key
            connection.name = person.name if person else ""
        if person is None:
            if connection is not None:
                self._dismiss(connection)
            return None
        if (key, address) not in self._identities:
            if len(self._identities) >= self._connections.maximum:
                self._identities.clear()
            self._identities[key, address] = Identity(
                name=person.name,
                key=key,
                address=address,
                is_operator=person.role is Role.OPERATOR,
            )
        return self._identities[key, address]

    def greeted(self, message: TakenMessage, now: Instant) -> None:
        """It was a hello."""
        connection = self._heard(message, now)
        if connection is not None:
            connection.is_sender = True

    def blame(self, message: TakenMessage, why: object, now: Instant) -> None:
        """It was malformed."""
        connection = self._heard(message, now)
        if connection is not None:
            self._blame(connection, why, now)

    def blame_peer(self, peer: bytes, why: object, now: Instant) -> None:
        """A batch was malformed. peer: the routing id of its sender."""
        connection = self._connections.of_peer(peer)
        if connection is not None:
            self._blame(connection, why, now)

    def serve(self, now: Instant) -> None:
        """Answers who may come in, and looks after those who are."""
        if self._allowed is not None:
            is_asked = self._hangup()
            if is_asked:
                logger.info("the list of keys is read again")
            if self._allowed.refresh(now, at_once=is_asked):
                self._put_out()
        if self._gate is not None:
            self._gate.serve()
        self._note_events(now)
        if now.mono_ns >= self._connections.due():
            for fd, heard_ns in self._heard_since(self._looked_ns):
                self._connections.heard_on_lane(fd, heard_ns)
            self._looked_ns = now.mono_ns
        gluttons, mutes = self._connections.look(now.mono_ns)
        for connection in gluttons:
            self._cut(connection, "a message that does not end")
        for connection in mutes:
            # Nobody's fault, perhaps, and nobody's loss.
            logger.debug("%s says nothing: hung up", connection.who)
            self._connections.cut(connection)
        if self._redial is not None:
            self._redial.serve(now.mono_ns)

    def watch(self) -> Iterable[Watch]:
        """Connections, and keys to be judged."""
        if self._gate is not None:
            yield from self._gate.watch()
        if self._monitor is not None:
            yield Watch(self._monitor, READABLE)

    def due(self) -> int | None:
        """When to look around again (mono_ns)."""
        dues: list[int | None] = []
        if self._allowed is not None:
            dues.append(self._allowed.due())
        if len(self._connections):
            dues.append(self._connections.due())
        if self._redial is not None:
            dues.append(self._redial.due())
        return min((due for due in dues if due is not None), default=None)

    def leave(self) -> None:
        """Stands no longer at the socket; it must still be open."""
        if self._socket is not None and self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close()
            self._socket = self._monitor = self._redial = None

    def close(self) -> None:
        """Lets nobody in any more; after the socket that is guarded was closed."""
        if self._gate is not None:
            self._gate.close()

    def _heard(self, message: TakenMessage, now: Instant) -> Connection | None:
        if not self._connections.knows(message.fd, message.peer):
            # Its opening may be among the news that were not looked at yet.
            self._note_events(now)
        return self._connections.heard(message.fd, message.peer, now.mono_ns)

    def _note_events(self, now: Instant) -> None:
        for _ in range(EVENTS_A_TURN):
            if self._monitor is None or not sockets.has_message(self._monitor):
                return
            event, value = sockets.take_event(self._monitor)
            self._note(event, value, now)

    def _note(self, event: int, value: int, now: Instant) -> None:
        if self._redial is not None:
            self._redial.note(event, now.mono_ns)
        if event in _OPENINGS:
            leaving = self._connections.opened(
                value, now.mono_ns, may_expire=event == zmq.EVENT_ACCEPTED
            )
            if leaving is not None:
                self._counters.cut_off += 1
                logger.warning(
                    "too many connections, %d of at most %d: cut off one from %s",
                    len(self._connections),
                    self._connections.maximum,
                    leaving.who,
                )
        elif event == zmq.EVENT_DISCONNECTED:
            self._connections.closed(value)
        elif event in _FAILURES:
            self._counters.failed_handshakes += 1
            if value in _MISMATCHES:
                logger.warning("%s", _MISMATCHES[value])

    def _put_out(self) -> None:
        """Whose key is no longer allowed."""
        people = {} if self._allowed is None else self._allowed.people
        self.lists += 1
        self._identities.clear()
        logger.info("%d keys are allowed now", len(people))
        for connection in self._connections:
            person = people.get(connection.key)
            if connection.key and person is None:
                self._dismiss(connection)
            elif person is not None:
                connection.name = person.name

    def _dismiss(self, connection: Connection) -> None:
        self._connections.cut(connection)
        # Each is news: a kind of warning of its own.
        logger.warning("%s", f"{connection.who} is no longer allowed: disconnected")

    def _blame(self, connection: Connection, why: object, now: Instant) -> None:
        if self._connections.blame(connection, now.mono_ns):
            self._cut(connection, why)

    def _cut(self, connection: Connection, why: object) -> None:
        self._connections.cut(connection)
        self._counters.cut_off += 1
        logger.warning("cut off %s: %s", connection.who, why)
