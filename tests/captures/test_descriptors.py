"""Many files are read in turns with few descriptors."""

import os
from pathlib import Path

import pytest

from pcap_zmq.captures.descriptors import Descriptors, SharedFile
from pcap_zmq.errors import InputError


def open_here(folder: Path) -> list[str]:
    """Files of the folder that this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return sorted(name for name in found if name.startswith(f"{folder}/"))


def test_a_file_that_is_gone_or_none_is_an_error(tmp_path: Path) -> None:
    descriptors = Descriptors()
    with pytest.raises(InputError, match=r"gone cannot be read: No such file"):
        SharedFile(tmp_path / "gone", descriptors).read(1)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="is no regular file any more"):
        SharedFile(tmp_path / "fifo", descriptors).read(1)
    descriptors.close_all()
    assert open_here(tmp_path) == []


def test_a_file_that_was_replaced_meanwhile_is_an_error(tmp_path: Path) -> None:
    descriptors = Descriptors(1)
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"abc")
    other.write_bytes(b"xyz")
    file = SharedFile(one, descriptors)
    assert file.read(1) == b"a"
    other.rename(one)
    # As long as it is open it is the same.
    assert file.read(1) == b"b"
    descriptors.close(one)
    with pytest.raises(InputError, match="one was replaced while it was being read"):
        file.read(1)
    descriptors.close_all()


def test_files_go_on_where_they_were_left_however_few_are_open(tmp_path: Path) -> None:
    descriptors = Descriptors(3)
    files = []
    for number in range(10):
        path = tmp_path / str(number)
        path.write_bytes(bytes([number]) * 5)
        files.append(SharedFile(path, descriptors))
    for _ in range(5):
        assert [file.read(1) for file in files] == [bytes([n]) for n in range(10)]
        assert len(open_here(tmp_path)) == 3
    assert [file.read(1) for file in files] == [b""] * 10
    assert [file.at for file in files] == [5] * 10
    for _ in range(2):
        files[9].close()
        assert len(open_here(tmp_path)) == 2
    for _ in range(2):
        descriptors.close_all()
        assert open_here(tmp_path) == []
