"""Encoded batches in from any number of senders, over a ZeroMQ ROUTER; windows,
acknowledgements and answers out.

Specification: docs/wire.md. What may be taken and what is owed is `ReceiverLink`'s to
say; here are the socket and the log lines.
"""

import fcntl
import logging
import sys
import termios
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import zmq

from pcap_zmq import sockets
from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.errors import UnsupportedVersionError, WireError
from pcap_zmq.formats import inquiry, wire
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.inquiry import Question
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.stream import Identity, Receipt
from pcap_zmq.formats.wire import MessageType, StreamId
from pcap_zmq.packet import EncodedBatch, Instant, Octets
from pcap_zmq.poll import READABLE, Watch
from pcap_zmq.sources.door import Door

logger = logging.getLogger(__name__)

MESSAGES_A_TURN = 64
"""So that the output gets its turn however much comes in."""

HEARD_NS = NS_PER_S // 4
"""So long the connections stay after the last reply: ZeroMQ throws away what was not
read when the other end closes, and what is acknowledged shall not come again."""

SMALL = 8_192
"""A smaller frame is copied: ZeroMQ keeps the whole buffer of that size, in which it
was read, for as long as anything of it is held."""


class LinkSource:
    """Listens on `address`, or connects to a sender that listens.

    status: another address to be asked at. answer: what to say to a question. once:
    exhausted when every sender seen has said goodbye. Raises ConfigError or
    TransportError where an address cannot be had.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        *,
        connect: bool,
        status: str | None = None,
        once: bool,
        link: ReceiverLink,
        answer: Callable[[Question, Identity], bytes],
        door: Door,
        counters: ReceiverCounters,
    ) -> None:
        self._link = link
        self._answer = answer
        self._door = door
        self._once = once
        self._counters = counters
        self._waiting: deque[EncodedBatch] = deque()
        self._has_announced = False
        self._served_ns = 0
        self._told_ns = 0
        self._is_stopped = False
        self._socket = context.socket(zmq.ROUTER)
        try:
            sockets.prepare(self._socket)
            # A reply to a peer that has gone shall say so, rather than vanish.
            self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            sockets.check_endpoint(address, bind=not connect)
            door.guard(self._socket, address if connect else None)
            self.address = sockets.attach(self._socket, address, bind=not connect)
            if status is not None:
                sockets.attach(self._socket, status, bind=True)
        except BaseException:
            self.close()
            raise

    @property
    def held(self) -> Sequence[EncodedBatch]:
        """What came and has not been read from here."""
        return tuple(self._waiting)

    @property
    def held_bytes(self) -> int:
        """What the receive queue holds, in octets: all that is not written yet."""
        return self._link.held_bytes

    def serve(self, now: Instant) -> None:
        """Takes messages, also while nobody reads them, so that a sender that waits is
        still heard; and sends the replies that are owed."""
        self._served_ns = now.mono_ns
        self._receive_all(now)
        self._reply(now)

    def _receive_all(self, now: Instant) -> None:
        for _ in range(MESSAGES_A_TURN):
            if self._is_stopped or not self._receive(now):
                break

    def _reply(self, now: Instant) -> None:
        for peer, reply in self._link.outgoing(now.mono_ns):
            try:
                self._socket.send_multipart(
                    [peer, wire.encode_reply(reply)], zmq.NOBLOCK
                )
                self._told_ns = now.mono_ns
            except zmq.ZMQError as error:
                if error.errno not in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                    raise
                self._link.lost(peer)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Messages, always: a sender that waits still says that it is there."""
        if not self._is_stopped:
            yield Watch(self._socket, READABLE)

    def due(self) -> int | None:
        """When the link looks around, or when it is time to leave."""
        end_ns = self._end_ns()
        return self._link.due() if end_ns is None else min(self._link.due(), end_ns)

    def read(self, now: Instant) -> EncodedBatch | None:
        """The next batch, in the order in which they came. When there is none, what was
        written is acknowledged: one reply for all."""
        if not self._waiting:
            self._receive_all(now)
        if self._waiting:
            return self._waiting.popleft()
        self._reply(now)
        return None

    def settle(self, receipt: object, now: Instant) -> None:
        """The batch is in the output: its sender may forget it."""
        if isinstance(receipt, Receipt):
            self._link.written(receipt)

    def sender_of(self, receipt: object) -> str:
        """Whose batch it is, for people."""
        if not isinstance(receipt, Receipt):
            return ""
        stream = self._link.streams.get(receipt.stream)
        return f"sender {stream.name}" if stream else "a sender"

    def blame(self, receipt: object, why: object, now: Instant) -> None:
        """The batch was malformed, which its sender may not do too often."""
        if isinstance(receipt, Receipt):
            stream = self._link.streams.get(receipt.stream)
            if stream is not None:
                self._link.blame(stream.peer)
                self._door.blame_peer(stream.peer, why, now)

    def has_left(self, receipt: object) -> bool:
        """Whether the sender of a batch has said goodbye, so that it will not send the
        batch to anybody again."""
        if not isinstance(receipt, Receipt):
            return True
        stream = self._link.streams.get(receipt.stream)
        return stream is None or stream.has_left

    def lines(self, held: Mapping[StreamId, int], now: Instant) -> Sequence[Line]:
        """The ledger: see `ReceiverLink.lines`."""
        return self._link.lines(held, now)

    def stop(self, now: Instant) -> None:
        """Takes no more messages: what their senders hold they can give another
        receiver. What is here already can still be read."""
        self._is_stopped = True

    def is_exhausted(self) -> bool:
        """After `stop`, or, once, when every sender has gone: when all is written, and
        the senders have had time to hear it."""
        if self._waiting or self._link.owes_replies():
            return False
        end_ns = self._end_ns()
        return end_ns is not None and self._served_ns >= end_ns

    def _end_ns(self) -> int | None:
        """When a receiver that is to leave may do so."""
        if self._is_stopped:
            return self._told_ns + HEARD_NS if self._link.is_anybody_here() else 0
        left_ns = self._link.all_left_ns() if self._once else None
        return None if left_ns is None else left_ns + HEARD_NS

    def close(self) -> None:
        """The last replies still go out, for a second at most."""
        if not self._socket.closed:
            self._door.leave()
        self._socket.close(1_000)

    def _receive(self, now: Instant) -> bool:
        """Takes one message; False when there is none."""
        if not sockets.has_message(self._socket):
            return False
        peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        identity = self._door.identify(frames[0], now)
        if identity is None:
            return True
        octets: list[Octets] = [
            frame.buffer if len(frame) > SMALL else frame.bytes for frame in frames
        ]
        try:
            if inquiry.is_question(octets):
                question = inquiry.decode_question(octets)
                self._reply_to(question, identity, peer, frames[0])
                return True
            message = wire.decode_message(octets)
        except WireError as error:
            if isinstance(error, UnsupportedVersionError):
                self._counters.unsupported_messages += 1
            else:
                self._counters.malformed_messages += 1
            logger.warning("a peer sent what is no message of ours: %s", error)
            self._link.blame(peer.bytes)
            self._door.blame(frames[0], error, now)
            return True
        if identity.is_operator:
            self._counters.uncalled_messages += 1
            logger.warning("%s has an operator's key: no packets", identity.name)
            self._door.blame(frames[0], "an operator's key sends no packets", now)
            return True
        is_known = self._link.knows(peer.bytes)
        if is_known is (message.type is MessageType.HELLO):
            # Rare in good faith: a hello that was not answered, or what was meant for
            # the process before this one.
            self._door.blame(frames[0], "one hello after the other, or none", now)
        batch = self._link.receive(peer.bytes, message, now.mono_ns, identity)
        if batch is not None:
            self._waiting.append(batch)
        elif message.type is MessageType.HELLO:
            self._door.greeted(frames[0], peer.bytes, now)
            if not self._has_announced:
                self._has_announced = True
                # No packets, but a link type: a reader gets its file header at once.
                announcement = EncodedBatch(message.linktype, 0, Codec.NONE, 0, b"")
                self._waiting.append(announcement)
            if not is_known:
                logger.info("%s is here", self._link.name_on(peer.bytes))
        elif message.type is MessageType.GOODBYE:
            logger.info("%s has left", self._link.name_on(peer.bytes))
        return True

    def _reply_to(
        self, question: Question, identity: Identity, peer: zmq.Frame, frame: zmq.Frame
    ) -> None:
        """Answers, unless the last answer has not been read: whoever asks and does not
        read shall not fill the memory."""
        try:
            unread = fcntl.ioctl(frame.get(zmq.SRCFD), termios.TIOCOUTQ, bytes(4))
        except OSError:
            # The connection is gone, and with it whoever asked.
            return
        if int.from_bytes(unread, sys.byteorder):
            return
        body = self._answer(question, identity)
        try:
            self._socket.send_multipart(
                [peer, *inquiry.encode_answer(question, body)], zmq.NOBLOCK
            )
        except zmq.ZMQError as error:
            if error.errno not in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                raise
