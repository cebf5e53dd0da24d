"""What a stream of packets looks like in an output: the formats that sinks write.

Specification: pcap-savefile(5); `formats/pcapng.py` is the other one.

For whoever writes a sink. Each output has a format of its own, since that may have to
remember what it has said. Who reads from now on (a new reader, client or file) gets
`header`, then whatever `encode` makes of each batch, each asked for once and in order;
at the end of the output (each file's, too) `end` has a last word. What a reader left
unread goes to the next one after a header for the section in which it lies, from
`first_unread` on. Packets that this output will never have are told to `skip`; of a
batch that was encoded and is given up half-written, or before, the octets to `cut`.
"""

from typing import Protocol

from pcap_ffi import begun_records, count_records, record_end, whole_records
from pcap_zmq.formats import savefile
from pcap_zmq.packet import Batch, Instant, Octets

WRITE_MAX = 1 << 18
"""Octets that are to be written to a file at once. Where file systems have large folios
(ext4 since Linux 6.16), the kernel looks for so much memory in one piece: for 1 MiB of
it that has taken five times as long as for all there is to write."""


class FileFormat(Protocol):
    """What an output's octets are made of."""

    @property
    def section(self) -> object:
        """Where what was encoded last lies: octets of one section can follow the header
        of that section. Only to be compared (`is`), and handed to `header`."""

    def header(self, linktype: int, section: object = None) -> bytes:
        """What comes before anything else. linktype: of the packets that will follow,
        as far as is known now. section: of what will follow, where that was encoded
        before; None: it has yet to be."""

    def encode(self, batch: Batch, now: Instant) -> Octets:
        """The octets of a batch that is not empty: whole records or blocks."""

    def end(self) -> Octets:
        """What is to be said at the end, of no packets; nothing, mostly."""

    def skip(self, batch: Batch) -> None:
        """Its packets (the next `count` that its receipt does not count as written)
        will never be in this output, by the output's own doing."""

    def cut(self, octets: Octets, at: int) -> tuple[int, int]:
        """What `encode` has made last is given up, and the first `at` octets of it are
        written; no octets: it was not encoded. Packets that are begun, and where the
        last of them ends: up to there it has to be written; (0, 0): nothing of it."""

    def whole(self, octets: Octets, limit: int) -> int:
        """Where the last record or block ends that ends within the first `limit` of
        what `encode` has made."""

    def count(self, octets: Octets) -> int:
        """Packets in whole records or blocks that `encode` has made."""

    def first_unread(self, octets: Octets, read: int, *, is_declared: bool) -> int:
        """From where on to give the next reader what `encode` has made, when the last
        one has read the first `read` octets (none where below 0). is_declared: the next
        one's header is that of the section in which these lie."""


class Pcap:
    """Classic savefiles: packet records as they flow, without a copy. nanoseconds: as
    the decoder left the times in the records."""

    section = None
    """There is but one."""

    def __init__(self, *, nanoseconds: bool = True) -> None:
        self._nanoseconds = nanoseconds

    def header(self, linktype: int, section: object = None) -> bytes:
        """The file header: 24 octets."""
        return savefile.encode_file_header(linktype, nanoseconds=self._nanoseconds)

    def encode(self, batch: Batch, now: Instant) -> Octets:
        """Its records."""
        return batch.records

    def end(self) -> Octets:
        """A savefile ends with its last record."""
        return b""

    def skip(self, batch: Batch) -> None:
        """A savefile does not tell of what is missing."""

    def cut(self, octets: Octets, at: int) -> tuple[int, int]:
        """See FileFormat."""
        begun = begun_records(octets, at)
        return begun, record_end(octets, begun)

    def whole(self, octets: Octets, limit: int) -> int:
        """See FileFormat."""
        return whole_records(octets, max(0, limit))

    def count(self, octets: Octets) -> int:
        """See FileFormat."""
        return count_records(octets)

    def first_unread(self, octets: Octets, read: int, *, is_declared: bool) -> int:
        """See FileFormat."""
        return whole_records(octets, max(0, read))
