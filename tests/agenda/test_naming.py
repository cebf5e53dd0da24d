"""What a file is called by everybody."""

from pathlib import Path

import pytest

from pcap_zmq.agenda import naming


def test_a_name_goes_back_from_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "far" / "below").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "far" / "below")
    assert naming.whole(link / ".." / "a.pcap") == tmp_path / "far" / "a.pcap"
    assert naming.whole(link / "..") == tmp_path / "far"


def test_a_link_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("today.pcap").symlink_to("2026-01-31.pcap")
    assert naming.whole(Path("today.pcap")) == tmp_path / "today.pcap"
    assert naming.whole(Path("x") / ".." / "today.pcap") == tmp_path / "today.pcap"
