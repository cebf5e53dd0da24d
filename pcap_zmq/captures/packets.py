"""Batches of packets out of capture files, one after the other, as they are wanted.

Waits for what it reads: for a thread, or a process of its own.
"""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeAlias

from pcap_ffi import CAPLEN_MAX, RECORD_HEADER, new_buffer
from pcap_zmq.captures.capture_file import CaptureFile, Ended
from pcap_zmq.captures.inputs import Member, Passed, find, members, size_of
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.packet import Batch

BATCH_BYTES = 1 << 20
"""Of packet records, where nobody asks for less."""

Trouble: TypeAlias = Callable[[str, PcapZmqError], None]
"""Is told the name of a file that breaks, and why: its packets so far were given, and
what comes next is the next file."""


def batches(
    file: CaptureFile, batch_bytes: int = BATCH_BYTES, age_ns: int = 0
) -> Generator[Batch, None, None]:
    """All packets of a file. age_ns: a packet waits no longer for others, where the
    file is a pipe. Raises SavefileError and InputError where it breaks, when all before
    that was given."""
    capacity = max(batch_bytes, RECORD_HEADER + CAPLEN_MAX)
    ended = Ended.FULL
    while ended is not Ended.END:
        buffer = new_buffer(capacity)
        used, count, ended = file.read_into(buffer, age_ns)
        if count:
            records = buffer[:used]
            if used < capacity - capacity // 8:
                # Small batches do not each keep a large buffer occupied.
                records = memoryview(bytearray(records))
            yield Batch(file.linktype, records, count)


def packets_of(
    member: Member, batch_bytes: int = BATCH_BYTES
) -> Generator[Batch, None, None]:
    """The same of a file as `inputs` gives it."""
    yield from batches(CaptureFile(member.octets, member.name), batch_bytes)


def packets_of_all(
    paths: Sequence[str | Path],
    trouble: Trouble,
    batch_bytes: int = BATCH_BYTES,
    passed: Passed | None = None,
) -> Generator[Batch, None, None]:
    """Of all files that the paths name, in order, those in archives too. passed: how
    far it is. Raises InputError for a path that names nothing; a file that breaks or
    cannot be read is `trouble`, and the rest goes on."""
    passed = Passed() if passed is None else passed
    found = find([str(path) for path in paths])
    passed.total += sum(map(size_of, found))
    for path in found:
        try:
            with members(path, passed) as inside:
                for member in inside:
                    try:
                        yield from packets_of(member, batch_bytes)
                    except PcapZmqError as error:
                        trouble(member.name, error)
        except PcapZmqError as error:
            trouble(str(path), error)
