"""Files that an earlier run left incomplete: mended, and given their names.

A file has its name only when it is complete; until then it ends in `.part`, and whoever
writes it holds a lock on it (flock(2)). One that nobody holds was left by a crash. It
ends in a packet that was half written, at worst, or in half a frame where it is
compressed.

Specification: docs/outputs.md, flock(2), pcap-savefile(5).
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import linux_ffi
from pcap_ffi import RecordsError, count_packets, count_records, whole_blocks
from pcap_zmq.formats import savefile
from pcap_zmq.formats.file_frames import ENDINGS, whole_frames
from pcap_zmq.formats.file_names import PART, FileNames

CHUNK = 8 << 20

_PCAPNG = b"\x0a\x0d\x0d\x0a"
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Mended:
    """What has become of a file that was left."""

    left: Path
    name: Path | None
    """Where it is now; None: it held no packet, and was removed."""
    cut: int
    """Octets at its end that were no whole packet."""


class Unmendable(Exception):
    """It is left where it is; the text says why."""


def find(directory: Path, names: FileNames) -> Iterator[Path]:
    """Incomplete files of these names that are ours, whether somebody writes them or
    not. Raises OSError."""
    for entry in sorted(directory.iterdir()):
        is_part = entry.name.endswith(PART)
        if not is_part or not names.matches(entry.name.removesuffix(PART)):
            continue
        if _ours(entry) is not None:
            yield entry


def complete(directory: Path, names: FileNames) -> list[Path]:
    """Files that have such a name and are ours, oldest first. Raises OSError."""
    found = [
        (status.st_mtime_ns, entry)
        for entry in directory.iterdir()
        if names.matches(entry.name) and (status := _ours(entry)) is not None
    ]
    return [entry for _, entry in sorted(found)]


def _ours(entry: Path) -> os.stat_result | None:
    """None: it is no regular file, or another user's."""
    status = entry.lstat()
    is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return status if is_ours else None


def mend(left: Path, names: FileNames) -> Mended | None:
    """Cuts off what is torn and gives it its name; None: somebody is writing it. Raises
    Unmendable and OSError."""
    fd = os.open(left, os.O_RDWR | _OPEN)
    try:
        if not lock(fd):
            return None
        length = os.fstat(fd).st_size
        whole = _whole(fd, left.name.removesuffix(PART), length)
        if not whole:
            left.unlink()
            return Mended(left, None, length)
        if whole < length:
            os.ftruncate(fd, whole)
        return Mended(left, give_name(left, names), length - whole)
    finally:
        os.close(fd)


def lock(fd: int) -> bool:
    """False: somebody else holds it. Closing gives it up."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def give_name(part: Path, names: FileNames) -> Path:
    """Renames a file to what it is to be called, or the next free name. Raises
    OSError."""
    name = part.name.removesuffix(PART)
    while True:
        complete = part.with_name(name)
        try:
            linux_ffi.rename_fresh(str(part), str(complete))
        except FileExistsError:
            name = names.next_name(name)
        else:
            return complete


def _whole(fd: int, name: str, length: int) -> int:
    """Octets up to the end of the last whole packet or frame; 0: there is none."""
    for codec, ending in ENDINGS.items():
        if name.endswith(ending):
            return whole_frames(codec, _chunks(fd, 0))
    head = os.pread(fd, savefile.FILE_HEADER_LENGTH, 0)
    if head[:4] == _PCAPNG:
        return _whole_pcapng(fd)
    if len(head) < savefile.FILE_HEADER_LENGTH:
        return 0
    if int.from_bytes(head[:4], "little") not in (
        savefile.MAGIC_NANO,
        savefile.MAGIC_MICRO,
    ):
        raise Unmendable("it is no savefile that we write")
    at = len(head)
    while at < length:
        chunk = os.pread(fd, CHUNK, at)
        whole = _whole_records(chunk)
        if not whole:
            break
        at += whole
    return at if at > len(head) else 0


def _whole_records(chunk: bytes) -> int:
    try:
        count_records(chunk)
    except RecordsError as error:
        return error.offset
    return len(chunk)


def _whole_pcapng(fd: int) -> int:
    at, packets = 0, 0
    while chunk := os.pread(fd, CHUNK, at):
        whole = whole_blocks(chunk, len(chunk))
        if not whole:
            break
        packets += count_packets(chunk[:whole])
        at += whole
    return at if packets else 0


def _chunks(fd: int, at: int) -> Iterator[bytes]:
    while chunk := os.pread(fd, CHUNK, at):
        at += len(chunk)
        yield chunk
