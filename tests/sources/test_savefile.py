"""Savefiles of every kind become batches, and what is none ends with an error."""

import gzip
import itertools
import json
import lzma
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard

from pcap_zmq.counters import SenderCounters
from pcap_zmq.errors import InputError, InputPermissionError, SavefileError
from testbed.waiting import wait_until
from tests.pcap_ffi.savefiles import RECORDS, Record, packed, pcap, pcapng
from tests.sources.reading import NOW, open_source, read_all, read_batch

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60

MANY = [Record(n, n, 1000, bytes([n % 256]) * 1000) for n in range(2_000)]


def write(directory: Path, octets: bytes) -> str:
    path = directory / "in"
    path.write_bytes(octets)
    return str(path)


def as_program(
    path: str, *, input: bytes = b"", prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Reads a source in a process of its own."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "tests.sources.reading", path],
        input=input,
        capture_output=True,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        check=False,
    )


def told_by(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class TestRefused:
    def test_is_an_empty_file(self, tmp_path: Path) -> None:
        path = write(tmp_path, b"")
        with pytest.raises(SavefileError, match=f"{path} is empty"):
            open_source(path)

    @pytest.mark.parametrize(
        "octets",
        [b"\xd4", b"\xd4\xc3\xb2\xa1", b"no savefile" * 10, pcap([])[:23]],
        ids=["an octet", "a magic number", "text", "a header cut short"],
    )
    def test_is_what_is_no_savefile(self, octets: bytes, tmp_path: Path) -> None:
        path = write(tmp_path, octets)
        with pytest.raises(SavefileError, match=f"{path} is no pcap or pcapng"):
            open_source(path)

    @pytest.mark.parametrize(
        "octets",
        [b"\x1f\x8b", gzip.compress(b""), gzip.compress(b"no savefile")],
        ids=["its magic number", "nothing", "text"],
    )
    def test_is_a_gzip_file_of_what_is_no_savefile(
        self, octets: bytes, tmp_path: Path
    ) -> None:
        with pytest.raises(SavefileError, match="is no pcap or pcapng savefile"):
            open_source(write(tmp_path, octets))

    def test_is_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        path = f"{tmp_path}/nothing"
        with pytest.raises(InputError, match=f"{path} cannot be opened: No such file"):
            open_source(path)

    def test_is_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Is a directory"):
            open_source(str(tmp_path))

    def test_is_a_file_that_may_not_be_read(self, tmp_path: Path) -> None:
        path = write(tmp_path, pcap(RECORDS))
        Path(path).chmod(0)
        # Root reads everything, but not without these two capabilities.
        setpriv = "setpriv --bounding-set -dac_override,-dac_read_search"
        prefix = tuple(setpriv.split()) if os.geteuid() == 0 else ()
        done = as_program(path, prefix=prefix)
        assert done.returncode == 1
        *_, line = done.stderr.decode().splitlines()
        name = f"{InputPermissionError.__module__}.{InputPermissionError.__name__}"
        assert line == f"{name}: {path} may not be read: Permission denied"

    def test_is_an_empty_standard_input(self) -> None:
        done = as_program("-")
        assert "standard input is empty" in done.stderr.decode()

    def test_leaves_no_descriptor_open(self, tmp_path: Path) -> None:
        before = open_descriptors()
        for octets in (b"", b"no savefile" * 10):
            with pytest.raises(SavefileError):
                open_source(write(tmp_path, octets))
        assert open_descriptors() == before


class TestRead:
    @pytest.mark.parametrize("make", [pcap, pcapng])
    def test_is_a_file(self, make: Any, tmp_path: Path) -> None:
        counters = SenderCounters()
        outcome = read_all(write(tmp_path, make(RECORDS)), counters)
        assert (outcome.records, outcome.failure) == (packed(RECORDS), None)
        assert counters.received == len(RECORDS)

    @pytest.mark.parametrize(
        "compress",
        [
            gzip.compress,
            lzma.compress,
            zstandard.ZstdCompressor().compress,
            lz4.frame.compress,
        ],
    )
    def test_is_a_compressed_file(self, compress: Any, tmp_path: Path) -> None:
        outcome = read_all(write(tmp_path, compress(pcap(MANY))))
        assert (outcome.records, outcome.failure) == (packed(MANY), None)

    def test_is_a_gzip_file_of_several_members(self, tmp_path: Path) -> None:
        octets = pcap(MANY)
        cuts = [0, 1, 30, 31, 1_000_000, len(octets)]
        members = [
            gzip.compress(octets[start:end]) for start, end in itertools.pairwise(cuts)
        ]
        outcome = read_all(write(tmp_path, b"".join(members)))
        assert (outcome.records, outcome.failure) == (packed(MANY), None)

    @pytest.mark.parametrize("beyond", [-300, -9, -8, -1, 0, 1, 8, 9, 300])
    def test_is_a_gzip_file_whose_end_falls_near_that_of_a_step(
        self, beyond: int, tmp_path: Path
    ) -> None:
        # Inflated in steps of 256 KiB; zeros become next to nothing.
        length = (1 << 17) - 16
        lengths = [length, length + beyond - 24]
        records = [Record(0, 0, octets, bytes(octets)) for octets in lengths]
        outcome = read_all(write(tmp_path, gzip.compress(pcap(records))))
        assert (outcome.records, outcome.failure) == (packed(records), None)

    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    def test_is_standard_input(self, compress: Any) -> None:
        told = told_by(as_program("-", input=compress(pcap(MANY))))
        assert (told["packets"], told["failure"]) == (len(MANY), None)

    def test_is_a_fifo(self, tmp_path: Path) -> None:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        thread = threading.Thread(target=path.write_bytes, args=[pcap(MANY)])
        thread.start()
        outcome = read_all(str(path))
        thread.join(TIMEOUT_S)
        assert (outcome.records, outcome.failure) == (packed(MANY), None)

    def test_are_batches_no_larger_than_they_may_be(self, tmp_path: Path) -> None:
        outcome = read_all(write(tmp_path, pcap(MANY)))
        assert len(outcome.batches) > 1
        # No smaller than the longest packet that there may be.
        assert max(len(batch.records) for batch in outcome.batches) <= 16 + (1 << 18)

    def test_has_the_files_link_type(self, tmp_path: Path) -> None:
        outcome = read_all(write(tmp_path, pcap(RECORDS, linktype=113)))
        assert {batch.linktype for batch in outcome.batches} == {113}

    def test_is_a_file_without_packets(self, tmp_path: Path) -> None:
        outcome = read_all(write(tmp_path, pcap([])))
        assert (outcome.batches, outcome.failure) == ([], None)

    def test_is_a_packet_of_a_pipe_that_stays_open(self, tmp_path: Path) -> None:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        with path.open("r+b", buffering=0) as writing:
            writing.write(pcap(RECORDS[:1]))
            source = open_source(str(path))
            batch = read_batch(source)
            assert batch is not None
            assert bytes(batch.records) == packed(RECORDS[:1])
            assert not source.is_exhausted()
            source.stop(NOW)
            source.close()
            # The thread waits for more, and goes when there is some.
            writing.write(packed(RECORDS[1:2]))


class TestTornEnd:
    def test_of_a_file_comes_after_the_packets_before_it(self, tmp_path: Path) -> None:
        path = write(tmp_path, pcap(MANY)[:-1])
        outcome = read_all(path)
        assert outcome.records == packed(MANY[:-1])
        assert isinstance(outcome.failure, SavefileError)
        assert str(outcome.failure).startswith(f"{path}: it ends in the middle of what")

    def test_of_gzip_data_comes_after_the_packets_before_it(
        self, tmp_path: Path
    ) -> None:
        whole = gzip.compress(pcap(MANY) + packed(RECORDS), mtime=0)
        outcome = read_all(write(tmp_path, whole[: len(whole) // 2]))
        assert outcome.records == packed(MANY)[: len(outcome.records)]
        assert "the gzip data end in the middle" in str(outcome.failure)

    def test_of_gzip_data_in_its_trailer_is_an_error_too(self, tmp_path: Path) -> None:
        outcome = read_all(write(tmp_path, gzip.compress(pcap(MANY))[:-1]))
        assert outcome.records == packed(MANY)
        assert "the gzip data end in the middle" in str(outcome.failure)

    def test_of_corrupt_gzip_data_is_an_error(self, tmp_path: Path) -> None:
        octets = bytearray(gzip.compress(pcap(MANY)))
        octets[-6] ^= 0xFF
        outcome = read_all(write(tmp_path, bytes(octets)))
        assert outcome.failure is not None
        assert "gzip" in str(outcome.failure)


@pytest.mark.timeout(120)
def test_a_gzip_bomb_takes_no_more_memory_than_a_file(tmp_path: Path) -> None:
    packets = 500
    octets = 200_000
    with gzip.open(tmp_path / "bomb", "wb", compresslevel=1) as bomb:
        bomb.write(pcap([]))
        for _ in range(packets):
            bomb.write(packed([Record(0, 0, octets, bytes(octets))]))
    told = told_by(as_program(str(tmp_path / "bomb")))
    assert (told["packets"], told["failure"]) == (packets, None)
    # Of 100 MB that there are in the file.
    assert told["rss_kib"] < 80_000


def test_a_stop_leaves_the_rest_of_the_file_unread(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, pcap(MANY)))
    assert read_batch(source) is not None
    source.stop(NOW)
    assert source.is_exhausted()
    assert source.read(NOW) is None
    source.close()
    source.close()


def test_a_source_that_was_read_to_its_end_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_descriptors()
    read_all(write(tmp_path, gzip.compress(pcap(MANY))))
    assert open_descriptors() == before


def test_a_source_that_is_stopped_in_gzip_data_leaves_nothing_open(
    tmp_path: Path,
) -> None:
    before = open_descriptors()
    source = open_source(write(tmp_path, gzip.compress(pcap(MANY * 5))))
    assert read_batch(source) is not None
    source.stop(NOW)
    source.close()
    wait_until(lambda: open_descriptors() == before, 2, "all to be closed")


def test_closing_does_not_wait_for_a_pipe_that_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with path.open("r+b", buffering=0) as writing:
        writing.write(pcap([]))
        source = open_source(str(path))
        source.stop(NOW)
        closing = threading.Thread(target=source.close)
        closing.start()
        closing.join(timeout=5)
        assert not closing.is_alive()
        # Ends the source's thread.
        writing.write(packed(RECORDS))
    source.close()
