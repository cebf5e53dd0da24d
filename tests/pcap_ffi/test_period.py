"""A period keeps what lies in it, to the packet, and says what it leaves out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import Period, RecordsError, count_records
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.packet import Packet
from tests.support.properties import bounded
from tests.support.records import packets as any_packets
from tests.support.records import records_of

BOUNDS = st.none() | st.integers(0, 60)


def records_at(times: list[int]) -> bytearray:
    """Packets that know their places, each of another length."""
    return bytearray().join(
        encode_packet(Packet(time, 70, bytes([at]) * (at % 7)))
        for at, time in enumerate(times)
    )


def test_what_is_no_record_is_refused_before() -> None:
    """It takes only what was counted: that is who judges."""
    with pytest.raises(RecordsError):
        count_records(b"no record")


def test_counting_changes_nothing_and_takes_no_bounds() -> None:
    period = Period()
    period.count(bytes(records_at([3, 1])))
    assert (period.packets, period.backwards, period.newest_ns) == (2, 1, 3)
    for changing in (Period(1), Period(None, 5), Period(moved_ns=1)):
        with pytest.raises(ValueError, match="changes what it counts"):
            changing.count(b"")
    with pytest.raises(ValueError, match="changes what it counts"):
        Period(only_forward=True).count(b"")


def test_nothing_is_known_of_nothing() -> None:
    period = Period()
    assert period.keep(bytearray()) == 0
    assert (period.first_ns, period.newest_ns, period.kept) == (None, None, 0)


@given(
    st.lists(st.lists(st.integers(0, 60), max_size=12), max_size=4),
    BOUNDS,
    BOUNDS,
    st.booleans(),
    st.integers(0, 1 << 40),
)
@bounded
def test_what_lies_in_it_is_kept_and_moved(
    calls: list[list[int]],
    from_ns: int | None,
    until_ns: int | None,
    only_forward: bool,
    moved_ns: int,
) -> None:
    period = Period(from_ns, until_ns, moved_ns=moved_ns, only_forward=only_forward)
    kept: list[int] = []
    newest = -1
    for times in calls:
        records = records_at(times)
        packets = list(iter_packets(bytes(records)))
        found, before, beyond, backwards, skipped = [], 0, 0, 0, 0
        for packet in packets:
            time = packet.ts_ns
            if from_ns is not None and time < from_ns:
                before += 1
            elif until_ns is not None and time >= until_ns:
                beyond += 1
            else:
                backwards += time < newest
                if time < newest and only_forward:
                    skipped += 1
                    continue
                newest = max(newest, time)
                found.append(packet)
        left = period.keep(records)
        assert list(iter_packets(bytes(records[:left]))) == [
            Packet(packet.ts_ns + moved_ns, packet.origlen, packet.data)
            for packet in found
        ]
        assert (period.packets, period.before, period.beyond) == (
            len(found),
            before,
            beyond,
        )
        assert (period.backwards, period.skipped) == (backwards, skipped)
        kept += [packet.ts_ns for packet in found]
    assert period.kept == len(kept)
    assert period.first_ns == min(kept, default=None)
    assert period.newest_ns == max(kept, default=None)


@given(st.lists(any_packets(), max_size=10))
@bounded
def test_sizes_add_up(packets: list[Packet]) -> None:
    period = Period()
    records = bytearray(records_of(packets))
    assert period.keep(records) == len(records)
    assert bytes(records) == records_of(packets)
    assert period.octets == sum(len(packet.data) for packet in packets)
    assert period.octets_on_wire == sum(packet.origlen for packet in packets)


@pytest.mark.parametrize("beyond_ns", [1 << 63, 1 << 80])
def test_bounds_may_be_beyond_all_times(beyond_ns: int) -> None:
    """The year 9999, in an event from elsewhere, ended the process."""
    records = records_at([1, 2, 3])
    assert Period(-beyond_ns, beyond_ns).keep(records) == len(records)
    assert Period(beyond_ns, None).keep(records_at([1])) == 0
    assert Period(None, -beyond_ns).keep(records_at([1])) == 0
