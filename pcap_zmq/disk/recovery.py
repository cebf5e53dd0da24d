"""What an earlier run of the sender left on the disk, and whether to go on with it.

Specification: docs/spool.md.

Theory of operation. The state names the record that has the number of the first batch
not acknowledged; the records after it have the numbers after that, as far as numbers
were sent. Some batches that were sent may have been in memory only: they died, and a
*hole* is written in place of each, so that no number is used for two batches. Where
the state may be older than what was sent, which only a machine that went down can
bring about, or a segment among those is damaged, no number can be trusted: what is on
the disk goes as a new stream then. That may repeat batches, and loses none.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from pcap_zmq.disk.segments import Segments
from pcap_zmq.disk.state import StateFile
from pcap_zmq.errors import SpoolFormatError
from pcap_zmq.formats import spool, wire
from pcap_zmq.formats.spool import Place
from pcap_zmq.formats.spool_state import SENT_ENTRIES, Left, State, died

logger = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
START = Place(0, spool.SEGMENT_HEADER_LENGTH, 0)


@dataclass(slots=True)
class Recovered:
    """Where to go on."""

    left: Left | None
    place: Place
    """Of the first record that is unread."""
    unread_packets: int
    bound: int = 0
    """So many of the unread records have numbers that the receiver may know."""
    bound_segment: int = 0
    """The last of them is there."""


def boot_id() -> bytes:
    """16 octets, another at each start of the machine; zeros where it is not known."""
    try:
        return bytes.fromhex(BOOT_ID.read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def recover(
    directory: Path, segments: Segments, state_file: StateFile, boot: bytes
) -> Recovered:
    """Looks at all that was left. Raises OSError."""
    state = state_file.load()
    if state is None:
        return _anew(directory, segments, _beginning(segments, START))
    segments.last_number = max(segments.last_number, state.place.segment)
    for segment in segments:
        if segment.number < state.place.segment:
            segments.remove(segment)
    place = _beginning(segments, state.place)
    is_newest = state.has_ended or (any(boot) and state.boot == boot)
    if not is_newest or segments.doubtful >= state.place.segment:
        return _anew(directory, segments, place)
    recovered = Recovered(None, place, _packets_from(segments, place))
    on_disk = recovered.unread_packets
    if not _bind(segments, state, recovered, state_file):
        return _anew(directory, segments, place)
    if _has_unread(segments, place) or died(state.totals, on_disk) > 0:
        recovered.left = Left(
            state.stream,
            state.first,
            state.sent,
            recovered.unread_packets,
            state.totals,
        )
        logger.info(
            "%s holds %d packets of an earlier run; they go first", directory, on_disk
        )
    if state.has_ended:
        # From now on that is not true any more, whatever happens.
        state_file.save(replace(state, has_ended=False, boot=boot))
        state_file.sync()
    return recovered


def _anew(directory: Path, segments: Segments, place: Place) -> Recovered:
    """What is on the disk goes as a new stream."""
    packets = _packets_from(segments, place)
    if not _has_unread(segments, place):
        return Recovered(None, place, packets)
    logger.warning(
        "%s was not closed before the machine went down, or is damaged: %d packets go "
        "as a new stream; the receiver may get some of them for the second time",
        directory,
        packets,
    )
    return Recovered(Left(None, 1, 0, packets, wire.NO_TOTALS), place, packets)


def _beginning(segments: Segments, place: Place) -> Place:
    """The place, or where that can be."""
    segment = segments.at(place.segment)
    if segment is None:
        return place
    if segment.number > place.segment:
        return segment.start
    return segment.stop if place.offset > segment.end else place


def _packets_from(segments: Segments, place: Place) -> int:
    """In all records from this place on."""
    packets = 0
    for segment in segments:
        if segment.number >= place.segment:
            packets += segment.packets
        if segment.number == place.segment:
            packets -= place.packets
    return packets


def _has_unread(segments: Segments, place: Place) -> bool:
    stop = segments.stop
    return stop is not None and place.key < stop.key


def _bind(
    segments: Segments, state: State, recovered: Recovered, state_file: StateFile
) -> bool:
    """Finds the records that have their numbers already, and puts holes where batches
    with numbers have died. False: they cannot be told apart."""
    number, place = state.first, recovered.place
    while number <= state.sent:
        segment = segments.at(place.segment)
        if segment is None:
            break
        offset = place.offset if segment.number == place.segment else START.offset
        if offset >= segment.end:
            segment.rest()
            place = Place(segment.number + 1, START.offset, 0)
            continue
        try:
            length = segment.header_at(offset).length
        except SpoolFormatError:
            return False
        end = offset + spool.RECORD_HEADER_LENGTH + length
        place = Place(segment.number, end, 0)
        recovered.bound_segment = segment.number
        recovered.bound += 1
        number += 1
    if state.sent - number >= SENT_ENTRIES:
        return False
    if number <= state.sent:
        counts = [
            state_file.sent_with(sequence) or 0
            for sequence in range(number, state.sent + 1)
        ]
        lost = died(state.totals, recovered.unread_packets)
        _fill(segments, recovered, _at_most(counts, lost))
    return True


def _at_most(counts: list[int], total: int) -> list[int]:
    """The same numbers, cut where they would add up to more."""
    cut = []
    for count in counts:
        cut.append(max(0, min(count, total)))
        total -= count
    return cut


def _fill(segments: Segments, recovered: Recovered, counts: list[int]) -> None:
    """Appends a hole for each of these numbers of packets."""
    segment = segments.add()
    try:
        segment.append_holes(counts)
    except OSError:
        segments.remove(segment)
        raise
    segment.finish()
    segment.rest()
    segments.used_bytes += segment.end - segment.start.offset
    recovered.place = _beginning(segments, recovered.place)
    recovered.unread_packets += segment.packets
    recovered.bound += segment.records
    recovered.bound_segment = segment.number
