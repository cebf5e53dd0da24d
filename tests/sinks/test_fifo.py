"""The FIFO sink against readers that come late, are slow, leave and come back."""

import fcntl
import logging
import os
import stat
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import BROKEN, WRITABLE
from pcap_zmq.sinks.fifo import LOOK_NS, PIPE_BYTES, SIP_NS, FifoSink, State
from tests.pipes import packets

HEADER = packets.header()
PAGE = 4096


class Reader:
    """What opens the FIFO without waiting, and keeps all that it has read."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.stream = b""

    def read(self, octets: int) -> bytes:
        """So many at most; nothing where there is nothing now, or no writer."""
        try:
            chunk = os.read(self._fd, octets)
        except BlockingIOError:
            return b""
        self.stream += chunk
        return chunk

    def is_at_end(self) -> bool:
        """The writer has closed its end and everything was read."""
        try:
            return not os.read(self._fd, 1)
        except BlockingIOError:
            return False

    def unread(self) -> int:
        """Octets in the pipe."""
        answer = fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, sys.byteorder)

    def capacity(self) -> int:
        """Of the pipe."""
        return fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ)

    def shrink(self, octets: int = PAGE) -> None:
        """Makes the pipe as small as a slow reader makes it look."""
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, octets)

    def leave(self) -> None:
        """As when its process ends, however."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Bench:
    """A FIFO sink, a clock that only we move, and the readers there were."""

    def __init__(self, path: Path, *, linktype: int | None = RAW) -> None:
        self.path = path
        self.counters = ReceiverCounters()
        self.mono_ns = 1 * NS_PER_S
        self.sink = FifoSink(
            path, linktype=linktype, file_format=Pcap(), counters=self.counters
        )
        self.readers: list[Reader] = []

    @property
    def now(self) -> Instant:
        return Instant(self.mono_ns, packets.FIRST_SECOND * NS_PER_S)

    def turn(self, passed_ns: int = LOOK_NS) -> None:
        """Some time passes, and the sink gets its turn."""
        self.mono_ns += passed_ns
        self.sink.serve(self.now)

    def open_reader(self) -> Reader:
        self.readers.append(Reader(self.path))
        return self.readers[-1]

    def reader_that_has_read_the_header(self) -> Reader:
        reader = self.open_reader()
        self.turn()
        assert reader.read(len(HEADER)) == HEADER
        self.turn()
        return reader

    def offer(self, batch: Batch) -> bool:
        return self.sink.offer(batch, self.now)

    def held(self) -> int:
        """Packets that wait for the next reader."""
        return sum(left.count for left in self.sink.held)

    def offer_until_taken(self, batch: Batch, reader: Reader) -> None:
        while not self.offer(batch):
            assert reader.read(PAGE)
            self.turn()

    def close(self) -> None:
        self.sink.close()
        for reader in self.readers:
            reader.leave()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "fifo")
    yield bench
    bench.close()


def batch_of(numbers: range, size: int = 100) -> Batch:
    """A batch of numbered packets."""
    return Batch(RAW, packets.records(numbers, size), len(numbers))


def assert_streams_are_whole(streams: list[bytes], expected: list[bytes]) -> int:
    """Each stream is a file header and records, of which only the end may be cut; the
    records that were read whole are the expected ones in order, each once. Returns how
    many that are."""
    place = 0
    for stream in streams:
        assert HEADER.startswith(stream[: len(HEADER)])
        rest = stream[len(HEADER) :]
        while rest:
            record = expected[place]
            assert record.startswith(rest[: len(record)])
            place += len(rest) >= len(record)
            rest = rest[len(record) :]
    return place


