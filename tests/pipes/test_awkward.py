"""Every command that reads capture files takes the awkward ones for what they are."""

import gzip
import itertools
import json
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from tests.flow_ffi.packets import A4, B4
from tests.pipes import packets as numbered
from tests.pipes.tools import Tools
from tests.support import awkward as support
from tests.support import pcapng
from tests.support.awkward import AWKWARD, BEGINS_NS, CLIENT_PORT, SERVER_PORT, Packet

Seen = tuple[int, int, int, bytes]
"""A packet that came out: link type, time, octets on the wire, octets."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, in the order of their names."""
    path = tmp_path_factory.mktemp("awkward")
    for name, each in AWKWARD.items():
        (path / f"{name}{each.ending}").write_bytes(each.octets)
    return path


def said_by(tools: Tools, *arguments: str | Path) -> tuple[int, bytes, str]:
    """The exit code, and what came on standard output and standard error."""
    tool = tools.start("pcap-zmq", *arguments, stdout=subprocess.PIPE)
    printed = tool.stdout.read()
    code = tool.wait()
    assert "Traceback" not in tool.said()
    return code, printed, tool.said()


def seen(each: Packet) -> Seen:
    on_wire = len(each.data) + each.more
    return each.linktype, each.ts_ns, on_wire, each.data


def in_order_of_names() -> list[Packet]:
    names = sorted(AWKWARD, key=lambda name: f"{name}{AWKWARD[name].ending}")
    return [packet for name in names for packet in AWKWARD[name].packets]


def read_pcapng(octets: bytes) -> list[Seen]:
    stream = pcapng.read(octets)
    assert stream.torn == b""
    return [
        (each.interface.linktype, each.ts_ns, each.origlen, each.data)
        for each in stream.packets
    ]


def read_pcap(octets: bytes) -> list[Seen]:
    """Of a savefile in nanoseconds."""
    magic, *_, linktype = numbered.FILE_HEADER.unpack_from(octets)
    assert magic == numbered.NANO
    found, at = [], numbered.FILE_HEADER.size
    while at < len(octets):
        seconds, rest, caplen, origlen = numbered.RECORD_HEADER.unpack_from(octets, at)
        at += numbered.RECORD_HEADER.size
        data = octets[at : at + caplen]
        assert len(data) == caplen
        found.append((linktype, seconds * support.S + rest, origlen, data))
        at += caplen
    return found


def test_names_and_packets_are_all_different() -> None:
    all_of_them = [packet for each in AWKWARD.values() for packet in each.packets]
    assert len(AWKWARD) > 30
    assert len({(each.ts_ns, each.data) for each in all_of_them}) == len(all_of_them)


# Each command.


def test_map_tells_what_is_in_each(tools: Tools, folder: Path) -> None:
    code, printed, said = said_by(tools, "map", folder, "--format", "json")
    entries = {Path(e["path"]).name: e for e in json.loads(printed)["files"]}
    assert code == 1
    assert len(said.splitlines()) == len(
        [e for e in entries.values() if e["broken_why"]]
    )
    for name, each in AWKWARD.items():
        entry = entries.get(f"{name}{each.ending}")
        if not each.is_capture:
            # A section alone is a capture, although nothing can come of it.
            assert entry is None or not entry["packets"], name
            continue
        assert entry is not None, name
        assert entry["packets"] == len(each.packets), name
        assert bool(entry["broken_why"]) == each.breaks, name
        assert entry["octets"] == sum(len(packet.data) for packet in each.packets)
        assert entry["truncated"] == sum(packet.more > 0 for packet in each.packets)
        if each.packets:
            times = [packet.ts_ns for packet in each.packets]
            assert (entry["first_ns"], entry["last_ns"]) == (min(times), max(times))
            steps = itertools.pairwise(times)
            assert entry["backwards"] == sum(b < a for a, b in steps), name


@pytest.mark.parametrize("form", ["table", "csv", "gophercap"])
def test_map_has_words_for_all_of_them(form: str, tools: Tools, folder: Path) -> None:
    code, printed, _ = said_by(tools, "map", folder, "--format", form)
    assert (code, "inf" in printed.decode().lower()) == (1, False)
    if form == "gophercap":
        files = json.loads(printed)["files"]
        assert len(files) == sum(bool(each.packets) for each in AWKWARD.values())


