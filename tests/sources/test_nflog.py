"""NFLOG groups of a real kernel become batches, and counters say what happened."""

import ctypes
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from nflog_ffi import limits
from pcap_ffi import count_records
from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import NflogError, NflogPermissionError
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import Poller
from pcap_zmq.sources.nflog import NflogSource, qtimeout_for, rest_for
from testbed.waiting import wait_until
from tests.netns import here

pytestmark = [pytest.mark.netns, pytest.mark.inside]

PORT = 9
GROUP = 5

BATCH_BYTES = 1 << 18
AGE_NS = 200 * NS_PER_MS

# Longer than a source rests after it has read, much shorter than the age.
SOON_NS = 20 * NS_PER_MS

# Long after the start of a machine; from here on the test says what time it is.
START_NS = 10**15


@contextmanager
def opened(
    counters: SenderCounters | None = None, **options: Any
) -> Iterator[NflogSource]:
    """A source of one group, to which datagrams to our port are logged."""
    here.log(f"udp dport {PORT}", f"group {GROUP}")
    settings: dict[str, Any] = {
        "batch_bytes": BATCH_BYTES,
        "batch_age_ns": AGE_NS,
        "snaplen": limits.SNAPLEN.default,
        "nlbufsiz": limits.NLBUFSIZ.default,
        "qthreshold": limits.QTHRESHOLD.default,
        "qtimeout_cs": None,
        "rcvbuf": limits.RCVBUF.default,
        "counters": counters or SenderCounters(),
    }
    with closing(NflogSource([GROUP], **settings | options)) as source:
        yield source


def at(mono_ns: int) -> Instant:
    return Instant(mono_ns, 0)


def flush() -> None:
    """Until the kernel gathers nothing any more and all is in the socket."""
    wait_until(lambda: here.queued(GROUP) == 0, here.TIMEOUT_S, "the kernel's flush")


def payloads(batches: list[Batch]) -> list[bytes]:
    packets = [
        packet for batch in batches for packet in iter_packets(bytes(batch.records))
    ]
    return [here.udp_payload(packet.data) for packet in packets]


def read_out(source: NflogSource, now_ns: int) -> list[Batch]:
    """All batches that there are, each at a later time."""
    batches: list[Batch] = []
    while (batch := source.read(at(now_ns))) is not None:
        assert batch.count == count_records(batch.records)
        batches.append(batch)
        now_ns += NS_PER_S
    return batches


def test_a_group_that_is_held_is_refused_in_our_own_words() -> None:
    with opened(), pytest.raises(NflogPermissionError, match="group 5 is held by"):
        NflogSource(
            [GROUP],
            batch_bytes=BATCH_BYTES,
            batch_age_ns=AGE_NS,
            snaplen=limits.SNAPLEN.default,
            nlbufsiz=limits.NLBUFSIZ.default,
            qthreshold=limits.QTHRESHOLD.default,
            qtimeout_cs=1,
            rcvbuf=limits.RCVBUF.default,
            counters=SenderCounters(),
        )
    assert issubclass(NflogPermissionError, NflogError)


def test_nothing_is_read_where_nothing_was_logged() -> None:
    with opened() as source:
        assert source.read(at(START_NS)) is None
        assert not source.is_exhausted()


def test_a_lone_packet_after_a_quiet_time_leaves_at_once() -> None:
    with opened() as source:
        here.send_udp([b"alone"], PORT)
        Poller().wait(source.watch(wanted=True), 20 * NS_PER_S)
        batch = source.read(at(START_NS))
        assert batch is not None
        assert (batch.count, payloads([batch])) == (1, [b"alone"])


def test_a_packet_soon_after_a_batch_waits_for_the_batch_age() -> None:
    with opened() as source:
        source.serve(at(START_NS))
        here.send_udp([b"first"], PORT)
        flush()
        assert source.read(at(START_NS)) is not None
        here.send_udp([b"second"], PORT)
        flush()
        now_ns = START_NS + SOON_NS
        assert source.read(at(now_ns)) is None
        assert source.held_packets == 1
        # The kernel has had its part of the age already.
        due_ns = source.due()
        assert due_ns is not None
        assert START_NS < due_ns <= START_NS + AGE_NS
        batches = read_out(source, START_NS + AGE_NS)
        assert payloads(batches) == [b"second"]
        assert source.held_packets == 0


def test_a_full_batch_leaves_before_its_age_and_the_rest_stays() -> None:
    sent = here.numbered(500, 1000)
    with opened() as source:
        here.send_udp([b"quiet"], PORT)
        flush()
        assert source.read(at(START_NS)) is not None
        here.send_udp(sent, PORT)
        flush()
        now_ns = START_NS + SOON_NS
        batch = source.read(at(now_ns))
        assert batch is not None
        assert BATCH_BYTES - 2_000 < len(batch.records) <= BATCH_BYTES
        rest = read_out(source, START_NS + NS_PER_S)
    assert payloads([batch, *rest]) == sent


def test_a_batch_that_was_given_away_is_not_written_to_again() -> None:
    sent = here.numbered(600, 1000)
    with opened() as source:
        here.send_udp(sent, PORT)
        flush()
        batches = read_out(source, START_NS)
        kept = payloads(batches)
        here.send_udp(here.numbered(600, 1000, first=5_000), PORT)
        flush()
        read_out(source, START_NS + 100 * NS_PER_S)
        assert payloads(batches) == kept == sent


def address_of(batch: Batch) -> int:
    assert isinstance(batch.records, memoryview)
    return ctypes.addressof(ctypes.c_char.from_buffer(batch.records))


