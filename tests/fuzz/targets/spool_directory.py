"""Invariant: whatever has become of the files of a spool, the next run opens it or says
in a SpoolError why not; it gives back only batches that were put there, whole and each
once, in their order; and what it says is there it gives back or counts as damaged.

Input: 1 octet, how many batches; 1 octet, whether the first run ended in good order;
then changes to its files, each 1 octet for the file, 1 for the kind, 2 for the offset
and 1 for what stands there then.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import SpoolError
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.wire import NO_TOTALS, StreamId
from pcap_zmq.packet import EncodedBatch
from pcap_zmq.sinks.spool import SEGMENTS, FileSpool
from tests.fuzz.memory import MEMORY
from tests.fuzz.octets import Front

STREAM = StreamId(bytes(16), 1)
BATCHES_MAX = 12
RECORDS_MAX = 100
SEGMENT_BYTES = 300
"""So that there are several of them."""


def check(octets: bytes) -> None:
    front = Front(octets)
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        directory = Path(name) / "left"
        put = fill(directory, front.number() % BATCHES_MAX, front.number())
        while not front.is_empty:
            change(directory, front)
        read_back(directory, put)


def batch_of(number: int) -> EncodedBatch:
    payload = bytes([number]) * (number * 10)
    return EncodedBatch(101, number, Codec.NONE, len(payload), payload)


def open_spool(directory: Path, counters: SenderCounters) -> FileSpool:
    return FileSpool(
        directory,
        size=SEGMENT_BYTES * SEGMENTS,
        drops_oldest=False,
        counters=counters,
    )


def fill(directory: Path, count: int, how: int) -> list[EncodedBatch]:
    """What a run of a sender leaves that has sent some of its batches, and found none
    acknowledged."""
    running = directory.with_name("running")
    put = [batch_of(number) for number in range(1, count + 1)]
    spool = open_spool(running, SenderCounters())
    for batch in put:
        assert spool.append(batch, is_taken=False) is not None
    sent = min(how >> 1, count)
    for sequence, batch in enumerate(put[:sent], 1):
        spool.note_sent(sequence, batch.count)
    spool.save(STREAM, 1, sent, None, NO_TOTALS)
    if how & 1:
        spool.close()
    # Or as it is left when a process is killed.
    shutil.copytree(running, directory)
    spool.close()
    return put


def change(directory: Path, front: Front) -> None:
    files = sorted(directory.iterdir())
    if not files:
        front.rest()
        return
    path = front.choice(files)
    kind, offset, octet = front.number(), front.number(2), front.number()
    size = path.stat().st_size
    match kind % 4:
        case 0:
            with path.open("r+b") as file:
                file.seek(offset % (size + 1))
                file.write(bytes([octet]))
        case 1:
            os.truncate(path, offset % (size + 1))
        case 2:
            with path.open("ab") as file:
                file.write(bytes([octet]) * (offset % 64))
        case _:
            path.unlink()


def read_back(directory: Path, put: list[EncodedBatch]) -> None:
    counters = SenderCounters()
    try:
        spool = open_spool(directory, counters)
    except SpoolError:
        return
    there = spool.unread_packets
    found = 0
    rest = iter(put)
    try:
        for batch, count, reason in taken(spool):
            found += count
            if batch is None:
                assert reason in {Reason.DAMAGED, Reason.SENDER_GONE}
            else:
                # In order, each at most once: looked for behind the last one.
                assert any(was == batch for was in rest)
    except SpoolError:
        pass
    else:
        assert spool.unread_packets == 0
        assert found + counters.dropped[Reason.DAMAGED] == there
    finally:
        spool.close()


def taken(spool: FileSpool) -> Iterator[tuple[EncodedBatch | None, int, Reason]]:
    for _ in range(RECORDS_MAX):
        record = spool.take()
        if record is None:
            break
        count = record.batch.count if record.batch is not None else record.lost
        yield record.batch, count, record.reason
    assert not spool.has_unread
