"""Who gets in by which key and who does not, over real ZeroMQ sockets in one loop."""

import contextlib
import itertools
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from pcap_zmq import sockets
from pcap_zmq.allowed import AllowList
from pcap_zmq.clock import SystemClock
from pcap_zmq.connections import MALFORMED_MAX, Connections
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats import inquiry, wire
from pcap_zmq.formats.certificate import Certificate, Role
from pcap_zmq.formats.inquiry import Kind, Question
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.stream import Identity
from pcap_zmq.formats.wire import Message, MessageType, Reply, ReplyType, StreamId
from pcap_zmq.keys import make_pair, read_own
from pcap_zmq.packet import EncodedBatch
from pcap_zmq.poll import Poller, Watch
from pcap_zmq.sources.door import Door
from pcap_zmq.sources.link import LinkSource
from testbed.waiting import wait_until
from tests.conftest import SocketFactory

PATIENCE_S = 20.0
TURN_NS = 5_000_000
QUEUE_BYTES = 1 << 20
ANYWHERE = "tcp://127.0.0.1:*"
SENDER = b"s" * 16


class Keys:
    """A receiver's key, and an --allow directory with those of others in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.allow = directory / "allow"
        self.allow.mkdir(0o755)
        self.receiver = self.make("receiver")

    def make(self, name: str, role: Role = Role.SENDER) -> Certificate:
        return read_own(make_pair(self._directory, name, role)[1])

    def admit(self, name: str, role: Role = Role.SENDER) -> Certificate:
        """A new key, in the list."""
        own = self.make(name, role)
        public = self._directory / f"{name}.key"
        (self.allow / f"{name}.key").write_bytes(public.read_bytes())
        return own

    def dismiss(self, name: str) -> None:
        (self.allow / f"{name}.key").unlink()


class Post:
    """A receiver's link and its door, in a loop of their own, and clients beside it."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        make_socket: SocketFactory,
        keys: Keys | None,
    ) -> None:
        self._context = context
        self._make_socket = make_socket
        self.keys = keys
        self._clock = SystemClock()
        self.counters = ReceiverCounters()
        self.is_hung_up = False
        self.asked: list[Identity] = []
        self.got: list[EncodedBatch] = []
        self.connections = Connections(100, QUEUE_BYTES)
        self.door = Door(
            context,
            own=keys.receiver if keys else None,
            allowed=AllowList(keys.allow) if keys else None,
            connections=self.connections,
            hangup=self._take_hangup,
            counters=self.counters,
        )
        self._sources: list[LinkSource] = []

    def listen(self, address: str = ANYWHERE, *, connect: bool = False) -> str:
        """Opens the link; its address."""
        link = ReceiverLink(1, QUEUE_BYTES, self.counters)
        source = LinkSource(
            self._context,
            address,
            connect=connect,
            once=False,
            link=link,
            answer=self._answer,
            door=self.door,
            counters=self.counters,
        )
        self._sources.append(source)
        return source.address

    def dealer(
        self, own: Certificate | None = None, server: str = ""
    ) -> "zmq.Socket[bytes]":
        """A client with a key, or without one, that is connected nowhere yet."""
        dealer = self._make_socket(zmq.DEALER)
        sockets.prepare(dealer)
        if own is not None:
            assert self.keys is not None
            sockets.secure_client(dealer, own, server or self.keys.receiver.public)
        return dealer

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Turns the loop until the condition holds."""

        def holds() -> object:
            self._turn()
            return condition()

        wait_until(holds, PATIENCE_S, what)

    def join(self, dealer: "zmq.Socket[bytes]", address: str) -> None:
        """Connects, and is let in."""
        dealer.connect(address)
        self.until(lambda: dealer.poll(0, zmq.POLLOUT), "a connection")

    def greet(
        self, dealer: "zmq.Socket[bytes]", name: str = "me", sender: bytes = SENDER
    ) -> None:
        """Says hello, and is welcome."""
        hello(dealer, name, sender)
        self.until(lambda: is_welcomed(dealer), "a welcome")

    def lines(self) -> list[tuple[str, str]]:
        """Names and keys of the senders in the ledger."""
        (source,) = self._sources
        lines = source.lines({}, self._clock.now())
        return sorted((line.name, line.key) for line in lines)

    def has_mail(self) -> bool:
        """Whether a message is there that the link has not looked at."""
        ((watch,),) = (source.watch(wanted=True) for source in self._sources)
        assert isinstance(watch.pollable, zmq.Socket)
        return sockets.has_message(watch.pollable)

    def close(self) -> None:
        for source in self._sources:
            source.close()
        self.door.close()

    def _turn(self) -> None:
        now = self._clock.now()
        watches: list[Watch] = []
        for source in self._sources:
            source.serve(now)
            while (batch := source.read(now)) is not None:
                if batch.receipt is not None:
                    self.got.append(batch)
                    source.settle(batch.receipt, now)
            watches += source.watch(wanted=True)
        self.door.serve(now)
        Poller().wait([*watches, *self.door.watch()], TURN_NS)

    def _take_hangup(self) -> bool:
        was, self.is_hung_up = self.is_hung_up, False
        return was

    def _answer(self, question: Question, identity: Identity) -> bytes:
        self.asked.append(identity)
        return b"{}"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def post(
    context: "zmq.Context[zmq.Socket[bytes]]", make_socket: SocketFactory, keys: Keys
) -> Iterator[Post]:
    with contextlib.closing(Post(context, make_socket, keys)) as post:
        yield post


@pytest.fixture
def open_post(
    context: "zmq.Context[zmq.Socket[bytes]]", make_socket: SocketFactory
) -> Iterator[Post]:
    """Without keys."""
    with contextlib.closing(Post(context, make_socket, None)) as post:
        yield post


def hello(
    dealer: "zmq.Socket[bytes]", name: str = "me", sender: bytes = SENDER
) -> None:
    message = Message(
        MessageType.HELLO, StreamId(sender, 1), 1, linktype=RAW, payload=name.encode()
    )
    dealer.send_multipart(wire.encode_message(message))


def batch(dealer: "zmq.Socket[bytes]", sequence: int = 1) -> None:
    """Unless there is no connection."""
    stream = StreamId(SENDER, 1)
    message = Message(MessageType.BATCH, stream, sequence, linktype=RAW, count=1)
    with contextlib.suppress(zmq.Again):
        dealer.send_multipart(wire.encode_message(message), zmq.NOBLOCK)


def replies(dealer: "zmq.Socket[bytes]") -> list[Reply]:
    """All that have come."""
    found = []
    while sockets.has_message(dealer):
        found.append(wire.decode_reply(list(dealer.recv_multipart(zmq.NOBLOCK))))
    return found


def is_welcomed(dealer: "zmq.Socket[bytes]") -> bool:
    return any(reply.type is ReplyType.WELCOME for reply in replies(dealer))


class Monitor:
    """What happens to a client's connections."""

    def __init__(self, dealer: "zmq.Socket[bytes]") -> None:
        self._dealer = dealer
        self._socket = dealer.get_monitor_socket()
        self.events: list[tuple[int, int]] = []

    def has_seen(self, event: int) -> bool:
        while sockets.has_message(self._socket):
            found = recv_monitor_message(self._socket)
            self.events.append((int(found["event"]), int(found["value"])))
        return any(seen == event for seen, _ in self.events)

    def close(self) -> None:
        self._dealer.disable_monitor()
        self._socket.close(0)


