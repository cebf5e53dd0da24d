"""What is taken from a real ROUTER at once, and what is handed on as it came."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import zmq

from link_ffi import Intake, Lane, Lanes, TakenBatch, TakenMessage
from pcap_ffi import new_buffer
from pcap_zmq import sockets
from pcap_zmq.allowed import Person
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats import linktype, wire
from pcap_zmq.formats.certificate import Certificate, Role
from pcap_zmq.formats.codec import Codec, compressor
from pcap_zmq.formats.wire import Message, MessageType, StreamId
from pcap_zmq.keys import make_pair, read_own
from pcap_zmq.packet import Octets
from pcap_zmq.sources.gate import Gate
from testbed.waiting import wait_until
from tests.conftest import SocketFactory
from tests.support.records import plain_packets, records_of

RAW = 101
SMALL = 8_192
CAPACITY = 64 << 10
SHARES_MAX = 1_024
PATIENCE_S = 20.0
NOW_NS = 1_000
WINDOW = 1 << 30

Taken = TakenBatch | TakenMessage


@dataclass
class Sender:
    """A stream on a connection of its own."""

    dealer: "zmq.Socket[bytes]"
    stream: StreamId
    lane: Lane
    hello: TakenMessage
    sequence: int = 0

    def message(self, packets: int = 2, length: int = 60) -> Message:
        """The next batch, as a sender says it. Its octets tell which it is."""
        self.sequence += 1
        plain = plain_packets(packets, length)
        mark = self.stream.sender[:8] + self.sequence.to_bytes(8)
        records = records_of([replace(p, data=mark + p.data[16:]) for p in plain])
        return Message(
            MessageType.BATCH,
            self.stream,
            self.sequence,
            window=WINDOW,
            linktype=RAW,
            count=packets,
            raw_length=len(records),
            payload=records,
        )

    def sends(self, packets: int = 2, length: int = 60) -> bytes:
        """One that is plain; its records."""
        message = self.message(packets, length)
        self.says(wire.encode_message(message))
        return bytes(message.payload)

    def says(self, frames: Sequence[Octets]) -> None:
        self.dealer.send_multipart(frames)


class Post:
    """A ROUTER with its intake, and senders that are known there."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        make_socket: SocketFactory,
        endpoint: str,
        keys: Path | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self._make_socket = make_socket
        self._keys = keys
        self._own: Certificate | None = None
        self._people: dict[str, Person] = {}
        self._numbers = itertools.count(1)
        self.lanes = Lanes(1 << 40, 1)
        self.gate: Gate | None = None
        self.router = make_socket(zmq.ROUTER)
        sockets.prepare(self.router)
        if keys is not None:
            self._own = read_own(make_pair(keys, "receiver", Role.SENDER)[1])
            sockets.secure_server(self.router, self._own)
            self.gate = Gate(context, lambda: self._people, ReceiverCounters())
        self.endpoint = sockets.attach(self.router, endpoint, bind=True)
        self.intake = Intake(
            self.router,
            self.lanes,
            has_keys=keys is not None,
            buffer_bytes=capacity,
            new_buffer=new_buffer,
            small=SMALL,
        )

    def dealer(self, routing_id: bytes = b"") -> "zmq.Socket[bytes]":
        dealer = self._make_socket(zmq.DEALER)
        sockets.prepare(dealer)
        if routing_id:
            dealer.setsockopt(zmq.ROUTING_ID, routing_id)
        if self._own is not None and self._keys is not None:
            name = f"s{next(self._numbers)}"
            own = read_own(make_pair(self._keys, name, Role.SENDER)[1])
            self._people[own.public] = Person(name, Role.SENDER)
            sockets.secure_client(dealer, own, self._own.public)
        dealer.connect(self.endpoint)
        return dealer

    def sender(self, routing_id: bytes = b"", *, opens: bool = True) -> Sender:
        """Says hello, and may be taken from at once from now on."""
        dealer = self.dealer(routing_id)
        stream = StreamId(next(self._numbers).to_bytes(16), 7)
        frames = wire.encode_message(Message(MessageType.HELLO, stream, 1))
        self.until_sent(dealer, frames)
        hello = self.message()
        assert hello.frames == frames
        lane = self.lanes.add(wire.encode_stream(stream), 1)
        lane.window = WINDOW
        sender = Sender(dealer, stream, lane, hello)
        if opens:
            self.open(sender)
        return sender

    def until_sent(self, dealer: "zmq.Socket[bytes]", frames: Sequence[Octets]) -> None:
        """A socket that is not connected yet takes nothing."""

        def is_sent() -> bool:
            if self.gate is not None:
                self.gate.serve()
            try:
                dealer.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                return False
            return True

        wait_until(is_sent, PATIENCE_S, "a connection")

    def open(
        self, sender: Sender, fd: int | None = None, key: str | None = None
    ) -> None:
        hello = sender.hello
        self.lanes.open(
            sender.lane,
            hello.peer,
            hello.fd if fd is None else fd,
            hello.key if key is None else key,
        )

    def take(self) -> Taken:
        """What comes next."""
        came: list[Taken] = []

        def try_it() -> bool:
            if self.gate is not None:
                self.gate.serve()
            taken = self.intake.take(NOW_NS)
            if taken is not None:
                came.append(taken)
            return bool(came)

        wait_until(try_it, PATIENCE_S, "a message")
        return came[0]

    def message(self) -> TakenMessage:
        taken = self.take()
        assert isinstance(taken, TakenMessage), taken
        return taken

    def batch(self) -> TakenBatch:
        taken = self.take()
        assert isinstance(taken, TakenBatch), taken
        return taken

    def takes(self, batches: int) -> list[TakenBatch]:
        """Until so many have come, gathered or not."""
        taken: list[TakenBatch] = []
        while sum(len(list(it.shares.shares())) for it in taken) < batches:
            taken.append(self.batch())
        return taken

    def close(self) -> None:
        self.intake.close()
        if self.gate is not None:
            self.router.close(0)
            self.gate.close()


