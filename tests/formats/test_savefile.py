"""Savefiles as they are written, against readers that are not ours."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibpcap import OpenPcap

from pcap_ffi import CAPLEN_MAX, count_records, to_microseconds
from pcap_zmq.formats import linktype, savefile
from pcap_zmq.packet import Packet
from tests.support.properties import bounded
from tests.support.records import NS_PER_S, packets, records_of

UDP = bytes.fromhex(
    "4500001d000100004011f6c1c0000201c0000235"  # 192.0.2.1 > 192.0.2.53
    "9c400035000900007a"
)
SECONDS = 1_700_000_000
TIMES_NS = [0, 1, 999_999_999 - 999, 999_999_999]


def savefile_of(packets: list[Packet], *, nanoseconds: bool = True) -> bytes:
    records = bytearray(records_of(packets))
    if not nanoseconds:
        to_microseconds(records)
    header = savefile.encode_file_header(linktype.RAW, nanoseconds=nanoseconds)
    return header + bytes(records)


def tcpdump(path: Path, *options: str) -> list[str]:
    done = subprocess.run(
        ["tcpdump", "-nn", *options, "-r", path],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.fixture
def sample() -> list[Packet]:
    return [
        Packet(SECONDS * NS_PER_S + time_ns, len(UDP) + cut, UDP)
        for cut, time_ns in enumerate(TIMES_NS)
    ]


# Against tcpdump.


def test_tcpdump_reads_nanoseconds(tmp_path: Path, sample: list[Packet]) -> None:
    path = tmp_path / "nano.pcap"
    path.write_bytes(savefile_of(sample))
    lines = tcpdump(path, "-tt", "--nano")
    times = [line.split()[0] for line in lines]
    assert times == [f"{SECONDS}.{time_ns:09}" for time_ns in TIMES_NS]


def test_tcpdump_reads_microseconds(tmp_path: Path, sample: list[Packet]) -> None:
    path = tmp_path / "micro.pcap"
    path.write_bytes(savefile_of(sample, nanoseconds=False))
    times = [line.split()[0] for line in tcpdump(path, "-tt")]
    assert times == [f"{SECONDS}.{time_ns // 1000:06}" for time_ns in TIMES_NS]


def test_tcpdump_reads_the_packets_octet_by_octet(
    tmp_path: Path, sample: list[Packet]
) -> None:
    path = tmp_path / "raw.pcap"
    path.write_bytes(savefile_of(sample[:1]))
    summary, *octets = tcpdump(path, "-t", "-x")
    assert summary.startswith("IP 192.0.2.1.40000 > 192.0.2.53.53")
    words = "".join(line.partition(":")[2] for line in octets)
    assert bytes.fromhex(words) == UDP


def test_tcpdump_sees_a_packet_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(savefile_of([Packet(0, 1500, UDP[:20])]))
    assert "[|" in tcpdump(path)[0]


@pytest.mark.parametrize("number", linktype.NAMES.values())
def test_tcpdump_knows_every_link_type_that_has_a_name(
    tmp_path: Path, number: int
) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(savefile.encode_file_header(number))
    assert tcpdump(path) == []


# Against python-libpcap, whose times are whole seconds and better not believed.


def test_python_libpcap_reads_the_packets_in_order(
    tmp_path: Path, sample: list[Packet]
) -> None:
    path = tmp_path / "sample.pcap"
    path.write_bytes(savefile_of(sample))
    with OpenPcap(str(path)) as reader:
        read = [(caplen, data) for caplen, _, data in reader.read()]
    assert read == [(len(UDP), UDP)] * len(sample)


# The file header.


def test_the_file_header_is_a_classic_little_endian_one() -> None:
    header = savefile.encode_file_header(linktype.RAW)
    assert header.hex(" ", 4) == "4d3cb2a1 02000400 00000000 00000000 00000400 65000000"
    assert len(header) == savefile.FILE_HEADER_LENGTH


def test_the_magic_number_tells_the_resolution() -> None:
    header = savefile.encode_file_header(linktype.RAW, nanoseconds=False)
    assert header[:4] == bytes.fromhex("d4c3b2a1")


def test_the_snapshot_length_is_the_largest_that_a_record_may_have() -> None:
    header = savefile.encode_file_header(linktype.RAW)
    assert int.from_bytes(header[16:20], "little") == CAPLEN_MAX


# Packet records.


@given(st.lists(packets(), max_size=20))
@bounded
def test_packets_come_back_from_their_records(sample: list[Packet]) -> None:
    assert list(savefile.iter_packets(records_of(sample))) == sample


@given(st.lists(packets(), max_size=20))
@bounded
def test_records_are_counted_in_c_as_they_were_made_here(sample: list[Packet]) -> None:
    assert count_records(records_of(sample)) == len(sample)


def test_packets_may_be_read_from_a_view() -> None:
    packet = Packet(5, len(UDP), UDP)
    view = memoryview(bytearray(savefile.encode_packet(packet)))
    assert list(savefile.iter_packets(view)) == [packet]
