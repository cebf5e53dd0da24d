"""All packets of all files come in order, and what breaks stops nothing else."""

import gzip
import io
import tarfile
from pathlib import Path
from typing import Literal

import pytest

from pcap_zmq.captures.inputs import Passed
from pcap_zmq.captures.packets import packets_of_all
from pcap_zmq.errors import InputError, PcapZmqError
from pcap_zmq.packet import Batch
from tests.pcap_ffi.savefiles import Record, pcap, pcapng

Mode = Literal["w", "w:gz", "w:xz"]

FIRST = [Record(n, n, 60, bytes([n]) * 60) for n in range(1, 5)]
SECOND = [Record(n, n, 60, bytes([n]) * 60) for n in range(10, 13)]


def records_of(batches: list[Batch]) -> bytes:
    return b"".join(bytes(batch.records) for batch in batches)


def records_in(path: Path) -> bytes:
    return records_of(list(packets_of_all([path], no_trouble)))


def no_trouble(name: str, error: PcapZmqError) -> None:
    raise AssertionError(name) from error


def archive(directory: Path, *, mode: Mode, **files: bytes) -> Path:
    path = directory / "archive"
    with tarfile.open(path, mode) as tar:
        for name, octets in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(octets)
            tar.addfile(member, io.BytesIO(octets))
    return path


@pytest.fixture
def first(tmp_path: Path) -> Path:
    path = tmp_path / "first.pcap"
    path.write_bytes(pcap(FIRST))
    return path


@pytest.fixture
def second(tmp_path: Path) -> Path:
    path = tmp_path / "second.pcapng.gz"
    path.write_bytes(gzip.compress(pcapng(SECOND)))
    return path


class TestWhatBreaks:
    def test_names_nothing_and_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="names no file"):
            list(packets_of_all([tmp_path / "nothing"], no_trouble))

    def test_gives_what_came_before_and_the_rest_goes_on(
        self, tmp_path: Path, first: Path, second: Path
    ) -> None:
        torn = tmp_path / "torn.pcap"
        torn.write_bytes(pcap(FIRST)[:-10])
        told: list[tuple[str, str]] = []
        batches = list(
            packets_of_all(
                [first, torn, tmp_path / "first.pcap", second],
                lambda name, error: told.append((name, str(error))),
            )
        )
        assert sum(batch.count for batch in batches) == 4 + 3 + 3
        assert told == [
            (str(torn), f"{torn}: it ends in the middle of what begins at octet 252")
        ]

    def test_is_told_of_an_archive_that_ends_early(
        self, tmp_path: Path, second: Path
    ) -> None:
        whole = archive(tmp_path, mode="w", one=pcap(FIRST), two=pcap(SECOND))
        octets = whole.read_bytes()
        whole.write_bytes(octets[:1300])
        told: list[str] = []
        batches = list(
            packets_of_all([whole, second], lambda name, error: told.append(name))
        )
        assert sum(batch.count for batch in batches) >= 4 + 3
        assert told


class TestAllFiles:
    def test_come_in_order_whatever_they_are(self, first: Path, second: Path) -> None:
        batches = list(packets_of_all([first, second], no_trouble))
        assert records_of(batches) == records_in(first) + records_in(second)

    @pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
    def test_of_an_archive_come_without_a_file_being_made(
        self, mode: Mode, tmp_path: Path, first: Path, second: Path
    ) -> None:
        path = archive(
            tmp_path, mode=mode, first=first.read_bytes(), second=second.read_bytes()
        )
        before = sorted(tmp_path.iterdir())
        batches = list(packets_of_all([path], no_trouble))
        assert records_of(batches) == records_in(first) + records_in(second)
        assert sorted(tmp_path.iterdir()) == before

    def test_count_what_was_read_of_them(self, first: Path, second: Path) -> None:
        passed = Passed()
        list(packets_of_all([first, second], no_trouble, passed=passed))
        size = first.stat().st_size + second.stat().st_size
        assert (passed.octets, passed.total) == (size, size)