@pytest.fixture(params=["tcp", "ipc", "tcp with keys"])
def post(
    request: pytest.FixtureRequest,
    context: "zmq.Context[zmq.Socket[bytes]]",
    make_socket: SocketFactory,
    tmp_path: Path,
) -> Iterator[Post]:
    is_ipc = request.param == "ipc"
    endpoint = f"ipc://{tmp_path}/link" if is_ipc else "tcp://127.0.0.1:*"
    keys = tmp_path if "keys" in request.param else None
    post = Post(context, make_socket, endpoint, keys)
    yield post
    post.close()


@pytest.fixture
def plain_post(
    context: "zmq.Context[zmq.Socket[bytes]]",
    make_socket: SocketFactory,
    tmp_path: Path,
) -> Iterator[Post]:
    """Where the transport makes no difference."""
    post = Post(context, make_socket, f"ipc://{tmp_path}/link")
    yield post
    post.close()


# What is handed on as it came.

Twist = Callable[[Sender, Message], Sequence[Octets]]


def _changed(**changes: object) -> Twist:
    return lambda sender, message: wire.encode_message(
        replace(message, **changes)  # type: ignore[arg-type]
    )


def _header(at: int, octets: bytes) -> Twist:
    def twist(sender: Sender, message: Message) -> Sequence[Octets]:
        header, payload = wire.encode_message(message)
        changed = bytearray(header)
        changed[at : at + len(octets)] = octets
        return [bytes(changed), payload]

    return twist


def _frames(change: Callable[[Octets, Octets], Sequence[Octets]]) -> Twist:
    return lambda sender, message: change(*wire.encode_message(message))


