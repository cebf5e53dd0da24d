"""Where others may write, too, nothing of ours goes where they want it."""

import stat
from pathlib import Path

import pytest

from pcap_zmq.tools.extract_members import Members, MembersConfig
from pcap_zmq.tools.filter import _scratch
from pcap_zmq.tools.whole_file import part_of, write_whole
from tests.captures.test_archive import tar


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    return victim


def test_a_link_in_the_place_of_a_part_is_not_followed(
    tmp_path: Path, victim: Path
) -> None:
    path = tmp_path / "index.json"
    part_of(path).symlink_to(victim)
    write_whole(path, b"new")
    assert (path.read_bytes(), victim.read_bytes()) == (b"new", b"mine")
    assert not path.is_symlink()


def test_a_file_in_the_place_of_a_part_does_not_become_ours(tmp_path: Path) -> None:
    """Who owns it could go on to write it."""
    path = tmp_path / "index.json"
    part = part_of(path)
    part.write_bytes(b"somebody's")
    part.chmod(0o777)
    write_whole(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) & 0o111 == 0


def test_a_member_goes_through_no_link(tmp_path: Path, victim: Path) -> None:
    archive, folder = tmp_path / "a.tar", tmp_path / "out"
    archive.write_bytes(tar(("a", b"new")))
    folder.mkdir()
    part_of(folder / "a").symlink_to(victim)
    Members(MembersConfig((str(archive),), ("*",), folder)).run()
    assert victim.read_bytes() == b"mine"
    assert (folder / "a").read_bytes() == b"new"


def test_the_folder_of_what_is_not_whole_is_always_a_new_one(tmp_path: Path) -> None:
    """Its name could be told before, and all that is in it is removed at the end."""
    with _scratch(tmp_path) as one, _scratch(tmp_path) as other:
        assert one != other
        for made in (one, other):
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert list(tmp_path.iterdir()) == []
