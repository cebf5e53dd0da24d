"""An index comes back as it was; what is none is refused; GopherCap's form is right."""

import csv
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.clock import utc_ns_text
from pcap_zmq.errors import FormatError
from pcap_zmq.formats.capture_index import (
    Entry,
    decode_index,
    encode_csv,
    encode_gophercap,
    encode_index,
    go_duration,
)
from tests.support.properties import bounded

S, MS, US = 10**9, 10**6, 10**3
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


def test_gophercaps_form_has_all_packets_and_true_times() -> None:
    later = replace(
        ONE,
        path="b.pcap",
        packets=10,
        first_ns=6 * S + 1,
        last_ns=8 * S + 1,
        octets=700,
        largest=90,
        backwards=2,
        snaplen=1500,
    )
    empty = Entry("c.pcap", "c.pcap", 24, 7)
    read = json.loads(encode_gophercap([ONE, later, empty], utc_ns_text))
    assert read["beginning"] == "1970-01-01T00:00:05.000000000Z"
    assert read["end"] == "1970-01-01T00:00:08.000000001Z"
    first, second = read["files"]
    assert (first["packets"], first["pps"], first["duration_human"]) == (1, 0, "0s")
    assert second == {
        "path": "b.pcap",
        "snaplen": 1500,
        "packets": 10,
        "size": 700,
        "max_packet_size": 90,
        "out_of_order": 2,
        "beginning": "1970-01-01T00:00:06.000000001Z",
        "end": "1970-01-01T00:00:08.000000001Z",
        "pps": 5.0,
        "duration": 2 * S,
        "duration_human": "2s",
        "delay": S + 1,
        "delay_human": "1.000000001s",
    }


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (2 * MS + 50 * US, "2.05ms"),
        (S, "1s"),
        (61 * S + 500 * MS, "1m1.5s"),
        (3_600 * S, "1h0m0s"),
        (100 * 3_600 * S + 2 * 60 * S + 3 * S, "100h2m3s"),
    ],
)
def test_a_duration_is_written_as_go_does(duration_ns: int, text: str) -> None:
    assert go_duration(duration_ns) == text
