"""What is seen of live counters: every term, and no more series than are bounded."""

from collections import Counter
from collections.abc import Sequence

from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.formats.ledger import Line, Tally
from pcap_zmq.metrics import receiver, sender
from pcap_zmq.metrics.family import Distribution
from pcap_zmq.metrics.latency import Latency
from pcap_zmq.metrics.receiver import (
    OTHERS,
    SENDERS_MAX,
    ReceiverObserver,
    ReceiverSources,
)
from pcap_zmq.metrics.sender import SenderObserver, SenderSources
from pcap_zmq.packet import Batch
from tests.metrics.snapshots import NOW, line, numbers
from tests.pcap_ffi.test_latency import record
from tests.support.pipeline_fakes import ManualClock

SENDER = "pcap_zmq_receiver_sender_"


def observe_sender(counters: SenderCounters, held: int = 0) -> SenderObserver:
    return SenderObserver(
        SenderSources(
            counters=counters,
            libzmq="4.3.5",
            held=lambda: held,
            rate=lambda now_ns: 12.5,
            low_watermark=1,
            high_watermark=0,
            queue_bytes=lambda: 7,
            queue_limit=8,
            is_up=lambda: True,
        )
    )


class Ledger:
    """A receiver whose ledger says what the test says."""

    def __init__(self) -> None:
        self.lines: Sequence[Line] = ()
        self.clock = ManualClock()
        self.latency = Latency(self.clock, nanoseconds=True)
        self.counters = ReceiverCounters()
        self.observe = ReceiverObserver(
            ReceiverSources(
                counters=self.counters,
                libzmq="4.3.5",
                held=lambda: 0,
                ledger=lambda now: self.lines,
                latency=self.latency,
                queue_bytes=lambda: 0,
                queue_limit=8,
                connections=lambda: 3,
                connections_limit=lambda: 4,
                has_reader=None,
            )
        )

    def show(self, *lines: Line) -> dict[str, dict[tuple[str, ...], float]]:
        self.lines = lines
        return numbers(self.observe(NOW))


def test_a_sender_shows_all_that_it_has_and_all_reasons_from_the_start() -> None:
    snapshot = observe_sender(SenderCounters())(NOW)
    assert {family.metric for family in snapshot} == set(sender.METRICS)
    dropped = numbers(snapshot)["pcap_zmq_sender_dropped_packets_total"]
    assert dropped == {(reason.value,): 0 for reason in sender.REASONS}


def test_a_sender_s_terms_add_up_to_what_was_logged() -> None:
    counters = SenderCounters(received=100, missed=7, missed_tail=3, acknowledged=60)
    counters.dropped[Reason.NOT_IP] = 15
    shown = numbers(observe_sender(counters, held=24)(NOW))
    assert shown["pcap_zmq_sender_unaccounted_packets"] == {(): 1}
    # The estimate is apart: it is taken back, and a counter must not fall.
    assert shown["pcap_zmq_sender_logged_packets_total"] == {(): 107}
    assert shown["pcap_zmq_sender_missed_tail_packets"] == {(): 3}
    assert shown["pcap_zmq_sender_held_packets"] == {(): 24}


def test_what_is_held_is_looked_for_before_the_counters_are_read() -> None:
    """Looking for it brings them up to date."""
    counters = SenderCounters()

    def held() -> int:
        counters.received += 5
        return 5

    sources = SenderSources(
        counters=counters,
        libzmq="",
        held=held,
        rate=lambda now_ns: 0,
        low_watermark=0,
        high_watermark=0,
        queue_bytes=lambda: 0,
        queue_limit=0,
        is_up=lambda: False,
    )
    shown = numbers(SenderObserver(sources)(NOW))
    assert shown["pcap_zmq_sender_unaccounted_packets"] == {(): 0}


def test_a_snapshot_does_not_change_with_what_it_was_taken_of() -> None:
    counters = SenderCounters(received=1)
    snapshot = observe_sender(counters)(NOW)
    counters.received = 2
    counters.dropped[Reason.NOT_IP] = 1
    shown = numbers(snapshot)
    assert shown["pcap_zmq_sender_received_packets_total"] == {(): 1}
    assert shown["pcap_zmq_sender_dropped_packets_total"]["not_ip",] == 0