def test_a_batch_that_nobody_holds_leaves_its_place_to_the_next() -> None:
    with opened() as source:
        addresses, kept = [], []
        for turn in range(20):
            here.send_udp([b"%d" % turn], PORT)
            flush()
            (batch,) = read_out(source, START_NS + turn * 100 * NS_PER_S)
            addresses.append(address_of(batch))
            if turn % 2:
                kept.append(batch)
            del batch
        # One that is kept is where the one before it was, which was not.
        assert addresses[1::2] == addresses[::2]
        assert len(set(addresses)) == len(kept)
        assert payloads(kept) == [b"%d" % turn for turn in range(1, 20, 2)]


def test_the_counters_say_what_was_logged() -> None:
    counters = SenderCounters()
    with opened(counters) as source:
        here.send_udp(here.numbered(30, 100), PORT)
        flush()
        read_out(source, START_NS)
    assert (counters.received, counters.missed, counters.overruns) == (30, 0, 0)
    assert (counters.stamped_here, counters.missed_tail) == (30, 0)
    assert counters.dropped[Reason.NOT_IP] == 0


def test_the_counters_say_what_was_lost_and_what_probably_was() -> None:
    counters = SenderCounters()
    with opened(counters, rcvbuf=limits.RCVBUF.minimum) as source:
        here.send_udp(here.numbered(3_000, 500), PORT)
        flush()
        read_out(source, START_NS)
        source.serve(at(START_NS + 10 * NS_PER_S))
        assert (counters.missed, counters.overruns > 0) == (0, True)
        assert counters.missed_tail > 0

        here.send_udp(here.numbered(1, 500), PORT)
        flush()
        read_out(source, START_NS + 20 * NS_PER_S)
    assert counters.received + counters.missed == counters.logged == 3_001
    assert counters.missed_tail == 0


def test_the_counters_are_up_to_date_while_a_batch_waits() -> None:
    counters = SenderCounters()
    with opened(counters) as source:
        here.send_udp([b"first"], PORT)
        flush()
        assert source.read(at(START_NS)) is not None
        here.send_udp([b"second"], PORT)
        flush()
        assert source.read(at(START_NS + SOON_NS)) is None
        assert (counters.received, source.held_packets) == (2, 1)


def test_under_load_the_socket_is_left_alone_for_a_while() -> None:
    with opened() as source:
        source.serve(at(START_NS))
        here.send_udp([b"first"], PORT)
        flush()
        assert source.read(at(START_NS)) is not None
        assert list(source.watch(wanted=True))
        sent = here.numbered(1_000, 200)
        here.send_udp(sent, PORT)
        flush()
        now_ns = START_NS + 2 * NS_PER_MS
        assert source.read(at(now_ns)) is None
        assert list(source.watch(wanted=True)) == []
        due_ns = source.due()
        assert due_ns is not None
        assert now_ns < due_ns <= now_ns + 10 * NS_PER_MS

        here.send_udp([b"last"], PORT)
        flush()
        assert source.read(at(now_ns + NS_PER_MS)) is None
        assert source.held_packets == len(sent)
        batches = read_out(source, START_NS + AGE_NS)
    assert payloads(batches) == [*sent, b"last"]


def test_large_batches_hold_what_was_logged_in_order() -> None:
    # Several of the kernel's messages have room in one, whatever their lengths.
    sent = [octets for n in range(9) for octets in here.numbered(300, 199 + 97 * n)]
    with opened(batch_bytes=1 << 20) as source:
        batches = []
        for turn in range(4):
            here.send_udp(sent[turn::4], PORT)
            flush()
            batches += read_out(source, START_NS + turn * 10 * NS_PER_S)
        kept = payloads(batches)
    assert kept == [octets for turn in range(4) for octets in sent[turn::4]]


def test_a_stop_reads_what_the_kernel_still_gathers() -> None:
    counters = SenderCounters()
    with opened(counters, qtimeout_cs=6_000) as source:
        here.send_udp([b"one", b"two"], PORT)
        assert here.queued(GROUP) == 2
        source.stop(at(START_NS))
        here.send_udp([b"too late"], PORT)
        batches = read_out(source, START_NS)
        assert source.is_exhausted()
        assert source.read(at(START_NS + NS_PER_S)) is None
        assert (source.due(), list(source.watch(wanted=True))) == (None, [])
    assert payloads(batches) == [b"one", b"two"]
    assert counters.received == 2


def test_a_stop_reads_everything_however_many_batches_it_takes() -> None:
    sent = here.numbered(1_500, 600)
    with opened() as source:
        here.send_udp(sent, PORT)
        source.stop(at(START_NS))
        batches = []
        # At the same time, so that no age has any part in it.
        while (batch := source.read(at(START_NS))) is not None:
            batches.append(batch)
        assert source.is_exhausted()
    assert len(batches) >= 4
    assert payloads(batches) == sent


def test_the_kernel_has_half_of_the_age_within_its_bounds_and_ours() -> None:
    ages_ms = (1, 20, 100, 10_000)
    assert [qtimeout_for(age * NS_PER_MS) for age in ages_ms] == [1, 1, 5, 50]


def test_a_rest_is_bounded_by_the_age_and_by_what_the_socket_has_room_for() -> None:
    mib = 1 << 20
    assert rest_for(10 * NS_PER_MS, 32 * mib) == 8 * NS_PER_MS
    assert rest_for(5 * NS_PER_MS, 32 * mib) == 5 * NS_PER_MS
    assert rest_for(0, 32 * mib) == NS_PER_MS
    assert 3 * NS_PER_MS < rest_for(10 * NS_PER_MS, 8 * mib) < 4 * NS_PER_MS
    assert rest_for(10 * NS_PER_MS, 212_992) == 0
