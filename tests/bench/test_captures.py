"""Captures become what the load generator sends: IPv4 packets and nothing else."""

import struct
from pathlib import Path

import pytest

from bench import captures
from pcap_zmq.formats import linktype
from pcap_zmq.formats.savefile import encode_file_header, encode_packet
from pcap_zmq.packet import Packet

ADDRESSES = bytes(12)


def ipv4(total: int, header_words: int = 5) -> bytes:
    """An IPv4 packet of `total` octets, as its own header says."""
    head = bytes([0x40 | header_words, 0]) + struct.pack(">H", total)
    return (head + bytes(4) + b"\x40\x11" + bytes(10)).ljust(total, b"x")


def ethernet(ethertype: int, payload: bytes) -> bytes:
    return ADDRESSES + struct.pack(">H", ethertype) + payload


def savefile(path: Path, kind: int, *frames: bytes) -> Path:
    records = [encode_packet(Packet(0, len(frame), frame)) for frame in frames]
    path.write_bytes(encode_file_header(kind) + b"".join(records))
    return path


def test_a_link_type_that_is_not_known_is_an_error_that_names_it(
    tmp_path: Path,
) -> None:
    path = savefile(tmp_path / "a.pcap", linktype.NFLOG, b"x")

    with pytest.raises(RuntimeError, match=r"nflog \(239\)"):
        list(captures.ipv4_packets(path))


def test_what_is_no_whole_ipv4_header_is_left_out(tmp_path: Path) -> None:
    """The kernel would refuse it, and the generator end."""
    frames = [
        ethernet(0x86DD, ipv4(60)),
        ethernet(0x0806, bytes(28)),
        ethernet(0x0800, bytes(60)),
        ethernet(0x0800, ipv4(40)[:19]),
        ethernet(0x0800, ipv4(40, header_words=4)),
        ethernet(0x0800, ipv4(40, header_words=15)),
        ADDRESSES,
    ]
    path = savefile(tmp_path / "a.pcap", linktype.ETHERNET, *frames)

    assert list(captures.ipv4_packets(path)) == []


def test_padding_behind_a_packet_is_no_part_of_it(tmp_path: Path) -> None:
    packet = ipv4(40)
    path = savefile(
        tmp_path / "a.pcap", linktype.ETHERNET, ethernet(0x0800, packet + bytes(6))
    )

    assert list(captures.ipv4_packets(path)) == [packet]


def test_a_packet_behind_a_vlan_tag_is_found(tmp_path: Path) -> None:
    packet = ipv4(40)
    tagged = ethernet(0x8100, b"\x00\x07\x08\x00" + packet)
    path = savefile(tmp_path / "a.pcap", linktype.ETHERNET, tagged)

    assert list(captures.ipv4_packets(path)) == [packet]


def test_what_a_capture_cut_off_is_not_made_up(tmp_path: Path) -> None:
    packet = ipv4(1400)[:96]
    path = savefile(tmp_path / "a.pcap", linktype.RAW, packet)

    assert list(captures.ipv4_packets(path)) == [packet]


def test_all_captures_become_one_file_in_their_order(tmp_path: Path) -> None:
    some = [ipv4(length) for length in (40, 60, 80)]
    paths = [
        savefile(tmp_path / "a.pcap", linktype.RAW, some[0]),
        savefile(tmp_path / "b.pcap", linktype.ETHERNET, ethernet(0x0800, some[1])),
        savefile(tmp_path / "c.pcap", linktype.RAW, some[2]),
    ]

    prepared = captures.prepare(paths, tmp_path)

    assert list(captures.ipv4_packets(prepared)) == some


def test_a_capture_that_is_made_is_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()

    made, again = captures.make(tmp_path), captures.make(tmp_path / "again")

    assert made.read_bytes() == again.read_bytes()


def test_a_capture_that_is_made_has_dns_text_and_noise(tmp_path: Path) -> None:
    packets = list(captures.ipv4_packets(captures.make(tmp_path)))

    octets = {
        port: sum(
            len(packet)
            for packet in packets
            if port in struct.unpack_from(">HH", packet, 20)
        )
        for port in (53, 80, 443)
    }
    whole = sum(map(len, packets))
    assert octets[53] > 0.005 * whole
    assert octets[80] > 0.25 * whole
    assert octets[443] > 0.25 * whole
