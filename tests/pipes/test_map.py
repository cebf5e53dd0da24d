"""pcap-zmq map says of real files what capinfos says, and where one breaks."""

import gzip
import io
import json
import lzma
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pcap_zmq.tools.map import Map, MapConfig
from testbed.waiting import wait_until
from tests.pcap_ffi.savefiles import RECORDS, Record, pcap, pcapng
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tools

PACKETS = range(3_000)
S = 10**9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "captures"
    path.mkdir()
    return path


def map_of(tools: Tools, *arguments: str | Path) -> tuple[int, str, str]:
    """The exit code, and what came on standard output and standard error."""
    tool = tools.start("pcap-zmq", "map", *arguments, stdout=subprocess.PIPE)
    printed = tool.stdout.read().decode()
    return tool.wait(), printed, tool.said()


def entries_of(tools: Tools, *arguments: str | Path) -> dict[str, Any]:
    _, printed, _ = map_of(tools, *arguments, "--format", "json")
    return {Path(each["path"]).name: each for each in json.loads(printed)["files"]}


# Unhappy paths.


def test_a_path_that_names_nothing_is_an_error(tools: Tools, tmp_path: Path) -> None:
    for path in (tmp_path / "none", f"{tmp_path}/*.pcap"):
        code, _, said = map_of(tools, path)
        assert (code, said) == (2, f"error: {path} names no file\n")


def test_a_picture_of_a_form_that_nobody_draws_is_an_error(
    tools: Tools, folder: Path
) -> None:
    packets.write(folder / "a.pcap", PACKETS)
    code, printed, said = map_of(tools, folder, "--plot", folder / "a.gif")
    assert (code, printed) == (2, "")
    assert "has to end in .svg, .png or .pdf" in said


def test_an_index_that_is_none_is_an_error_and_left_alone(
    tools: Tools, folder: Path
) -> None:
    packets.write(folder / "a.pcap", PACKETS)
    index = folder / "a.pcap"
    before = index.read_bytes()
    code, _, said = map_of(tools, folder, "--index", index)
    assert (code, "is no index of pcap-zmq map" in said) == (2, True)
    assert index.read_bytes() == before


def test_a_broken_file_is_said_with_its_place_and_stops_nothing(
    tools: Tools, folder: Path
) -> None:
    whole = packets.write(folder / "whole.pcap", PACKETS)
    (folder / "torn.pcap").write_bytes(whole[:-1])
    broken = bytearray(pcap(RECORDS[:3]))
    broken[24 + 76 + 8 : 24 + 76 + 12] = b"\xff\xff\xff\x7f"
    (folder / "broken.pcap").write_bytes(broken)
    (folder / "empty.pcap").write_bytes(b"")
    (folder / "torn.gz").write_bytes(gzip.compress(whole)[:-3])
    code, _, said = map_of(tools, folder)
    assert code == 1
    assert f"{folder / 'broken.pcap'}: a packet of 2147483647 octets" in said
    assert "at octet 100" in said
    entries = entries_of(tools, folder)
    assert entries["torn.pcap"]["packets"] == len(PACKETS) - 1
    assert entries["torn.gz"]["packets"] == len(PACKETS)
    assert entries["torn.gz"]["broken_why"] == "the gzip data end in the middle"
    assert (entries["broken.pcap"]["packets"], entries["broken.pcap"]["broken_at"]) == (
        1,
        100,
    )
    # Of a folder only captures are meant; by its name it would be.
    assert "empty.pcap" not in entries
    assert map_of(tools, folder / "empty.pcap")[0] == 1


def test_a_broken_file_is_one_however_it_is_named(tools: Tools, folder: Path) -> None:
    (folder / "junk").write_bytes(b"nothing of this kind")
    (folder / "esc\x1b[31m").write_bytes(b"nothing of this kind")
    for name in ("junk", "./junk", "../captures/junk"):
        code, _, said = map_of(tools, f"{folder}/{name}")
        assert (code, "are those of no capture" in said) == (1, True)
    code, _, said = map_of(tools, folder / "esc\x1b[31m")
    assert (code, "\x1b" in said) == (1, False)


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.size": "abc", "GNU.sparse.numblocks": "x"},
        {"GNU.sparse.map": "a,b"},
        {"GNU.sparse.realsize": "x"},
        {"comment": "x" * (3 << 20)},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_an_archive_that_means_harm_is_an_error_and_stops_nothing(
    headers: dict[str, str], tools: Tools, folder: Path
) -> None:
    with tarfile.open(folder / "bad.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a.pcap")
        member.pax_headers = headers
        archive.addfile(member)
    packets.write(folder / "good.pcap", PACKETS)
    code, printed, said = map_of(tools, folder / "bad.tar", folder / "good.pcap")
    assert (code, "3000" in printed) == (1, True)
    assert "bad.tar: the archive breaks: " in said
    assert "Traceback" not in said


