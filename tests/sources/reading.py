"""Reads a source to its end, here or as a program of its own.

`python -m tests.sources.reading PATH` prints what came of it as JSON; "-" is standard
input.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pcap_ffi import count_records
from pcap_zmq.counters import SenderCounters
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Poller
from pcap_zmq.sources.savefile import SavefileSource

NOW = Instant(0, 0)
BATCH_BYTES = 1 << 18
AGE_NS = 20_000_000

TURNS_MAX = 10_000
WAIT_NS = 20_000_000_000


@dataclass
class Outcome:
    """What a source gave, and how it ended."""

    batches: list[Batch] = field(default_factory=list)
    failure: BaseException | None = None

    @property
    def records(self) -> bytes:
        return b"".join(batch.records for batch in self.batches)


def open_source(path: str, counters: SenderCounters | None = None) -> SavefileSource:
    return SavefileSource(
        path,
        batch_bytes=BATCH_BYTES,
        batch_age_ns=AGE_NS,
        counters=counters or SenderCounters(),
    )


def read_batch(source: SavefileSource) -> Batch | None:
    """The next batch, as the pipeline would get it; None at the end."""
    for _ in range(TURNS_MAX):
        batch = source.read(NOW)
        if batch is not None or source.is_exhausted():
            return batch
        Poller().wait(source.watch(wanted=True), WAIT_NS)
    raise TimeoutError("a source woke its reader again and again for nothing")


def read_all(path: str, counters: SenderCounters | None = None) -> Outcome:
    """Everything, batch by batch."""
    source = open_source(path, counters)
    outcome = Outcome()
    try:
        while (batch := read_batch(source)) is not None:
            assert batch.count == count_records(batch.records)
            outcome.batches.append(batch)
    finally:
        source.close()
    outcome.failure = source.failure
    return outcome


def peak_kib() -> int:
    """Of this program alone: getrusage() also has what it was before exec()."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    source = open_source(sys.argv[1])
    packets = octets = 0
    while (batch := read_batch(source)) is not None:
        packets += batch.count
        octets += len(batch.records)
    source.close()
    print(
        json.dumps(
            {
                "packets": packets,
                "octets": octets,
                "failure": str(source.failure) if source.failure else None,
                "rss_kib": peak_kib(),
            }
        )
    )


if __name__ == "__main__":
    main()