ODD: dict[str, Twist] = {
    "another stream": _changed(stream=StreamId(b"x" * 16, 7)),
    "another run of the stream": lambda sender, message: wire.encode_message(
        replace(message, stream=replace(sender.stream, started_ns=8))
    ),
    "one that is missing before it": _changed(sequence=2),
    "a number from before": _changed(sequence=0),
    "a number beyond all numbers": _changed(sequence=1 << 63),
    "a hello": _changed(type=MessageType.HELLO),
    "a batch without a payload": _frames(lambda header, payload: [header]),
    "a heartbeat": _changed(type=MessageType.HEARTBEAT),
    "a goodbye": _changed(type=MessageType.GOODBYE),
    "a type that is none": _header(5, b"\x77"),
    "another magic": _header(0, b"PZMR"),
    "another version": _header(4, b"\2"),
    "flags": _header(7, b"\1"),
    "a link type that is none": _header(8, (65_536).to_bytes(4)),
    "a header that is too short": _frames(lambda h, p: [bytes(h[:-1]), p]),
    "a header that is too long": _frames(lambda h, p: [bytes(h) + b"\0", p]),
    "frames that change places": _frames(lambda h, p: [p, h]),
    "an empty frame": _frames(lambda h, p: [b""]),
    "an empty frame before": _frames(lambda h, p: [b"", h, p]),
    "two empty frames": _frames(lambda h, p: [b"", b""]),
    "three frames": _frames(lambda h, p: [h, p, b"more"]),
    "an empty frame behind": _frames(lambda h, p: [h, p, b""]),
}


@pytest.mark.parametrize("twist", ODD.values(), ids=ODD)
def test_what_is_not_plain_is_handed_on_and_changes_nothing(
    plain_post: Post, twist: Twist
) -> None:
    sender = plain_post.sender()
    frames = twist(sender, sender.message())
    sender.says(frames)
    taken = plain_post.message()
    assert taken == replace(sender.hello, frames=list(frames))
    lane = sender.lane
    assert (lane.next, lane.held_bytes, lane.packets_received) == (1, 0, 0)
    assert lane.heard_ns == 0
    sender.sequence = 0
    records = sender.sends()
    assert bytes(plain_post.batch().payload) == records


def test_of_many_frames_three_are_told(plain_post: Post) -> None:
    sender = plain_post.sender()
    frames = wire.encode_message(sender.message())
    sender.says([*frames, *(bytes([number]) * 10_000 for number in range(10))])
    taken = plain_post.message()
    assert (len(taken.frames), taken.frames[:2]) == (3, frames)
    sender.sequence = 0
    records = sender.sends()
    assert bytes(plain_post.batch().payload) == records


def test_a_message_without_frames_is_none_of_a_sender(plain_post: Post) -> None:
    sender = plain_post.sender()
    sender.dealer.send(b"")
    assert plain_post.message().frames == [b""]


def test_a_frame_above_what_is_allowed_is_handed_on(plain_post: Post) -> None:
    """Below what ZeroMQ itself cuts off."""
    sender = plain_post.sender()
    header, _ = wire.encode_message(sender.message())
    sender.says([header, bytes(wire.MESSAGE_MAX + 1)])
    taken = plain_post.message()
    assert len(taken.frames[1]) == wire.MESSAGE_MAX + 1
    sender.says([header, bytes(wire.MESSAGE_MAX)])
    assert len(plain_post.batch().payload) == wire.MESSAGE_MAX


def test_who_was_not_opened_is_handed_on(post: Post) -> None:
    sender = post.sender(opens=False)
    sender.sends()
    assert isinstance(post.take(), TakenMessage)


def test_who_was_closed_is_handed_on(post: Post) -> None:
    sender = post.sender()
    sender.sends()
    assert isinstance(post.take(), TakenBatch)
    post.lanes.close_all()
    sender.sends()
    assert isinstance(post.take(), TakenMessage)


def test_another_connection_by_the_same_number_is_handed_on(post: Post) -> None:
    sender = post.sender(opens=False)
    post.open(sender, fd=sender.hello.fd + 1_000)
    sender.sends()
    taken = post.message()
    assert (taken.peer, taken.fd) == (sender.hello.peer, sender.hello.fd)


