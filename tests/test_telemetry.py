"""Counters as lines for people: what is said, and when."""

import logging
from dataclasses import dataclass, field

import pytest

from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.formats.ledger import Line, Tally
from pcap_zmq.packet import Instant
from pcap_zmq.telemetry import ReceiverReport, Reporter, SenderReport

SECOND = 1_000_000_000
MIB = 1 << 20


@dataclass
class Said:
    """A report that remembers how much time each line was for."""

    seconds: list[float] = field(default_factory=list)

    def since_last(self, seconds: float) -> str:
        self.seconds.append(seconds)
        return "a line"

    def status(self) -> str:
        return "the status"

    def totals(self) -> str:
        return "the totals"

    def numbers(self) -> dict[str, object]:
        return {"packets": 0}


def at(seconds: float) -> Instant:
    return Instant(int(seconds * SECOND), 0)


def nothing_held() -> int:
    return 0


# When.


def test_a_line_is_said_every_interval_and_not_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    report = Said()
    reporter = Reporter(report, 60 * SECOND, at(1_000))
    with caplog.at_level(logging.INFO):
        for seconds in (1_000, 1_059, 1_060, 1_061, 1_130):
            reporter.serve(at(seconds))
    assert report.seconds == [60, 70]
    assert caplog.messages == ["a line", "a line"]


def test_the_next_line_is_due_an_interval_after_the_last() -> None:
    reporter = Reporter(Said(), 60 * SECOND, at(1_000))
    assert reporter.due() == 1_060 * SECOND
    reporter.serve(at(1_075))
    assert reporter.due() == 1_135 * SECOND


def test_an_interval_of_nothing_is_never() -> None:
    report = Said()
    reporter = Reporter(report, 0, at(1_000))
    reporter.serve(at(1_000_000))
    assert reporter.due() is None
    assert report.seconds == []


# The sender's.


def test_a_sender_says_what_has_happened_since_the_last_line() -> None:
    counters = SenderCounters()
    report = SenderReport(counters, lambda: 17)
    counters.received, counters.missed = 900, 100
    counters.raw_bytes, counters.payload_bytes = 20 * MIB, 5 * MIB
    assert report.since_last(10) == (
        "1000 packets logged (100/s), 20.0 MiB in (2.0 MiB/s), "
        "5.0 MiB out (512.0 KiB/s), ratio 0.25, held 17, missed 100, dropped 0"
    )
    counters.received += 50
    assert report.since_last(10).startswith("50 packets logged (5/s), 0 B in")


def test_what_hardly_ever_happens_is_said_only_when_it_has() -> None:
    counters = SenderCounters()
    report = SenderReport(counters, nothing_held)
    assert "overruns" not in report.totals()
    counters.overruns, counters.truncated_datagrams = 2, 1
    assert "overruns 2, truncated datagrams 1" in report.since_last(1)


def test_a_sender_that_sent_nothing_has_no_ratio() -> None:
    report = SenderReport(SenderCounters(), nothing_held)
    assert "ratio -" in report.since_last(1)
    assert "ratio -" in report.totals()


def test_drops_are_said_by_reason() -> None:
    counters = SenderCounters()
    counters.dropped.update({Reason.HIGH_WATERMARK: 5, Reason.SHUTDOWN: 2})
    counters.dropped[Reason.NOT_IP] += 0
    report = SenderReport(counters, nothing_held)
    assert "dropped 7 (high_watermark 5, shutdown 2)" in report.since_last(1)


def test_an_estimate_is_said_to_be_one() -> None:
    counters = SenderCounters(missed=3, missed_tail=40)
    report = SenderReport(counters, nothing_held)
    assert "missed 3 and about 40 more" in report.totals()


def test_the_totals_of_a_sender_are_since_its_start() -> None:
    counters = SenderCounters(
        received=10, missed=2, acknowledged=9, batches=4, compressed_batches=3
    )
    counters.raw_bytes, counters.payload_bytes = 4096, 1024
    counters.stamped_here, counters.overruns, counters.reconnects = 5, 6, 7
    report = SenderReport(counters, lambda: 1)
    report.since_last(1)
    assert report.totals() == (
        "logged 12, acknowledged 9, held 1, missed 2, dropped 0, overruns 6, "
        "4.0 KiB in 4 batches (3 compressed), 1.0 KiB encoded, ratio 0.25, "
        "stamped here 5, reconnects 7"
    )


def test_batches_that_do_not_shrink_are_said_where_there_are_any() -> None:
    counters = SenderCounters(batches=9, compressed_batches=3, incompressible_batches=4)
    report = SenderReport(counters, nothing_held)
    assert "in 9 batches (3 compressed, incompressible 4)" in report.totals()


# The receiver's.


def test_a_receiver_says_what_has_happened_since_the_last_line() -> None:
    counters = ReceiverCounters()
    report = ReceiverReport(counters, lambda: 3)
    counters.written, counters.written_bytes = 1_000, 40 * MIB
    counters.payload_bytes, counters.raw_bytes = 10 * MIB, 40 * MIB
    counters.dropped[Reason.LINKTYPE] = 8
    assert report.since_last(10) == (
        "1000 packets written (100/s), 10.0 MiB in (1.0 MiB/s), "
        "40.0 MiB out (4.0 MiB/s), ratio 0.25, held 3, dropped 8 (linktype 8)"
    )
    assert report.since_last(10).startswith("0 packets written (0/s), 0 B in")


def test_the_totals_of_a_receiver_are_since_its_start() -> None:
    counters = ReceiverCounters(
        received=100,
        written=90,
        written_bytes=5 << 30,
        repeated=4,
        readers=2,
        replayed=3,
        malformed_messages=6,
        unsupported_messages=7,
    )
    report = ReceiverReport(counters, lambda: 10)
    report.since_last(1)
    assert report.totals() == (
        "received 100, written 90 (5.0 GiB), held 10, dropped 0, repeated 4, ratio -, "
        "readers 2, replayed 3, malformed messages 6, unsupported 7, unaccounted 0"
    )


def test_a_receiver_says_what_its_senders_say_that_they_lost() -> None:
    counters = ReceiverCounters()
    counters.dropped[Reason.MALFORMED] = 1
    tally = Tally(logged=12, missed=3, missed_tail=2)
    tally.dropped.update({Reason.HIGH_WATERMARK: 4, Reason.MALFORMED: 1})
    report = ReceiverReport(counters, lambda: 0, lambda: [line_of(tally)])
    said = "; the senders missed 5, dropped 4 (high_watermark 4), unaccounted 2"
    assert report.totals().endswith(said)
    assert report.since_last(1).endswith(said)


def line_of(tally: Tally) -> Line:
    return Line("gateway", "", "", "", 0, 0, 0, True, 1, 0, 0, 0, tally)
