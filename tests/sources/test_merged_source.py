"""What is read ahead for a loop begins with what has to be known first."""

import threading
from pathlib import Path

from pcap_zmq.captures.merged import Merged
from pcap_zmq.counters import FilesCounters
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.packet import Instant
from pcap_zmq.sources.merged_source import MergedSource
from testbed.waiting import wait_until
from tests.pcap_ffi.savefiles import Record, pcap

NOW = Instant(0, 0)


def trouble(name: str, error: PcapZmqError) -> None:
    raise AssertionError(name) from error


def merged(folder: Path) -> Merged:
    path = folder / "a.pcap"
    path.write_bytes(pcap([Record(1, 0, 4, bytes(4))]))
    return Merged([path], trouble)


def _wait(event: threading.Event) -> None:
    event.wait()


def test_who_stops_does_not_wait_for_what_is_to_be_known_first(tmp_path: Path) -> None:
    go_on = threading.Event()
    source = MergedSource(
        merged(tmp_path), FilesCounters(), lambda merged: _wait(go_on)
    )
    assert source.read(NOW) is None
    assert not source.is_exhausted()
    source.stop(NOW)
    assert source.is_exhausted()
    go_on.set()
    source.close()


def test_no_packet_comes_before_it(tmp_path: Path) -> None:
    known: list[int] = []
    source = MergedSource(
        merged(tmp_path),
        FilesCounters(),
        lambda merged: known.append(merged.extent().packets),
    )
    before: list[int] = []

    def has_come() -> bool:
        if source.read(NOW) is None:
            return False
        before.extend(known)
        return True

    try:
        wait_until(has_come, 10, "a batch")
        assert before == [1]
    finally:
        source.close()


def test_what_fails_there_is_the_failure_of_the_source(tmp_path: Path) -> None:
    def fail(merged: Merged) -> None:
        raise PcapZmqError("why")

    source = MergedSource(merged(tmp_path), FilesCounters(), fail)
    wait_until(lambda: source.read(NOW) is None and source.is_exhausted(), 10, "an end")
    assert str(source.failure) == "why"
    source.close()