def test_dispatch_sends_all_packets_in_their_order(
    tools: Tools, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.pcapng"
    code, _, said = said_by(
        tools, "dispatch", "--format", "pcapng", folder, f"file:{output}"
    )
    assert code == 1, said
    assert read_pcapng(output.read_bytes()) == [seen(e) for e in in_order_of_names()]


def test_replay_sends_all_packets(tools: Tools, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.pcapng"
    options = ["--topspeed", "--format", "pcapng"]
    code, _, said = said_by(tools, "replay", *options, folder, f"file:{output}")
    assert code == 1, said
    found = read_pcapng(output.read_bytes())
    assert Counter(found) == Counter(map(seen, in_order_of_names()))


def test_filter_keeps_each_file_apart(
    tools: Tools, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    code, _, said = said_by(tools, "filter", folder, f"folder:{output}")
    assert code == 1, said
    files = [read_pcap(path.read_bytes()) for path in output.rglob("*.pcap")]
    for name, each in AWKWARD.items():
        for linktype in {packet.linktype for packet in each.packets}:
            wanted = [seen(p) for p in each.packets if p.linktype == linktype]
            assert wanted in files, name


def test_filter_makes_one_stream_of_all(
    tools: Tools, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.pcapng"
    options = ["--filter", "", "--format", "pcapng"]
    code, _, said = said_by(tools, "filter", *options, folder, f"file:{output}")
    assert code == 1, said
    assert read_pcapng(output.read_bytes()) == [seen(e) for e in in_order_of_names()]


def test_extract_finds_the_flow_in_all_of_them(
    tools: Tools, folder: Path, tmp_path: Path
) -> None:
    event = {
        "timestamp": "2023-11-14T22:13:20.0+0000",
        "flow": {"start": "2023-11-14T22:13:20.0+0000"},
        "src_ip": A4,
        "src_port": CLIENT_PORT,
        "dest_ip": B4,
        "dest_port": SERVER_PORT,
        "proto": "UDP",
    }
    assert BEGINS_NS == 1_700_000_000 * support.S
    output = tmp_path / "out.pcapng"
    options = ["--event", json.dumps(event), "--format", "pcapng"]
    code, _, said = said_by(tools, "extract", *options, folder, f"file:{output}")
    assert code == 1, said
    wanted = [seen(each) for each in in_order_of_names() if each.in_flow]
    assert Counter(read_pcapng(output.read_bytes())) == Counter(wanted)


def test_extract_takes_members_as_they_are(
    tools: Tools, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "all.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "week")
    output = tmp_path / "out"
    code, _, _ = said_by(tools, "extract", "--members", "*", path, f"folder:{output}")
    assert code == 0
    made = {each.name: each.read_bytes() for each in (output / "week").iterdir()}
    assert made == {f"{n}{each.ending}": each.octets for n, each in AWKWARD.items()}


# What is awkward, and no file.


@pytest.mark.parametrize(
    ("command", "output", "why"),
    [
        ("dispatch --approve ask", "-", "terminal"),
        ("replay", "interface:nowhere", "nowhere"),
        ("replay --filter nonsense", "-", "nonsense"),
        ("filter --rules {empty}", "-", "holds no filters"),
        ("filter --eve {nowhere}", "-", "nowhere"),
        ("extract --event {empty}", "-", "no JSON"),
        ("extract --members *", "folder:/dev/null/x", "/dev/null/x"),
        ("replay", "file:/dev/null/x", "/dev/null"),
        ("filter", "file:/dev/null/x", "/dev/null"),
        ("dispatch", "tcp://nowhere", "tcp://nowhere"),
    ],
)
def test_what_cannot_be_is_an_error_in_one_line(
    command: str, output: str, why: str, tools: Tools, tmp_path: Path
) -> None:
    path = tmp_path / "a.pcap"
    numbered.write(path, range(10))
    if "members" in command:
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            archive.add(path, "a.pcap")
        path = tmp_path / "a.tar"
    empty = tmp_path / "empty.yaml"
    empty.write_bytes(b"")
    words = command.format(empty=empty, nowhere=tmp_path / "nowhere").split()
    code, _, said = said_by(tools, *words, path, output)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert (code != 0, len(errors)) == (True, 1), said
    assert why in errors[0]


def test_files_of_one_name_do_not_overwrite_each_other(
    tools: Tools, tmp_path: Path
) -> None:
    names = ["a/log.1.pcap", "a/log.2.pcap", "b/log.1.pcap", "b/log.1.pcap.gz"]
    for number, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        octets = numbered.header() + numbered.records(
            range(number * 10, number * 10 + 5)
        )
        path.write_bytes(gzip.compress(octets) if name.endswith("gz") else octets)
    output = tmp_path / "out"
    code, _, said = said_by(tools, "filter", tmp_path / "in", f"folder:{output}")
    assert code == 0, said
    found = [numbered.numbers(path.read_bytes()) for path in output.rglob("*.pcap")]
    assert sorted(found) == [list(range(n * 10, n * 10 + 5)) for n in range(4)]
