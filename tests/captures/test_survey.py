"""What is in a file is the same however its octets come."""

from collections.abc import Callable

import pytest

from pcap_zmq.captures.inputs import Member
from pcap_zmq.captures.survey import JOIN, survey_member
from pcap_zmq.formats.capture_index import Entry
from tests.pcap_ffi.savefiles import RECORDS, Record, pcap, pcapng


class Pieces:
    """Octets that come so many at a time."""

    def __init__(self, octets: bytes, size: int) -> None:
        self._octets = octets
        self._size = size

    def read(self, size: int, /) -> bytes:
        piece, self._octets = self._octets[: self._size], self._octets[self._size :]
        return piece


def surveyed(octets: bytes, size: int, *, hashes: bool = True) -> Entry:
    member = Member("a", "a", len(octets), 0, len(octets), Pieces(octets, size))
    return survey_member(member, hashes=hashes)


LARGE = [
    Record(1_700_000_000 + n, n, 200_000, bytes([n]) * (200_000 - n)) for n in range(9)
]


@pytest.mark.parametrize("make", [pcap, pcapng])
@pytest.mark.parametrize("size", [1, 7, 100, JOIN - 1, JOIN, JOIN + 1, 150_000])
def test_pieces_of_any_size_are_the_same_file(
    make: Callable[..., bytes], size: int
) -> None:
    records = [*RECORDS, *LARGE] if size >= JOIN - 1 else RECORDS
    octets = make(records)
    whole = surveyed(octets, len(octets))
    assert whole.packets == len(records)
    assert surveyed(octets, size) == whole


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_a_torn_tail_keeps_the_packets_before_it(size: int) -> None:
    entry = surveyed(pcap(RECORDS)[:-1], size)
    assert entry.packets == len(RECORDS) - 1
    assert entry.broken_why.startswith("it ends in the middle of something")


def test_without_a_hash_the_rest_of_a_broken_file_stays_unread() -> None:
    broken = bytearray(pcap(RECORDS))
    broken[24 + 8 : 24 + 12] = b"\xff\xff\xff\x7f"
    pieces = Pieces(bytes(broken) + bytes(1000), 50)
    entry = survey_member(Member("a", "a", 0, 0, 0, pieces), hashes=False)
    assert (entry.broken_at, entry.sha256) == (24, "")
    assert pieces.read(1) != b""
