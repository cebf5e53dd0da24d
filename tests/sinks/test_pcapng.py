"""pcapng through a FIFO and into a file: readers that come late, leave and come back,
disks that are full, outputs that give up what they have begun."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.pcapng import Pcapng
from pcap_zmq.formats.pcapng_blocks import About
from pcap_zmq.packet import Batch, Instant, Packet
from pcap_zmq.sinks.fifo import LOOK_NS, SIP_NS, FifoSink, State
from pcap_zmq.sinks.savefile import SavefileSink
from tests.sinks.test_fifo import PAGE, Reader
from tests.support import pcapng
from tests.support.gateways import STARTED_NS, Gateways
from tests.support.records import plain_packets

ABOUT = About(application="test")
NOW = Instant(1 * NS_PER_S, STARTED_NS)


def numbered(first: int, sizes: list[int]) -> list[Packet]:
    """Packets that carry their own numbers."""
    return [
        Packet(STARTED_NS + number, size, number.to_bytes(4) + bytes(size - 4))
        for number, size in enumerate(sizes, first)
    ]


def numbers(stream: pcapng.Stream) -> list[int]:
    return [int.from_bytes(packet.data[:4]) for packet in stream.packets]


class Bench:
    """A FIFO sink in pcapng, gateways, and a clock that only we move."""

    def __init__(self, path: Path, *, interfaces_max: int = 4_096) -> None:
        self.path = path
        self.gateways = Gateways()
        self.counters: ReceiverCounters = self.gateways.counters
        self.mono_ns = 1 * NS_PER_S
        self.format = Pcapng(
            ABOUT, ledger=self.gateways.lines, interfaces_max=interfaces_max
        )
        self.sink = FifoSink(
            path, linktype=RAW, file_format=self.format, counters=self.counters
        )
        self.readers: list[Reader] = []

    @property
    def now(self) -> Instant:
        return Instant(self.mono_ns, STARTED_NS + self.mono_ns)

    def turn(self, passed_ns: int = LOOK_NS) -> None:
        self.mono_ns += passed_ns
        self.sink.serve(self.now)

    def open_reader(self) -> Reader:
        self.readers.append(Reader(self.path))
        return self.readers[-1]

    def reader_that_has_read_the_header(self) -> Reader:
        reader = self.open_reader()
        while self.sink.state is not State.OPEN:
            self.turn()
            reader.read(1 << 20)
        return reader

    def offer(self, batch: Batch) -> bool:
        return self.sink.offer(batch, self.now)

    def close(self) -> None:
        self.sink.close()
        for reader in self.readers:
            reader.leave()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "fifo")
    yield bench
    bench.close()


class Story:
    """Readers, one after the other, of a pipe that is a page long; senders that come
    under ever new names and lose packets; short sections; batches that are given up
    when some of them is written."""

    def __init__(self, bench: Bench, data: st.DataObject) -> None:
        self.bench = bench
        self.data = data
        self.whose: list[str] = []
        self.given_up: set[int] = set()
        self.offered: Batch | None = None
        self.is_cut = False

    def of_a_reader(self) -> None:
        """It comes, some batches, it reads some octets now and then, it leaves."""
        reader = self.bench.open_reader()
        self.bench.turn()
        reader.shrink()
        greeting = self.data.draw(st.integers(0, 3))
        for _ in range(50):
            if self.bench.sink.state is State.OPEN:
                break
            reader.read(PAGE if greeting else 100)
            self.bench.turn()
        for _ in range(self.data.draw(st.integers(1, 6))):
            self.of_a_batch()
            reader.read(self.data.draw(st.sampled_from((0, 1, 50, 300, 2 * PAGE))))
            self.bench.turn(SIP_NS)
        reader.leave()
        self.bench.turn()

    def of_a_batch(self) -> None:
        if self.offered is None:
            size = st.one_of(st.integers(4, 300), st.integers(1_000, 3_000))
            sizes = self.data.draw(st.lists(size, min_size=1, max_size=4))
            name = f"gw{self.data.draw(st.integers(0, 9))}"
            gateway = self.bench.gateways.start(name)
            gateway.loses(self.data.draw(st.integers(0, 3)))
            self.offered = gateway.sends(numbered(len(self.whose), sizes))
            self.whose += [name] * len(sizes)
        if self.bench.offer(self.offered):
            self.offered, self.is_cut = None, False
        elif not self.is_cut and not self.data.draw(st.integers(0, 3)):
            self.of_giving_up(self.offered)

    def of_giving_up(self, batch: Batch) -> None:
        begun = self.bench.sink.cut()
        assert begun <= batch.count
        end = len(self.whose)
        self.given_up.update(range(end - batch.count + begun, end))
        self.is_cut = begun > 0
        self.offered = replace(batch, count=begun) if begun else None

    def of_the_last_reader(self) -> None:
        """It stays until everything that was not given up has come."""
        reader = self.bench.open_reader()
        expected = [n for n in range(len(self.whose)) if n not in self.given_up]
        for _ in range(300):
            if self.offered is not None and self.bench.offer(self.offered):
                self.offered = None
            if self.offered is None and self.read() == expected:
                return
            self.bench.turn()
            reader.read(PAGE)
        assert self.read() == expected

    def read(self) -> list[int]:
        """What all of them have read whole, of the right senders, of whom none was
        declared twice unless something was given up."""
        streams = [pcapng.read(reader.stream) for reader in self.bench.readers]
        for declared in (one for stream in streams for one in stream.interfaces):
            # Twice where a batch was given up just as a reader came: harmless.
            assert self.given_up or len(set(declared)) == len(declared)
        found = [number for stream in streams for number in numbers(stream)]
        names = [p.interface.name for stream in streams for p in stream.packets]
        assert names == [self.whose[number] for number in found]
        return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_readers_together_get_each_packet_once_whatever_they_leave(
    data: st.DataObject,
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory) / "fifo", interfaces_max=4)
        try:
            story = Story(bench, data)
            for _ in range(data.draw(st.integers(1, 5))):
                story.of_a_reader()
            story.of_the_last_reader()
        finally:
            bench.close()


def test_the_header_comes_alone_with_an_interface_for_libpcap_to_open(
    bench: Bench,
) -> None:
    bench.gateways.start("gw1")
    reader = bench.open_reader()
    bench.turn()
    reader.read(PAGE)
    stream = pcapng.read(reader.stream)
    assert stream.torn == b""
    assert [i.name for i in stream.interfaces[0]] == ["gw1"]


def test_a_header_longer_than_the_pipe_is_given_piece_by_piece(bench: Bench) -> None:
    """Of some thousand senders it is."""
    first = bench.reader_that_has_read_the_header()
    names = [f"gateway-{number}" for number in range(200)]
    for name in names:
        batch = bench.gateways.start(name).sends(plain_packets(1))
        assert bench.offer(batch)
    first.read(1 << 20)
    first.leave()
    bench.turn()
    second = bench.open_reader()
    second.shrink()
    for _ in range(1_000):
        if bench.sink.state is State.OPEN:
            break
        bench.turn()
        second.read(PAGE)
    assert bench.offer(bench.gateways.start("last").sends(plain_packets(1)))
    second.read(PAGE)
    stream = pcapng.read(second.stream)
    assert stream.torn == b""
    assert set(names) < {interface.name for interface in stream.interfaces[0]}
    assert [packet.interface.name for packet in stream.packets] == ["last"]


def test_interfaces_have_the_same_numbers_for_the_next_reader(bench: Bench) -> None:
    first = bench.reader_that_has_read_the_header()
    one, two = bench.gateways.start("gw1"), bench.gateways.start("gw2")
    assert bench.offer(one.sends(plain_packets(1)))
    assert bench.offer(two.sends(plain_packets(1)))
    first.read(1 << 20)
    first.leave()
    bench.turn()
    second = bench.reader_that_has_read_the_header()
    assert bench.offer(two.sends(plain_packets(1)))
    second.read(1 << 20)
    streams = [pcapng.read(reader.stream) for reader in (first, second)]
    assert streams[0].interfaces == streams[1].interfaces
    assert streams[1].packets[0].interface.name == "gw2"


def test_the_last_word_is_the_ledgers(bench: Bench) -> None:
    reader = bench.reader_that_has_read_the_header()
    gateway = bench.gateways.start("gw1")
    gateway.loses(4)
    assert bench.offer(gateway.sends(plain_packets(5)))
    bench.sink.finish(None)
    assert not bench.sink.is_finished()
    bench.turn()
    reader.read(1 << 20)
    assert bench.sink.is_finished()
    (said,) = pcapng.read(reader.stream).statistics
    assert (said.numbers["usrdeliv"], said.numbers["ifdrop"]) == (5, 4)


def test_the_last_word_keeps_nobody_waiting_who_has_no_reader(bench: Bench) -> None:
    reader = bench.reader_that_has_read_the_header()
    assert bench.offer(bench.gateways.start("gw1").sends(plain_packets(5)))
    reader.read(1 << 20)
    bench.sink.finish(None)
    reader.leave()
    bench.turn()
    assert bench.sink.is_finished()


def test_nothing_is_said_at_the_end_within_a_packet(bench: Bench) -> None:
    reader = bench.reader_that_has_read_the_header()
    reader.shrink()
    assert not bench.offer(bench.gateways.start("gw1").sends(plain_packets(90)))
    bench.sink.finish(None)
    for _ in range(3):
        bench.turn()
        reader.read(PAGE)
    stream = pcapng.read(reader.stream)
    assert stream.statistics == []
    assert stream.torn


def savefile_sink(path: Path, gateways: Gateways) -> "closing[SavefileSink]":
    return closing(
        SavefileSink(
            str(path),
            linktype=None,
            file_format=Pcapng(ABOUT, ledger=gateways.lines),
            overwrite=False,
            counters=gateways.counters,
        )
    )


def test_a_file_ends_with_statistics(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    gateways = Gateways()
    with savefile_sink(path, gateways) as sink:
        gateway = gateways.start("gw1")
        assert sink.offer(gateway.sends(plain_packets(3)), NOW)
        sink.finish(None)
        assert not sink.is_finished()
        sink.serve(NOW)
        assert sink.is_finished()
    stream = pcapng.read(path.read_bytes())
    assert stream.torn == b""
    (said,) = stream.statistics
    assert said.numbers["usrdeliv"] == len(stream.packets) == 3


def test_a_file_that_ends_before_it_began_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    with savefile_sink(path, Gateways()) as sink:
        sink.finish(None)
        assert sink.is_finished()
    assert path.read_bytes() == b""


def test_a_full_pipe_has_no_last_word(tmp_path: Path) -> None:
    """It would lie within a packet."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = Reader(path)
    gateways = Gateways()
    with savefile_sink(path, gateways) as sink:
        sink.serve(NOW)
        batch = gateways.start("gw1").sends(plain_packets(5_000))
        assert not sink.offer(batch, NOW)
        sink.finish(None)
        sink.serve(NOW)
        assert sink.is_finished()
    while reader.read(1 << 20):
        pass
    assert pcapng.read(reader.stream).statistics == []
    reader.leave()


def test_what_a_slow_output_drops_is_counted_and_told(bench: Bench) -> None:
    gateway = bench.gateways.start("gw1")
    reader = bench.reader_that_has_read_the_header()
    dropped = gateway.sends(plain_packets(4))
    bench.sink.skip(dropped)
    bench.counters.count_dropped(dropped.receipt, Reason.SLOW_OUTPUT, dropped.count)
    assert bench.offer(gateway.sends(plain_packets(2)))
    reader.read(1 << 20)
    drops = Counter(packet.dropcount for packet in pcapng.read(reader.stream).packets)
    assert drops == {4: 1, 0: 1}
