"""The link's two edges over real sockets: peers that vanish, and peers that lie."""

import contextlib
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest
import zmq

from pcap_zmq.clock import SystemClock
from pcap_zmq.connections import MALFORMED_MAX, Connections
from pcap_zmq.counters import ReceiverCounters, SenderCounters
from pcap_zmq.errors import ConfigError, TransportError
from pcap_zmq.formats import wire
from pcap_zmq.formats.link import PATIENCE_NS
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.sender_link import SenderLink, State
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import EncodedBatch, Instant
from pcap_zmq.poll import Poller, Watch
from pcap_zmq.sinks.link import LinkSink
from pcap_zmq.sources.door import Door
from pcap_zmq.sources.link import LinkSource
from testbed.waiting import wait_until
from tests.conftest import SocketFactory
from tests.pipes import packets

PATIENCE_S = 20.0
TURN_NS = 20_000_000
QUEUE_BYTES = 1 << 20


def batch_of(numbers: range) -> EncodedBatch:
    """A batch of numbered packets as the wire carries it."""
    records = packets.records(numbers, 100)
    return EncodedBatch(RAW, len(numbers), 0, len(records), records)


def open_door(
    context: "zmq.Context[zmq.Socket[bytes]]", counters: ReceiverCounters
) -> Door:
    """A door without keys."""
    return Door(
        context,
        own=None,
        allowed=None,
        connections=Connections(100, QUEUE_BYTES),
        hangup=lambda: False,
        counters=counters,
    )


class Bench:
    """Any number of edges and one loop, on the machine's clock."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self._context = context
        self._clock = SystemClock()
        self._poller = Poller()
        self._run = 0
        self.sinks: list[LinkSink] = []
        self.sources: list[LinkSource] = []
        self.links: dict[LinkSink, SenderLink] = {}
        self.sent: dict[LinkSink, SenderCounters] = {}
        self.received: dict[LinkSource, ReceiverCounters] = {}
        self.got: list[EncodedBatch] = []
        self.settles = True

    @property
    def now(self) -> Instant:
        return self._clock.now()

    def sink(
        self,
        endpoint: str,
        *,
        bind: bool = False,
        queue_bytes: int = QUEUE_BYTES,
        connections: Connections | None = None,
    ) -> LinkSink:
        """A sender of its own."""
        self._run += 1
        counters = SenderCounters()
        stream = StreamId(bytes([self._run]) * 16, self._run)
        link = SenderLink(
            stream,
            f"s{self._run}",
            RAW,
            queue_bytes,
            counters,
            lambda: wire.encode_totals(counters, link.held_packets),
        )
        sink = LinkSink(
            self._context,
            endpoint,
            bind=bind,
            link=link,
            counters=counters,
            connections=connections,
        )
        self.sinks.append(sink)
        self.links[sink] = link
        self.sent[sink] = counters
        return sink

    def source(
        self, address: str, *, connect: bool = False, once: bool = False
    ) -> LinkSource:
        """A receiver."""
        counters = ReceiverCounters()
        link = ReceiverLink(self.now.wall_ns, QUEUE_BYTES, counters)
        source = LinkSource(
            self._context,
            address,
            connect=connect,
            once=once,
            link=link,
            answer=lambda question, identity: b"{}",
            door=open_door(self._context, counters),
            counters=counters,
        )
        self.sources.append(source)
        self.received[source] = counters
        return source

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Turns the loop until the condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            self._turn()

    def turns_for(self, seconds: float) -> None:
        """Turns the loop for so long."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "the time to pass")

    def numbers(self) -> list[int]:
        """Of the packets that came, in order."""
        records = b"".join(bytes(batch.payload) for batch in self.got)
        return packets.numbers(packets.header() + records)

    def drop(self, edge: LinkSink | LinkSource) -> None:
        """Closes one, as its process would at its end."""
        edge.close()
        if isinstance(edge, LinkSink):
            self.sinks.remove(edge)
        else:
            self.sources.remove(edge)

    @contextlib.contextmanager
    def standing_still(self, sink: LinkSink) -> Iterator[None]:
        """The sender gets no turn, as when its machine is busy with something else."""
        self.sinks.remove(sink)
        try:
            yield
        finally:
            self.sinks.append(sink)

    def close(self) -> None:
        for sink in self.sinks:
            sink.close()
        for source in self.sources:
            source.close()

    def _turn(self) -> None:
        now = self.now
        watches: list[Watch] = []
        dues = [now.mono_ns + TURN_NS]
        for sink in self.sinks:
            sink.serve(now)
        for source in self.sources:
            source.serve(now)
            while (batch := source.read(now)) is not None:
                if not batch.count:
                    continue  # it only announces a link type
                self.got.append(batch)
                if self.settles:
                    source.settle(batch.receipt, now)
            source.serve(now)
        edges: list[LinkSink | LinkSource] = [*self.sinks, *self.sources]
        for edge in edges:
            watches += edge.watch(wanted=True)
            due = edge.due()
            if due is not None:
                dues.append(due)
        self._poller.wait(watches, max(0, min(dues) - self.now.mono_ns))


