"""What others put into a folder that is watched does not end the watch."""

import os
from pathlib import Path

from pcap_zmq.sources.watched_folder import WatchedFolder
from pcap_zmq.units import NS_PER_S


def test_links_that_lead_nowhere_are_no_files(tmp_path: Path) -> None:
    """One that leads to itself was said to be a folder that cannot be read."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to(tmp_path / "loop" / "lost")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "a.pcap").write_bytes(b"a")
    watched = WatchedFolder(str(tmp_path), {})
    found = [*watched.look(0), *watched.look(3600 * NS_PER_S)]
    assert [Path(each.path).name for each in found] == ["a.pcap"]
