"""What was found out before names the files, and spares looking at them again."""

import json
from pathlib import Path

import pytest

from pcap_zmq.errors import ConfigError, InputError
from pcap_zmq.formats.capture_index import Entry, encode_index
from pcap_zmq.tools.known_files import known_files, read_known


@pytest.mark.parametrize(
    "octets", [b"", b"{}", b"no JSON", b'{"version":2,"files":[]}', b'{"files":[1]}']
)
def test_what_is_neither_kind_is_refused(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "map.json"
    path.write_bytes(octets)
    if octets.startswith(b'{"version":2'):
        assert read_known(path).paths == ()
        return
    with pytest.raises(ConfigError, match=r"--map .*map\.json is neither an index"):
        read_known(path, "--map ")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_known(tmp_path / "none.json")


def test_an_index_names_the_captures_in_it_each_once(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    entries = [
        Entry("a.tar:1.pcap", "a.tar", 1, 2, kind="pcap", packets=3),
        Entry("a.tar:2.pcap", "a.tar", 1, 2, kind="pcap", packets=3),
        Entry("notes.txt", "notes.txt", 1, 2, broken_why="no capture"),
        Entry("b.pcap", "b.pcap", 1, 2, kind="pcapng"),
    ]
    path.write_text(encode_index(entries))
    known = read_known(path)
    assert known.paths == ("a.tar", "b.pcap")
    assert list(known.entries) == entries


def test_gophercaps_map_names_files_and_is_not_believed(tmp_path: Path) -> None:
    """It counts one packet less, and knows no first and last time."""
    path = tmp_path / "mapped-files.json"
    (tmp_path / "a.tar").touch()
    names = ["/captures/a.pcap", "b.pcap", f"{tmp_path}/a.tar:in/c.pcap"]
    names += [f"{tmp_path}/a.tar:in/d.pcap"]
    path.write_text(json.dumps({"files": [{"path": name} for name in names]}))
    known = read_known(path)
    assert known.paths == ("/captures/a.pcap", "b.pcap", f"{tmp_path}/a.tar")
    assert known.entries == ()


def test_an_index_among_paths_stands_for_what_it_names(tmp_path: Path) -> None:
    index, other = tmp_path / "index.json", tmp_path / "other.json"
    entries = [
        Entry(name, name, 1, 2, kind="pcap", packets=3) for name in ("b.pcap", "c.pcap")
    ]
    index.write_text(encode_index(entries[:1]))
    other.write_text(encode_index(entries[1:]))
    known = known_files(("a.pcap", str(index), "a.pcap", "none.json"), other)
    assert known.paths == ("a.pcap", "b.pcap", "none.json")
    assert list(known.entries) == [entries[1], entries[0]]
    assert known_files((), other).paths == ("c.pcap",)
    assert known_files((), None).paths == ()
