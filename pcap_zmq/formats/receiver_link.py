"""The receiving end of the link: takes each batch of each sender once, without socket
or clock.

Specification: docs/wire.md; the theory of operation is in `formats/link.py`.
"""

import hashlib
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pcap_zmq.counters import Account, Reason, ReceiverCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.ledger import Line, Tally
from pcap_zmq.formats.link import HEARTBEAT_NS, SILENCE_NS
from pcap_zmq.formats.wire import Message, MessageType, Reply, ReplyType, StreamId
from pcap_zmq.packet import EncodedBatch, Instant, Octets

HARD_LIMIT = 2
"""Each stream may always have one batch, beyond the queue; all together hold at most so
many times the queue."""

RATE_NS = 1_000_000_000
"""A sender's rate is measured over at least this long."""

STREAMS_MAX = 4096
"""Streams that a receiver remembers: beyond, the longest unheard is forgotten."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end of a connection, as far as that can be known."""

    name: str = ""
    """The name that is bound to its key; empty without keys."""
    key: str = ""
    """Its public key, Z85; empty without keys."""
    address: str = ""
    is_operator: bool = False
    """May look at every line of the ledger, and send no packets."""


ANYBODY = Identity()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Which batch of which stream has been written, and whose packets they are."""

    stream: StreamId
    sequence: int
    account: Account = field(default_factory=Account, compare=False, repr=False)


@dataclass(slots=True)
class Stream:
    """What a receiver knows of one run of one sender."""

    id: StreamId
    """As its sender calls it."""
    key: StreamId
    """As we do: where senders have keys, no two of them can mean the same."""
    name: str
    peer: bytes
    """The connection that it is on: ZeroMQ's routing id."""
    next: int
    written: int
    linktype: int
    heard_ns: int
    window: int = 0
    reserved: int = 0
    """The largest window that the sender may still go by."""
    held_bytes: int = 0
    totals: bytes = wire.NO_TOTALS
    identity: Identity = ANYBODY
    since_ns: int = 0
    rate: int = 0
    rated_ns: int = 0
    rated_logged: int = 0
    has_left: bool = False
    has_died: bool = False
    """Started again without a goodbye."""
    is_here: bool = True
    """Connected as far as is known, so that it has a share of the queue."""
    owes: ReplyType | None = None
    spoke_ns: int = 0
    is_refused: bool = False
    """A batch was not taken, and the sender has yet to be told."""
    resume_wanted: bool = False
    """A batch was missing, and the sender has been told so."""
    costs: deque[tuple[int, int]] = field(default_factory=deque)
    """Number and cost of each batch that is held."""
    repeated: int = 0
    account: Account = field(default_factory=Account)
    elsewhere: int = 0
    """Packets that the sender found acknowledged otherwise than by this stream."""
    acknowledged: int = 0
    """Packets of this stream that the sender has found acknowledged, as we count."""
    unacknowledged: deque[tuple[int, int]] = field(default_factory=deque)
    """Number of each batch that the sender has not found acknowledged, and the packets
    up to its end."""

    def tally(self, held_here: int) -> Tally:
        """held_here: packets of this stream that are found in the receiver now."""
        said = wire.decode_totals(self.totals)
        account = self.account
        held_there = said.held - (account.received - self.acknowledged)
        tally = Tally(
            logged=said.logged,
            delivered=account.written,
            held_by_sender=held_there,
            held_by_receiver=held_here,
            missed=said.missed,
            missed_tail=said.missed_tail,
            elsewhere=self.elsewhere,
            dropped=Counter(said.dropped) + account.dropped,
        )
        if self.elsewhere < 0:
            # A sender's predecessor died before it heard that these were delivered.
            tally.dropped[Reason.SENDER_GONE] += self.elsewhere
            tally.elsewhere = 0
        if self.has_died:
            tally.dropped[Reason.SENDER_GONE] += held_there
            tally.held_by_sender = 0
        elif self.has_left:
            # What it held when it said goodbye it has given up, or keeps on its disk.
            given_up = held_there - said.spooled
            tally.held_by_sender -= given_up
            tally.dropped[Reason.SHUTDOWN] += given_up
        return tally

    def is_settled(self) -> bool:
        """Nothing of it is held here."""
        account = self.account
        return account.received == account.written + account.dropped.total()

    def compare_acknowledged(self) -> None:
        """How far the sender has found its packets acknowledged: to the end of which
        batch, of those that are settled. What it says beyond is unaccounted for."""
        said = wire.acknowledged_in(self.totals) - self.elsewhere
        batches = self.unacknowledged
        while batches and batches[0][0] <= self.written and batches[0][1] <= said:
            self.acknowledged = batches.popleft()[1]

    def start_over(self, sequence: int, acknowledged: int) -> None:
        """The sender cannot know what became of the batches before this one: what it
        takes for acknowledged, and did not hear from us, is not ours."""
        batches = self.unacknowledged
        while batches and batches[0][0] < sequence:
            self.acknowledged = batches.popleft()[1]
        self.elsewhere = acknowledged - self.acknowledged