@pytest.mark.parametrize("key", ["", "k" * 40])
@pytest.mark.parametrize("post", ["tcp with keys"], indirect=True)
def test_another_key_is_handed_on(post: Post, key: str) -> None:
    sender = post.sender(opens=False)
    assert len(sender.hello.key) == 40
    post.open(sender, key=key)
    sender.sends()
    assert post.message().key == sender.hello.key
    post.open(sender, key=sender.hello.key[:-1])
    sender.sequence = 0
    sender.sends()
    assert isinstance(post.take(), TakenMessage)


def test_where_keys_are_wanted_who_has_none_is_handed_on(
    context: "zmq.Context[zmq.Socket[bytes]]", make_socket: SocketFactory
) -> None:
    post = Post(context, make_socket, "tcp://127.0.0.1:*")
    post.intake.close()
    post.intake = Intake(
        post.router,
        post.lanes,
        has_keys=True,
        buffer_bytes=CAPACITY,
        new_buffer=new_buffer,
        small=SMALL,
    )
    sender = post.sender()
    assert sender.hello.key == ""
    sender.sends()
    assert isinstance(post.take(), TakenMessage)
    post.close()


def test_two_senders_are_told_apart_by_their_connections(post: Post) -> None:
    first, second = post.sender(), post.sender()
    frames = wire.encode_message(first.message())
    second.says(frames)
    assert post.message() == replace(second.hello, frames=list(frames))
    assert first.lane.next == second.lane.next == 1


@pytest.mark.parametrize("name", [b"gate1", b"abcd", b"n" * 255])
def test_a_name_that_a_peer_gave_itself_is_handed_on(
    plain_post: Post, name: bytes
) -> None:
    sender = plain_post.sender(name)
    assert sender.hello.peer == name
    sender.sends()
    assert plain_post.message().peer == name


def test_a_window_that_is_given_back_is_told_of(plain_post: Post) -> None:
    """What was reserved for it is others' then, which is not for us to know."""
    sender = plain_post.sender()
    sender.lane.reserved = WINDOW + 1
    sender.sends()
    assert isinstance(plain_post.take(), TakenMessage)
    sender.lane.reserved = WINDOW
    sender.sequence = 0
    sender.sends()
    assert isinstance(plain_post.take(), TakenBatch)


def test_beyond_its_window_nothing_of_a_stream_is_taken(plain_post: Post) -> None:
    sender = plain_post.sender()
    sender.lane.window = 1
    sender.sends()
    assert isinstance(plain_post.take(), TakenBatch)
    sender.sends()
    assert isinstance(plain_post.take(), TakenMessage)
    assert sender.lane.next == 2


def test_who_sent_it_is_told(post: Post) -> None:
    hello = post.sender().hello
    assert (len(hello.peer), hello.peer[0]) == (5, 0)
    assert hello.fd > 2
    if post.endpoint.startswith("tcp"):
        assert sockets.plain(hello.address) == "127.0.0.1"


# What is taken alone.


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"count": 3}, id="another count"),
        pytest.param({"raw_length": 1}, id="another length"),
        pytest.param({"codec": Codec.ZSTD}, id="another codec"),
        pytest.param({"payload": b"", "raw_length": 0, "count": 0}, id="no packets"),
        pytest.param({"payload": b"x" * 40, "raw_length": 40}, id="no records"),
    ],
)
def test_what_cannot_be_gathered_is_a_batch_of_its_own(
    plain_post: Post, changes: dict[str, object]
) -> None:
    sender = plain_post.sender()
    before = sender.sends()
    odd = replace(sender.message(), **changes)  # type: ignore[arg-type]
    sender.says(wire.encode_message(odd))
    after = sender.sends()
    first, second, third = plain_post.takes(3)
    assert (bytes(first.payload), bytes(third.payload)) == (before, after)
    assert bytes(second.payload) == odd.payload
    assert second.packets == odd.count
    assert (second.codec, second.raw_length) == (odd.codec, odd.raw_length)
    (share,) = second.shares.shares()
    assert (share.slot, share.number, share.packets) == (sender.lane.slot, 2, odd.count)


