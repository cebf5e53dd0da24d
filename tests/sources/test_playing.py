"""What the checkpoint says has arrived is what the readers have, at any moment: a kill
can come at any."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.disk.checkpoint import Checkpoint
from pcap_zmq.formats.checkpoint import Play, decode
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.sinks.fifo import FifoSink
from pcap_zmq.sources.playing import Playing
from tests.pipes import packets

NOW = Instant(1, 1)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Checkpoint]:
    """Of this test's own."""
    made = Checkpoint(tmp_path / "checkpoint", resume=False)
    yield made
    made.close()


def playing_of(checkpoint: Checkpoint) -> Playing:
    """A file that begins to be played."""
    record = Play(1, "1", ["/a.pcap"])
    checkpoint.remember(record)
    assert checkpoint.save(NOW)

    def moved(playing: Playing) -> None:
        checkpoint.note(playing.record, playing.arrived)

    return Playing(checkpoint, record, moved)


def test_packets_count_from_the_first_part_that_is_not_whole(
    checkpoint: Checkpoint,
) -> None:
    playing = playing_of(checkpoint)
    first, second, third = (playing.part(10, 0, None) for _ in range(3))
    second.count_written(10)
    assert playing.arrived == 0
    first.count_written(4)
    assert playing.arrived == 4
    first.count_written(6)
    assert playing.arrived == 20
    third.note_begun(3, 0)
    assert playing.arrived == 23
    second.count_written(-5)
    assert playing.arrived == 15
    second.count_written(5)
    third.count_written(10)
    playing.has_ended = True
    assert (playing.arrived, playing.is_over) == (30, True)


def test_what_is_given_up_at_the_end_has_not_arrived_and_what_fits_nowhere_has(
    checkpoint: Checkpoint,
) -> None:
    playing = playing_of(checkpoint)
    first, second = (playing.part(10, 0, None) for _ in range(2))
    first.count_dropped(Reason.LINKTYPE, 10)
    second.count_dropped(Reason.NO_READER, 10)
    playing.has_ended = True
    assert (playing.arrived, playing.is_over) == (10, False)


def test_what_a_receiver_has_acknowledged_counts_once(checkpoint: Checkpoint) -> None:
    playing = playing_of(checkpoint)
    part = playing.part(10, 0, None)
    part.settle()
    part.settle()
    assert playing.arrived == 10
    assert checkpoint.memory.slot.batches == 1


class Readers:
    """They open the FIFO, read some and leave; what each took out is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self.taken = [b""]

    def come(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            self.taken.append(b"")

    def read(self, octets: int) -> bool:
        """Whether there was anything."""
        if self._fd < 0:
            return False
        try:
            taken = os.read(self._fd, octets)
        except BlockingIOError:
            return False
        self.taken[-1] += taken
        return bool(taken)

    def leave(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def numbers(self) -> list[int]:
        """Of whole packets."""
        return [number for taken in self.taken for number in packets.numbers(taken)]


def would_go_on_at(path: Path, records: bytes) -> int:
    """The packet with which the next run would begin, were this one killed now."""
    plays = decode(path.read_bytes()).plays
    play = plays[1]
    rest = records[len(packets.records(range(play.arrived))) :]
    format_ = Pcap()
    return play.arrived + format_.count(rest[: format_.whole(rest, play.octets)])


@pytest.mark.parametrize("seed", [*range(5), 31])
def test_at_any_moment_the_next_run_would_go_on_where_the_readers_are(
    checkpoint: Checkpoint, tmp_path: Path, seed: int
) -> None:
    """Readers come, read some, and leave; then what is in the pipe is read out, as it
    is after a kill."""
    chance = random.Random(seed)  # noqa: S311
    sink = FifoSink(
        tmp_path / "fifo",
        linktype=RAW,
        file_format=Pcap(),
        counters=ReceiverCounters(),
    )
    playing = playing_of(checkpoint)
    total = 12_000
    every = packets.records(range(total))
    readers = Readers(tmp_path / "fifo")
    batch: Batch | None = None
    first, mono_ns = 0, 1
    last_kill = chance.randrange(20, 400)
    for _ in range(last_kill):
        mono_ns += 1_000_000_000
        now = Instant(mono_ns, 1)
        sink.serve(now)
        match chance.randrange(12):
            case 0:
                readers.leave()
            case 1 | 2 | 3:
                readers.come()
            case 4 | 5 | 6:
                readers.read(chance.randrange(1, 200_000))
            case _:
                if batch is None and first < total:
                    count = min(chance.randrange(1, 2_000), total - first)
                    numbers = range(first, first + count)
                    records = packets.records(numbers)
                    part = playing.part(count, len(records), None)
                    batch = Batch(RAW, records, count, part)
                    first += count
                if batch is not None and sink.offer(batch, now):
                    batch = None
                    for receipt in sink.arrived():
                        receipt.settle()
    # What a reader that has left had not read is known once the sink looks.
    sink.serve(Instant(mono_ns + 1, 1))
    at = would_go_on_at(tmp_path / "checkpoint", every)
    sink.close()
    while readers.read(1 << 20):
        pass
    assert readers.numbers() == list(range(at))
    readers.leave()