@pytest.fixture
def bench(context: "zmq.Context[zmq.Socket[bytes]]") -> Iterator[Bench]:
    bench = Bench(context)
    yield bench
    bench.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/link"


@pytest.fixture(params=["ipc", "tcp"])
def any_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"ipc": f"ipc://{tmp_path}/link", "tcp": "tcp://127.0.0.1:*"}[request.param]


def count_said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


def test_batches_arrive_in_order_and_are_acknowledged(
    bench: Bench, any_address: str
) -> None:
    source = bench.source(any_address)
    sink = bench.sink(source.address)
    for first in range(0, 100, 10):
        assert sink.offer(batch_of(range(first, first + 10)), bench.now)
    bench.until(lambda: not sink.held_packets, "acknowledgements")
    assert bench.numbers() == list(range(100))
    assert bench.sent[sink].acknowledged == 100
    assert bench.received[source].received == 100


def test_what_is_not_settled_is_not_acknowledged(bench: Bench, address: str) -> None:
    bench.settles = False
    bench.source(address)
    sink = bench.sink(address)
    assert sink.offer(batch_of(range(10)), bench.now)
    bench.until(lambda: bench.got, "the batch")
    bench.turns_for(0.1)
    assert sink.held_packets == 10


def test_a_full_queue_says_not_now(bench: Bench, address: str) -> None:
    batch = batch_of(range(100))
    sink = bench.sink(address, queue_bytes=2 * wire.cost_of(len(batch.payload)))
    assert sink.offer(batch, bench.now)
    assert sink.offer(batch, bench.now)
    assert not sink.offer(batch, bench.now)


def test_a_sender_that_binds_serves_a_receiver_that_connects(
    bench: Bench, any_address: str
) -> None:
    sink = bench.sink(any_address, bind=True)
    bench.source(sink.endpoint, connect=True)
    assert sink.offer(batch_of(range(10)), bench.now)
    bench.until(lambda: not sink.held_packets, "acknowledgements")
    assert bench.numbers() == list(range(10))


def test_a_port_scan_does_not_take_a_bound_sender_from_its_receiver(
    bench: Bench,
) -> None:
    """Its connection ends as one that had shaken hands does."""
    sink = bench.sink("tcp://127.0.0.1:0", bind=True)
    bench.source(sink.endpoint, connect=True)
    bench.until(lambda: bench.links[sink].state is State.UP, "the link")
    port = urlsplit(sink.endpoint).port
    for number in range(3):
        socket.create_connection(("127.0.0.1", port or 0)).close()
        bench.turns_for(0.2)
        assert sink.offer(batch_of(range(number, number + 1)), bench.now)
        bench.until(lambda: not sink.held_packets, "acknowledgements")
    assert bench.numbers() == [0, 1, 2]


def test_a_flood_of_connections_drives_out_itself_and_not_the_receiver(
    bench: Bench,
) -> None:
    connections = Connections(16, 0)
    sink = bench.sink("tcp://127.0.0.1:0", bind=True, connections=connections)
    bench.source(sink.endpoint, connect=True)
    assert sink.offer(batch_of(range(10)), bench.now)
    bench.until(lambda: not sink.held_packets, "acknowledgements")
    with contextlib.ExitStack() as opened:
        port = urlsplit(sink.endpoint).port or 0
        flood = []
        for _ in range(40):
            stranger = socket.create_connection(("127.0.0.1", port))
            flood.append(opened.enter_context(stranger))
        bench.until(lambda: sum(map(_has_ended, flood)) == 40 - 8, "the cut")
        bench.until(lambda: len(connections) <= 1 + 8, "the end of the others")
        assert sink.offer(batch_of(range(10, 20)), bench.now)
        bench.until(lambda: not sink.held_packets, "acknowledgements")
    bench.until(lambda: len(connections) == 1, "the strangers to have gone")
    assert bench.sent[sink].reconnects == 0
    assert bench.numbers() == list(range(20))


