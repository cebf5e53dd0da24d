"""The sending end of the link: what may be said when, without socket or clock.

Specification: docs/wire.md; the theory of operation is in `formats/link.py`. What is
held, and where, is the queue's to know: `formats/send_queue.py`.
"""

import enum
from collections.abc import Callable, Iterator, Sequence

from pcap_zmq.counters import SenderCounters
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats import wire
from pcap_zmq.formats.clock_offset import SenderClock
from pcap_zmq.formats.link import HEARTBEAT_NS, PATIENCE_NS
from pcap_zmq.formats.send_queue import SendQueue, Spool
from pcap_zmq.formats.wire import (
    Message,
    MessageType,
    Reply,
    ReplyType,
    Role,
    StreamId,
)
from pcap_zmq.packet import EncodedBatch, Instant

SHELVE_NS = HEARTBEAT_NS * 3 // 2
"""A receiver that says nothing for this long, more than a heartbeat, may be gone: what
is held in memory only goes to the disk, if there is a spool."""


class State(enum.Enum):
    """Where a sender stands."""

    DOWN = "no connection"
    GREETING = "waiting for a welcome"
    UP = "up"
    LEAVING = "waiting for a farewell"
    GONE = "gone"


class SenderLink:
    """The sending end: holds at most `queue_bytes`, and what the spool takes, each
    batch until it is written. linktype: None: that of the first batch, before which
    nothing is said. totals: what the counters are now, as a header has it. clock:
    tells the very moment, for the receiver to compare; None: not a word of it."""

    def __init__(
        self,
        stream: StreamId,
        name: str,
        linktype: int | None,
        queue_bytes: int,
        counters: SenderCounters,
        totals: Callable[[], bytes],
        spool: Spool | None = None,
        role: Role = Role.SENDER,
        clock: Callable[[], Instant] | None = None,
    ) -> None:
        self.state = State.DOWN
        self.window = 0
        self.unanswered = 0
        """Greetings in a row that no welcome has followed."""
        self._stream = stream
        self._name = name.encode()[: wire.NAME_MAX]
        self._linktype = linktype
        self._role = role
        self._totals = totals
        self._clock = clock
        self._told = SenderClock()
        self._queue = SendQueue(queue_bytes, counters, spool)
        self._next_to_send = self._queue.first
        self._under_way = 0
        self._leaving = False
        self._said_window = 0
        self._asked_for = 0
        self._speak_up = False
        self._spoke_ns = 0
        self._heard_ns = 0
        # When the receiver last answered while the link was up.
        self._answered_ns: int | None = None

    @property
    def held_bytes(self) -> int:
        """In memory, as windows count them."""
        return self._queue.held_bytes

    @property
    def held_packets(self) -> int:
        """Not acknowledged, in memory and on the disk."""
        return self._queue.held_packets

    @property
    def shelved_packets(self) -> int:
        """Of those, on the disk."""
        return self._queue.shelved_packets

    @property
    def expected(self) -> Iterator[tuple[object, int]]:
        """Receipts of what has not arrived, with the packets of each."""
        return self._queue.expected

    def arrived(self) -> Sequence[object]:
        """Receipts of the batches that are acknowledged, or on the disk, since this was
        asked last."""
        if not self._queue.arrived:
            return ()
        arrived, self._queue.arrived = self._queue.arrived, []
        return arrived

    def withdraw(self) -> list[EncodedBatch]:
        """Gives back what was never sent: see `SendQueue.withdraw`."""
        withdrawn = self._queue.withdraw()
        self._next_to_send = min(self._next_to_send, self._queue.last + 1)
        self._asked_for = min(self._asked_for, self._queue.last)
        return withdrawn

    def has_room(self, octets: int) -> bool:
        """Whether a batch of so many would be taken into memory."""
        return self.state is not State.GONE and self._queue.has_room(octets)

    @property
    def has_unsent(self) -> bool:
        """Whether it holds what was never sent."""
        return self._queue.last > self._queue.sent

    def know(self, linktype: int) -> None:
        """What a hello is to say, if that is not known yet."""
        if self._linktype is None:
            self._linktype = linktype

    def go_on(self, stream: StreamId, first: int) -> None:
        """With the stream of an earlier run, at the batch of this number: the receiver
        passes over what it has. Before the first batch, without a link type."""
        self._stream = stream
        self._queue.begin_at(first)
        self._next_to_send = first

    # What happened, told by the edge.

    def connected(self, now_ns: int) -> None:
        """A connection is there: what was under way on the last one is unknown."""
        if self.state is not State.GONE:
            self._asked_for = 0
            self._told.connected()
            self._turn_to(State.GREETING, now_ns)

    def disconnected(self) -> None:
        """The connection is gone."""
        if self.state is not State.GONE:
            self.state = State.DOWN

    def receive(self, reply: Reply, now_ns: int) -> None:
        """A reply came. One for another stream, or that acknowledges what was never
        sent, is passed over."""
        if reply.stream != self._stream or reply.written > self._queue.sent:
            return
        self._heard_ns = now_ns
        if reply.type is ReplyType.CLOCK and self._clock is not None:
            self._told.hear(reply.clock_ns, self._clock())
        self._acknowledge(reply.written)
        if reply.type is ReplyType.FAREWELL and self.state is State.LEAVING:
            # What the receiver has is its to deliver now.
            self._acknowledge(min(reply.next - 1, self._queue.sent))
            self.abandon()
        elif reply.type is ReplyType.WELCOME and self.state in {
            State.GREETING,
            State.UP,
        }:
            self.state = State.UP
            self.unanswered = 0
            self.window = reply.window
            self._go_back(min(reply.next, self._queue.sent + 1))
        elif self.state is State.UP:
            self.window = reply.window
        if self.state is State.UP:
            self._answered_ns = now_ns
        self._save()

    def offer(self, batch: EncodedBatch) -> bool:
        """Takes the batch for delivery; False when the queue has no room for it."""
        if self._linktype is None:
            self._linktype = batch.linktype
        is_taken = self._queue.offer(batch)
        self._save()
        return is_taken

    def depart(self) -> None:
        """No more batches: says goodbye once all that is held is acknowledged."""
        self._leaving = True
        if self._queue.is_empty:
            # No packet to tell by: a goodbye follows a hello all the same.
            self.know(linktypes.RAW)

    def leave_now(self, now_ns: int) -> None:
        """Says goodbye at once, held or not."""
        self._leaving = True
        if self.state is State.UP:
            # First, so that the goodbye says what will come later, and what will not.
            self._queue.shelve()
            self._turn_to(State.LEAVING, now_ns)

    def abandon(self) -> int:
        """Gives up what is held and not in the spool, counted as dropped; returns how
        many packets. Nothing more is said then, whatever is heard."""
        self.state = State.GONE
        dropped = self._queue.abandon()
        self._next_to_send = self._queue.last + 1
        self._under_way = 0
        self._save()
        return dropped

    # What to do, asked by the edge.

    def outgoing(self, now_ns: int) -> Message | None:
        """The next message to put on the connection; None when there is none now."""
        self._look_after_the_rest(now_ns)
        message = self._next_message(now_ns)
        if message is not None:
            self._spoke_ns = now_ns
            self._said_window = self.window
            # Before it is said: another run must not say it in other words.
            self._save()
        return message

    def needs_reply(self) -> bool:
        """Whether a reply decides what can be said next, or its moment counts."""
        return (
            self.state is not State.UP
            or self._told.is_waiting
            or self._queue.has_more(self._next_to_send)
        )

    def due(self) -> int | None:
        """When the link has something to say, unless it speaks before (mono_ns)."""
        dues = []
        match self.state:
            case State.GREETING if self._linktype is None:
                pass
            case State.GREETING | State.LEAVING:
                dues.append(
                    self._spoke_ns if self._speak_up else self._heard_ns + PATIENCE_NS
                )
            case State.UP:
                dues += [self._spoke_ns + HEARTBEAT_NS, self._heard_ns + PATIENCE_NS]
                if self._clock is not None:
                    dues.append(self._told.due())
        if self._queue.is_at_risk and not self._queue.is_shelving:
            dues.append((self._answered_ns or 0) + SHELVE_NS)
        return min(dues, default=None)

    def _look_after_the_rest(self, now_ns: int) -> None:
        """What only memory holds goes to the disk while nobody answers."""
        if self._answered_ns is None:
            self._answered_ns = now_ns
        queue = self._queue
        queue.is_shelving = now_ns >= self._answered_ns + SHELVE_NS
        if queue.is_shelving and queue.is_at_risk and self.state is not State.GONE:
            queue.shelve()
            self._save()

    def _save(self) -> None:
        self._queue.save(self._stream, self._totals)

    def _turn_to(self, state: State, now_ns: int) -> None:
        """Enters a state that begins with saying something."""
        self.state = state
        self._speak_up = True
        self._heard_ns = now_ns

    def _next_message(self, now_ns: int) -> Message | None:
        if self.state in {State.DOWN, State.GONE}:
            return None
        if self._linktype is None:
            self._linktype = self._queue.linktype
            if self._linktype is None:
                return None
        if now_ns >= self._heard_ns + PATIENCE_NS:
            # The receiver is another one by now, or has forgotten us.
            self._turn_to(State.GREETING, now_ns)
        elif self.state is State.UP and self._leaving and self._queue.is_empty:
            self._turn_to(State.LEAVING, now_ns)
        if self.state is State.UP:
            return self._next_when_up(now_ns)
        if self._speak_up:
            self._speak_up = False
            greeting = self.state is State.GREETING
            self.unanswered += greeting
            return self._say(MessageType.HELLO if greeting else MessageType.GOODBYE)
        return None

    def _next_when_up(self, now_ns: int) -> Message | None:
        if self._may_send():
            return self._send_next()
        quiet = now_ns >= self._spoke_ns + HEARTBEAT_NS
        tells = self._clock is not None and now_ns >= self._told.due()
        if quiet or tells or self._said_window != self.window or self._may_ask():
            return self._say(MessageType.HEARTBEAT)
        return None

    def _may_ask(self) -> bool:
        """All was sent, and there is only an acknowledgement to wait for, soon or now:
        the receiver shall not take its time. Once for each batch."""
        last = self._queue.last
        is_waiting = self._leaving or self._queue.is_half_full
        asks = is_waiting and self._next_to_send > last > self._asked_for
        if asks:
            self._asked_for = last
        return asks

    def _may_send(self) -> bool:
        return self._under_way < self.window and self._queue.may_send(
            self._next_to_send
        )

    def _send_next(self) -> Message:
        held = self._queue.send(self._next_to_send)
        self._next_to_send += 1
        self._under_way += held.cost
        return Message(
            type=MessageType.BATCH,
            stream=self._stream,
            sequence=held.sequence,
            window=self.window,
            linktype=held.batch.linktype,
            count=held.batch.count,
            codec=held.batch.codec,
            raw_length=held.batch.raw_length,
            totals=self._totals(),
            payload=held.batch.payload,
        )

    def _say(self, message_type: MessageType) -> Message:
        payload = b""
        if message_type is MessageType.HELLO:
            payload = self._name
        elif message_type is MessageType.HEARTBEAT and self._clock is not None:
            payload = wire.encode_clocks(self._told.tell(self._clock()))
        return Message(
            type=message_type,
            stream=self._stream,
            sequence=self._queue.first,
            window=self.window,
            linktype=self._linktype or 0,
            codec=self._role if message_type is MessageType.HELLO else 0,
            totals=self._totals(),
            payload=payload,
        )

    def _acknowledge(self, written: int) -> None:
        for held in self._queue.acknowledge(written):
            if held.sequence < self._next_to_send:
                self._under_way -= held.cost
        self._next_to_send = max(self._next_to_send, self._queue.first)

    def _go_back(self, sequence: int) -> None:
        """The next batch to send is this one, if it is still held."""
        self._queue.reach(sequence - 1)
        self._next_to_send = min(max(sequence, self._queue.first), self._queue.last + 1)
        self._under_way = self._queue.costs_before(self._next_to_send)
