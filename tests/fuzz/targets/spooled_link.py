"""Invariant: with a spool behind it the sender's link holds what it holds without one,
whatever a receiver says; and the next run finds on the disk what the last one left
there, counts every packet of both, and gives no batch that was acknowledged.

Input: as for `sender_link`.
"""

import tempfile
from pathlib import Path

from pcap_zmq.counters import SenderCounters
from pcap_zmq.formats.spool_state import carry_over
from pcap_zmq.sinks.spool import FileSpool
from tests.fuzz.memory import MEMORY
from tests.fuzz.octets import Front
from tests.fuzz.targets.sender_link import STREAM, Case

SPOOL_BYTES = 16_000


def check(octets: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        directory = Path(name) / "spool"
        counters = SenderCounters()
        spool = open_spool(directory, counters)
        try:
            case = Case(Front(octets), counters, spool)
            case.run()
            case.link.abandon()
            case.judge()
        finally:
            spool.close()
        judge_next_run(directory, case)


def open_spool(directory: Path, counters: SenderCounters) -> FileSpool:
    return FileSpool(directory, size=SPOOL_BYTES, drops_oldest=False, counters=counters)


def judge_next_run(directory: Path, case: Case) -> None:
    counters = SenderCounters()
    spool = open_spool(directory, counters)
    try:
        left = spool.left
        if left is None:
            assert case.link.held_packets == 0
            return
        assert left.stream == STREAM
        assert left.packets == case.link.held_packets == spool.unread_packets
        carry_over(counters, left)
        assert counters.received == case.counters.received
        assert counters.acknowledged == case.counters.acknowledged
        settled = counters.acknowledged + counters.dropped.total()
        assert counters.received == settled + spool.unread_packets
        found = 0
        while (record := spool.take()) is not None:
            found += record.batch.count if record.batch is not None else record.lost
        assert found == left.packets
    finally:
        spool.close()