class ReadersComeAndGo(RuleBasedStateMachine):
    """A reader comes, reads a bit, leaves at any octet; another waits behind it.

    The pipe is one page long, so that small batches fill it and are torn by it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.directory.name) / "fifo")
        self.reader: Reader | None = None
        self.waiting: Reader | None = None
        self.offered: Batch | None = None
        self.expected: list[bytes] = []
        self.taken = 0
        self.departures_left = 0
        self.is_seen = False

    @rule(passed_ns=st.sampled_from([0, SIP_NS, LOOK_NS]))
    def the_sink_has_a_turn(self, passed_ns: int) -> None:
        was_absent = self.bench.sink.state is State.ABSENT
        self.bench.turn(passed_ns)
        is_absent = self.bench.sink.state is State.ABSENT
        self.is_seen = self.reader is not None and not is_absent
        if was_absent and self.bench.sink.state is not State.ABSENT:
            assert self.reader is not None
            self.reader.shrink()

    @precondition(lambda self: self.reader is None)
    @rule()
    def a_reader_comes(self) -> None:
        self.reader = self.bench.open_reader()

    @precondition(
        lambda self: self.reader is not None and self.waiting is None and self.is_seen
    )
    @rule()
    def another_reader_waits(self) -> None:
        # Only once the sink has seen the first one: before, both share one pipe, which
        # no writer can tell.
        self.waiting = self.bench.open_reader()

    @precondition(lambda self: self.reader is not None)
    @rule(octets=st.one_of(st.integers(1, 60), st.integers(1, 3 * PAGE)))
    def it_reads(self, octets: int) -> None:
        assert self.reader is not None
        self.reader.read(octets)

    @precondition(lambda self: self.reader is not None)
    @rule()
    def it_leaves(self) -> None:
        assert self.reader is not None
        self.reader.leave()
        read = self.read_whole()
        # Of a batch that is not taken whole some may have been read already.
        self.departures_left += max(0, self.taken - read)
        self.reader, self.waiting = self.waiting, None
        self.is_seen = False

    @rule(data=st.data())
    def a_batch_is_offered(self, data: st.DataObject) -> None:
        if self.offered is None:
            sizes = data.draw(st.lists(st.integers(50, 3000), min_size=0, max_size=6))
            first = len(self.expected)
            records = [packets.record(first + n, size) for n, size in enumerate(sizes)]
            self.expected += records
            self.offered = Batch(RAW, b"".join(records), len(records))
        if self.bench.offer(self.offered):
            self.taken += self.offered.count
            self.offered = None

    @invariant()
    def no_record_is_torn_or_lost_or_given_twice(self) -> None:
        assert self.read_whole() <= len(self.expected)

    @invariant()
    def what_was_taken_is_written_or_held_for_the_next_reader(self) -> None:
        assert self.bench.counters.written + self.bench.held() == self.taken

    @invariant()
    def only_what_a_reader_left_is_replayed(self) -> None:
        assert self.bench.counters.replayed <= self.departures_left

    def read_whole(self) -> int:
        streams = [reader.stream for reader in self.bench.readers]
        return assert_streams_are_whole(streams, self.expected)

    def teardown(self) -> None:
        """Whatever was taken arrives in the end, when a reader stays."""
        try:
            for _ in range(2000):
                if self.read_whole() >= self.taken:
                    break
                if self.reader is None:
                    self.a_reader_comes()
                self.the_sink_has_a_turn(LOOK_NS)
                self.it_reads(PAGE)
            assert self.read_whole() >= self.taken
        finally:
            self.bench.close()
            self.directory.cleanup()


TestReadersComeAndGo = ReadersComeAndGo.TestCase
TestReadersComeAndGo.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None
)


def test_fifo_is_made_for_its_owner_alone(bench: Bench) -> None:
    mode = bench.path.stat().st_mode
    assert stat.S_ISFIFO(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(ConfigError, match=r"is no FIFO"):
        Bench(path)


def test_a_folder_that_is_missing_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be made: No such file"):
        Bench(tmp_path / "missing" / "fifo")


def test_an_existing_fifo_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    path.chmod(0o640)
    before = path.stat().st_ino
    bench = Bench(path)
    try:
        assert path.stat().st_ino == before
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        bench.close()


def test_mode_and_owner_are_kept_when_the_fifo_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 65_534, 65_533)
    before = path.stat()
    bench = Bench(path)
    try:
        bench.open_reader()
        bench.turn()
        after = path.stat()
        assert after.st_ino != before.st_ino
        assert stat.S_IMODE(after.st_mode) == 0o640
        assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    finally:
        bench.close()


def test_nothing_else_is_left_in_the_folder(bench: Bench) -> None:
    bench.reader_that_has_read_the_header()
    assert list(bench.path.parent.iterdir()) == [bench.path]


def test_no_batch_is_taken_before_a_reader_comes(bench: Bench) -> None:
    bench.turn()
    assert not bench.offer(batch_of(range(3)))
    assert bench.counters.written == 0


def test_a_late_reader_gets_everything(bench: Bench) -> None:
    batch = batch_of(range(3))
    assert not bench.offer(batch)
    bench.turn(60 * NS_PER_S)
    reader = bench.reader_that_has_read_the_header()
    assert bench.offer(batch)
    assert reader.read(PAGE) == batch.records


def test_an_empty_batch_is_taken_without_a_reader(bench: Bench) -> None:
    assert bench.offer(Batch(RAW, b"", 0))


def test_the_header_comes_alone_and_nothing_more_until_it_was_read(
    bench: Bench,
) -> None:
    """Suricata 8.0 would lose what it had read along with the header."""
    reader = bench.open_reader()
    for _ in range(5):
        bench.turn()
        assert not bench.offer(batch_of(range(3)))
    assert reader.unread() == len(HEADER)


def test_a_header_half_read_is_still_alone(bench: Bench) -> None:
    reader = bench.open_reader()
    bench.turn()
    reader.read(len(HEADER) - 1)
    bench.turn()
    assert not bench.offer(batch_of(range(3)))
    assert reader.unread() == 1


def test_the_header_waits_for_a_link_type(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "fifo", linktype=None)
    try:
        reader = bench.open_reader()
        bench.turn()
        assert reader.unread() == 0
        batch = Batch(packets.ETHERNET, packets.records(range(1)), 1)
        assert not bench.offer(batch)
        assert reader.read(PAGE) == packets.header(packets.ETHERNET)
    finally:
        bench.close()


def test_a_reader_that_waits_behind_another_gets_a_stream_of_its_own(
    bench: Bench,
) -> None:
    """Not the torn rest in the first one's pipe."""
    first = bench.reader_that_has_read_the_header()
    batch = batch_of(range(2))
    assert bench.offer(batch)
    second = bench.open_reader()
    first.read(50)
    first.leave()
    bench.turn()
    bench.turn()
    assert second.read(PAGE) == HEADER
    bench.turn()
    assert second.read(PAGE) == batch.records