Watching = Callable[["zmq.Socket[bytes]"], Monitor]


@pytest.fixture
def watch() -> Iterator[Watching]:
    """Watches clients."""
    with contextlib.ExitStack() as opened:
        yield lambda dealer: opened.enter_context(contextlib.closing(Monitor(dealer)))


# Who does not get in.


def test_a_key_that_is_not_allowed_is_refused(
    post: Post, keys: Keys, watch: Watching
) -> None:
    dealer = post.dealer(keys.make("stranger"))
    seen = watch(dealer)
    dealer.connect(post.listen())
    failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH
    post.until(lambda: seen.has_seen(failed), "a refusal")
    assert (int(failed), 400) in seen.events
    assert post.counters.refused_connections == 1


def test_who_has_no_key_is_refused(post: Post, watch: Watching) -> None:
    dealer = post.dealer()
    seen = watch(dealer)
    dealer.connect(post.listen())
    failed = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    post.until(lambda: seen.has_seen(failed), "a refusal")
    mismatch = zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
    assert (int(failed), int(mismatch)) in seen.events
    post.until(lambda: post.counters.failed_handshakes == 1, "a count")


def test_who_takes_us_for_another_gets_nowhere(
    post: Post, keys: Keys, watch: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    dealer = post.dealer(keys.admit("gw1"), server=keys.make("other").public)
    seen = watch(dealer)
    dealer.connect(post.listen())
    failed = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    post.until(lambda: seen.has_seen(failed), "a refusal")
    post.until(lambda: "another key for this receiver's" in caplog.text, "a warning")
    assert post.counters.refused_connections == 0


OLD_ZMTP = {
    "ZMTP 1.0": b"\x01\x00" + b"\x02\x00x",
    "ZMTP 2.0": b"\xff\0\0\0\0\0\0\0\x01\x7f"
    + b"\x01\x05"
    + b"\x00\x00"
    + b"\x00\x01x",
    "ZMTP 3.0, NULL": (
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL".ljust(32, b"\0")
        + bytes(32)
        + b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
        + b"\x00\x01x"
    ),
}


@pytest.mark.parametrize("name", OLD_ZMTP)
def test_nobody_gets_in_by_an_older_protocol(post: Post, name: str) -> None:
    port = int(post.listen().rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as stranger:
        stranger.sendall(OLD_ZMTP[name])
        stranger.setblocking(False)

        def is_over() -> bool:
            try:
                return stranger.recv(1 << 10) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        post.until(is_over, "the end of the connection")
    assert post.counters.malformed_messages == post.counters.uncalled_messages == 0


def test_nobody_gets_in_where_nobody_keeps_the_door(
    make_socket: SocketFactory, keys: Keys, watch: Watching
) -> None:
    """ZeroMQ itself would let in everybody whose handshake is right."""
    own = keys.admit("gw1")
    router, dealer = make_socket(zmq.ROUTER), make_socket(zmq.DEALER)
    sockets.secure_server(router, keys.receiver)
    sockets.secure_client(dealer, own, keys.receiver.public)
    seen = watch(dealer)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    dealer.connect(f"tcp://127.0.0.1:{port}")
    ended = zmq.EVENT_DISCONNECTED
    wait_until(lambda: seen.has_seen(ended), PATIENCE_S, "the end of the connection")
    assert not seen.has_seen(zmq.EVENT_HANDSHAKE_SUCCEEDED)


# Who gets in, and as whom.


@pytest.mark.parametrize("connect", [False, True], ids=["listening", "connecting"])
def test_the_name_is_the_one_of_the_key_whoever_listens(
    post: Post, keys: Keys, connect: bool
) -> None:
    own = keys.admit("gw1")
    post.door.serve(SystemClock().now())
    dealer = post.dealer(own)
    if connect:
        port = dealer.bind_to_random_port("tcp://127.0.0.1")
        post.listen(f"tcp://127.0.0.1:{port}", connect=True)
    else:
        dealer.connect(post.listen())
    post.until(lambda: dealer.poll(0, zmq.POLLOUT), "a connection")
    post.greet(dealer, name="somebody else")
    assert post.lines() == [("gw1", own.public)]


def test_nobody_can_take_over_a_stream_by_its_ids(post: Post, keys: Keys) -> None:
    mine, yours = keys.admit("gw1"), keys.admit("gw2")
    address = post.listen()
    good, bad = post.dealer(mine), post.dealer(yours)
    for dealer in (good, bad):
        post.join(dealer, address)
        post.greet(dealer, name="gw1")
    batch(bad, 1)
    batch(good, 1)
    post.until(lambda: len(post.got) == 2, "both batches")
    assert post.lines() == sorted([("gw1", mine.public), ("gw2", yours.public)])
    assert post.counters.repeated == 0


def test_nobody_can_go_on_on_the_connection_of_another(post: Post, keys: Keys) -> None:
    """By its routing id, which the other side may choose: libzmq refuses none."""
    mine, yours = keys.admit("gw1"), keys.admit("gw2")
    address = post.listen()
    good, bad = post.dealer(mine), post.dealer(yours)
    for dealer in (good, bad):
        dealer.setsockopt(zmq.ROUTING_ID, b"the same")
    post.join(good, address)
    post.greet(good)
    good.close(0)
    # Only then is its name free.
    post.until(lambda: not len(post.connections), "the end of the first")
    bad.connect(address)

    def is_turned_away() -> bool:
        batch(bad)
        return post.counters.uncalled_messages > 0

    post.until(is_turned_away, "a batch to be passed over")
    assert post.got == []


def test_an_operator_may_ask_and_send_nothing(post: Post, keys: Keys) -> None:
    own = keys.admit("boss", Role.OPERATOR)
    dealer = post.dealer(own)
    post.join(dealer, post.listen())
    hello(dealer)
    post.until(lambda: post.counters.uncalled_messages == 1, "a refusal")
    dealer.send(inquiry.encode_question(Question(Kind.STATUS, 1)))
    post.until(lambda: sockets.has_message(dealer), "an answer")
    (asking,) = post.asked
    assert (asking.name, asking.is_operator, asking.address) == (
        "boss",
        True,
        "127.0.0.1",
    )
    assert post.lines() == []


# Who has to leave.


def test_a_key_that_is_removed_is_put_out_and_stays_out(
    post: Post, keys: Keys, watch: Watching
) -> None:
    good, bad = post.dealer(keys.admit("gw1")), post.dealer(keys.admit("gw2"))
    address = post.listen()
    seen = watch(bad)
    for dealer in (good, bad):
        post.join(dealer, address)
        post.greet(dealer)
    keys.dismiss("gw2")
    post.is_hung_up = True
    failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH
    post.until(lambda: seen.has_seen(failed), "a refusal after the end")
    assert post.counters.refused_connections == 1
    post.greet(good)


def test_what_a_removed_key_still_has_under_way_counts_for_nothing(
    post: Post, keys: Keys
) -> None:
    dealer = post.dealer(keys.admit("gw1"))
    post.join(dealer, post.listen())
    post.greet(dealer)
    keys.dismiss("gw1")
    clock = SystemClock()
    post.is_hung_up = True
    # Before the link looks for messages, as it does in every turn.
    for sequence in range(1, 20):
        batch(dealer, sequence)
    post.door.serve(clock.now())
    ended = itertools.count()
    post.until(lambda: next(ended) > 20, "some turns")
    assert post.got == []


def test_who_was_known_a_moment_ago_is_asked_again_when_the_list_has_changed(
    post: Post, keys: Keys
) -> None:
    """Once it has sent a batch, others are taken without a look at the list."""
    dealer, other = post.dealer(keys.admit("gw1")), post.dealer(keys.admit("gw2"))
    address = post.listen()
    for peer, sender in ((dealer, SENDER), (other, b"o" * 16)):
        post.join(peer, address)
        post.greet(peer, sender=sender)
    for sequence in (1, 2):
        batch(dealer, sequence)
        post.until(lambda: len(post.got) == sequence, "a batch")  # noqa: B023
    for sequence in range(3, 30):
        batch(dealer, sequence)
    wait_until(post.has_mail, PATIENCE_S, "messages that nobody has looked at")
    keys.dismiss("gw1")
    post.is_hung_up = True
    post.door.serve(SystemClock().now())
    ended = itertools.count()
    post.until(lambda: next(ended) > 20, "some turns")
    assert len(post.got) == 2
    post.greet(other, sender=b"o" * 16)


def test_a_new_name_for_a_key_is_the_name_from_then_on(post: Post, keys: Keys) -> None:
    own = keys.admit("gw1")
    dealer = post.dealer(own)
    post.join(dealer, post.listen())
    file = keys.allow / "gw1.key"
    file.write_text(file.read_text().replace('"gw1"', '"cellar"'))
    post.is_hung_up = True
    post.until(lambda: not post.is_hung_up, "the list to be read")
    post.greet(dealer)
    assert post.lines() == [("cellar", own.public)]


def test_who_keeps_sending_nonsense_is_cut_off(
    post: Post, keys: Keys, watch: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    dealer = post.dealer(keys.admit("gw1"))
    seen = watch(dealer)
    post.join(dealer, post.listen())
    for _ in range(MALFORMED_MAX):
        dealer.send(b"nonsense")
    post.until(
        lambda: post.counters.malformed_messages == MALFORMED_MAX, "all to be counted"
    )
    assert post.counters.cut_off == 0
    dealer.send(b"nonsense")
    post.until(lambda: seen.has_seen(zmq.EVENT_DISCONNECTED), "the end of it")
    assert post.counters.cut_off == 1
    assert "cut off gw1 (127.0.0.1): no pcap-zmq message" in caplog.text


def test_a_message_that_does_not_end_is_cut_off(
    open_post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """ZeroMQ would go on gathering it until there is no memory left."""
    port = int(open_post.listen().rpartition(":")[2])
    greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL".ljust(32, b"\0") + bytes(32)
    ready = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
    more = b"\x03" + struct.pack(">Q", 1 << 20) + bytes(1 << 20)
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as hostile:
        hostile.setblocking(False)
        rest = greeting + ready
        sent = 0

        def is_over() -> bool:
            nonlocal rest, sent
            try:
                for _ in range(8):
                    taken = hostile.send(rest)
                    sent += taken
                    rest = rest[taken:] or more
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        open_post.until(is_over, "the end of the connection")
    if "a message that does not end" not in caplog.text:
        # On a machine that is too slow to send so much in time it is hung up on
        # because it says nothing whole.
        assert open_post.counters.cut_off == 0
        return
    assert open_post.counters.cut_off == 1
    # A quarter of a second's worth beyond the bound, on this loopback.
    assert sent > wire.CUT_OFF


def test_without_keys_people_are_known_by_their_address(open_post: Post) -> None:
    dealer = open_post.dealer()
    open_post.join(dealer, open_post.listen())
    open_post.greet(dealer, name="gw1")
    assert open_post.lines() == [("gw1", "")]


def test_no_secret_is_logged(
    post: Post, keys: Keys, watch: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    own, stranger = keys.admit("gw1"), keys.make("stranger")
    address = post.listen()
    good, bad = post.dealer(own), post.dealer(stranger)
    seen = watch(bad)
    bad.connect(address)
    post.join(good, address)
    failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH
    post.until(lambda: seen.has_seen(failed), "a refusal")
    secrets = [
        key.secret.reveal() for key in (own, stranger, keys.receiver) if key.secret
    ]
    assert len(secrets) == 3
    assert not any(secret in caplog.text for secret in secrets)


def test_where_the_numbers_of_connections_begin_cannot_be_foretold() -> None:
    """libzmq 4.3 ends the process for a peer that says to have the next one's."""
    first = set()
    for _ in range(2):
        with sockets.new_context() as fresh, fresh.socket(zmq.ROUTER) as router:
            port = router.bind_to_random_port("tcp://127.0.0.1")
            with fresh.socket(zmq.DEALER) as dealer:
                dealer.connect(f"tcp://127.0.0.1:{port}")
                dealer.send(b"")
                first.add(router.recv_multipart()[0])
    assert len(first) == 2