def _has_ended(stranger: socket.socket) -> bool:
    """The other side has closed it; what it said before is passed over."""
    stranger.setblocking(False)
    try:
        while stranger.recv(1 << 12):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


def test_a_turn_takes_so_many_events_and_the_next_follows_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcap_zmq.sinks.link.EVENTS_A_TURN", 3)
    connections = Connections(100, 0)
    sink = bench.sink("tcp://127.0.0.1:0", bind=True, connections=connections)
    port = urlsplit(sink.endpoint).port or 0
    with contextlib.ExitStack() as opened, bench.standing_still(sink):
        for _ in range(10):
            stranger = socket.create_connection(("127.0.0.1", port))
            opened.enter_context(stranger)
            # ZeroMQ speaks first, and after it has told of the connection.
            assert stranger.recv(1)
        for counted in (3, 6, 9, 10):
            # Not a moment: what came is still there to be seen.
            Poller().wait(sink.watch(wanted=False), int(PATIENCE_S * 1e9))
            sink.serve(bench.now)
            assert len(connections) == counted


def test_a_free_port_that_was_asked_for_is_told(bench: Bench) -> None:
    source = bench.source("tcp://127.0.0.1:0")
    assert (urlsplit(source.address).port or 0) > 0


def test_a_receiver_that_comes_back_gets_what_was_not_acknowledged(
    bench: Bench, address: str
) -> None:
    bench.settles = False
    first = bench.source(address)
    sink = bench.sink(address)
    for number in range(10):
        # One after the other, so that they are not gathered.
        assert sink.offer(batch_of(range(number, number + 1)), bench.now)
        bench.until(lambda: number in bench.numbers(), "one batch more")  # noqa: B023
    for number in (0, 2, 1, 3, 5):
        # The sixth waits for the fifth.
        first.settle(bench.got[number].receipt, bench.now)
    bench.until(lambda: sink.held_packets == 6, "four acknowledgements")
    bench.drop(first)
    bench.got.clear()
    bench.settles = True
    bench.source(address)
    bench.until(lambda: not sink.held_packets, "acknowledgements")
    assert bench.numbers() == [4, 5, 6, 7, 8, 9]
    assert bench.sent[sink].reconnects == 1


def test_a_receiver_that_goes_and_comes_many_times_gets_everything(
    bench: Bench, any_address: str
) -> None:
    source = bench.source(any_address)
    endpoint = source.address
    sink = bench.sink(endpoint)
    for number in range(5):
        assert sink.offer(batch_of(range(number, number + 1)), bench.now)
        bench.until(lambda: not sink.held_packets, "an acknowledgement")
        bench.drop(source)
        state = bench.links[sink]
        bench.until(lambda link=state: link.state is State.DOWN, "the loss noticed")  # type: ignore[misc]
        source = bench.source(endpoint)
    assert sink.offer(batch_of(range(5, 6)), bench.now)
    bench.until(lambda: not sink.held_packets, "an acknowledgement")
    assert bench.numbers() == [0, 1, 2, 3, 4, 5]


def test_a_sender_that_listens_serves_the_next_receiver_too(
    bench: Bench, address: str
) -> None:
    sink = bench.sink(address, bind=True)
    first = bench.source(address, connect=True)
    assert sink.offer(batch_of(range(1)), bench.now)
    bench.until(lambda: not sink.held_packets, "an acknowledgement")
    bench.drop(first)
    bench.source(address, connect=True)
    assert sink.offer(batch_of(range(1, 2)), bench.now)
    bench.until(lambda: not sink.held_packets, "an acknowledgement")
    assert bench.numbers() == [0, 1]


def test_several_senders_are_told_apart(bench: Bench, address: str) -> None:
    bench.source(address)
    sinks = [bench.sink(address) for _ in range(5)]
    for number, sink in enumerate(sinks):
        assert sink.offer(batch_of(range(number, number + 1)), bench.now)
    bench.until(lambda: not any(s.held_packets for s in sinks), "acknowledgements")
    assert sorted(bench.numbers()) == [0, 1, 2, 3, 4]