def test_a_reader_that_comes_back_at_once_gets_no_stale_rest(bench: Bench) -> None:
    first = bench.reader_that_has_read_the_header()
    batch = batch_of(range(2))
    assert bench.offer(batch)
    first.leave()
    # No turn of the sink in between: it has not noticed anything.
    second = bench.open_reader()
    assert second.read(PAGE) == b""
    bench.turn()
    bench.turn()
    assert second.read(PAGE) == HEADER


def test_what_a_reader_left_unread_is_counted_as_replayed(bench: Bench) -> None:
    first = bench.reader_that_has_read_the_header()
    batch = batch_of(range(10), size=100)
    assert bench.offer(batch)
    first.read(len(packets.records(range(3), 100)) + 20)
    first.leave()
    bench.turn()
    second = bench.reader_that_has_read_the_header()
    assert second.read(PAGE) == packets.records(range(3, 10), 100)
    assert bench.counters.replayed == 7
    assert bench.counters.written == 10


def test_nothing_is_replayed_when_everything_was_read(bench: Bench) -> None:
    first = bench.reader_that_has_read_the_header()
    batch = batch_of(range(10))
    assert bench.offer(batch)
    assert first.read(PAGE) == batch.records
    first.leave()
    bench.turn()
    second = bench.reader_that_has_read_the_header()
    assert second.unread() == 0
    assert bench.counters.replayed == 0


def test_readers_that_only_look_in_do_not_make_the_replay_grow(bench: Bench) -> None:
    """A monitor that opens the FIFO now and then was given nothing to leave."""
    first = bench.reader_that_has_read_the_header()
    assert bench.offer(batch_of(range(10)))
    first.leave()
    bench.turn()
    for _ in range(3):
        bench.open_reader()
        bench.turn()
        bench.readers[-1].leave()
        bench.turn()
    last = bench.reader_that_has_read_the_header()
    assert last.read(PAGE) == packets.records(range(10), 100)
    assert bench.counters.replayed == 10


def test_readers_are_counted(bench: Bench) -> None:
    for _ in range(3):
        bench.reader_that_has_read_the_header().leave()
        bench.turn()
    assert bench.counters.readers == 3


def test_a_batch_half_given_goes_on_where_the_next_reader_needs_it(
    bench: Bench,
) -> None:
    first = bench.reader_that_has_read_the_header()
    first.shrink()
    batch = batch_of(range(100))
    assert not bench.offer(batch)
    first.read(1000)
    first.leave()
    bench.turn()
    second = bench.reader_that_has_read_the_header()
    assert bench.offer(batch)
    second.read(1 << 20)
    streams = [first.stream, second.stream]
    assert assert_streams_are_whole(streams, packets.split(HEADER + batch.records)[0])
    assert packets.numbers(first.stream) + packets.numbers(second.stream) == list(
        range(100)
    )


def test_a_slow_reader_gets_a_large_batch_whole(bench: Bench) -> None:
    reader = bench.reader_that_has_read_the_header()
    batch = batch_of(range(1500), size=1400)
    assert len(batch.records) > PIPE_BYTES
    bench.offer_until_taken(batch, reader)
    while reader.read(PAGE):
        pass
    assert reader.stream == HEADER + batch.records


def test_the_pipe_is_made_as_large_as_it_may_be(bench: Bench) -> None:
    limit = int(Path("/proc/sys/fs/pipe-max-size").read_text())
    reader = bench.reader_that_has_read_the_header()
    assert reader.capacity() == min(PIPE_BYTES, limit)


