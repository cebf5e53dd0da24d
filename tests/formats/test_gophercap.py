"""GopherCap's JSON is written right, and read as it comes."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.clock import utc_ns_text
from pcap_zmq.errors import FormatError
from pcap_zmq.formats.capture_index import Entry
from pcap_zmq.formats.gophercap import (
    MappedFile,
    decode_gophercap,
    encode_gophercap,
    go_duration,
)
from tests.support.properties import bounded

S, MS, US = 10**9, 10**6, 10**3
ONE = Entry("a.pcap", "a.pcap", 100, 7, packets=1, first_ns=5 * S, last_ns=5 * S)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"version": 1}',
        b'{"files": {"path": "a"}}',
        b'{"files": 5}',
        b'{"files": {}}',
        b'{"files": [1]}',
        b'{"files": [{}]}',
        b'{"files": [{"path": ""}]}',
        b'{"files": [{"path": 7}]}',
        b'{"files": [{"path": "a", "packets": -1}]}',
        b'{"files": [{"path": "a", "packets": true}]}',
        b'{"files": [{"path": "a", "packets": 18446744073709551616}]}',
        b'{"files": [{"path": "a", "size": "1"}]}',
        b'{"files": [{"path": "a", "end": 1}]}',
    ],
)
def test_what_is_no_map_is_refused(octets: bytes) -> None:
    with pytest.raises(FormatError):
        decode_gophercap(octets)


@bounded
@given(st.binary(max_size=60))
def test_any_octets_are_a_map_or_refused(octets: bytes) -> None:
    for whole in (octets, b'{"files": [{"path": "' + octets):
        try:
            decode_gophercap(whole)
        except FormatError:
            continue


def test_gophercaps_own_file_is_read() -> None:
    """With what is wrong in it: a file of one packet has no end, and no packets."""
    octets = (
        b'{"beginning":"2021-03-01T10:00:00.5Z","end":"2021-03-01T11:00:00.000001Z",'
        b'"files":[{"path":"/data/a.pcap.gz","root":"","snaplen":262144,"packets":41,'
        b'"size":4100,"max_packet_size":100,"out_of_order":0,'
        b'"beginning":"2021-03-01T10:00:00.5Z","end":"2021-03-01T11:00:00.000001Z",'
        b'"pps":0.01,"duration":3599500001000,"duration_human":"59m59.500001s",'
        b'"delay":0,"delay_human":"0s"},'
        b'{"path":"b.pcap","packets":0,"end":"0001-01-01T00:00:00Z"}]}'
    )
    assert decode_gophercap(octets) == [
        MappedFile(
            "/data/a.pcap.gz",
            41,
            4_100,
            "2021-03-01T10:00:00.5Z",
            "2021-03-01T11:00:00.000001Z",
        ),
        MappedFile("b.pcap", 0, 0, "", "0001-01-01T00:00:00Z"),
    ]


def test_an_empty_list_is_read_as_go_writes_it() -> None:
    assert decode_gophercap(b'{"files":null}') == []
    assert decode_gophercap(encode_gophercap([], utc_ns_text).encode()) == []


def test_names_come_back_as_they_were() -> None:
    """Also those that are no UTF-8."""
    entries = [replace(ONE, path=name) for name in ('a"b', "b\udcff", "c d")]
    read = decode_gophercap(encode_gophercap(entries, utc_ns_text).encode())
    assert [file.path for file in read] == [entry.path for entry in entries]


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
