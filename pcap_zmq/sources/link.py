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

from link_ffi import Intake, TakenBatch, TakenMessage
from pcap_ffi import new_buffer
from pcap_zmq import sockets
from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.errors import TransportError, UnsupportedVersionError, WireError
from pcap_zmq.formats import inquiry, wire
from pcap_zmq.formats.clock_offset import describe_offset
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.inquiry import Question
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.stream import Identity, Receipt
from pcap_zmq.formats.wire import MessageType, StreamId
from pcap_zmq.packet import EncodedBatch, Instant
from pcap_zmq.poll import READABLE, Watch
from pcap_zmq.sources.door import Door

logger = logging.getLogger(__name__)

TAKES_A_TURN = 64
"""So that the output gets its turn however much comes in."""

GATHERED_BYTES = 256 << 10
"""Small batches that came together go on together, up to so many octets."""

REST_NS = 2_000_000
"""After something came the socket is left alone for so long: what comes meanwhile is
taken at once, rather than in a turn for each message. Who comes after a quiet time does
not wait."""

DENSE = 64
"""So many messages at one look are worth a rest of twice the length."""

HEARD_NS = NS_PER_S // 4
"""So long the connections stay after the last reply: ZeroMQ throws away what was not
read when the other end closes, and what is acknowledged shall not come again."""

