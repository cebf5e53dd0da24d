"""Captures with chosen times, and a reader that knows when each packet came."""

import statistics
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S

EPOCH_S = packets.FIRST_SECOND
MS = 1_000_000

USUAL_MS = 15
BUSY_MS = 400
"""Against a machine with two processors that runs much else."""


def capture(
    path: Path,
    times_ms: Sequence[float],
    *,
    first: int = 0,
    size: int = 100,
    linktype: int = packets.RAW,
) -> Path:
    """Numbered packets with these times, in milliseconds since EPOCH_S."""
    records = []
    for place, ms in enumerate(times_ms):
        record = bytearray(packets.record(first + place, size, linktype))
        seconds, nanoseconds = divmod(EPOCH_S * 1_000 * MS + round(ms * MS), 1_000 * MS)
        struct.pack_into("<II", record, 0, seconds, nanoseconds)
        records.append(bytes(record))
    path.write_bytes(packets.header(linktype) + b"".join(records))
    return path


def times_ms(stream: bytes, since_ns: int = EPOCH_S * 1_000 * MS) -> list[float]:
    """Those of the packets of a stream."""
    times, at = [], packets.FILE_HEADER.size
    while at < len(stream):
        seconds, nanoseconds, caplen, _ = packets.RECORD_HEADER.unpack_from(stream, at)
        times.append((seconds * 1_000 * MS + nanoseconds - since_ns) / MS)
        at += packets.RECORD_HEADER.size + caplen
    return times


def lengths(stream: bytes) -> Iterator[int]:
    """Of the records of a stream, whatever their times."""
    at = packets.FILE_HEADER.size
    while at < len(stream):
        length = packets.RECORD_HEADER.unpack_from(stream, at)[2]
        yield packets.RECORD_HEADER.size + length
        at += packets.RECORD_HEADER.size + length


def assert_at(moments: Sequence[float], expected: Sequence[float]) -> None:
    """Packets came when they should have, in milliseconds: half of them within what a
    loop makes them late by, and each within what a busy machine may."""
    assert len(moments) == len(expected)
    errors = [moment - due for moment, due in zip(moments, expected, strict=True)]
    # The first, which they are counted from, may be late, too.
    middle = statistics.median(errors)
    off = sorted(abs(error - middle) for error in errors)
    assert off[len(off) // 2] < USUAL_MS, off
    assert off[-1] < BUSY_MS, off


def assert_took(seconds: float, expected_s: float) -> None:
    """No less; and more only by what the last packet may be late."""
    assert expected_s - 0.001 <= seconds < expected_s + BUSY_MS / 1_000


class TimedReader:
    """Reads a FIFO to its end, in a thread, and notes when what came. after_s: comes so
    late. stand_s: does nothing for so long after the first packet. leaves_after: so
    many packets, when it has read no part of another."""

    def __init__(
        self,
        fifo: Path,
        *,
        after_s: float = 0.0,
        stand_s: float = 0.0,
        leaves_after: int | None = None,
    ) -> None:
        self._fifo = fifo
        self._after_s = after_s
        self._stand_s = stand_s
        self._leaves_after = leaves_after
        self._came: list[tuple[float, int]] = []
        self.stream = b""
        # Nobody may ever open the other end.
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.join(PATIENCE_S)
        if error is None:
            assert not self._thread.is_alive(), "the stream does not end"

    def moments_ms(self) -> list[float]:
        """When each packet was there, since the first was."""
        moments, at = [], packets.FILE_HEADER.size
        came = iter(self._came)
        now_s, octets = next(came)
        for length in lengths(self.stream):
            at += length
            while octets < at:
                now_s, octets = next(came)
            moments.append(now_s * 1_000)
        return [moment - moments[0] for moment in moments]

    def _read(self) -> None:
        # The kernel makes it wait, as it does an IDS that is not there yet.
        time.sleep(self._after_s)
        with self._fifo.open("rb", buffering=0) as pipe:
            while octets := pipe.read(1 << 20):
                self.stream += octets
                self._came.append((time.monotonic(), len(self.stream)))
                if len(self.stream) > packets.FILE_HEADER.size and self._stand_s:
                    time.sleep(self._stand_s)
                    self._stand_s = 0.0
                if self._leaves_after is not None and self._has_enough():
                    return

    def _has_enough(self) -> bool:
        whole, torn = packets.split(self.stream)
        return not torn and len(whole) >= (self._leaves_after or 0)