@pytest.mark.parametrize("codec", [Codec.ZLIB, Codec.ZSTD, Codec.LZ4])
def test_a_compressed_batch_is_taken_as_it_came(post: Post, codec: Codec) -> None:
    sender = post.sender()
    plain = sender.message(40)
    compressed = compressor(codec)(plain.payload)
    sender.says(wire.encode_message(replace(plain, codec=codec, payload=compressed)))
    taken = post.batch()
    assert bytes(taken.payload) == compressed
    assert (taken.linktype, taken.codec) == (RAW, codec)
    assert (taken.packets, taken.raw_length) == (40, len(plain.payload))


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_batch_above_what_is_small_is_not_gathered(
    plain_post: Post, beyond: int
) -> None:
    sender = plain_post.sender()
    records = sender.sends(1, SMALL - 16 + beyond)
    assert len(records) == SMALL + beyond
    taken = plain_post.batch()
    assert isinstance(taken.payload, memoryview if beyond else bytes)
    assert bytes(taken.payload) == records


def test_a_large_payload_outlives_the_intake_and_the_socket(post: Post) -> None:
    sender = post.sender()
    sent = [sender.sends(100, 1_000) for _ in range(5)]
    taken = post.takes(5)
    post.intake.close()
    post.router.close(0)
    post.lanes.remove(sender.lane)
    views = [batch.payload for batch in taken]
    del taken
    parts = [view[1_000:2_000] for view in views]
    assert [bytes(view) for view in views] == sent
    del views
    assert [bytes(part) for part in parts] == [one[1_000:2_000] for one in sent]


def test_a_large_frame_of_an_odd_message_outlives_the_next_one(
    plain_post: Post,
) -> None:
    dealer = plain_post.dealer()
    sent = [bytes([number]) * 50_000 for number in range(5)]
    for octets in sent:
        plain_post.until_sent(dealer, [b"", octets, octets])
    taken = [plain_post.message() for _ in sent]
    assert [message.frames for message in taken] == [[b"", it, it] for it in sent]


# What is gathered.


def test_small_batches_are_gathered(post: Post) -> None:
    sender = post.sender()
    sent = [
        sender.sends(packets)
        for packets in itertools.islice(itertools.cycle([1, 2, 3]), 300)
    ]
    taken = post.takes(300)
    assert b"".join(bytes(batch.payload) for batch in taken) == b"".join(sent)
    # Most were there before the first was looked for.
    assert len(taken) < 200
    shares = [share for batch in taken for share in batch.shares.shares()]
    assert [share.number for share in shares] == list(range(1, 301))
    assert [share.packets for share in shares] == [1, 2, 3] * 100
    for batch in taken:
        assert batch.packets == sum(share.packets for share in batch.shares.shares())
        assert (batch.codec, batch.linktype) == (Codec.NONE, RAW)
        assert batch.raw_length == len(batch.payload)
    assert post.intake.messages == 301
    assert sender.lane.next == 301
    assert sender.lane.packets_received == 600
    for batch in taken:
        batch.shares.settle(1)
    assert (sender.lane.written, post.lanes.held_bytes) == (300, 0)


def test_batches_of_several_senders_keep_each_ones_order(post: Post) -> None:
    senders = [post.sender() for _ in range(5)]
    sent: dict[int, list[bytes]] = {sender.lane.slot: [] for sender in senders}
    for _ in range(50):
        for sender in senders:
            sent[sender.lane.slot].append(sender.sends())
    came: dict[int, list[bytes]] = {slot: [] for slot in sent}
    for batch in post.takes(250):
        payload = bytes(batch.payload)
        for share in batch.shares.shares():
            length = len(sent[share.slot][0])
            came[share.slot].append(payload[:length])
            payload = payload[length:]
        assert payload == b""
    assert came == sent