def test_a_receiver_shows_all_that_it_has_of_itself_and_of_each_sender() -> None:
    world = Ledger()
    world.lines = [line("gw1")]
    shown = {family.metric for family in world.observe(NOW)}
    # There is a reader only where the output is a FIFO.
    assert shown == set(receiver.METRICS) - {receiver.READER}


def test_every_term_of_a_sender_s_line_is_shown() -> None:
    tally = Tally(
        logged=1_000,
        delivered=500,
        held_by_sender=100,
        held_by_receiver=50,
        missed=70,
        missed_tail=30,
        elsewhere=200,
        dropped=Counter({Reason.LINKTYPE: 40, Reason.NOT_IP: 5}),
    )
    shown = Ledger().show(line("gw1", tally))
    terms = [
        shown[f"{SENDER}{term}"]["gw1",]
        for term in (
            "delivered_packets_total",
            "missed_packets_total",
            "elsewhere_packets_total",
            "unaccounted_packets",
        )
    ]
    assert terms == [500, 70, 200, 5]
    held = shown[f"{SENDER}held_packets"]
    assert held == {("gw1", "sender"): 100, ("gw1", "receiver"): 50}
    dropped = shown[f"{SENDER}dropped_packets_total"]
    assert set(dropped) == {("gw1", reason.value) for reason in Reason}
    logged = shown[f"{SENDER}logged_packets_total"]["gw1",]
    assert logged == sum(terms) + sum(held.values()) + sum(dropped.values())


def test_senders_of_one_name_are_shown_together() -> None:
    """Two series with the same labels would spoil the whole scrape."""
    shown = Ledger().show(
        line("gw", Tally(logged=1, delivered=1)),
        line("gw", Tally(logged=2, delivered=2), is_here=False),
    )
    assert shown[f"{SENDER}delivered_packets_total"] == {("gw",): 3}
    assert shown[f"{SENDER}connected"] == {("gw",): 1}
    assert shown["pcap_zmq_receiver_senders"] == {(): 2}
    assert shown["pcap_zmq_receiver_senders_connected"] == {(): 1}


def test_however_many_senders_come_the_series_are_bounded_and_the_sums_right() -> None:
    lines = [line(f"gw{n}", Tally(logged=1)) for n in range(SENDERS_MAX + 500)]
    logged = Ledger().show(*lines)[f"{SENDER}logged_packets_total"]
    assert len(logged) == SENDERS_MAX + 1
    assert logged[OTHERS,] == 500
    assert sum(logged.values()) == len(lines)


def test_whoever_has_a_label_keeps_it_and_one_that_is_free_is_given_again() -> None:
    world = Ledger()
    first = [line(f"gw{n}") for n in range(SENDERS_MAX)]
    world.show(*first)
    shown = world.show(line("new"), *first)
    assert set(shown[f"{SENDER}connected"]) == {
        *((held.name,) for held in first),
        (OTHERS,),
    }
    shown = world.show(line("new"), *first[1:])
    assert ("new",) in shown[f"{SENDER}connected"]
    assert (OTHERS,) not in shown[f"{SENDER}connected"]


def test_packets_taken_back_from_a_dead_reader_let_no_counter_fall() -> None:
    world = Ledger()
    world.counters.written = 100
    world.show(line("gw", Tally(logged=100, delivered=100)))
    world.counters.written = 60
    shown = world.show(line("gw", Tally(logged=100, delivered=60, held_by_receiver=40)))
    assert shown[f"{SENDER}delivered_packets_total"] == {("gw",): 100}
    assert shown["pcap_zmq_receiver_delivered_packets_total"] == {(): 100}
    # The equation itself is judged by what is true now.
    assert shown[f"{SENDER}unaccounted_packets"] == {("gw",): 0}


def test_latency_is_cumulative_and_in_seconds() -> None:
    world = Ledger()
    ages_ns = (500_000, 3_000_000, 90_000_000_000)
    now_ns = world.clock.now_ns = 2_000_000_000_000
    octets = b"".join(record(now_ns - age) for age in ages_ns)
    world.latency.delivered(Batch(101, octets, 3))
    world.latency.delivered(Batch(101, b"", 0))
    (shown,) = [f for f in world.observe(NOW) if isinstance(f, Distribution)]
    by_bound = dict(zip((*shown.bounds, None), shown.counts, strict=True))
    assert (by_bound[0.001], by_bound[0.005], by_bound[60.0]) == (1, 2, 2)
    assert by_bound[None] == 3
    assert abs(shown.sum - 90.0035) < 1e-6
