"""Many savefiles at once: whole under their names, or not there."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcap_zmq.errors import ConfigError, OutputError
from pcap_zmq.packet import Batch
from pcap_zmq.sinks.capture_parts import OPEN_MAX, CaptureParts, Written, give_name
from tests.pipes import packets

RAW, ETHERNET = 101, 1


def batch(numbers: range, linktype: int = RAW) -> Batch:
    return Batch(linktype, packets.records(numbers), len(numbers))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "scratch"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def parts(scratch: Path) -> Iterator[CaptureParts]:
    parts = CaptureParts(scratch, None, nanoseconds=True)
    yield parts
    parts.close()


def name_in(folder: Path, which: int, linktype: int | None) -> Path:
    return folder / f"{which}-{linktype}.pcap"


def commit(parts: CaptureParts, folder: Path) -> list[Written]:
    return list(parts.commit(lambda *of: name_in(folder, *of), overwrite=False))


def test_what_is_not_committed_was_never_there(
    parts: CaptureParts, scratch: Path, tmp_path: Path
) -> None:
    # More than waits for more.
    parts.add(0, batch(range(10_000)))
    parts.add(1, batch(range(3)))
    assert list(scratch.iterdir())
    parts.close()
    assert list(scratch.iterdir()) == []
    assert commit(parts, tmp_path / "out") == []


def test_a_file_that_is_there_is_not_replaced_unless_it_is_said(tmp_path: Path) -> None:
    part, path = tmp_path / "part", tmp_path / "a.pcap"
    part.write_text("new")
    path.write_text("old")
    with pytest.raises(ConfigError, match="say --overwrite"):
        give_name(part, path, overwrite=False)
    assert path.read_text() == "old"
    give_name(part, path, overwrite=True)
    assert path.read_text() == "new"


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_text("new")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        give_name(part, tmp_path / "file" / "below" / "a.pcap", overwrite=False)


def test_a_file_of_each_number_and_link_type_gets_its_name(
    parts: CaptureParts, tmp_path: Path
) -> None:
    parts.add(1, batch(range(5)))
    parts.add(0, batch(range(3)))
    parts.add(1, batch(range(5, 7), ETHERNET))
    parts.add(1, batch(range(7, 9)))
    parts.ensure(1, RAW)
    parts.ensure(2, RAW)
    folder = tmp_path / "out" / "deep"
    written = commit(parts, folder)
    assert [(each.which, each.path.name, each.packets) for each in written] == [
        (0, "0-None.pcap", 3),
        (1, f"1-{ETHERNET}.pcap", 2),
        (1, f"1-{RAW}.pcap", 7),
        (2, "2-None.pcap", 0),
    ]
    wanted = [[0, 1, 2], [5, 6], [0, 1, 2, 3, 4, 7, 8], []]
    for each, numbers in zip(written, wanted, strict=True):
        assert packets.numbers(each.path.read_bytes()) == numbers
        assert each.octets == each.path.stat().st_size - 24


def test_more_files_than_may_be_open_are_written_in_little_memory(
    scratch: Path, tmp_path: Path
) -> None:
    # So that each of them is opened again and again.
    parts = CaptureParts(scratch, None, nanoseconds=True, pending_max=1 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 4 * OPEN_MAX
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        for start in range(0, 300, 30):
            for which in range(files):
                parts.add(which, batch(range(start, start + 30)))
        written = commit(parts, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(written) == files
    for each in written:
        assert packets.numbers(each.path.read_bytes()) == list(range(300))


def test_times_may_be_in_microseconds(scratch: Path) -> None:
    parts = CaptureParts(scratch, None, nanoseconds=False)
    given = batch(range(3))
    before = bytes(given.records)
    parts.add(0, given)
    (written,) = commit(parts, scratch.parent)
    parts.close()
    octets = written.path.read_bytes()
    assert packets.numbers(octets, magic=packets.MICRO) == [0, 1, 2]
    # They are somebody else's, too.
    assert given.records == before
