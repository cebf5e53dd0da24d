"""A spool's directory: damage, power loss, limits, rights; and what deaths cost."""

import errno
import os
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import ConfigError, SpoolError, SpoolPermissionError
from pcap_zmq.formats import spool_state, wire
from pcap_zmq.formats.spool import RECORD_HEADER_LENGTH, SEGMENT_HEADER_LENGTH
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import EncodedBatch
from pcap_zmq.sinks.spool import FileSpool
from tests.support.spool_world import MARKER, SECOND, SpoolWorld

STREAM = StreamId(b"s" * 16, 7)
MIB = 1 << 20
SMALL = 16 * 1024
"""A spool of segments of 1 KiB."""


class Case:
    """A directory and whoever has it open."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.counters = SenderCounters()
        self._opened: list[FileSpool] = []

    def open(self, size: int = MIB, *, drops_oldest: bool = False) -> FileSpool:
        self.counters = SenderCounters()
        spool = FileSpool(
            self.directory,
            size=size,
            drops_oldest=drops_oldest,
            counters=self.counters,
        )
        self._opened.append(spool)
        return spool

    def close(self) -> None:
        for spool in self._opened:
            spool.close()

    def segments(self) -> list[Path]:
        return sorted(self.directory.glob("*.segment"))


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    case = Case(tmp_path / "spool")
    yield case
    case.close()


def batch(number: int, length: int = 100, count: int = 1) -> EncodedBatch:
    payload = (MARKER % number).ljust(length, b"x")
    return EncodedBatch(101, count, 0, len(payload), payload)


def put(spool: FileSpool, numbers: range, length: int = 100) -> int:
    """Appends them; returns how many were taken."""
    return sum(
        spool.append(batch(number, length), is_taken=False) is not None
        for number in numbers
    )


def save(spool: FileSpool, first: int = 1, sent: int = 0, received: int = 0) -> None:
    """The state of a sender of which all is on the disk."""
    totals = wire.encode_totals(SenderCounters(received=received), received)
    spool.save(STREAM, first, sent, None, totals)


def taken(spool: FileSpool) -> list[int | None]:
    """The numbers of all that is unread; None: only the count is left."""
    found: list[int | None] = []
    while (record := spool.take()) is not None:
        is_there = record.batch is not None
        found.append(int(bytes(record.batch.payload)[7:15]) if is_there else None)  # type: ignore[union-attr]
    assert spool.unread_packets == 0
    assert not spool.has_unread
    return found


# Damage.


def test_an_end_torn_at_any_octet_costs_one_record(case: Case) -> None:
    """As a kill in the middle of a write leaves it."""
    spool = case.open()
    put(spool, range(3), 20)
    save(spool, received=3)
    (path,) = case.segments()
    whole = path.read_bytes()
    state = (case.directory / "state").read_bytes()
    record = RECORD_HEADER_LENGTH + len(batch(0, 20).payload)
    case.close()
    for length in range(len(whole) - record, len(whole)):
        path.write_bytes(whole[:length])
        (case.directory / "state").write_bytes(state)
        again = case.open()
        assert again.left is not None
        # Totals know of what was there.
        assert spool_state.died(again.left.totals, again.left.packets) == 1
        assert again.unread_packets == 2
        assert taken(again) == [0, 1]
        again.close()


def test_a_damaged_payload_costs_its_own_record(case: Case) -> None:
    spool = case.open()
    put(spool, range(4))
    (path,) = case.segments()
    octets = bytearray(path.read_bytes())
    octets[octets.find(MARKER % 2)] ^= 1
    path.write_bytes(octets)
    assert taken(spool) == [0, 1, None, 3]


def test_a_damaged_length_costs_the_rest_of_its_segment_counted(case: Case) -> None:
    spool = case.open(SMALL)
    put(spool, range(30))
    first, *others = case.segments()
    assert len(others) > 1
    octets = bytearray(first.read_bytes())
    octets[octets.find(MARKER % 2) - RECORD_HEADER_LENGTH + 16] ^= 1
    first.write_bytes(octets)
    found = taken(spool)
    assert found[:2] == [0, 1]
    assert found[2:] == list(range(30 - len(found) + 2, 30))
    assert case.counters.dropped[Reason.DAMAGED] == 30 - len(found) > 0


def test_damage_is_met_after_a_restart_too(case: Case) -> None:
    spool = case.open(SMALL)
    put(spool, range(30))
    save(spool, received=30)
    spool.close()
    for path in case.segments()[:1]:
        octets = bytearray(path.read_bytes())
        octets[octets.find(MARKER % 2) - RECORD_HEADER_LENGTH + 16] ^= 1
        path.write_bytes(octets)
    again = case.open(SMALL)
    found = taken(again)
    assert found[:2] == [0, 1]
    assert case.counters.dropped[Reason.DAMAGED] == 30 - len(found) > 0


def test_damage_among_what_was_sent_begins_a_new_stream(case: Case) -> None:
    """Else a number might be used for two batches."""
    spool = case.open()
    put(spool, range(4))
    save(spool, sent=3, received=4)
    spool.close()
    (path,) = case.segments()
    octets = bytearray(path.read_bytes())
    octets[octets.find(MARKER % 1) - RECORD_HEADER_LENGTH] ^= 1
    path.write_bytes(octets)
    again = case.open()
    assert again.left is not None
    assert again.left.stream is None


def test_damage_among_what_was_sent_that_comes_later_ends_the_sender(
    case: Case,
) -> None:
    """It can only start again, with a new stream."""
    spool = case.open()
    put(spool, range(4))
    save(spool, sent=3, received=4)
    spool.close()
    again = case.open()
    assert again.left is not None
    (path,) = case.segments()
    octets = bytearray(path.read_bytes())
    octets[octets.find(MARKER % 1) - RECORD_HEADER_LENGTH] ^= 1
    path.write_bytes(octets)
    assert again.take() is not None
    with pytest.raises(SpoolError, match="start the sender again"):
        again.take()


def test_a_segment_without_its_header_is_left_alone_and_said(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    spool = case.open(SMALL)
    put(spool, range(30))
    save(spool, received=30)
    spool.close()
    second = case.segments()[1]
    second.write_bytes(b"\0" * 100)
    again = case.open(SMALL)
    assert "passed over" in caplog.text
    assert again.left is not None
    assert again.left.stream is None
    numbers = taken(again)
    assert 0 < len(numbers) < 30
    assert second.exists()


def test_what_is_no_segment_is_not_touched(case: Case) -> None:
    case.open().close()
    stranger = case.directory / "notes.txt"
    stranger.write_text("mine")
    (case.directory / "x.segment").write_text("mine, too")
    spool = case.open()
    put(spool, range(3))
    assert taken(spool) == [0, 1, 2]
    save(spool)
    assert stranger.read_text() == "mine"


def test_without_a_state_what_is_there_goes_as_a_new_stream(case: Case) -> None:
    spool = case.open()
    put(spool, range(4))
    save(spool, first=10, sent=12, received=4)
    spool.close()
    (case.directory / "state").unlink()
    again = case.open()
    assert again.left is not None
    assert (again.left.stream, again.left.packets) == (None, 4)
    assert taken(again) == [0, 1, 2, 3]


def test_a_state_that_is_torn_leaves_the_one_before(case: Case) -> None:
    spool = case.open()
    put(spool, range(4))
    save(spool, first=1, received=4)
    save(spool, first=2, received=4)
    spool.close()
    state = case.directory / "state"
    for offset in spool_state.STATE_OFFSETS:
        octets = bytearray(state.read_bytes())
        octets[offset + 100 : offset + 120] = bytes(20)
        saved = state.read_bytes()
        state.write_bytes(octets)
        again = case.open()
        assert again.left is not None
        assert again.left.stream == STREAM
        again.close()
        state.write_bytes(saved)


# The machine goes down.


def rewrite_state(
    directory: Path, change: Callable[[spool_state.State], spool_state.State]
) -> None:
    """Both copies of it."""
    path = directory / "state"
    octets = bytearray(path.read_bytes())
    found = [
        spool_state.decode_state(octets[offset : offset + spool_state.STATE_LENGTH])
        for offset in spool_state.STATE_OFFSETS
        if any(octets[offset : offset + 8])
    ]
    generation, state = max(found, key=lambda pair: pair[0])
    for offset in spool_state.STATE_OFFSETS:
        written = spool_state.encode_state(change(state), generation)
        octets[offset : offset + len(written)] = written
    path.write_bytes(octets)


def another_boot(state: spool_state.State) -> spool_state.State:
    return replace(state, boot=b"another boot id.", has_ended=False)


def test_after_a_power_loss_what_is_on_the_disk_goes_as_a_new_stream(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    """Its state may be older than what the receiver has."""
    spool = case.open()
    put(spool, range(4))
    save(spool, first=10, sent=12, received=4)
    spool.close()
    rewrite_state(case.directory, another_boot)
    again = case.open()
    assert again.left is not None
    assert (again.left.stream, again.left.first, again.left.sent) == (None, 1, 0)
    assert taken(again) == [0, 1, 2, 3]
    assert "for the second time" in caplog.text


def test_after_a_restart_of_the_machine_in_good_order_the_stream_goes_on(
    case: Case,
) -> None:
    spool = case.open()
    put(spool, range(4))
    save(spool, first=10, sent=12, received=4)
    spool.close()
    rewrite_state(
        case.directory, lambda state: replace(state, boot=b"another boot id.")
    )
    again = case.open()
    assert again.left is not None
    assert (again.left.stream, again.left.first, again.left.sent) == (STREAM, 10, 12)


def test_a_good_end_is_believed_once(case: Case) -> None:
    """The next run's death must not look like it."""
    spool = case.open()
    put(spool, range(4))
    save(spool, received=4)
    spool.close()
    octets = (case.directory / "state").read_bytes()
    again = case.open()
    now = (case.directory / "state").read_bytes()
    states = [
        spool_state.decode_state(now[offset : offset + spool_state.STATE_LENGTH])
        for offset in spool_state.STATE_OFFSETS
    ]
    assert octets != now
    assert not max(states, key=lambda pair: pair[0])[1].has_ended
    assert again.left is not None


