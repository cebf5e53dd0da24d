"""Savefiles of every kind come out as packet records, and what is none says so."""

import contextlib
import itertools
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import Filter, compile_filter, count_records, new_buffer
from pcap_zmq.captures.capture_file import CaptureFile, Descriptor, Ended
from pcap_zmq.errors import FormatError, InputError, SavefileError
from tests.pcap_ffi.savefiles import NS_PER_S, RECORDS, Record, packed, pcap, pcapng
from tests.support.properties import thorough

AGE_NS = 1_000_000
ROOMY = 1 << 19

MICROSECONDS = [
    replace(record, nanoseconds=record.nanoseconds // 1000 * 1000) for record in RECORDS
]

Opener = Callable[[bytes], CaptureFile]


@pytest.fixture
def open_octets(tmp_path: Path) -> Iterator[Opener]:
    """Opens octets as a file; closes whatever it opened."""
    fds: list[int] = []

    def open_file(octets: bytes) -> CaptureFile:
        path = tmp_path / f"{len(fds)}.pcap"
        path.write_bytes(octets)
        fds.append(os.open(path, os.O_RDONLY))
        return CaptureFile(Descriptor(fds[-1], "it"), "it")

    yield open_file
    for fd in fds:
        os.close(fd)


def read_all(file: CaptureFile, capacity: int = ROOMY) -> bytes:
    """Everything, in as many reads as it takes."""
    octets, ended = b"", None
    while ended is not Ended.END:
        buffer = new_buffer(capacity)
        used, count, ended = file.read_into(buffer, AGE_NS)
        assert count == count_records(buffer[:used])
        octets += bytes(buffer[:used])
    return octets


class TestNoSavefile:
    @pytest.mark.parametrize(
        "octets",
        [b"", b"\xd4", b"not a savefile, but long enough to be one", bytes(24)],
        ids=["empty", "one octet", "text", "zeros"],
    )
    def test_is_refused_when_opened(self, octets: bytes, open_octets: Opener) -> None:
        with pytest.raises(SavefileError):
            open_octets(octets)

    @pytest.mark.parametrize("length", range(24))
    def test_is_a_file_header_cut_short(self, length: int, open_octets: Opener) -> None:
        with pytest.raises(SavefileError):
            open_octets(pcap([])[:length])

    @pytest.mark.parametrize("length", range(28))
    def test_is_a_section_header_cut_short(
        self, length: int, open_octets: Opener
    ) -> None:
        with pytest.raises(SavefileError):
            open_octets(pcapng([])[:length])

    def test_is_a_version_that_nobody_has_defined(self, open_octets: Opener) -> None:
        octets = bytearray(pcap(RECORDS))
        octets[4] = 99
        with pytest.raises(SavefileError, match="version"):
            open_octets(bytes(octets))

    def test_is_a_folder(self, tmp_path: Path) -> None:
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises(InputError, match="it cannot be read: Is a directory"):
                CaptureFile(Descriptor(fd, "it"), "it")
        finally:
            os.close(fd)


class TestTornEnd:
    @pytest.mark.parametrize("length", range(24, len(pcap(RECORDS[:2]))))
    def test_comes_after_the_packets_before_it(
        self, length: int, open_octets: Opener
    ) -> None:
        file = open_octets(pcap(RECORDS[:2])[:length])
        first_end = 24 + len(packed(RECORDS[:1]))
        is_whole = length in {24, first_end}
        expected = packed(RECORDS[:1]) if length >= first_end else b""

        buffer = new_buffer(ROOMY)
        if expected:
            used, count, ended = file.read_into(buffer, AGE_NS)
            assert (bytes(buffer[:used]), count) == (expected, 1)
            assert ended is (Ended.END if is_whole else Ended.WAITS)
        if is_whole:
            assert file.read_into(buffer, AGE_NS) == (0, 0, Ended.END)
        else:
            for _ in range(2):
                with pytest.raises(
                    SavefileError, match="it ends in the middle of what"
                ):
                    file.read_into(buffer, AGE_NS)

    def test_of_a_pcapng_file_comes_after_the_packets_before_it(
        self, open_octets: Opener
    ) -> None:
        file = open_octets(pcapng(RECORDS[:3])[:-5])
        buffer = new_buffer(ROOMY)
        used, count, _ = file.read_into(buffer, AGE_NS)
        assert (bytes(buffer[:used]), count) == (packed(RECORDS[:2]), 2)
        for _ in range(2):
            with pytest.raises(SavefileError):
                file.read_into(buffer, AGE_NS)

    def test_is_told_apart_from_a_length_that_cannot_be(
        self, open_octets: Opener
    ) -> None:
        octets = bytearray(pcap(RECORDS[:2]))
        octets[24 + 76 + 8 : 24 + 76 + 12] = b"\xff\xff\xff\x7f"
        file = open_octets(bytes(octets))
        buffer = new_buffer(ROOMY)
        assert file.read_into(buffer, AGE_NS)[1] == 1
        with pytest.raises(SavefileError, match="2147483647"):
            file.read_into(buffer, AGE_NS)


class TestClassic:
    @pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
    def test_nanoseconds_come_out_as_they_are(
        self, order: str, open_octets: Opener
    ) -> None:
        file = open_octets(pcap(RECORDS, order=order))
        assert read_all(file) == packed(RECORDS)

    @pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
    def test_microseconds_come_out_as_nanoseconds(
        self, order: str, open_octets: Opener
    ) -> None:
        file = open_octets(pcap(RECORDS, order=order, nanoseconds=False))
        assert read_all(file) == packed(MICROSECONDS)

    def test_no_packets_are_an_end(self, open_octets: Opener) -> None:
        file = open_octets(pcap([]))
        buffer = new_buffer(ROOMY)
        for _ in range(2):
            assert file.read_into(buffer, AGE_NS) == (0, 0, Ended.END)

    def test_an_origlen_below_caplen_becomes_caplen(self, open_octets: Opener) -> None:
        lying = Record(1, 2, 3, bytes(40))
        assert read_all(open_octets(pcap([lying]))) == packed(
            [replace(lying, origlen=40)]
        )

    @pytest.mark.parametrize("nanoseconds", [True, False], ids=["nano", "micro"])
    @pytest.mark.parametrize("fraction", [NS_PER_S, (1 << 32) - 1])
    def test_a_sub_second_of_more_than_a_second_still_gives_valid_records(
        self, fraction: int, nanoseconds: bool, open_octets: Opener
    ) -> None:
        octets = bytearray(pcap(RECORDS, nanoseconds=nanoseconds))
        octets[28:32] = fraction.to_bytes(4, "little")
        assert count_records(read_all(open_octets(bytes(octets)))) == len(RECORDS)


class TestPcapng:
    @pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
    def test_nanoseconds_come_out_as_they_are(
        self, order: str, open_octets: Opener
    ) -> None:
        file = open_octets(pcapng(RECORDS, order=order))
        assert read_all(file) == packed(RECORDS)

    def test_microseconds_come_out_as_nanoseconds(self, open_octets: Opener) -> None:
        file = open_octets(pcapng(RECORDS, resolution=6))
        assert read_all(file) == packed(MICROSECONDS)

    def test_what_editcap_makes_of_a_classic_file_is_the_same(
        self, tmp_path: Path, open_octets: Opener
    ) -> None:
        classic, converted = tmp_path / "in.pcap", tmp_path / "out.pcapng"
        classic.write_bytes(pcap(RECORDS))
        subprocess.run(
            ["editcap", "-F", "pcapng", classic, converted], check=True, timeout=30
        )
        octets = converted.read_bytes()
        assert octets.startswith(b"\x0a\x0d\x0d\x0a")
        assert read_all(open_octets(octets)) == packed(RECORDS)

    def test_what_mergecap_makes_of_two_files_has_the_packets_of_both(
        self, tmp_path: Path, open_octets: Opener
    ) -> None:
        parts = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
        parts[0].write_bytes(pcap(RECORDS[:1]))
        parts[1].write_bytes(pcap(RECORDS[1:2], order=">"))
        merged = tmp_path / "merged"
        subprocess.run(["mergecap", "-w", merged, *parts], check=True, timeout=30)
        assert read_all(open_octets(merged.read_bytes())) == packed(RECORDS[:2])

    def test_packets_of_another_link_type_are_a_read_of_their_own(
        self, tmp_path: Path, open_octets: Opener
    ) -> None:
        parts = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
        parts[0].write_bytes(pcap(RECORDS[:1]))
        parts[1].write_bytes(pcap(RECORDS[1:2], linktype=1))
        merged = tmp_path / "merged"
        subprocess.run(["mergecap", "-w", merged, *parts], check=True, timeout=30)
        file, buffer = open_octets(merged.read_bytes()), new_buffer(ROOMY)
        assert file.read_into(buffer, AGE_NS)[1:] == (1, Ended.FULL)
        assert file.linktype == 101
        used, count, ended = file.read_into(buffer, AGE_NS)
        assert (file.linktype, count, ended) == (1, 1, Ended.END)
        assert bytes(buffer[:used]) == packed(RECORDS[1:2])

    @pytest.mark.parametrize("orders", ["<>", "><"])
    def test_a_section_has_a_byte_order_and_interfaces_of_its_own(
        self, orders: str, open_octets: Opener
    ) -> None:
        octets = pcapng(RECORDS[:1], order=orders[0], resolution=6)
        octets += pcapng(RECORDS[1:], order=orders[1])
        expected = packed(MICROSECONDS[:1]) + packed(RECORDS[1:])
        assert read_all(open_octets(octets)) == expected

    def test_a_block_that_nobody_knows_is_passed_over_however_long(
        self, open_octets: Opener
    ) -> None:
        length = struct.pack("<I", 12 + (3 << 20))
        block = b"\xad\x0b\0\0" + length + bytes(3 << 20) + length
        section, rest = pcapng(RECORDS)[:28], pcapng(RECORDS)[28:]
        assert read_all(open_octets(section + block + rest)) == packed(RECORDS)
        with pytest.raises(SavefileError, match="ends in the middle"):
            read_all(open_octets(pcapng(RECORDS) + block[:-1]))

    def test_a_packet_of_an_interface_that_is_not_there_is_an_error_with_its_place(
        self, open_octets: Opener
    ) -> None:
        octets = bytearray(pcapng(RECORDS[:1]))
        place = len(pcapng([]))
        octets[place + 8] = 7
        with pytest.raises(SavefileError, match=f"interface 7, .*at octet {place}"):
            read_all(open_octets(bytes(octets)))


class TestLinktype:
    @pytest.mark.parametrize(
        "linktype", [0, 1, 9, 50, 51, 100, 101, 102, 103, 104, 105, 106, 107, 113, 228,
                     229, 276]
    )  # fmt: skip
    @pytest.mark.parametrize("make", [pcap, pcapng])
    def test_is_the_files_number_whatever_libpcap_calls_it(
        self, linktype: int, make: Callable[..., bytes], open_octets: Opener
    ) -> None:
        assert open_octets(make([], linktype=linktype)).linktype == linktype

    def test_of_a_raw_file_with_a_number_of_this_system_is_raws(
        self, open_octets: Opener
    ) -> None:
        # DLT_RAW is 12 or 14 by platform, and some program wrote it into its files.
        assert open_octets(pcap([], linktype=12)).linktype == 101


class TestFullBuffer:
    def test_the_packet_that_did_not_fit_is_the_next_reads_first(
        self, open_octets: Opener
    ) -> None:
        longest = 16 + max(len(record.data) for record in RECORDS)
        for capacity in range(longest, len(packed(RECORDS)) + 1):
            file = open_octets(pcap(RECORDS))
            assert read_all(file, capacity) == packed(RECORDS)

    def test_a_packet_longer_than_the_whole_buffer_is_an_error(
        self, open_octets: Opener
    ) -> None:
        file = open_octets(pcap(RECORDS[:2]))
        buffer = new_buffer(16 + 60)
        assert file.read_into(buffer, AGE_NS) == (76, 1, Ended.FULL)
        with pytest.raises(SavefileError, match="longer than 76 octets"):
            file.read_into(buffer, AGE_NS)

    def test_octets_beyond_what_was_used_are_not_written(
        self, open_octets: Opener
    ) -> None:
        file = open_octets(pcap(RECORDS[:2]))
        buffer = bytearray(b"\xa5" * 100)
        used, _, _ = file.read_into(memoryview(buffer), AGE_NS)
        assert buffer[used:] == b"\xa5" * (100 - used)

    def test_a_packet_longer_than_a_record_may_be_is_an_error(
        self, open_octets: Opener
    ) -> None:
        # libpcap takes longer ones of this link type: D-Bus.
        octets = pcap(
            [Record(0, 0, 300_000, bytes(300_000))], linktype=231, snaplen=1 << 20
        )
        file = open_octets(octets)
        with pytest.raises(SavefileError):
            read_all(file, 1 << 20)


class TestPipe:
    @pytest.fixture
    def pipe(self) -> Iterator[tuple[int, int]]:
        """A pipe's two ends; the test closes the second."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        yield reading, writing
        os.close(reading)

    def test_a_packet_comes_out_within_the_age_though_the_pipe_stays_open(
        self, pipe: tuple[int, int]
    ) -> None:
        reading, writing = pipe
        os.write(writing, pcap(RECORDS[:1]))
        file, buffer = CaptureFile(Descriptor(reading, "it"), "it"), new_buffer(ROOMY)
        assert file.read_into(buffer, AGE_NS) == (76, 1, Ended.WAITS)
        os.write(writing, packed(RECORDS[1:2]))
        used, count, ended = file.read_into(buffer, AGE_NS)
        assert (count, ended) == (1, Ended.WAITS)
        assert bytes(buffer[:used]) == packed(RECORDS[1:2])
        os.close(writing)
        assert file.read_into(buffer, AGE_NS) == (0, 0, Ended.END)

    def test_a_packet_that_has_begun_does_not_hold_up_the_one_before_it(
        self, pipe: tuple[int, int]
    ) -> None:
        reading, writing = pipe
        octets = packed(RECORDS[:2])
        os.write(writing, pcap([]) + octets[:100])
        file, buffer = CaptureFile(Descriptor(reading, "it"), "it"), new_buffer(ROOMY)
        assert file.read_into(buffer, AGE_NS) == (76, 1, Ended.WAITS)
        os.write(writing, octets[100:])
        used, count, ended = file.read_into(buffer, AGE_NS)
        assert (count, ended) == (1, Ended.WAITS)
        assert bytes(buffer[:used]) == octets[76:]
        os.close(writing)

    def test_octets_that_come_one_by_one_make_the_same_packets(
        self, pipe: tuple[int, int]
    ) -> None:
        reading, writing = pipe

        def trickle() -> None:
            for octet in pcap(RECORDS):
                os.write(writing, bytes([octet]))
            os.close(writing)

        thread = threading.Thread(target=trickle)
        thread.start()
        octets = read_all(CaptureFile(Descriptor(reading, "it"), "it"))
        thread.join(timeout=10)
        assert octets == packed(RECORDS)

    def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(
        self, pipe: tuple[int, int]
    ) -> None:
        reading, writing = pipe
        os.set_blocking(reading, False)
        results: list[bytes] = []

        def read() -> None:
            results.append(read_all(CaptureFile(Descriptor(reading, "it"), "it")))

        thread = threading.Thread(target=read)
        thread.start()
        for octet in pcap(RECORDS):
            os.write(writing, bytes([octet]))
        os.close(writing)
        thread.join(timeout=10)
        assert results == [packed(RECORDS)]


HEADERS = (pcap([]), pcap([], order=">", nanoseconds=False), pcapng([]))


@thorough
@given(st.sampled_from(HEADERS), st.lists(st.binary(max_size=60), max_size=4))
def test_any_octets_after_a_header_are_packets_until_they_are_none(
    header: bytes, pieces: list[bytes]
) -> None:
    """Each piece begins like a record or block that has about its length."""
    octets = header + b"".join(
        struct.pack("<IIII", 6, 12 + len(piece), len(piece), len(piece)) + piece
        for piece in pieces
    )
    fd = os.memfd_create("savefile")
    try:
        os.write(fd, octets)
        os.lseek(fd, 0, os.SEEK_SET)
        with contextlib.suppress(SavefileError):
            # It looks at what it reads, and what is read is in the file.
            assert len(read_all(CaptureFile(Descriptor(fd, "it"), "it"))) <= len(octets)
    finally:
        os.close(fd)


class Sips:
    """Octets that come in pieces of these lengths, over and over."""

    def __init__(self, octets: bytes, lengths: list[int]) -> None:
        self._octets = octets
        self._lengths = itertools.cycle(lengths)

    def read(self, size: int, /) -> bytes:
        length = min(size, next(self._lengths))
        given, self._octets = self._octets[:length], self._octets[length:]
        return given


class TestPieces:
    @thorough
    @given(
        st.one_of(
            st.tuples(
                st.lists(st.sampled_from([0, 60, 1500]), max_size=12),
                st.lists(st.integers(1, 5_000), min_size=1, max_size=8),
            ),
            st.tuples(
                st.lists(st.sampled_from([0, 1500, 70_000, 200_000]), max_size=8),
                st.lists(st.integers(5_000, 400_000), min_size=1, max_size=8),
            ),
        )
    )
    def test_of_any_length_hold_the_same_packets(
        self, caplens_and_lengths: tuple[list[int], list[int]]
    ) -> None:
        caplens, lengths = caplens_and_lengths
        records = [
            Record(at, at, octets, bytes([at]) * octets)
            for at, octets in enumerate(caplens)
        ]
        for octets in (pcap(records), pcapng(records)):
            file = CaptureFile(Sips(octets, lengths), "it")
            assert read_all(file) == packed(records)

    def test_that_break_give_what_came_before(self) -> None:
        class Breaking(Sips):
            def read(self, size: int, /) -> bytes:
                if not (given := super().read(size)):
                    raise FormatError("what they came out of breaks")
                return given

        file = CaptureFile(Breaking(pcap(RECORDS)[:-10], [100_000]), "it")
        buffer = new_buffer(ROOMY)
        used, count, _ = file.read_into(buffer, AGE_NS)
        assert (bytes(buffer[:used]), count) == (packed(RECORDS[:-1]), 3)
        for _ in range(2):
            with pytest.raises(SavefileError, match="it: what they came out of"):
                file.read_into(buffer, AGE_NS)


class TestChosen:
    @pytest.mark.parametrize("form", [pcap, pcapng])
    def test_are_only_those_that_the_filter_takes_and_the_rest_counts(
        self, form: Callable[[list[Record]], bytes]
    ) -> None:
        records = [
            Record(at, 0, 40 + at % 3, b"\x45" * (40 + at % 3)) for at in range(1, 100)
        ]
        file = CaptureFile(Sips(form(records), [1000]), "it")
        file.choose(Filter(compile_filter("len = 41", file.linktype)))
        chosen = [record for record in records if record.origlen == 41]
        assert read_all(file) == packed(chosen)
        assert file.passed_over == len(records) - len(chosen)
        assert file.linktype == 101

    def test_may_be_none(self) -> None:
        file = CaptureFile(Sips(pcapng(RECORDS), [1000]), "it")
        file.choose(Filter(compile_filter("len > 60000", file.linktype)))
        assert read_all(file) == b""
        assert (file.passed_over, file.linktype) == (len(RECORDS), 101)
