"""What a relay tells its next hop: sums over its senders, of one moment."""

from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.ledger import Tally
from pcap_zmq.formats.relayed import Relayed
from pcap_zmq.formats.spool_state import Left
from pcap_zmq.formats.wire import SenderTotals, StreamId

STREAM = StreamId(b"r" * 16, 1)
SLOT_MAX = (1 << 64) - 1


def balances(totals: SenderTotals) -> bool:
    """Whether every packet is in one term."""
    return totals.logged == (
        totals.acknowledged
        + totals.held
        + totals.missed
        + totals.missed_tail
        + sum(totals.dropped.values())
    )


def told(relayed: Relayed, held: int, spooled: int = 0) -> SenderTotals:
    return wire.decode_totals(relayed.encode(held, spooled))


def sums(**terms: int) -> Tally:
    """Balanced ones: what was logged follows."""
    tally = Tally()
    for name, packets in terms.items():
        setattr(tally, name, packets)
    tally.logged = -tally.unaccounted
    return tally


def test_before_any_sender_came_it_tells_nothing() -> None:
    relayed = Relayed(ReceiverCounters(), SenderCounters(), None)
    assert relayed.encode(0, 0) == wire.NO_TOTALS


@given(
    at_senders=st.integers(0, 50),
    came=st.integers(0, 50),
    came_since=st.integers(0, 100),
    acknowledged=st.integers(0, 150),
    elsewhere=st.integers(0, 5),
    malformed=st.integers(0, 5),
)
def test_the_equation_holds_between_two_looks_at_the_senders(
    at_senders: int,
    came: int,
    came_since: int,
    acknowledged: int,
    elsewhere: int,
    malformed: int,
) -> None:
    """However much has come since, and whatever became of it."""
    received, sent = ReceiverCounters(), SenderCounters()
    received.received = came
    relayed = Relayed(received, sent, None)
    tally = sums(
        held_by_sender=at_senders,
        held_by_receiver=came,
        missed=3,
        missed_tail=2,
        elsewhere=elsewhere,
    )
    tally.dropped[Reason.NOT_IP] = 4
    tally.logged += 4
    relayed.look(tally)
    received.received += came_since
    received.dropped[Reason.MALFORMED] += min(malformed, came_since)
    here = came + came_since - min(malformed, came_since)
    sent.acknowledged = min(acknowledged, here)
    totals = told(relayed, held=here - sent.acknowledged)
    assert balances(totals)
    assert (totals.missed, totals.missed_tail) == (3, 2)
    assert totals.dropped[Reason.NOT_IP] == 4
    assert totals.dropped[Reason.DAMAGED] == min(malformed, came_since)
    assert totals.logged >= 9 + at_senders + came


def test_what_senders_cannot_account_for_the_relay_cannot_either() -> None:
    relayed = Relayed(ReceiverCounters(), SenderCounters(), None)
    relayed.look(Tally(logged=10, held_by_sender=7))
    totals = told(relayed, held=0)
    assert (totals.logged, totals.held) == (10, 7)


def test_a_sender_that_was_forgotten_leaves_what_it_delivered() -> None:
    received, sent = ReceiverCounters(), SenderCounters()
    received.received = received.written = sent.acknowledged = 50
    relayed = Relayed(received, sent, None)
    relayed.look(sums(delivered=20))
    assert balances(told(relayed, held=0))


def test_what_turned_out_not_to_be_lost_is_not_told_as_a_loss_below_zero() -> None:
    received, sent = ReceiverCounters(), SenderCounters()
    received.received = received.written = sent.acknowledged = 30
    relayed = Relayed(received, sent, None)
    tally = Tally(logged=20, delivered=30)
    tally.dropped[Reason.SENDER_GONE] = -10
    relayed.look(tally)
    totals = told(relayed, held=0)
    assert balances(totals)
    assert totals.dropped[Reason.SENDER_GONE] == 0


def test_what_the_disk_lost_is_a_loss_and_what_died_in_memory_is_none() -> None:
    """Its senders have what died in memory, and send it again."""
    received, sent = ReceiverCounters(), SenderCounters()
    received.received = received.written = 30
    sent.acknowledged = 20
    sent.dropped[Reason.SPOOL_FULL] = 6
    sent.dropped[Reason.DAMAGED] = 4
    sent.dropped[Reason.SHUTDOWN] = 9
    relayed = Relayed(received, sent, None)
    relayed.look(sums(delivered=30))
    totals = told(relayed, held=0)
    assert balances(totals)
    assert totals.dropped[Reason.SPOOL_FULL] == 6
    assert totals.dropped[Reason.DAMAGED] == 4
    assert totals.dropped[Reason.SHUTDOWN] == 0


def test_it_goes_on_from_what_an_earlier_run_left_on_the_disk() -> None:
    """What that one held in memory comes again from the senders."""
    before = SenderCounters(received=100, missed=5, acknowledged=40)
    before.dropped[Reason.NOT_IP] = 3
    totals = wire.encode_totals(before, 57, 20)
    left = Left(STREAM, first=5, sent=4, packets=20, totals=totals)
    sent = SenderCounters()
    relayed = Relayed(ReceiverCounters(), sent, left)
    first = told(relayed, held=20, spooled=20)
    assert balances(first)
    assert (first.logged, first.acknowledged, first.spooled) == (68, 40, 20)
    # A batch that had a number and died in memory goes as one of no packets.
    sent.acknowledged += 18
    sent.dropped[Reason.SENDER_GONE] += 2
    last = told(relayed, held=0)
    assert balances(last)
    assert last.dropped[Reason.SENDER_GONE] == 0
    assert last.logged == 66


def test_a_disk_whose_numbers_cannot_be_trusted_is_a_new_stream_of_its_packets() -> (
    None
):
    left = Left(None, 1, 0, packets=12, totals=wire.NO_TOTALS)
    totals = told(Relayed(ReceiverCounters(), SenderCounters(), left), held=12)
    assert balances(totals)
    assert totals.logged == 12


@given(st.lists(st.integers(-SLOT_MAX, 4 * SLOT_MAX), min_size=5, max_size=5))
def test_whatever_senders_say_it_fits_into_a_message(terms: list[int]) -> None:
    names = ("logged", "held_by_sender", "missed", "missed_tail", "elsewhere")
    tally = Tally()
    for name, number in zip(names, terms, strict=True):
        setattr(tally, name, number)
    tally.dropped[Reason.NOT_IP] = terms[0]
    relayed = Relayed(ReceiverCounters(), SenderCounters(), None)
    relayed.look(tally)
    assert len(relayed.encode(1, 0)) == 128