def test_absence_is_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level(logging.INFO):
        sink = bench.sink(f"ipc://{tmp_path}/nobody")
        assert sink.offer(batch_of(range(10)), bench.now)
        bench.until(lambda: caplog.records, "a warning")
        bench.turns_for(1.5)
    assert count_said(caplog, "nothing answers") == 1
    assert len(caplog.records) == 1
    assert sink.held_packets == 10


def test_absence_is_told_again_after_a_presence(
    bench: Bench, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    with caplog.at_level(logging.INFO):
        sink = bench.sink(address)
        bench.until(lambda: count_said(caplog, "nothing answers"), "a warning")
        source = bench.source(address)
        bench.until(lambda: bench.links[sink].state is State.UP, "the link")
        bench.drop(source)
        bench.until(lambda: count_said(caplog, "is down"), "the loss noticed")
        bench.until(lambda: count_said(caplog, "nothing answers") == 2, "a warning")


def test_the_last_sender_to_say_goodbye_ends_a_source_that_runs_once(
    bench: Bench, address: str
) -> None:
    source = bench.source(address, once=True)
    first, second = bench.sink(address), bench.sink(address)
    bench.until(lambda: bench.links[second].state is State.UP, "the second link")
    bench.until(lambda: bench.links[first].state is State.UP, "the first link")
    first.finish(None)
    bench.until(first.is_finished, "the first farewell")
    assert not source.is_exhausted()
    second.finish(None)
    bench.until(second.is_finished, "the second farewell")
    bench.until(source.is_exhausted, "the end of the last connection")


def test_a_receiver_that_goes_before_its_farewell_is_heard_is_waited_for_in_vain(
    bench: Bench, any_address: str
) -> None:
    """The farewell may go with the connection. All is acknowledged, so a receiver that
    does not come back for some time is not waited for any longer."""
    source = bench.source(any_address, once=True)
    sink = bench.sink(source.address)
    bench.until(lambda: bench.links[sink].state is State.UP, "the link")
    sink.finish(None)
    sink.serve(bench.now)
    with bench.standing_still(sink):
        bench.until(source.is_exhausted, "the goodbye")
        bench.drop(source)
        news = list(sink.watch(wanted=False))[-1]
        wait_until(lambda: is_ready(news), PATIENCE_S, "the loss of the link")
    sink.serve(bench.now)
    later = Instant(bench.now.mono_ns + 2 * PATIENCE_NS, bench.now.wall_ns)
    sink.serve(later)
    assert sink.is_finished()


def is_ready(watch: Watch) -> bool:
    """Whether the loop would find it so, and then knows."""
    Poller().wait([watch], 0)
    return watch.is_ready


def garbage(random: Random) -> list[bytes]:
    """Frames that are no message of ours, some of them nearly."""
    good = wire.MAGIC + bytes([wire.VERSION]) + random.randbytes(wire.HEADER_LENGTH - 5)
    frames = random.choice(
        (
            [b""],
            [random.randbytes(random.randrange(1, 400))],
            [good[: random.randrange(len(good))]],
            [good + b"\0"],
            [good, b"", b""],
            [random.randbytes(20) for _ in range(random.randrange(1, 10))],
        )
    )
    return list(frames)


def test_frames_that_are_no_message_are_counted_and_others_go_on(
    bench: Bench, make_socket: SocketFactory, any_address: str
) -> None:
    source = bench.source(any_address)
    sink = bench.sink(source.address)
    # As many as it takes for none of them to be cut off.
    strangers = [make_socket(zmq.DEALER) for _ in range(10)]
    for stranger in strangers:
        stranger.connect(source.address)
    random = Random(1)  # noqa: S311
    for number in range(100):
        strangers[number % 10].send_multipart(garbage(random))
        assert sink.offer(batch_of(range(number, number + 1)), bench.now)
    counters = bench.received[source]
    bench.until(
        lambda: counters.malformed_messages + counters.unsupported_messages == 100,
        "a hundred to be counted",
    )
    bench.until(lambda: not sink.held_packets, "acknowledgements")
    assert bench.numbers() == list(range(100))
    assert counters.received == 100


def test_a_peer_that_talks_nonsense_is_complained_of_in_one_kind_of_words(
    bench: Bench,
    make_socket: SocketFactory,
    address: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = bench.source(address)
    stranger = make_socket(zmq.DEALER)
    stranger.connect(address)
    with caplog.at_level(logging.WARNING):
        for _ in range(MALFORMED_MAX):
            stranger.send(b"nonsense")
        bench.until(
            lambda: bench.received[source].malformed_messages == MALFORMED_MAX,
            "the nonsense",
        )
    assert len({record.msg for record in caplog.records}) == 1
    assert "no message of ours" in caplog.text


def test_a_message_of_another_version_is_counted_as_that(
    bench: Bench, make_socket: SocketFactory, address: str
) -> None:
    source = bench.source(address)
    stranger = make_socket(zmq.DEALER)
    stranger.connect(address)
    stranger.send(wire.MAGIC + bytes([wire.VERSION + 1]) + bytes(500))
    counters = bench.received[source]
    bench.until(lambda: counters.unsupported_messages == 1, "the count")
    assert counters.malformed_messages == 0


def test_a_batch_without_a_hello_is_counted_and_not_taken(
    bench: Bench, make_socket: SocketFactory, address: str
) -> None:
    source = bench.source(address)
    stranger = make_socket(zmq.DEALER)
    stranger.connect(address)
    batch = batch_of(range(3))
    message = wire.Message(
        type=wire.MessageType.BATCH,
        stream=StreamId(b"x" * 16, 1),
        sequence=1,
        window=0,
        linktype=RAW,
        count=batch.count,
        codec=0,
        raw_length=batch.raw_length,
        totals=wire.NO_TOTALS,
        payload=batch.payload,
    )
    frames = [bytes(frame) for frame in wire.encode_message(message)]
    stranger.send_multipart(frames)
    bench.until(lambda: bench.received[source].uncalled_messages == 1, "the count")
    assert bench.got == []


def test_a_message_that_is_too_big_is_counted_and_skipped(
    bench: Bench, make_socket: SocketFactory, address: str
) -> None:
    source = bench.source(address)
    sink = bench.sink(address)
    stranger = make_socket(zmq.DEALER)
    stranger.connect(address)
    stranger.send(bytes(wire.MESSAGE_MAX + 1))
    assert sink.offer(batch_of(range(10)), bench.now)
    bench.until(lambda: bench.received[source].malformed_messages == 1, "the count")
    bench.until(lambda: not sink.held_packets, "acknowledgements")
    assert bench.numbers() == list(range(10))


def test_a_message_far_beyond_the_largest_costs_its_peer_the_connection(
    bench: Bench, make_socket: SocketFactory, address: str
) -> None:
    source = bench.source(address)
    sink = bench.sink(address)
    stranger = make_socket(zmq.DEALER)
    stranger.setsockopt(zmq.RECONNECT_IVL, -1)
    monitor = stranger.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    try:
        stranger.connect(address)
        stranger.send(bytes(wire.CUT_OFF + 1))
        assert sink.offer(batch_of(range(10)), bench.now)
        bench.until(lambda: monitor.poll(0), "the disconnection")
        bench.until(lambda: not sink.held_packets, "acknowledgements")
    finally:
        stranger.disable_monitor()
        monitor.close()
    assert bench.numbers() == list(range(10))
    assert bench.received[source].received == 10


CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(200))

STRANGERS = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": CLIENT_HELLO,
    "a greeting and nonsense": b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(300),
    "noise": Random(2).randbytes(100_000),  # noqa: S311
    "nothing": b"",
}


