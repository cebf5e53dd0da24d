"""The live stream: for readers that come, stall, talk and vanish, and for tshark."""

import contextlib
import os
import resource
import select
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError
from pcap_zmq.formats.file_format import FileFormat, Pcap
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.pcapng import Pcapng
from pcap_zmq.formats.pcapng_blocks import About
from pcap_zmq.packet import Batch
from pcap_zmq.sinks.broadcast import CLIENTS_MAX, SAID_MAX, BroadcastSink
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.sinks.turning import PATIENCE_S, Receipt, Turning, batch_of

QUEUE = 1 << 20
HEADER = packets.header()


class Client:
    """A reader that reads when it is told to."""

    def __init__(self, address: tuple[str, int], *, buffer: int | None = None) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(address)
        self.stream = b""
        self.is_over = False
        self.is_reset = False

    def read(self) -> bytes:
        """What is there now."""
        while not self.is_over and select.select([self.socket], [], [], 0)[0]:
            try:
                came = self.socket.recv(1 << 16)
            except ConnectionResetError:
                self.is_over = self.is_reset = True
                break
            self.is_over = not came
            self.stream += came
        return self.stream

    def numbers(self) -> list[int]:
        return packets.numbers(self.read())

    def close(self) -> None:
        self.socket.close()


class Bench(Turning):
    """A live stream and its clients."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        linktype: int | None = RAW,
        port: int = 0,
        file_format: FileFormat | None = None,
    ) -> None:
        self.counters = ReceiverCounters()
        self.live = BroadcastSink(
            host,
            port,
            linktype=linktype,
            file_format=file_format or Pcap(),
            queue=QUEUE,
            insecure=False,
            counters=self.counters,
        )
        super().__init__(self.live)
        self.clients: list[Client] = []

    def connect(self, *, buffer: int | None = None) -> Client:
        """One that the sink knows of."""
        already = self.counters.readers
        client = Client(self.live.addresses[0], buffer=buffer)
        self.clients.append(client)
        self.until(lambda: self.counters.readers > already, "a client")
        return client

    def close(self) -> None:
        self.live.close()
        for client in self.clients:
            client.close()

    def until_got(self, client: Client, last: int) -> None:
        self.until(
            lambda: client.numbers() and client.numbers()[-1] == last, f"packet {last}"
        )


Make = Callable[..., Bench]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Bench] = []

    def new(*arguments: Any, **options: Any) -> Bench:
        made.append(Bench(*arguments, **options))
        return made[-1]

    yield new
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make: Make) -> Bench:
    return make()


def large(at: int) -> Batch:
    """A batch of some 200 KB."""
    return batch_of(range(at, at + 1_000), receipt=Receipt())


def test_other_hosts_are_not_let_in_unasked() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "gateway.example"):  # noqa: S104
        with pytest.raises(ConfigError, match="neither keys nor encryption") as error:
            Bench(host)
        assert "\n" not in str(error.value)


def test_a_port_that_is_taken_is_one_line(bench: Bench) -> None:
    port = bench.live.addresses[0][1]
    with pytest.raises(OutputError, match="another process listens there"):
        Bench(port=port)


def test_a_host_that_there_is_not_is_one_line() -> None:
    counters = ReceiverCounters()
    with pytest.raises(OutputError, match=r"no address of a host"):
        BroadcastSink(
            "nowhere.invalid",
            0,
            linktype=None,
            file_format=Pcap(),
            queue=QUEUE,
            insecure=True,
            counters=counters,
        )


def test_a_stream_that_nobody_reads_is_dropped(bench: Bench) -> None:
    receipt = Receipt()
    assert bench.offer(batch_of(range(7), receipt=receipt))
    assert bench.arrived == [receipt]
    assert (receipt.written, receipt.dropped) == (0, 7)
    assert bench.counters.dropped == {Reason.NO_READER: 7}


def test_a_client_gets_a_header_and_what_comes_from_then_on(bench: Bench) -> None:
    bench.give([batch_of(range(5))])
    client = bench.connect()
    bench.until(lambda: client.read() == HEADER, "the header alone")
    bench.give([batch_of(range(5, 9)), batch_of(range(9, 12))])
    bench.until_got(client, 11)
    assert client.numbers() == list(range(5, 12))
    assert bench.counters.written == 7
    assert bench.counters.dropped == {Reason.NO_READER: 5}


def test_the_header_waits_for_the_link_type(make: Make) -> None:
    bench = make(linktype=None)
    client = bench.connect()
    bench.give([batch_of(range(0))])
    assert client.read() == b""
    bench.give([batch_of(range(4))])
    bench.until_got(client, 3)
    assert client.numbers() == [0, 1, 2, 3]


def test_each_client_begins_with_a_header_of_its_own(bench: Bench) -> None:
    first = bench.connect()
    bench.give([batch_of(range(3))])
    second = bench.connect()
    bench.give([batch_of(range(3, 6))])
    bench.until_got(first, 5)
    bench.until_got(second, 5)
    assert first.numbers() == list(range(6))
    assert second.numbers() == list(range(3, 6))


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_it_listens_on_ipv6(make: Make, host: str) -> None:
    bench = make(host)
    assert len({port for _, port in bench.live.addresses}) == 1
    for address in bench.live.addresses:
        client = Client(address)
        bench.clients.append(client)
        bench.until(lambda: bench.live.clients == len(bench.clients), "a client")
    bench.give([batch_of(range(3))])
    for client in bench.clients:
        bench.until_got(client, 2)


def test_a_stalled_client_is_cut_off_and_holds_up_nobody(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    stalled = bench.connect(buffer=4096)
    reading = bench.connect()
    given: list[Batch] = []
    at = 0
    while not bench.counters.cut_readers:
        given.append(large(at))
        at += 1_000
        assert bench.offer(given[-1])
        bench.until_got(reading, at - 1)
    assert reading.numbers() == list(range(at))
    assert bench.arrived == [batch.receipt for batch in given]
    assert bench.counters.written == at
    assert not bench.counters.dropped
    assert "is too slow" in caplog.text
    assert bench.live.clients == 1
    stalled.read()
    assert stalled.is_reset
    got = stalled.numbers()
    assert got == list(range(len(got)))


def test_what_only_a_stalled_client_had_to_come_is_dropped_with_it(
    bench: Bench,
) -> None:
    """Each packet is counted once, and what it had got was written."""
    bench.connect(buffer=4096)
    given: list[Batch] = []
    while not bench.counters.cut_readers:
        given.append(large(len(given) * 1_000))
        assert bench.offer(given[-1])
    assert list(bench.live.held) == []
    assert sorted(map(id, bench.arrived)) == sorted(id(b.receipt) for b in given)
    total = 1_000 * len(given)
    dropped = bench.counters.dropped[Reason.NO_READER]
    assert dropped > 0
    assert bench.counters.written + dropped == total
    assert all(b.receipt.written + b.receipt.dropped == 1_000 for b in given)


def test_what_no_client_has_got_whole_is_held(bench: Bench) -> None:
    bench.connect(buffer=4096)
    given: list[Batch] = []
    while not bench.live.held:
        given.append(large(len(given) * 1_000))
        assert bench.offer(given[-1])
    held = sum(item.count for item in bench.live.held)
    assert held + bench.counters.written == 1_000 * len(given)
    # A client that stands still holds up no sender.
    assert len(bench.arrived) == len(given)


def test_a_client_that_leaves_is_forgotten(bench: Bench) -> None:
    client = bench.connect()
    client.close()
    at = 0

    def is_gone() -> bool:
        nonlocal at
        bench.offer(batch_of(range(at, at + 1)))
        at += 1
        return bench.live.clients == 0

    bench.until(is_gone, "it to be forgotten")


def test_a_client_that_has_nothing_more_to_say_may_go_on_listening(
    bench: Bench,
) -> None:
    """As nc does whose own input has ended."""
    client = bench.connect()
    client.socket.shutdown(socket.SHUT_WR)
    bench.turn()
    bench.give([batch_of(range(5))])
    bench.until_got(client, 4)
    assert bench.live.clients == 1


def test_a_client_may_say_a_little(bench: Bench) -> None:
    client = bench.connect()
    client.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    bench.turn()
    bench.give([batch_of(range(5))])
    bench.until_got(client, 4)


def test_a_client_that_keeps_talking_is_cut_off(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    client = bench.connect()
    client.socket.setblocking(False)
    rubbish = os.urandom(SAID_MAX // 4)

    def is_cut() -> int:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            client.socket.send(rubbish)
        return bench.counters.cut_readers

    bench.until(is_cut, "it to be cut off")
    assert "sends what nobody asked for" in caplog.text
    assert bench.live.clients == 0


def test_there_are_only_so_many_clients(bench: Bench) -> None:
    clients = [bench.connect() for _ in range(CLIENTS_MAX)]
    extra = Client(bench.live.addresses[0])
    bench.clients.append(extra)
    bench.until(lambda: bench.counters.refused_readers == 1, "a refusal")
    extra.read()
    assert extra.is_over
    assert extra.stream == b""
    bench.give([batch_of(range(3))])
    for client in clients:
        bench.until_got(client, 2)
    assert bench.counters.written == 3


def test_it_goes_on_when_descriptors_run_out(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    first = bench.connect()
    waiting = Client(bench.live.addresses[0])
    bench.clients.append(waiting)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        bench.turn()
        bench.turn()
        assert bench.live.clients == 1
        assert "nobody is let in" in caplog.text
        assert bench.live.due() is not None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    bench.give([batch_of(range(3))])
    bench.until_got(first, 2)
    bench.until(lambda: bench.live.clients == 2, "the one that waited")


def test_the_end_comes_when_everybody_has_everything(bench: Bench) -> None:
    client = bench.connect(buffer=4096)
    bench.give([large(0), large(1_000)])
    bench.sink.finish(None)
    bench.until(lambda: client.read() and bench.sink.is_finished(), "the end")
    bench.live.close()
    wait_until(lambda: client.read() and client.is_over, PATIENCE_S, "end of file")
    assert client.numbers() == list(range(2_000))
    assert not client.is_reset
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(client.socket.getpeername())


def test_what_is_given_up_at_the_end_is_dropped(bench: Bench) -> None:
    bench.connect(buffer=4096)
    given: list[Batch] = []
    while not bench.live.held:
        given.append(large(len(given) * 1_000))
        assert bench.offer(given[-1])
    bench.sink.finish(0)
    assert not bench.sink.is_finished()
    bench.sink.abandon()
    bench.live.close()
    dropped = bench.counters.dropped[Reason.SHUTDOWN]
    assert bench.live.held == ()
    assert dropped > 0
    assert bench.counters.written + dropped == 1_000 * len(given)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("is_pcapng", [False, True])
def test_tshark_reads_it_live(make: Make, tmp_path: Path, is_pcapng: bool) -> None:
    """As Wireshark does: an interface called TCP@host:port. It comes in the middle."""
    about = About(hardware="", os="", application="tests")
    bench = make(file_format=Pcapng(about) if is_pcapng else Pcap())
    first = bench.connect()
    bench.give([batch_of(range(100, 105))])
    port = bench.live.addresses[0][1]
    argv = ["tshark", "-n", "-l", "-i", f"TCP@127.0.0.1:{port}", "-c", "30"]
    fields = ["-T", "fields", "-e", "ip.src", "-e", "frame.len"]
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        reader = subprocess.Popen([*argv, *fields], stdout=out, stderr=err)
    try:
        bench.until(lambda: bench.counters.readers == 2, "tshark")
        for at in range(0, 40, 10):
            bench.give([batch_of(range(at, at + 10))])
        bench.until(lambda: reader.poll() is not None, "tshark to have seen enough")
    finally:
        reader.kill()
        reader.wait()
    lines = (tmp_path / "out").read_text().splitlines()
    lengths = [len(packets.record(n, 200 + n % 37)) - 16 for n in range(30)]
    assert lines == [f"192.0.2.1\t{length}" for length in lengths]
    assert len(first.socket.recv(1 << 20)) > 45 * 200