@pytest.mark.parametrize("option", ["--output", "--plot"])
def test_what_is_there_is_left_alone_unless_it_is_said(
    option: str, tools: Tools, folder: Path
) -> None:
    before = packets.write(folder / "a.svg", PACKETS)
    code, _, said = map_of(tools, folder, option, folder / "a.svg")
    assert (code, "is there already; say --overwrite" in said) == (2, True)
    assert (folder / "a.svg").read_bytes() == before
    assert map_of(tools, folder, option, folder / "a.svg", "--overwrite")[0] == 0
    assert (folder / "a.svg").read_bytes() != before


@pytest.mark.parametrize("output", [".", "", "/"])
def test_an_output_that_names_no_file_is_an_error(
    output: str, tools: Tools, folder: Path
) -> None:
    packets.write(folder / "a.pcap", PACKETS)
    code, printed, said = map_of(tools, folder, "--output", output)
    assert (code, printed, len(said.splitlines())) == (2, "", 1)


def test_a_name_that_is_no_utf_8_is_written_as_it_is(
    tools: Tools, folder: Path
) -> None:
    name = os.fsdecode(b"c\xff.pcap")
    packets.write(folder / name, range(3))
    options: list[str | Path] = ["--format", "csv", "--output", folder / "out"]
    assert map_of(tools, folder / name, *options)[0] == 0
    assert b"c\xff.pcap" in (folder / "out").read_bytes()
    assert map_of(tools, folder / name, "--plot", folder / "out.svg")[0] == 0


def test_a_file_that_may_not_be_read_stops_nothing(
    tools: Tools, folder: Path, tmp_path: Path
) -> None:
    packets.write(folder / "whole.pcap", PACKETS)
    (folder / "gone.pcap").symlink_to(tmp_path / "nowhere")
    code, printed, said = map_of(tools, folder / "gone.pcap", folder / "whole.pcap")
    assert (code, "3000" in printed) == (1, True)
    assert "gone.pcap cannot be read: No such file or directory" in said


def test_an_interruption_leaves_no_half_index(tools: Tools, folder: Path) -> None:
    os.mkfifo(folder / "never.pcap")
    index = folder / "index.json"
    paths: list[str | Path] = [folder / "never.pcap", "--index", index]
    tool = tools.start("pcap-zmq", "map", *paths, stdout=subprocess.DEVNULL)
    waiting = Path(f"/proc/{tool.pid}/wchan")
    wait_until(lambda: "partner" in waiting.read_text(), PATIENCE_S, "it to wait")
    tool.process.send_signal(signal.SIGINT)
    assert tool.wait() == 1
    assert "Traceback" not in tool.said()
    assert [path.name for path in folder.iterdir()] == ["never.pcap"]


# What it says.


def test_what_capinfos_says_of_a_file_it_says(tools: Tools, folder: Path) -> None:
    packets.write(folder / "a.pcap", PACKETS, size=700)
    (entry,) = entries_of(tools, folder).values()
    argv = ["capinfos", "-TmQcdaeSH", str(folder / "a.pcap")]
    said = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    names, values = (line.split(",") for line in said.decode().splitlines()[:2])
    pairs = zip(names, values, strict=True)
    info = {name.strip('"'): value.strip('"') for name, value in pairs}
    assert entry["packets"] == int(info["Number of packets"])
    assert entry["octets_on_wire"] == int(info["Data size (bytes)"])
    assert entry["first_ns"] == int(info["Start time"].replace(".", ""))
    assert entry["last_ns"] == int(info["End time"].replace(".", ""))
    assert entry["sha256"] == info["SHA256"]


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, lzma.compress, zstandard.compress]
)
@pytest.mark.parametrize("make", [pcap, pcapng])
def test_any_kind_is_understood(
    make: Callable[..., bytes],
    compress: Callable[[bytes], bytes],
    tools: Tools,
    folder: Path,
) -> None:
    (folder / "a").write_bytes(compress(make(RECORDS, order=">")))
    (entry,) = entries_of(tools, folder).values()
    assert (entry["packets"], entry["linktypes"]) == (len(RECORDS), [101])
    assert entry["octets"] == sum(len(record.data) for record in RECORDS)
    assert (entry["truncated"], entry["backwards"]) == (1, 1)
    assert entry["first_ns"] == 1
    assert entry["last_ns"] == ((1 << 32) - 1) * S