SMALL = 8_192
"""Frames up to this are copied: ZeroMQ keeps the whole buffer of that size, in which
they were read, for as long as anything of it is held. Batches up to this are
gathered."""


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
        self._rests_until_ns = 0
        self._has_more = False
        self._lists = door.lists
        self._is_stopped = False
        self._intake: Intake | None = None
        self._socket = context.socket(zmq.ROUTER)
        try:
            sockets.prepare(self._socket)
            # A reply to a peer that has gone shall say so, rather than vanish.
            self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            sockets.check_endpoint(address, bind=not connect)
            door.guard(
                self._socket, address if connect else None, link.lanes.heard_since
            )
            self.address = sockets.attach(self._socket, address, bind=not connect)
            if status is not None:
                sockets.attach(self._socket, status, bind=True)
            self._intake = Intake(
                self._socket,
                link.lanes,
                has_keys=door.wants_keys,
                buffer_bytes=GATHERED_BYTES,
                new_buffer=new_buffer,
                small=SMALL,
            )
        except OSError as error:
            self.close()
            raise TransportError(f"{error.strerror}; install a pyzmq wheel") from error
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
        still heard; and sends the replies that are due."""
        self._served_ns = now.mono_ns
        self._receive_all(now)
        self._reply(now.mono_ns)

    def _receive_all(self, now: Instant) -> None:
        if self._is_stopped or self._intake is None or self._is_resting(now):
            return
        if self._lists != self._door.lists:
            self._lists = self._door.lists
            self._link.lanes.close_all()
        before = self._intake.messages
        for _ in range(TAKES_A_TURN):
            self._has_more = self._receive(self._intake, now)
            if not self._has_more:
                break
        came = self._intake.messages - before
        rest_ns = REST_NS * (2 if came >= DENSE else 1)
        rests = came and not self._has_more
        self._rests_until_ns = now.mono_ns + rest_ns if rests else 0

    def _is_resting(self, now: Instant) -> bool:
        return now.mono_ns < self._rests_until_ns

    def _reply(self, now_ns: int) -> None:
        replies = self._link.outgoing(now_ns, is_urgent=self._is_stopped)
        for peer, reply in replies:
            try:
                self._socket.send_multipart(
                    [peer, wire.encode_reply(reply)], zmq.NOBLOCK
                )
                self._told_ns = now_ns
            except zmq.ZMQError as error:
                if error.errno not in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                    raise
                self._link.lost(peer)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """Messages, always: a sender that waits still says that it is there."""
        if not self._is_stopped:
            rest_ns = max(0, self._rests_until_ns - self._served_ns)
            yield Watch(self._socket, READABLE, rest_ns)

    def due(self) -> int | None:
        """When the link has something to do, or when it is time to leave."""
        due, end_ns = self._link.due(), self._end_ns()
        if self._has_more and not self._is_stopped:
            return 0
        return due if end_ns is None else min(due, end_ns)

    def read(self, now: Instant) -> EncodedBatch | None:
        """The next batch, in the order in which they came."""
        if not self._waiting:
            self._receive_all(now)
        if self._waiting:
            return self._waiting.popleft()
        self._reply(now.mono_ns)
        return None

    def settle(self, receipt: object, now: Instant) -> None:
        """The batch is in the output: its sender may forget it."""
        if isinstance(receipt, Receipt | Runs):
            self._link.written(receipt, now.mono_ns)

    def sender_of(self, receipt: object) -> str:
        """Whose batch it is, for people."""
        if not isinstance(receipt, Receipt | Runs):
            return ""
        names = {stream.name for stream, _ in receipt.batches()}
        if len(names) > 1:
            return "several senders"
        return f"sender {names.pop()}" if names else "a sender"

    def blame(self, receipt: object, why: object, now: Instant) -> None:
        """The batch was malformed, which its sender may not do too often."""
        if isinstance(receipt, Receipt | Runs):
            for stream, _ in receipt.batches():
                self._link.blame(stream.peer)
                self._door.blame_peer(stream.peer, why, now)

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
        if self._intake is not None:
            self._is_stopped = True
            self._reply(self._served_ns)
            self._intake.close()
            self._intake = None
        if not self._socket.closed:
            self._door.leave()
        self._socket.close(1_000)

    def _receive(self, intake: Intake, now: Instant) -> bool:
        """Takes what came next; False when there is nothing."""
        try:
            taken = intake.take(now.mono_ns)
        except OSError as error:
            raise TransportError(f"{self.address}: {error.strerror}") from error
        if isinstance(taken, TakenMessage):
            self._judge(taken, now)
        elif isinstance(taken, TakenBatch):
            self._counters.received += taken.packets
            receipt = self._link.receipt_of(taken.shares)
            batch = EncodedBatch(
                linktype=taken.linktype,
                count=taken.packets,
                codec=taken.codec,
                raw_length=taken.raw_length,
                payload=taken.payload,
                receipt=receipt,
            )
            self._waiting.append(batch)
        return taken is not None

    def _judge(self, taken: TakenMessage, now: Instant) -> None:
        """What is out of the ordinary, or whose sender has yet to show who it is."""
        identity = self._door.identify(taken, now)
        if identity is None:
            return
        try:
            if inquiry.is_question(taken.frames):
                question = inquiry.decode_question(taken.frames)
                self._reply_to(question, identity, taken)
                return
            message = wire.decode_message(taken.frames)
        except WireError as error:
            if isinstance(error, UnsupportedVersionError):
                self._counters.unsupported_messages += 1
            else:
                self._counters.malformed_messages += 1
            logger.warning("a peer sent what is no message of ours: %s", error)
            self._link.blame(taken.peer)
            self._door.blame(taken, error, now)
            return
        if identity.is_operator:
            self._counters.uncalled_messages += 1
            logger.warning("%s has an operator's key: no packets", identity.name)
            self._door.blame(taken, "an operator's key sends no packets", now)
            return
        is_known = self._link.knows(taken.peer)
        if is_known is (message.type is MessageType.HELLO):
            # Rare in good faith: a hello that was not answered, or what was meant for
            # the process before this one.
            self._door.blame(taken, "one hello after the other, or none", now)
        batch = self._link.receive(taken.peer, message, now.mono_ns, identity)
        if batch is not None:
            self._waiting.append(batch)
            self._link.open(taken.peer, taken.fd)
        elif message.type is MessageType.HELLO:
            self._door.greeted(taken, now)
            if not self._has_announced:
                self._has_announced = True
                # No packets, but a link type: a reader gets its file header at once.
                announcement = EncodedBatch(message.linktype, 0, Codec.NONE, 0, b"")
                self._waiting.append(announcement)
            if not is_known:
                logger.info("%s is here", self._link.name_on(taken.peer))
        elif message.type is MessageType.HEARTBEAT:
            self._look_at_clock(taken.peer, now)
        elif message.type is MessageType.GOODBYE:
            logger.info("%s has left", self._link.name_on(taken.peer))

    def _look_at_clock(self, peer: bytes, now: Instant) -> None:
        """Says once when a sender's clock is found wrong, or ours."""
        clock = self._link.clock_on(peer)
        if clock is None or not clock.turns_wrong(now):
            return
        logger.warning(
            "%s: its clock is %s off ours: the times of its packets are as wrong; set "
            "both by NTP",
            self._link.name_on(peer),
            describe_offset(clock.offset_ns(now) or 0),
        )

    def _reply_to(
        self, question: Question, identity: Identity, taken: TakenMessage
    ) -> None:
        """Answers, unless the last answer has not been read: whoever asks and does not
        read shall not fill the memory."""
        try:
            unread = fcntl.ioctl(taken.fd, termios.TIOCOUTQ, bytes(4))
        except OSError:
            # The connection is gone, and with it whoever asked.
            return
        if int.from_bytes(unread, sys.byteorder):
            return
        body = self._answer(question, identity)
        try:
            self._socket.send_multipart(
                [taken.peer, *inquiry.encode_answer(question, body)], zmq.NOBLOCK
            )
        except zmq.ZMQError as error:
            if error.errno not in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                raise