def test_a_fifo_removed_while_running_is_made_again(bench: Bench) -> None:
    bench.turn()
    bench.path.unlink()
    bench.turn()
    assert stat.S_ISFIFO(bench.path.stat().st_mode)
    reader = bench.reader_that_has_read_the_header()
    assert bench.offer(batch_of(range(3)))
    assert packets.numbers(HEADER + reader.read(PAGE)) == [0, 1, 2]


def test_a_file_that_takes_the_place_of_the_fifo_is_an_output_error(
    bench: Bench,
) -> None:
    bench.turn()
    bench.path.unlink()
    bench.path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="is no FIFO"):
        bench.turn()
    assert bench.path.read_bytes() == b"precious"


def test_the_fifo_behind_a_link_is_the_one_that_is_replaced(tmp_path: Path) -> None:
    """Whoever opens it by its own name shall find the next stream there too."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    bench = Bench(link)
    try:
        bench.reader_that_has_read_the_header().leave()
        bench.turn()
        by_its_own_name = Reader(path)
        bench.readers.append(by_its_own_name)
        bench.turn()
        assert by_its_own_name.read(PAGE) == HEADER
    finally:
        bench.close()


def test_what_lies_in_the_way_of_a_fresh_fifo_is_warned_of(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is where the folder is on a read-only file system."""
    in_the_way = bench.path.with_name(f".{bench.path.name}.new")
    (in_the_way / "full").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        bench.reader_that_has_read_the_header().leave()
        bench.turn()
    assert len([r for r in caplog.records if "cannot be replaced" in r.message]) == 1


def test_what_no_reader_came_back_for_is_counted_when_given_up(bench: Bench) -> None:
    reader = bench.reader_that_has_read_the_header()
    assert bench.offer(batch_of(range(10)))
    reader.read(len(packets.records(range(4), 100)))
    reader.leave()
    bench.turn()
    bench.sink.finish(None)
    assert not bench.sink.is_finished()
    bench.sink.abandon()
    assert bench.sink.is_finished()
    assert bench.counters.dropped[Reason.NO_READER] == 6
    assert bench.counters.written == 4


def test_finished_as_soon_as_everything_has_been_read(bench: Bench) -> None:
    """Until then a reader that dies must have a successor."""
    reader = bench.reader_that_has_read_the_header()
    batch = batch_of(range(10))
    assert bench.offer(batch)
    bench.sink.finish(None)
    assert not bench.sink.is_finished()
    assert reader.read(PAGE) == batch.records
    assert bench.sink.is_finished()
    bench.sink.close()
    assert reader.is_at_end()


def test_the_stream_does_not_end_while_nothing_is_offered(bench: Bench) -> None:
    """An IDS leaves at the end of its input."""
    reader = bench.reader_that_has_read_the_header()
    for _ in range(3):
        bench.turn(60 * NS_PER_S)
        assert not reader.is_at_end()


def test_without_a_reader_there_is_nothing_to_watch_but_the_time(bench: Bench) -> None:
    bench.turn()
    due = bench.sink.due()
    assert due is not None
    assert 0 < due - bench.mono_ns <= LOOK_NS
    assert list(bench.sink.watch(wanted=True)) == []


def test_a_look_at_the_wrong_time_does_not_bring_the_next_one_nearer(
    bench: Bench,
) -> None:
    bench.turn()
    before = bench.sink.due()
    bench.turn(passed_ns=10 * NS_PER_MS)
    assert bench.sink.due() == before


def test_an_idle_reader_wakes_nobody(bench: Bench) -> None:
    bench.reader_that_has_read_the_header()
    assert bench.sink.due() is None
    (watch,) = bench.sink.watch(wanted=False)
    assert watch.events == BROKEN


def test_a_full_pipe_is_waited_for_after_a_sip_of_time(bench: Bench) -> None:
    reader = bench.reader_that_has_read_the_header()
    reader.shrink()
    batch = batch_of(range(100))
    assert not bench.offer(batch)
    (watch,) = bench.sink.watch(wanted=True)
    due = bench.sink.due()
    assert watch.events == BROKEN
    assert due is not None
    assert due > bench.mono_ns
    # Once the sip is over it is the pipe that wakes us, not the time.
    bench.turn(SIP_NS)
    assert not bench.offer(batch)
    assert bench.sink.due() is None
    (watch,) = bench.sink.watch(wanted=True)
    assert watch.events == WRITABLE


def test_closing_twice_is_harmless(bench: Bench) -> None:
    bench.reader_that_has_read_the_header()
    bench.sink.close()
    bench.sink.close()
