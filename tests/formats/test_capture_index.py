"""An index comes back as it was; what is none is refused."""

import csv
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.capture_index import (
    Entry,
    decode_index,
    encode_csv,
    encode_index,
)
from tests.support.properties import bounded

S = 10**9
ONE = Entry("a.pcap", "a.pcap", 100, 7, packets=1, first_ns=5 * S, last_ns=5 * S)
NUMBERS = st.integers(0, 1 << 63)
ENTRIES = st.builds(
    Entry,
    st.text(max_size=20),
    st.text(max_size=20),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.sampled_from(["", "pcap", "pcapng"]),
    st.lists(st.integers(0, 65_535), max_size=3).map(tuple),
    rates_packets=st.lists(NUMBERS, max_size=3).map(tuple),
    broken_at=st.none() | NUMBERS,
)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"version": 2, "files": []}',
        b'{"version": 1}',
        b'{"version": 1, "files": [1]}',
        b'{"version": 1, "files": [{}]}',
        b'{"version": 1, "files": [{"path": "a", "what": 1}]}',
        encode_index([ONE]).replace('"packets":1', '"packets":-1').encode(),
        encode_index([ONE]).replace('"packets":1', '"packets":true').encode(),
        encode_index([ONE]).replace('"linktypes":[]', '"linktypes":["x"]').encode(),
        encode_index([ONE]).replace('"path":"a.pcap"', '"path":null').encode(),
    ],
)
def test_what_is_no_index_is_refused(octets: bytes) -> None:
    with pytest.raises(FormatError):
        decode_index(octets)


@bounded
@given(st.lists(ENTRIES, max_size=4))
def test_an_index_comes_back_as_it_was(entries: list[Entry]) -> None:
    assert decode_index(encode_index(entries).encode()) == entries


def test_a_line_of_csv_has_what_is_known_and_no_infinities() -> None:
    entry = replace(ONE, linktypes=(1, 101), packets=9, path='a "b", c')
    (line,) = csv.DictReader(encode_csv([entry]).splitlines())
    assert line["path"] == 'a "b", c'
    assert (line["linktypes"], line["packets"]) == ("1 101", "9")
    assert (line["packets_per_s"], line["broken_at"]) == ("0.000", "")
