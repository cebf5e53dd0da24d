"""The sending end of the link: what may be said when, without socket or clock.

Specification: docs/wire.md; the theory of operation is in `formats/link.py`.
"""

import enum
from collections import deque
from dataclasses import dataclass

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.link import HEARTBEAT_NS, PATIENCE_NS
from pcap_zmq.formats.wire import Message, MessageType, Reply, ReplyType, StreamId
from pcap_zmq.packet import EncodedBatch


class State(enum.Enum):
    """Where a sender stands."""

    DOWN = "no connection"
    GREETING = "waiting for a welcome"
    UP = "up"
    LEAVING = "waiting for a farewell"
    GONE = "gone"


@dataclass(slots=True)
class _Held:
    sequence: int
    batch: EncodedBatch
    cost: int


class SenderLink:
    """The sending end: holds at most `queue_bytes`, each batch until it is written."""

    def __init__(
        self,
        stream: StreamId,
        name: str,
        linktype: int,
        queue_bytes: int,
        counters: SenderCounters,
    ) -> None:
        self.state = State.DOWN
        self.held_bytes = 0
        self.held_packets = 0
        self.window = 0
        self.unanswered = 0
        """Greetings in a row that no welcome has followed."""
        self._stream = stream
        self._name = name.encode()[: wire.NAME_MAX]
        self._linktype = linktype
        self._queue_bytes = queue_bytes
        self._counters = counters
        self._held: deque[_Held] = deque()
        self._last_sequence = 0
        self._next_to_send = 1
        # The last batch that was ever sent: only up to there replies are believed.
        self._sent = 0
        self._under_way = 0
        self._leaving = False
        self._said_window = 0
        self._speak_up = False
        self._spoke_ns = 0
        self._heard_ns = 0

    # What happened, told by the edge.

    def connected(self, now_ns: int) -> None:
        """A connection is there: what was under way on the last one is unknown."""
        if self.state is not State.GONE:
            self._turn_to(State.GREETING, now_ns)

    def disconnected(self) -> None:
        """The connection is gone."""
        if self.state is not State.GONE:
            self.state = State.DOWN

    def receive(self, reply: Reply, now_ns: int) -> None:
        """A reply came. One for another stream, or that acknowledges what was never
        sent, is passed over."""
        if reply.stream != self._stream or reply.written > self._sent:
            return
        self._heard_ns = now_ns
        self._acknowledge(reply.written)
        if reply.type is ReplyType.FAREWELL and self.state is State.LEAVING:
            # What the receiver has is its to deliver now.
            self._acknowledge(min(reply.next - 1, self._sent))
            self.state = State.GONE
            self.abandon()
        elif reply.type is ReplyType.WELCOME and self.state in {
            State.GREETING,
            State.UP,
        }:
            self.state = State.UP
            self.unanswered = 0
            self.window = reply.window
            self._go_back(min(reply.next, self._sent + 1))
        elif self.state is State.UP:
            self.window = reply.window

    def offer(self, batch: EncodedBatch) -> bool:
        """Takes the batch for delivery; False when the queue has no room for it."""
        cost = wire.cost_of(len(batch.payload))
        if self._held and self.held_bytes + cost > self._queue_bytes:
            return False
        self._last_sequence += 1
        self._held.append(_Held(self._last_sequence, batch, cost))
        self.held_bytes += cost
        self.held_packets += batch.count
        return True

    def depart(self) -> None:
        """No more batches: says goodbye once all that is held is acknowledged."""
        self._leaving = True

    def leave_now(self, now_ns: int) -> None:
        """Says goodbye at once, held or not."""
        self._leaving = True
        if self.state is State.UP:
            self._turn_to(State.LEAVING, now_ns)

    def abandon(self) -> int:
        """Gives up what is held, counted as dropped; returns how many packets."""
        dropped = self.held_packets
        self._counters.dropped[Reason.SHUTDOWN] += dropped
        self._held.clear()
        self._next_to_send = self._last_sequence + 1
        self.held_packets = self.held_bytes = self._under_way = 0
        return dropped

    # What to do, asked by the edge.

    def outgoing(self, now_ns: int) -> Message | None:
        """The next message to put on the connection; None when there is none now."""
        message = self._next_message(now_ns)
        if message is not None:
            self._spoke_ns = now_ns
            self._said_window = self.window
        return message

    def needs_reply(self) -> bool:
        """Whether a reply decides what can be said next."""
        return self.state is not State.UP or self._next_to_send <= self._last_sequence

    def due(self) -> int | None:
        """When the link has something to say, unless it speaks before (mono_ns)."""
        match self.state:
            case State.GREETING | State.LEAVING:
                return (
                    self._spoke_ns if self._speak_up else self._heard_ns + PATIENCE_NS
                )
            case State.UP:
                return min(self._spoke_ns + HEARTBEAT_NS, self._heard_ns + PATIENCE_NS)
        return None

    def _turn_to(self, state: State, now_ns: int) -> None:
        """Enters a state that begins with saying something."""
        self.state = state
        self._speak_up = True
        self._heard_ns = now_ns

    def _next_message(self, now_ns: int) -> Message | None:
        if self.state in {State.DOWN, State.GONE}:
            return None
        if now_ns >= self._heard_ns + PATIENCE_NS:
            # The receiver is another one by now, or has forgotten us.
            self._turn_to(State.GREETING, now_ns)
        elif self.state is State.UP and self._leaving and not self._held:
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
        if quiet or self._said_window != self.window:
            return self._say(MessageType.HEARTBEAT)
        return None

    def _may_send(self) -> bool:
        return (
            self._next_to_send <= self._last_sequence and self._under_way < self.window
        )

    def _send_next(self) -> Message:
        # Held batches are numbered without a gap, so a number tells the place.
        held = self._held[self._next_to_send - self._held[0].sequence]
        self._next_to_send += 1
        self._sent = max(self._sent, held.sequence)
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
            totals=wire.encode_totals(self._counters),
            payload=held.batch.payload,
        )

    def _say(self, message_type: MessageType) -> Message:
        return Message(
            type=message_type,
            stream=self._stream,
            sequence=self._first_unacknowledged(),
            window=self.window,
            linktype=self._linktype,
            totals=wire.encode_totals(self._counters),
            payload=self._name if message_type is MessageType.HELLO else b"",
        )

    def _first_unacknowledged(self) -> int:
        return self._held[0].sequence if self._held else self._last_sequence + 1

    def _acknowledge(self, written: int) -> None:
        while self._held and self._held[0].sequence <= written:
            held = self._held.popleft()
            self.held_bytes -= held.cost
            self.held_packets -= held.batch.count
            self._counters.acknowledged += held.batch.count
            if held.sequence < self._next_to_send:
                self._under_way -= held.cost
        self._next_to_send = max(self._next_to_send, self._first_unacknowledged())

    def _go_back(self, sequence: int) -> None:
        """The next batch to send is this one, if it is still held."""
        first = self._first_unacknowledged()
        self._next_to_send = min(max(sequence, first), self._last_sequence + 1)
        self._under_way = sum(
            held.cost for held in self._held if held.sequence < self._next_to_send
        )