# Limits.


def test_a_full_spool_takes_no_more_and_goes_on_when_there_is_room(case: Case) -> None:
    spool = case.open(SMALL)
    count = put(spool, range(1000))
    assert 0 < count < 1000
    assert spool.used_bytes <= SMALL
    assert put(spool, range(1)) == 0
    for _ in range(count // 2):
        spool.take()
    save(spool)
    assert put(spool, range(count, count + 5)) == 5
    assert taken(spool) == [*range(count // 2, count), *range(count, count + 5)]


def test_a_full_spool_drops_the_oldest_that_nobody_has_begun(case: Case) -> None:
    spool = case.open(SMALL, drops_oldest=True)
    put(spool, range(10))
    assert spool.take() is not None
    assert put(spool, range(10, 1000)) == 990
    assert spool.used_bytes <= SMALL
    # The segment of the first one has been begun: the rest of it stays.
    numbers = taken(spool)
    assert numbers[0] == 1
    assert numbers[-1] == 999
    assert numbers == sorted(n for n in numbers if n is not None)
    assert case.counters.dropped[Reason.SPOOL_FULL] == 999 - len(numbers)


def test_a_batch_larger_than_a_segment_has_one_of_its_own(case: Case) -> None:
    spool = case.open(SMALL)
    put(spool, range(3), 5000)
    assert len(case.segments()) == 3
    assert taken(spool) == [0, 1, 2]


def test_segments_are_numbered_on_when_there_are_none(case: Case) -> None:
    """The place in the state would be behind them otherwise."""
    spool = case.open(SMALL)
    put(spool, range(30))
    taken(spool)
    save(spool)
    spool.close()
    assert case.segments() == []
    again = case.open(SMALL)
    assert put(again, range(30, 40)) == 10
    assert taken(again) == list(range(30, 40))


def test_what_is_done_with_is_deleted(case: Case) -> None:
    spool = case.open(SMALL)
    put(spool, range(30))
    assert len(case.segments()) > 3
    taken(spool)
    assert len(case.segments()) > 3
    save(spool)
    assert case.segments() == []
    assert spool.used_bytes == 0


def test_many_small_batches_cost_no_memory_and_few_descriptors(case: Case) -> None:
    """Nothing is kept for each of them."""
    spool = case.open(64 * MIB)
    put(spool, range(100))
    tracemalloc.start()
    try:
        put(spool, range(100, 20_000))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 64 * 1024
    small = case.directory.with_name("small")
    other = FileSpool(
        small, size=SMALL * 64, drops_oldest=False, counters=case.counters
    )
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    put(other, range(5_000))
    assert len(list(small.iterdir())) > 10
    assert len(os.listdir("/proc/self/fd")) - before <= 3  # noqa: PTH208
    assert taken(other) == list(range(5_000))
    assert len(os.listdir("/proc/self/fd")) - before <= 3  # noqa: PTH208
    other.close()
    assert taken(spool) == list(range(20_000))


@contextmanager
def file_size_limit(octets: int) -> Iterator[None]:
    """A disk that is full in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_stops_half_way_leaves_nothing_behind(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    spool = case.open(64 * MIB)
    put(spool, range(3), 5000)
    (path,) = case.segments()
    length = path.stat().st_size
    with file_size_limit(length + 2000):
        assert put(spool, range(3, 6), 5000) == 0
        assert path.stat().st_size == length
    assert caplog.text.count("takes no more") == 1
    assert put(spool, range(3, 6), 100) == 3
    assert taken(spool) == list(range(6))


def test_a_first_write_that_fails_leaves_no_segment(case: Case) -> None:
    spool = case.open(64 * MIB)
    with file_size_limit(2000):
        assert put(spool, range(2), 5000) == 0
    assert case.segments() == []
    assert not spool.has_unread
    assert spool.used_bytes == 0


def test_a_segment_that_cannot_be_made_is_made_later(case: Case) -> None:
    """Something else has its name."""
    spool = case.open(SMALL)
    put(spool, range(5))
    number = int(case.segments()[-1].stem) + 1
    blocker = case.directory / f"{number:016d}.segment"
    blocker.mkdir()
    count = put(spool, range(5, 30))
    assert 0 <= count < 25
    blocker.rmdir()
    assert put(spool, range(5 + count, 20)) == 15 - count
    assert taken(spool) == list(range(20))


@contextmanager
def no_descriptors() -> Iterator[None]:
    """As a flood of connections may leave it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The limit bounds the number of a new one.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_nothing_can_be_taken_now_and_all_of_it_later(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    spool = case.open(SMALL)
    put(spool, range(30))
    assert len(case.segments()) > 2
    assert spool.take() is not None
    case.close()
    spool = case.open(SMALL)
    with no_descriptors():
        assert spool.next_length() is None
        assert spool.take() is None
        assert spool.has_unread
    assert "cannot be read now: Too many open files" in caplog.text
    assert taken(spool) == list(range(30))
    assert not case.counters.dropped.total()


@pytest.mark.parametrize(
    ("code", "is_later"),
    [(errno.ENOMEM, True), (errno.ENFILE, True), (errno.EIO, False)],
)
def test_only_what_says_that_octets_are_gone_costs_packets(
    case: Case, monkeypatch: pytest.MonkeyPatch, code: int, is_later: bool
) -> None:
    spool = case.open()
    put(spool, range(2))
    whole = os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        if length > RECORD_HEADER_LENGTH:
            raise OSError(code, os.strerror(code))
        return whole(fd, length, offset)

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", pread)
        record = spool.take()
    if is_later:
        assert record is None
        assert taken(spool) == [0, 1]
    else:
        assert record is not None
        assert (record.lost, record.reason) == (1, Reason.DAMAGED)
        assert taken(spool) == [1]


def test_what_does_not_pass_by_itself_ends_the_sender(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = case.open()
    put(spool, range(2))

    def pread(fd: int, length: int, offset: int) -> bytes:
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(SpoolPermissionError, match="may not be written"):
        spool.take()


# Who may have it.


def test_one_at_a_time(case: Case) -> None:
    case.open()
    with pytest.raises(SpoolError, match="another sender"):
        case.open()


def test_the_lock_goes_with_its_owner(case: Case) -> None:
    case.open().close()
    case.open()


def test_closing_twice_is_harmless(case: Case) -> None:
    spool = case.open()
    spool.close()
    spool.close()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722, 0o1777])
def test_a_directory_that_others_can_write_to_is_refused(case: Case, mode: int) -> None:
    case.directory.mkdir()
    case.directory.chmod(mode)
    with pytest.raises(SpoolPermissionError, match="0700"):
        case.open()


def test_a_file_is_no_directory(case: Case) -> None:
    case.directory.touch()
    with pytest.raises(ConfigError, match="no directory"):
        case.open()


def test_a_directory_in_none_is_refused(tmp_path: Path) -> None:
    case = Case(tmp_path / "a" / "b")
    with pytest.raises(SpoolError, match="No such file"):
        case.open()


def test_a_link_in_place_of_the_state_is_not_followed(
    case: Case, tmp_path: Path
) -> None:
    case.directory.mkdir(0o700)
    target = tmp_path / "target"
    target.touch()
    (case.directory / "state").symlink_to(target)
    with pytest.raises(SpoolError):
        case.open()
    assert target.stat().st_size == 0


# What deaths cost.


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SpoolWorld]:
    world = SpoolWorld(tmp_path, queue_bytes=50_000, spool_bytes=MIB)
    world.connect()
    world.turn()
    yield world
    world.check()
    world.close()


def send(world: SpoolWorld, count: int, *, arrive: int = 0) -> None:
    """Gives so many batches, and sends what may go; so many arrive."""
    for _ in range(count):
        world.give(100)
    world.sender_speaks()
    world.messages_arrive(arrive)


def test_what_had_arrived_from_a_killed_sender_is_not_counted_as_lost(
    world: SpoolWorld,
) -> None:
    """Nobody had told it."""
    send(world, 4)
    world.kill(kept_up=2)
    assert world.link.held_packets == 10
    world.settle()
    world.check_settled()
    assert [written.number for written in world.output] == [0, 1]
    assert world.counters.dropped[Reason.SENDER_GONE] == 7
    assert world.counters.acknowledged == 3


def test_a_link_without_descriptors_waits_and_loses_nothing(world: SpoolWorld) -> None:
    world.disconnect()
    world.now_ns += 4 * SECOND
    world.sender_speaks()
    for _ in range(20):
        world.give(100)
    world.stop()
    with no_descriptors():
        world.connect()
        world.turn()
        world.now_ns += SECOND
        world.turn()
        assert world.output == []
    world.settle()
    world.check_settled()
    assert [written.number for written in world.output] == list(range(20))
    assert not world.counters.dropped.total()


def test_new_packets_take_no_numbers_of_those_that_died(world: SpoolWorld) -> None:
    send(world, 4)
    world.kill(kept_up=1)
    world.connect()
    send(world, 3)
    world.settle()
    world.check_settled()
    assert [written.number for written in world.output] == [0, 4, 5, 6]


def test_a_sender_killed_twice_counts_each_death_once(world: SpoolWorld) -> None:
    """The second time after it has given some up, of which it has heard nothing yet."""
    send(world, 4)
    world.kill(kept_up=2)
    world.connect()
    world.sender_speaks()
    world.messages_arrive(1)
    world.receiver_speaks()
    world.replies_arrive(1)
    world.sender_speaks()
    # Both empty batches arrive, and nothing comes back.
    world.kill(kept_up=2)
    world.settle()
    world.check_settled()
    assert world.counters.dropped[Reason.SENDER_GONE] == 7


def test_what_the_receiver_has_already_is_not_sent_again(world: SpoolWorld) -> None:
    world.now_ns += 2 * SECOND
    world.disconnect()
    world.sender_speaks()
    world.now_ns += 2 * SECOND
    world.sender_speaks()
    send(world, 6)
    assert world.link.shelved_packets == world.link.held_packets > 0
    world.connect()
    world.turn_without_replies()
    world.kill(kept_up=0)
    world.connect()
    world.settle()
    world.check_settled()
    assert [written.number for written in world.output] == list(range(6))
    assert world.receiver_counters.repeated == 0


def test_a_receiver_that_forgot_everything_gets_what_is_on_the_disk(
    world: SpoolWorld,
) -> None:
    world.disconnect()
    world.now_ns += 2 * SECOND
    world.sender_speaks()
    send(world, 5)
    world.kill()
    world.start_receiver()
    world.settle()
    assert [written.number for written in world.output] == list(range(5))


def test_a_sender_that_ends_in_good_order_with_nothing_left_begins_anew(
    world: SpoolWorld,
) -> None:
    send(world, 3)
    world.settle()
    world.stop()
    assert world.spool.left is None
    assert world.counters.received == 0


def test_memory_goes_to_the_disk_when_nobody_answers_for_a_while(
    world: SpoolWorld,
) -> None:
    """The link seems to be up; only heartbeats would tell."""
    send(world, 3)
    assert world.link.shelved_packets == 0
    due = world.link.due()
    assert due is not None
    assert due <= world.now_ns + 3 * SECOND // 2
    world.now_ns += 3 * SECOND // 2
    world.sender_speaks()
    assert world.link.shelved_packets == world.link.held_packets == 6
    world.kill()
    world.settle()
    assert [written.number for written in world.output] == [0, 1, 2]


def test_once_the_disk_is_empty_again_nothing_more_goes_there(
    world: SpoolWorld,
) -> None:
    world.disconnect()
    world.now_ns += 2 * SECOND
    world.sender_speaks()
    send(world, 3)
    assert world.link.shelved_packets > 0
    world.settle()
    send(world, 3)
    assert world.link.shelved_packets == 0
    assert world.spool.used_bytes == 0


def test_the_segment_header_is_all_that_an_empty_segment_has(case: Case) -> None:
    """One that was made, and nothing written to: it goes at the next start."""
    spool = case.open()
    put(spool, range(1))
    save(spool, received=1)
    spool.close()
    (path,) = case.segments()
    path.write_bytes(path.read_bytes()[:SEGMENT_HEADER_LENGTH])
    again = case.open()
    assert case.segments() == []
    assert not again.has_unread


def test_a_goodbye_says_what_is_kept_for_later(world: SpoolWorld) -> None:
    send(world, 3)
    world.link.leave_now(world.now_ns)
    goodbye = world.link.outgoing(world.now_ns)
    assert goodbye is not None
    assert goodbye.type is wire.MessageType.GOODBYE
    totals = wire.decode_totals(goodbye.totals)
    assert (totals.held, totals.spooled) == (6, 6)