@dataclass(slots=True)
class _Sender:
    """What is kept of a sender while its earlier runs are forgotten."""

    since_ns: int
    present: StreamId
    runs: int = 0
    repeated: int = 0
    past: Tally = field(default_factory=Tally)


def _key_of(identity: Identity, stream: StreamId) -> StreamId:
    """Senders with different names can use the same id, in good faith or not."""
    if not identity.name:
        return stream
    name = identity.name.encode()
    digest = hashlib.blake2b(stream.sender, digest_size=16, key=name[:64])
    return StreamId(digest.digest(), stream.started_ns)


def _was_resumed(before: bytes, after: bytes) -> bool:
    """The sender has started again with what its predecessor left in a spool, and does
    not know what was acknowledged last."""
    return wire.gone_in(after) > wire.gone_in(before)


def _printable(name: Octets) -> str:
    """A name from elsewhere, fit for a log: no control characters."""
    text = bytes(name[: wire.NAME_MAX]).decode(errors="replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class ReceiverLink:
    """The receiving end: takes each batch of each sender once, in its order."""

    def __init__(
        self, started_ns: int, queue_bytes: int, counters: ReceiverCounters
    ) -> None:
        self.streams: OrderedDict[StreamId, Stream] = OrderedDict()
        self._started_ns = started_ns
        self._queue_bytes = queue_bytes
        self._counters = counters
        self._by_peer: dict[bytes, Stream] = {}
        self._senders: OrderedDict[bytes, _Sender] = OrderedDict()
        self._talkative: set[StreamId] = set()
        self._is_uneven = False
        self._held_bytes = 0
        self._checked_ns = 0

    @property
    def held_bytes(self) -> int:
        """Taken and not written, as windows count them."""
        return self._held_bytes

    def receive(
        self,
        peer: bytes,
        message: Message,
        now_ns: int,
        identity: Identity = ANYBODY,
    ) -> EncodedBatch | None:
        """A message came on a connection. Returns the batch where it brought a wanted
        one; its receipt is for `written`. identity: of the peer; looked at when it says
        hello."""
        if message.type is MessageType.HELLO:
            self._greet(peer, message, now_ns, identity)
            return None
        stream = self._by_peer.get(peer)
        if stream is None or stream.id != message.stream:
            # Sent before the connection broke, and sent again after the hello.
            self._counters.uncalled_messages += 1
            return None
        self._hear(stream, message, now_ns)
        if message.type is MessageType.GOODBYE:
            stream.has_left = True
            self._dismiss(stream)
            self._owe(stream, ReplyType.FAREWELL)
        elif message.type is MessageType.BATCH:
            return self._take(stream, message)
        return None

    def name_on(self, peer: bytes) -> str:
        """Who speaks on a connection, for people."""
        stream = self._by_peer.get(peer)
        return f"sender {stream.name}" if stream else "a sender"

    def written(self, receipt: Receipt) -> None:
        """A batch is in the output."""
        stream = self.streams.get(receipt.stream)
        if stream is None:
            return
        while stream.costs and stream.costs[0][0] <= receipt.sequence:
            cost = stream.costs.popleft()[1]
            stream.held_bytes -= cost
            self._held_bytes -= cost
            # What a sender that has gone left behind takes others' room until now.
            self._is_uneven = self._is_uneven or not stream.is_here
        stream.written = max(stream.written, receipt.sequence)
        self._owe(stream, ReplyType.ACK)

    def lost(self, peer: bytes) -> None:
        """A connection is gone."""
        stream = self._by_peer.pop(peer, None)
        if stream is not None:
            self._dismiss(stream)

    def outgoing(self, now_ns: int) -> Iterable[tuple[bytes, Reply]]:
        """Every reply that is owed now, with the connection that it goes to."""
        if now_ns >= self._checked_ns + HEARTBEAT_NS:
            self._checked_ns = now_ns
            self._look_around(now_ns)
        if self._is_uneven:
            self._share_out()
        talkative, self._talkative = self._talkative, set()
        for stream_id in talkative:
            stream = self.streams.get(stream_id)
            if stream is None or stream.owes is None:
                continue
            yield stream.peer, self._reply(stream, stream.owes, now_ns)

    def due(self) -> int:
        """When to speak or look around next (mono_ns)."""
        return 0 if self._talkative else self._checked_ns + HEARTBEAT_NS

    def all_left_ns(self) -> int | None:
        """When the last farewell was said (mono_ns), if at least one sender was seen
        and each has said goodbye with all written; else None."""
        streams = self.streams.values()
        if not streams or any(
            stream.owes or not stream.has_left or stream.written + 1 < stream.next
            for stream in streams
        ):
            return None
        return max(stream.spoke_ns for stream in streams)

    def lines(self, held: Mapping[StreamId, int], now: Instant) -> list[Line]:
        """The ledger. held: packets of each stream, by its key, that are found in this
        receiver now."""
        by_sender: dict[bytes, list[Stream]] = {}
        for stream in self.streams.values():
            by_sender.setdefault(stream.key.sender, []).append(stream)
        return [
            self._line(self._senders[sender], streams, held, now)
            for sender, streams in by_sender.items()
        ]

    def _line(
        self,
        sender: _Sender,
        streams: Sequence[Stream],
        held: Mapping[StreamId, int],
        now: Instant,
    ) -> Line:
        tally = Tally()
        tally.add(sender.past)
        for stream in streams:
            tally.add(stream.tally(held.get(stream.key, 0)))
        present = max(streams, key=lambda stream: stream.id.started_ns)
        mono_to_wall_ns = now.wall_ns - now.mono_ns
        return Line(
            name=present.name,
            key=present.identity.key,
            address=present.identity.address,
            sender=present.id.sender.hex(),
            started_ns=present.id.started_ns,
            since_ns=sender.since_ns + mono_to_wall_ns,
            seen_ns=max(stream.heard_ns for stream in streams) + mono_to_wall_ns,
            is_here=present.is_here,
            runs=sender.runs,
            repeated=sender.repeated + sum(stream.repeated for stream in streams),
            rate=present.rate,
            tally=tally,
        )

    def _greet(
        self, peer: bytes, message: Message, now_ns: int, identity: Identity
    ) -> None:
        key = _key_of(identity, message.stream)
        acknowledged = wire.acknowledged_in(message.totals)
        stream = self.streams.get(key)
        if stream is None:
            stream = Stream(
                id=message.stream,
                key=key,
                name="",
                peer=peer,
                next=message.sequence,
                written=message.sequence - 1,
                linktype=message.linktype,
                heard_ns=now_ns,
                elsewhere=acknowledged,
                since_ns=now_ns,
                rated_ns=now_ns,
                rated_logged=wire.logged_in(message.totals),
            )
            self.streams[key] = stream
            self._forget_oldest()
        elif message.sequence > stream.next:
            # Acknowledged by another receiver at the same address, or lost with a
            # predecessor of the sender that used the same spool.
            stream.start_over(message.sequence, acknowledged)
            stream.next = message.sequence
            stream.written = message.sequence - 1
        elif _was_resumed(stream.totals, message.totals):
            stream.start_over(message.sequence, acknowledged)
        self._supersede(stream)
        stream.identity = identity
        stream.name = identity.name or _printable(message.payload)
        self._move(stream, peer)
        stream.has_left = False
        stream.is_here = True
        stream.resume_wanted = False
        # A window granted on an earlier connection binds nobody any more.
        stream.window = stream.reserved = 0
        self._hear(stream, message, now_ns)
        self._is_uneven = True
        self._owe(stream, ReplyType.WELCOME)

    def _supersede(self, run: Stream) -> None:
        """An earlier run of the same sender can say no goodbye any more."""
        sender = self._senders.get(run.key.sender)
        if sender is None:
            sender = _Sender(since_ns=run.since_ns, present=run.key, runs=1)
            self._senders[run.key.sender] = sender
        elif sender.present.started_ns < run.key.started_ns:
            earlier = self.streams.get(sender.present)
            if earlier is not None:
                earlier.has_died = not earlier.has_left
                earlier.has_left = True
                self._dismiss(earlier)
            sender.present = run.key
            sender.runs += 1

    def _move(self, stream: Stream, peer: bytes) -> None:
        """The stream is on this connection from now on, and nothing else is."""
        other = self._by_peer.pop(peer, None)
        if other is not None and other is not stream:
            self._dismiss(other)
        if self._by_peer.get(stream.peer) is stream:
            del self._by_peer[stream.peer]
        stream.peer = peer
        self._by_peer[peer] = stream

    def _hear(self, stream: Stream, message: Message, now_ns: int) -> None:
        stream.heard_ns = now_ns
        stream.totals = message.totals
        if stream.unacknowledged:
            stream.compare_acknowledged()
        if now_ns >= stream.rated_ns + RATE_NS:
            logged = wire.logged_in(message.totals)
            passed_ns = now_ns - stream.rated_ns
            stream.rate = (logged - stream.rated_logged) * 1_000_000_000 // passed_ns
            stream.rated_ns, stream.rated_logged = now_ns, logged
        if message.window == stream.window < stream.reserved:
            stream.reserved = stream.window
            self._is_uneven = True
        if not stream.is_here and not stream.has_left:
            stream.is_here = True
            self._is_uneven = True

    def _take(self, stream: Stream, message: Message) -> EncodedBatch | None:
        if message.sequence < stream.next:
            self._counters.repeated += message.count
            stream.repeated += message.count
            self._owe(stream, ReplyType.ACK)
            return None
        if message.sequence > stream.next:
            if not stream.resume_wanted:
                stream.resume_wanted = True
                self._owe(stream, ReplyType.WELCOME)
            return None
        if self._held_bytes >= HARD_LIMIT * self._queue_bytes:
            # Many streams with a batch each, be it in good faith: later, perhaps.
            self._counters.uncalled_messages += 1
            stream.is_refused = True
            return None
        if stream.held_bytes and stream.held_bytes >= max(
            stream.reserved, stream.window
        ):
            # Sent by a window that is gone, or by a peer that keeps to none.
            self._counters.uncalled_messages += 1
            self._owe(stream, ReplyType.WELCOME)
            return None
        cost = wire.cost_of(len(message.payload))
        stream.resume_wanted = False
        stream.next += 1
        stream.held_bytes += cost
        self._held_bytes += cost
        stream.costs.append((message.sequence, cost))
        self._counters.count_received(stream, message.count)
        stream.unacknowledged.append((message.sequence, stream.account.received))
        return EncodedBatch(
            linktype=message.linktype,
            count=message.count,
            codec=message.codec,
            raw_length=message.raw_length,
            payload=message.payload,
            receipt=Receipt(stream.key, message.sequence, stream.account),
        )

    def _reply(self, stream: Stream, reply_type: ReplyType, now_ns: int) -> Reply:
        stream.owes = None
        stream.spoke_ns = now_ns
        return Reply(
            type=reply_type,
            stream=stream.id,
            written=stream.written,
            next=stream.next,
            window=stream.window,
            receiver_started_ns=self._started_ns,
        )

    def _owe(self, stream: Stream, reply_type: ReplyType) -> None:
        """The strongest reply wins: an ACK says nothing that a WELCOME does not."""
        if stream.owes is None or reply_type is not ReplyType.ACK:
            stream.owes = reply_type
        self._talkative.add(stream.key)

    def _look_around(self, now_ns: int) -> None:
        """Heartbeats for the quiet, and shares of the silent for the others."""
        self._forget_superseded()
        for stream in list(self._by_peer.values()):
            if now_ns >= stream.heard_ns + SILENCE_NS:
                self._dismiss(stream)
            elif stream.is_refused:
                stream.is_refused = False
                self._owe(stream, ReplyType.WELCOME)
            elif stream.has_left:
                continue
            elif now_ns >= stream.spoke_ns + HEARTBEAT_NS:
                self._owe(stream, ReplyType.ACK)

    def _dismiss(self, stream: Stream) -> None:
        if stream.is_here:
            stream.is_here = False
            stream.window = stream.reserved = 0
            self._is_uneven = True

    def _share_out(self) -> None:
        """Sets every window to a sender's share, as far as the queue allows now.

        A share is a power of two of the queue, so that most comings and goings change
        nobody's; and less than an equal part, so that a newcomer finds some left.
        """
        self._is_uneven = False
        here = [stream for stream in self._by_peer.values() if stream.is_here]
        if not here:
            return
        share = self._queue_bytes >> len(here).bit_length()
        reserved = sum(
            max(stream.reserved, stream.window, stream.held_bytes) for stream in here
        )
        left_behind = self._held_bytes - sum(stream.held_bytes for stream in here)
        free = self._queue_bytes - reserved - left_behind
        for stream in here:
            bound = max(stream.reserved, stream.window, stream.held_bytes)
            window = min(share, bound + free)
            # One batch at a time is always allowed: any window above 0 is.
            window = max(window, 1)
            if window != stream.window:
                free -= max(0, window - bound)
                stream.reserved = max(stream.reserved, stream.window, window)
                stream.window = window
                self._owe(stream, ReplyType.ACK)

    def _forget_oldest(self) -> None:
        while len(self.streams) > STREAMS_MAX:
            oldest = min(
                (
                    stream
                    for stream in self.streams.values()
                    if not stream.is_here and not stream.costs
                ),
                key=lambda stream: stream.heard_ns,
                default=None,
            )
            if oldest is None:
                return
            self._forget(oldest)

    def _forget_superseded(self) -> None:
        """The earlier runs of each sender, once nothing of them is held here."""
        for stream in list(self.streams.values()):
            is_present = self._senders[stream.key.sender].present == stream.key
            is_connected = self._by_peer.get(stream.peer) is stream
            if not is_present and not is_connected and stream.is_settled():
                self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        """Its terms stay in its sender's line, as long as that is remembered."""
        del self.streams[stream.key]
        if self._by_peer.get(stream.peer) is stream:
            del self._by_peer[stream.peer]
        sender = self._senders[stream.key.sender]
        tally = stream.tally(held_here=0)
        tally.dropped[Reason.SENDER_GONE] += tally.held_by_sender
        tally.held_by_sender = 0
        sender.past.add(tally)
        sender.repeated += stream.repeated
        if not any(key.sender == stream.key.sender for key in self.streams):
            del self._senders[stream.key.sender]
