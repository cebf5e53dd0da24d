"""Looks through one capture file and says what is in it; a broken one up to there."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pcap_ffi import Capture, CaptureError
from pcap_zmq.captures.archive import CHUNK
from pcap_zmq.captures.inputs import Member, Passed, members
from pcap_zmq.errors import FormatError, PcapZmqError
from pcap_zmq.formats.capture_index import Entry
from pcap_zmq.formats.compressed import MAGIC_MAX, Undo, kind_of

JOIN = 1 << 16
"""Octets that are put behind what was left over, so that only these are copied."""


Advanced = Callable[[int], None]
"""Is told how many octets of the file more were read; below 0: some are read again."""


def survey(
    path: Path, *, hashes: bool = True, advanced: Advanced = lambda octets: None
) -> list[Entry]:
    """An entry for the file, or for each in it where it is an archive. What cannot be
    read is an entry that says so. hashes: whether of the octets, too."""
    entries: list[Entry] = []
    passed, told = Passed(), 0

    def tell() -> None:
        nonlocal told
        advanced(passed.octets - told)
        told = passed.octets

    try:
        with members(path, passed) as found:
            entries.extend(
                survey_member(member, hashes=hashes, tell=tell) for member in found
            )
    except PcapZmqError as error:
        entries.append(
            Entry(str(path), str(path), 0, 0, broken_at=0, broken_why=str(error))
        )
    return entries


def survey_member(
    member: Member, *, hashes: bool = True, tell: Callable[[], None] = lambda: None
) -> Entry:
    """What is in one. Reads it to its end; where it breaks and no hash is asked for,
    only so far. tell: is called when more was read."""
    capture, digest = Capture(has_rates=True), hashlib.sha256() if hashes else None
    linktypes: dict[int, None] = {}
    why = ""
    chunks = _chunks(member, digest, tell)
    try:
        _look_through(capture, _undone(chunks), linktypes)
    except (CaptureError, FormatError) as error:
        why = str(error)
    if hashes:
        for _ in chunks:
            # The rest counts.
            pass
    sums, rates = capture.sums, capture.rates
    return Entry(
        path=member.name,
        source=member.source,
        source_size=member.source_size,
        source_mtime_ns=member.source_mtime_ns,
        file_size=member.file_size,
        kind=capture.kind,
        linktypes=tuple(linktypes),
        snaplen=sums.snaplen,
        packets=sums.packets,
        octets=sums.octets,
        octets_on_wire=sums.octets_on_wire,
        largest=sums.largest,
        truncated=sums.truncated,
        backwards=sums.backwards,
        without_time=sums.without_time,
        first_ns=sums.first_ns,
        last_ns=sums.last_ns,
        rates_start_ns=rates.start_ns,
        rates_span_ns=rates.span_ns,
        rates_packets=rates.packets,
        rates_octets=rates.octets,
        sha256="" if digest is None else digest.hexdigest(),
        broken_at=capture.at if why else None,
        broken_why=why,
    )


def _look_through(
    capture: Capture, pieces: Iterator[bytes], linktypes: dict[int, None]
) -> None:
    """Raises CaptureError and FormatError where it breaks."""
    rest = b""
    for piece in pieces:
        octets = memoryview(piece)
        while rest and octets:
            joined = rest + octets[:JOIN]
            taken = _take(capture, memoryview(joined), linktypes)
            if taken >= len(rest):
                octets = octets[taken - len(rest) :]
                rest = b""
            else:
                rest, octets = joined[taken:], octets[JOIN:]
        if octets:
            rest = bytes(octets[_take(capture, octets, linktypes) :])
    if rest or capture.is_torn:
        if not capture.at and not rest:
            raise CaptureError("it is empty", 0)
        raise CaptureError("it ends in the middle of something", capture.at)


def _take(capture: Capture, octets: memoryview, linktypes: dict[int, None]) -> int:
    """How many octets were whole items. Raises CaptureError."""
    all_taken = 0
    while True:
        taken, _, count, _ = capture.read(octets[all_taken:], None)
        if count or (capture.kind == "pcap" and not linktypes):
            linktypes[capture.linktype or 0] = None
        if not taken:
            return all_taken
        all_taken += taken


def _chunks(
    member: Member, digest: "hashlib._Hash | None", tell: Callable[[], None]
) -> Iterator[bytes]:
    while chunk := member.octets.read(CHUNK):
        tell()
        if digest is not None:
            digest.update(chunk)
        yield chunk


def _undone(chunks: Iterator[bytes]) -> Iterator[bytes]:
    beginning = b""
    for chunk in chunks:
        beginning += chunk
        if len(beginning) >= MAGIC_MAX:
            break
    kind = kind_of(beginning)
    if kind is None:
        if beginning:
            yield beginning
        yield from chunks
        return
    undo = Undo(kind)
    yield from undo.feed(beginning)
    for chunk in chunks:
        yield from undo.feed(chunk)
    if not undo.is_whole:
        raise FormatError(f"the {undo.name} data end in the middle")