def test_times_and_rates_are_true_for_few_packets(tools: Tools, folder: Path) -> None:
    (folder / "none.pcap").write_bytes(pcap([]))
    (folder / "one.pcap").write_bytes(pcap(RECORDS[:1]))
    same = [Record(5, 6, 40, bytes(40))] * 3
    (folder / "same.pcap").write_bytes(pcap(same))
    entries = entries_of(tools, folder)
    assert [entries[n]["packets"] for n in ("none.pcap", "one.pcap", "same.pcap")] == [
        0,
        1,
        3,
    ]
    assert entries["one.pcap"]["first_ns"] == entries["one.pcap"]["last_ns"]
    assert entries["same.pcap"]["backwards"] == 0
    code, printed, _ = map_of(tools, folder, "--format", "gophercap")
    read = json.loads(printed)
    assert (code, len(read["files"])) == (0, 2)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_members_of_an_archive_are_files(mode: Any, tools: Tools, folder: Path) -> None:
    octets = pcap(RECORDS)
    with tarfile.open(folder / "all.tar", mode) as archive:
        for name, content in (
            ("day/a.pcap", octets),
            ("b.pcap.gz", gzip.compress(octets)),
            ("notes.txt", b"nothing of this kind"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    _, printed, _ = map_of(tools, folder, "--format", "json")
    files = json.loads(printed)["files"]
    archive_path = folder / "all.tar"
    assert [each["path"] for each in files] == [
        f"{archive_path}:day/a.pcap",
        f"{archive_path}:b.pcap.gz",
    ]
    assert {each["packets"] for each in files} == {len(RECORDS)}


def test_the_same_comes_out_with_any_number_of_workers(
    tools: Tools, folder: Path
) -> None:
    for number in range(8):
        packets.write(folder / f"{number}.pcap", range(100 * number + 1))
    printed = {map_of(tools, folder, "--workers", str(n))[1] for n in (1, 2, 5)}
    assert len(printed) == 1


def test_only_what_has_changed_is_looked_through_again(
    tools: Tools, folder: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index.json"
    for name in ("a.pcap", "b.pcap"):
        packets.write(folder / name, range(10))
    assert map_of(tools, folder, "--index", index)[0] == 0
    kept = index.read_text()
    # What is kept is believed, as long as size and time are the same.
    index.write_text(kept.replace('"packets":10', '"packets":11'))
    packets.write(folder / "b.pcap", range(20))
    packets.write(folder / "c.pcap", range(30))
    entries = entries_of(tools, folder, "--index", index)
    assert {name: each["packets"] for name, each in entries.items()} == {
        "a.pcap": 11,
        "b.pcap": 20,
        "c.pcap": 30,
    }
    (folder / "a.pcap").unlink()
    assert set(entries_of(tools, folder, "--index", index)) == {"b.pcap", "c.pcap"}


def test_without_hashes_the_rest_is_the_same_and_a_hash_is_found_later(
    tools: Tools, folder: Path, tmp_path: Path
) -> None:
    packets.write(folder / "a.pcap", PACKETS)
    index = tmp_path / "index.json"
    (plain,) = entries_of(tools, folder, "--no-hash", "--index", index).values()
    (hashed,) = entries_of(tools, folder, "--index", index).values()
    assert plain["sha256"] == ""
    assert hashed == plain | {"sha256": hashed["sha256"]}
    assert len(hashed["sha256"]) == 64
    # What is known is kept, although nobody asks for it.
    (again,) = entries_of(tools, folder, "--no-hash", "--index", index).values()
    assert again == hashed


def test_of_a_torn_archive_what_is_there_is_told(tools: Tools, folder: Path) -> None:
    whole = packets.write(folder / "a.pcap", PACKETS)
    with tarfile.open(folder / "all.tar", "w") as archive:
        archive.add(folder / "a.pcap", "a.pcap")
    octets = (folder / "all.tar").read_bytes()
    at = octets.index(whole[:24])
    (folder / "all.tar").write_bytes(octets[: at + len(whole) - 1])
    code, printed, said = map_of(tools, folder / "all.tar", "--format", "json")
    entry = json.loads(printed)["files"][0]
    assert (code, entry["packets"]) == (1, len(PACKETS) - 1)
    assert "the archive breaks: it ends in the middle of a member" in said


@pytest.mark.parametrize("files", [1, 3])
def test_progress_is_told_within_a_file_too(files: int, folder: Path) -> None:
    for number in range(files):
        packets.write(folder / f"{number}.pcap", range(3_000), size=1_000)
    told: list[tuple[int, int]] = []
    Map(MapConfig((str(folder),), workers=files)).run(lambda *each: told.append(each))
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert told[-1] == (size, size)
    # In workers it is looked at now and then.
    assert len(told) >= (3 if files == 1 else 1)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_picture_is_drawn_and_the_output_is_there_when_it_is_whole(
    suffix: str, tools: Tools, folder: Path, tmp_path: Path
) -> None:
    for number in range(3):
        packets.write(folder / f"{number}.pcap", range(1_000 * number, 5_000))
    picture, output = tmp_path / f"out.{suffix}", tmp_path / "out.csv"
    options: list[str | Path] = [
        "--plot",
        picture,
        "--format",
        "csv",
        "--output",
        output,
    ]
    code, printed, said = map_of(tools, folder, *options)
    assert (code, printed, said) == (0, "", "")
    assert len(output.read_text().splitlines()) == 4
    assert picture.read_bytes()[:5] in {b"<?xml", b"\x89PNG\r"}


@pytest.mark.parametrize("form", ["gophercap", "json"])
def test_a_map_names_the_files_that_it_was_made_of(
    form: str, tools: Tools, folder: Path, tmp_path: Path
) -> None:
    for name in "ab":
        (folder / f"{name}.pcap").write_bytes(pcap(RECORDS))
    made = tmp_path / "map.json"
    assert map_of(tools, folder, "--format", form, "--output", made)[0] == 0
    assert entries_of(tools, made) == entries_of(tools, folder)
