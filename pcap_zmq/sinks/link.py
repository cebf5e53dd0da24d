"""Encoded batches out to one receiver, over a ZeroMQ DEALER, kept until acknowledged.

Specification: docs/wire.md. What may be sent when is `SenderLink`'s to
say; here are the socket, its connections, and the log lines about them.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import zmq

from pcap_zmq import sockets
from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.connections import Connections
from pcap_zmq.counters import SenderCounters
from pcap_zmq.ends import own_end
from pcap_zmq.errors import WireError
from pcap_zmq.formats import wire
from pcap_zmq.formats.ip import End
from pcap_zmq.formats.link import PATIENCE_NS
from pcap_zmq.formats.sender_link import SenderLink, State
from pcap_zmq.packet import EncodedBatch, Instant
from pcap_zmq.poll import READABLE, Watch

logger = logging.getLogger(__name__)

REPLIES_A_TURN = 256
"""More than a receiver owes in one: a peer that never ends must not stop the rest."""

EVENTS_A_TURN = 1_024
"""So that a flood of connections does not stop the rest."""

CONNECTIONS_MAX = 1_024
"""That a sender which listens has open at a time, of which one is of use."""

TAKE_NS = 20 * NS_PER_MS
"""How long acknowledgements that nothing waits for may stay in the socket."""

_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECT_RETRIED
)

# Plain numbers: the enumerations cost more than the call.
_SRCFD = int(zmq.SRCFD)
_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE = int(zmq.SNDMORE)

_OPENED = zmq.EVENT_CONNECTED | zmq.EVENT_ACCEPTED
"""A connection is there, before any handshake; the event's value is its descriptor."""