def test_the_order_is_kept_whatever_comes_between(plain_post: Post) -> None:
    sender = plain_post.sender()
    sent: list[bytes] = []
    for _ in range(40):
        sent += [sender.sends() for _ in range(4)]
        sent.append(sender.sends(20, 1_000))
        odd = b"odd %d" % len(sent)
        sender.says([odd])
        sent.append(odd)
    came = b""
    while len(came) < len(b"".join(sent)):
        taken = plain_post.take()
        if isinstance(taken, TakenBatch):
            came += bytes(taken.payload)
        else:
            came += b"".join(bytes(frame) for frame in taken.frames)
    assert came == b"".join(sent)


def test_batches_of_another_link_type_are_not_mixed(plain_post: Post) -> None:
    sender = plain_post.sender()
    kinds = [RAW, RAW, 1, 1, 1, RAW, linktype.MAXIMUM, RAW]
    for kind in kinds:
        message = replace(sender.message(), linktype=kind)
        sender.says(wire.encode_message(message))
    taken = plain_post.takes(len(kinds))
    came = [batch.linktype for batch in taken for _ in batch.shares.shares()]
    assert came == kinds
    assert len(taken) >= 5


def test_no_more_is_gathered_than_there_is_room_for(plain_post: Post) -> None:
    sender = plain_post.sender()
    sent = [sender.sends(4, 900) for _ in range(200)]
    taken = plain_post.takes(200)
    assert b"".join(bytes(batch.payload) for batch in taken) == b"".join(sent)
    assert max(len(batch.payload) for batch in taken) <= CAPACITY
    # One that just fits is still looked for, so that a buffer is filled well.
    assert max(len(batch.payload) for batch in taken) > CAPACITY - SMALL - 4_000


def test_no_more_batches_are_gathered_than_there_are_shares_for(
    context: "zmq.Context[zmq.Socket[bytes]]", make_socket: SocketFactory
) -> None:
    post = Post(context, make_socket, "tcp://127.0.0.1:*", capacity=1 << 20)
    sender = post.sender()
    sent = [sender.sends(1) for _ in range(5_000)]
    taken = post.takes(5_000)
    assert b"".join(bytes(batch.payload) for batch in taken) == b"".join(sent)
    assert max(len(list(batch.shares.shares())) for batch in taken) <= SHARES_MAX
    post.close()


def test_what_was_gathered_is_not_overwritten_by_what_comes_later(
    plain_post: Post,
) -> None:
    sender = plain_post.sender()
    kept: list[TakenBatch] = []
    sent: list[bytes] = []
    for _ in range(20):
        sent += [sender.sends(8, 900) for _ in range(20)]
        kept += plain_post.takes(20)
    assert b"".join(bytes(batch.payload) for batch in kept) == b"".join(sent)


def test_what_a_sender_says_of_itself_is_heard(plain_post: Post) -> None:
    sender = plain_post.sender()
    totals = bytes(range(128))
    sender.says(wire.encode_message(replace(sender.message(), totals=totals)))
    plain_post.batch()
    assert sender.lane.heard_ns == NOW_NS
    assert plain_post.lanes.heard_since(NOW_NS) == [(sender.hello.fd, NOW_NS)]


# Ends.


def test_nothing_is_taken_where_there_is_nothing(plain_post: Post) -> None:
    assert plain_post.intake.take(NOW_NS) is None
    assert plain_post.intake.messages == 0


def test_a_socket_that_was_closed_is_an_error(plain_post: Post) -> None:
    plain_post.router.close(0)
    with pytest.raises(OSError, match="socket"):
        plain_post.intake.take(NOW_NS)


def test_closing_lets_go_of_a_message_that_nobody_took(plain_post: Post) -> None:
    """And the context ends: see its fixture."""
    sender = plain_post.sender()
    sender.sends(1)
    sender.says(wire.encode_message(replace(sender.message(), linktype=1)))
    assert plain_post.batch().linktype == RAW