@pytest.mark.parametrize("name", STRANGERS)
def test_who_speaks_no_zeromq_disturbs_nobody(bench: Bench, name: str) -> None:
    source = bench.source("tcp://127.0.0.1:*")
    sink = bench.sink(source.address)
    port = urlsplit(source.address).port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
        with contextlib.suppress(ConnectionError):
            stranger.sendall(STRANGERS[name])
        assert sink.offer(batch_of(range(10)), bench.now)
        bench.until(lambda: not sink.held_packets, "acknowledgements")
    # Some of it passes for ZMTP 1.0, and is counted as malformed then.
    assert bench.numbers() == list(range(10))
    assert bench.received[source].received == 10


@contextlib.contextmanager
def server(reply: bytes) -> Iterator[str]:
    """What answers every connection with the same octets; its endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended, end = os.pipe()

        def serve() -> None:
            accepted: list[socket.socket] = []
            while True:
                watched: list[socket.socket | int] = [listener, ended]
                if ended in select.select(watched, [], [])[0]:
                    break
                accepted.append(listener.accept()[0])
                with contextlib.suppress(ConnectionError):
                    accepted[-1].sendall(reply)
                    accepted[-1].shutdown(socket.SHUT_WR)
            for connection in accepted:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            os.write(end, b"\0")
            thread.join()
            os.close(ended)
            os.close(end)


def test_an_endpoint_that_speaks_no_zeromq_is_named_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), server(b"HTTP/1.1 400 Bad\r\n\r\n") as url:
        bench.sink(url)
        bench.until(lambda: count_said(caplog, "speaks no ZeroMQ"), "a warning")
        bench.turns_for(1)
    assert count_said(caplog, "speaks no ZeroMQ") == 1


def test_a_socket_of_another_kind_takes_nothing(
    bench: Bench, make_socket: SocketFactory, address: str
) -> None:
    """A publisher at the receiver's address is no receiver."""
    make_socket(zmq.PUB).bind(address)
    sink = bench.sink(address)
    assert sink.offer(batch_of(range(10)), bench.now)
    bench.turns_for(0.5)
    assert sink.held_packets == 10