class LinkSink:
    """Connects to `endpoint`, or listens on it for one receiver at a time.

    connections: bounds those that come to it; None: it connects itself. secure: gives
    the socket its keys; None: there are none. Reconnects by itself, for
    ever, also to a receiver that has refused our key. Raises ConfigError or
    TransportError where the endpoint cannot be had.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        *,
        bind: bool,
        link: SenderLink,
        counters: SenderCounters,
        connections: Connections | None = None,
        secure: Callable[[zmq.Socket[bytes]], None] | None = None,
    ) -> None:
        self._link = link
        self._counters = counters
        self._bind = bind
        self._open = connections
        self.own_ends: set[End] = set()
        """Where our connections begin: one, or each address that peers came to."""
        self._deadline_ns: int | None = None
        self._is_finishing = False
        self._served_ns = 0
        self._down_ns: int | None = None
        self._connections = 0
        self._greetings = 0
        self._has_told_absence = False
        self._has_handshake_failed = False
        self._told_failures: set[str] = set()
        self._has_keys = secure is not None
        self._redial: sockets.Redial | None = None
        self._has_told_silence = False
        self._has_told_nonsense = False
        self._socket = context.socket(zmq.DEALER)
        self._monitor = self._socket.get_monitor_socket(_EVENTS | _OPENED)
        self._monitor_watch = Watch(self._monitor, READABLE)
        try:
            sockets.prepare(self._socket)
            if secure is not None:
                secure(self._socket)
            self.endpoint = sockets.attach(self._socket, endpoint, bind=bind)
            if not bind:
                self._redial = sockets.Redial(self._socket, self.endpoint)
        except BaseException:
            self.close()
            raise

    @property
    def held_packets(self) -> int:
        """Packets that the receiver has not acknowledged."""
        return self._link.held_packets

    @property
    def held_bytes(self) -> int:
        """What the send queue holds, in octets."""
        return self._link.held_bytes

    @property
    def shelved_packets(self) -> int:
        """Of the packets held, those on the disk."""
        return self._link.shelved_packets

    @property
    def expected(self) -> Iterator[tuple[object, int]]:
        """Receipts of what has not arrived, with the packets of each."""
        return self._link.expected

    @property
    def is_up(self) -> bool:
        """Whether the receiver takes packets."""
        return self._link.state is State.UP

    def serve(self, now: Instant) -> None:
        """Takes note of connections and replies, and sends what may go."""
        self._served_ns = now.mono_ns
        self._receive_all(now)
        self._note_events(now)
        if self._redial is not None:
            self._redial.serve(now.mono_ns)
        if (
            self._deadline_ns is not None
            and self._link.state is State.UP
            and now.mono_ns >= self._deadline_ns
        ):
            self._link.leave_now(now.mono_ns)
        self._send(now)
        if self._link.unanswered > 1 and not self._has_told_silence:
            self._has_told_silence = True
            logger.warning(
                "%s accepts connections and answers no hello: it is no pcap-zmq "
                "receiver, or one of another wire version%s; packets are held",
                self.endpoint,
                ", or our key is an operator's, who sends nothing"
                if self._has_keys
                else "",
            )

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Connections; and replies where they change what may be sent. Other
        acknowledgements are taken in passing, or when they are due."""
        if wanted or self._is_finishing or self._link.needs_reply():
            yield Watch(self._socket, READABLE)
        yield self._monitor_watch

    def due(self) -> int | None:
        """The link's next heartbeat, or the time to take leave."""
        dues = [self._link.due()]
        if self._link.held_packets:
            dues.append(self._served_ns + TAKE_NS)
        if self._is_finishing and self._down_ns is not None:
            dues.append(max(self._down_ns + PATIENCE_NS, self._served_ns + TAKE_NS))
        if self._deadline_ns is not None and self._link.state is State.UP:
            dues.append(self._deadline_ns)
        if self._redial is not None:
            dues.append(self._redial.due())
        return min((due for due in dues if due is not None), default=None)

    def offer(self, item: EncodedBatch, now: Instant) -> bool:
        """Takes the batch unless the queue is full."""
        if not self._link.offer(item):
            return False
        self._send(now)
        return True

    def announce(self, linktype: int) -> None:
        """What the receiver is to expect, where that was not known yet."""
        self._link.know(linktype)

    @property
    def has_unsent(self) -> bool:
        """Whether it holds what was never sent."""
        return self._link.has_unsent

    def has_room(self, octets: int) -> bool:
        """Whether a batch of so many would be taken."""
        return self._link.has_room(octets)

    def withdraw(self) -> list[EncodedBatch]:
        """Gives back, in their order, the batches that were never sent."""
        return self._link.withdraw()

    def arrived(self) -> Sequence[object]:
        """Receipts of what the receiver has acknowledged, or the spool has on disk.
        NFLOG and savefiles give none, and so nothing is kept for them."""
        return self._link.arrived()

    def finish(self, deadline_ns: int | None) -> None:
        """Says goodbye once all is acknowledged, or at the deadline."""
        self._is_finishing = True
        self._deadline_ns = deadline_ns
        self._link.depart()

    def is_finished(self) -> bool:
        """The receiver has said farewell; or all is acknowledged and nobody is there to
        take leave of, and nobody comes back for some time, unless the end is urgent:
        what a receiver says last may go with its connection (ZMQ_IMMEDIATE)."""
        if self._link.state is State.GONE:
            return True
        is_alone = self._link.state is State.DOWN and not self._link.held_packets
        is_urgent = self._deadline_ns is not None
        return self._is_finishing and is_alone and (is_urgent or self._is_forsaken())

    def _is_forsaken(self) -> bool:
        """There was a receiver, and it has been gone for some time."""
        down_ns = self._down_ns
        return down_ns is not None and self._served_ns >= down_ns + PATIENCE_NS

    def abandon(self) -> None:
        """Gives up what is not acknowledged, and counts it."""
        self._link.abandon()

    def close(self) -> None:
        """Closes both sockets; ZeroMQ sends nothing any more."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._socket.close(0)

    def _send(self, now: Instant) -> None:
        while (message := self._link.outgoing(now.mono_ns)) is not None:
            header, *payload = wire.encode_message(message)
            more = _SNDMORE if payload else 0
            try:
                self._socket.send(header, _NOBLOCK | more)
                for frame in payload:
                    # Large frames are not copied: ZeroMQ and the link share them.
                    self._socket.send(frame, _NOBLOCK, copy=False)
            except zmq.Again:
                # The connection went this moment; the monitor is about to say so.
                self._link.disconnected()

    def _note_events(self, now: Instant) -> None:
        # Rare; to ask the socket itself takes two system calls, each time.
        if not self._monitor_watch.is_ready:
            return
        for _ in range(EVENTS_A_TURN):
            if not sockets.has_message(self._monitor):
                return
            event, value = sockets.take_event(self._monitor)
            if event & _OPENED:
                self._note_opening(value, now)
                continue
            # What the receiver said before it went comes before the news that it went.
            self._receive_all(now)
            self._note(event, value, now)

    def _receive_all(self, now: Instant) -> None:
        for _ in range(REPLIES_A_TURN):
            if not sockets.has_message(self._socket):
                break
            self._receive(now)

    def _receive(self, now: Instant) -> None:
        frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        if self._open is not None:
            self._hear(self._open, frames[0], now)
        try:
            reply = wire.decode_reply([frame.bytes for frame in frames])
        except WireError as error:
            if not self._has_told_nonsense:
                self._has_told_nonsense = True
                logger.warning(
                    "%s says what no receiver would: %s", self.endpoint, error
                )
            return
        was_up = self._link.state is State.UP
        self._link.receive(reply, now.mono_ns)
        if self._link.state is State.UP and not was_up:
            self._has_told_silence = False
            logger.info("the receiver at %s takes packets", self.endpoint)

    def _hear(self, connections: Connections, frame: zmq.Frame, now: Instant) -> None:
        """Who talks is not cut off for those who say nothing."""
        with contextlib.suppress(zmq.ZMQError):
            # ZMTP 1.0 does not tell: its connection counts as silent.
            connections.heard(int(frame.get(_SRCFD)), b"", now.mono_ns)

    def _note_opening(self, descriptor: int, now: Instant) -> None:
        self._note_own_end(descriptor)
        if self._open is None:
            return
        leaving = self._open.opened(descriptor, now.mono_ns)
        if leaving is not None:
            logger.warning(
                "too many connections to %s, more than %d: cut off one from %s",
                self.endpoint,
                self._open.maximum,
                leaving.who,
            )

    def _note_own_end(self, descriptor: int) -> None:
        end = own_end(descriptor)
        if end is not None:
            if not self._bind:
                self.own_ends.clear()
            self.own_ends.add(end)

    def _note(self, event: int, value: int, now: Instant) -> None:
        if self._redial is not None:
            self._redial.note(event, now.mono_ns)
        if self._open is not None and event == zmq.EVENT_DISCONNECTED:
            self._open.closed(value)
        match event:
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._connections += 1
                self._greetings += 1
                self._counters.reconnects = self._greetings - 1
                self._has_told_absence = False
                self._has_handshake_failed = False
                self._told_failures.clear()
                if self._connections > 1:
                    logger.warning(
                        "%d receivers connected to %s: only one is served at a time",
                        self._connections,
                        self.endpoint,
                    )
                self._link.connected(now.mono_ns)
            case zmq.EVENT_DISCONNECTED if self._has_handshake_failed:
                # Of a connection that was never counted: a port scan, say.
                self._has_handshake_failed = False
            case zmq.EVENT_DISCONNECTED:
                self._connections = max(0, self._connections - 1)
                if self._connections:
                    # One of several receivers went: greet whoever is left.
                    self._link.connected(now.mono_ns)
                else:
                    logger.warning(
                        "the link to %s is down; packets are held", self.endpoint
                    )
                    self._down_ns = now.mono_ns
                    self._link.disconnected()
            case zmq.EVENT_CONNECT_RETRIED:
                if not self._has_told_absence and not self._connections:
                    self._has_told_absence = True
                    logger.warning(
                        "nothing answers at %s; packets are held, tries go on",
                        self.endpoint,
                    )
            case _:
                self._has_handshake_failed = True
                why = _explain(event, value, self._has_keys)
                if why not in self._told_failures:
                    self._told_failures.add(why)
                    # Each reason is a kind of warning of its own.
                    told = f"{self.endpoint}: the handshake failed: {why}"
                    logger.warning("%s", f"{told}; packets are held, tries go on")


def _explain(event: int, value: int, has_keys: bool) -> str:
    """What most probably lies behind a handshake that failed."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return (
            "the receiver does not allow our key; put our public certificate into its "
            "--allow directory"
        )
    if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        if has_keys:
            return "the receiver has no keys; give it --key and --allow"
        return "the receiver wants keys; give --key and --peer-key"
    if has_keys and event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return (
            "the other end hung up: it has another key than the one of --peer-key, or "
            "none, or speaks no ZeroMQ"
        )
    return "the other end speaks no ZeroMQ, or wants keys"