def test_replies_that_are_none_are_passed_over_and_told_once(
    bench: Bench,
    make_socket: SocketFactory,
    address: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A peer that answers each message with nonsense fills no log."""
    stranger = make_socket(zmq.ROUTER)
    stranger.bind(address)
    with caplog.at_level(logging.WARNING):
        sink = bench.sink(address)
        assert sink.offer(batch_of(range(10)), bench.now)
        bench.until(lambda: stranger.poll(0), "the hello")
        peer = stranger.recv_multipart()[0]
        random = Random(3)  # noqa: S311
        for _ in range(50):
            stranger.send_multipart([peer, *garbage(random)])
        # This one is a reply, and it comes after all the others.
        welcome = wire.Reply(
            type=wire.ReplyType.WELCOME,
            stream=StreamId(b"\x01" * 16, 1),
            written=0,
            next=1,
            window=1 << 20,
            receiver_started_ns=1,
        )
        stranger.send_multipart([peer, wire.encode_reply(welcome)])
        bench.until(lambda: bench.links[sink].state is State.UP, "the welcome")
    assert sink.held_packets == 10
    assert count_said(caplog, "no receiver would") == 1


def test_a_reset_connection_loses_nothing(bench: Bench) -> None:
    """The peer's kernel answers with RST, as a firewall may."""
    source = bench.source("tcp://127.0.0.1:*")
    port = urlsplit(source.address).port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sink = bench.sink(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        assert sink.offer(batch_of(range(10)), bench.now)
        bench.until(lambda: _is_readable(listener), "a connection")
        connection = listener.accept()[0]
        lingers_not = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingers_not)
        connection.close()
        bench.until(lambda: _is_readable(listener), "another connection")
        with (
            listener.accept()[0] as downstream,
            socket.create_connection(("127.0.0.1", port)) as upstream,
        ):

            def relay() -> bool:
                _relay(downstream, upstream)
                return not sink.held_packets

            bench.until(relay, "acknowledgements")
    assert bench.numbers() == list(range(10))


def _is_readable(thing: socket.socket) -> bool:
    return bool(select.select([thing], [], [], 0)[0])


def _relay(one: socket.socket, other: socket.socket) -> None:
    for here, there in ((one, other), (other, one)):
        if _is_readable(here):
            there.sendall(here.recv(1 << 16))


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "nonsense",
        "tcp:",
        "tcp://",
        "tcp://host",
        "tcp://host:99999",
        "tcp://host:port",
        "tcp://:5140",
        "udp://127.0.0.1:5140",
        "ipc://",
        "http://127.0.0.1:80",
        pytest.param(
            "tcp://[::1:5140",
        ),
    ],
)
def test_what_is_no_endpoint_is_a_usage_error(bench: Bench, endpoint: str) -> None:
    with pytest.raises(ConfigError):
        bench.sink(endpoint)


def test_an_address_that_is_taken_is_named(bench: Bench) -> None:
    source = bench.source("tcp://127.0.0.1:*")
    with pytest.raises(TransportError, match="another process listens there"):
        bench.source(source.address)


def test_an_address_of_another_host_is_named(bench: Bench) -> None:
    with pytest.raises(TransportError, match="this host has no such"):
        bench.source("tcp://192.0.2.1:5140")


def test_a_path_too_long_is_a_transport_error(bench: Bench) -> None:
    with pytest.raises(TransportError, match="cannot listen on"):
        bench.source("ipc:///" + "x" * 200)


def test_closing_twice_is_harmless(bench: Bench, address: str) -> None:
    source = bench.source(address)
    sink = bench.sink(address)
    for edge in (source, sink):
        edge.close()
        edge.close()
