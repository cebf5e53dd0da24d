"""pcap-zmq extract takes one flow, or members of archives, out of much."""

import gzip
import io
import json
import lzma
import signal
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pcap_zmq.captures.flow_log import FlowLog
from pcap_zmq.clock import utc_ns
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.formats.eve_event import decode_event
from pcap_zmq.formats.savefile import iter_packets
from testbed.ids import Suricata
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tools

PACKETS = range(3_000)
# As tests.pipes.packets makes them: all are of one flow.
EVENT = json.dumps(
    {
        "timestamp": "2023-11-14T22:13:21.000000+0000",
        "event_type": "alert",
        "src_ip": "192.0.2.1",
        "src_port": 5000,
        "dest_ip": "192.0.2.2",
        "dest_port": 5001,
        "proto": "UDP",
    }
)
OTHER = EVENT.replace("5001", "5002")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "captures"
    path.mkdir()
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    return path


def extract(
    tools: Tools, *arguments: str | Path, stdin: bytes = b""
) -> tuple[int, bytes, str]:
    """The exit code, and what came on standard output and standard error."""
    tool = tools.start(
        "pcap-zmq",
        "extract",
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    tool.stdin.write(stdin)
    tool.stdin.close()
    printed = tool.stdout.read()
    code = tool.wait()
    assert "Traceback" not in tool.said()
    return code, printed, tool.said()


# Unhappy paths.


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "say what: --event or --members"),
        (("--event", EVENT, "--members", "*", "a", "b"), "one of them"),
        (("--event", EVENT), "no OUTPUT"),
        (("--event", EVENT, "--dry-run", "a", "b"), "are for --members"),
        (("--event", "{}", "a", "b"), "--event: the event has no proto"),
        (("--event", "/nowhere", "a", "b"), "--event /nowhere cannot be read"),
        (("--event", "-", "a", "b"), "standard input: no JSON"),
        (("--event", EVENT, "/nowhere", "-"), "/nowhere names no file"),
        (("--members", "*", "a.tar", "out"), "OUTPUT, the last word, is folder:DIR"),
        (("--members", "(", "--regex", "a", "folder:b"), "no regular expression"),
    ],
)
def test_what_makes_no_sense_is_an_error_in_one_line(
    arguments: tuple[str, ...], why: str, tools: Tools
) -> None:
    code, printed, said = extract(tools, *arguments)
    assert (code, printed) == (2, b"")
    errors = [line for line in said.splitlines() if " INFO " not in line]
    assert len([line for line in errors if not line.startswith("totals")]) == 1
    assert why in said


def test_a_flow_that_is_nowhere_leaves_no_file(
    tools: Tools, folder: Path, output: Path
) -> None:
    packets.write(folder / "a.pcap", PACKETS)
    code, _, said = extract(tools, "--event", OTHER, folder, output / "a.pcap")
    assert code == 1
    assert "no packet of the event's flow among 3000 in 1 files" in said
    assert list(output.iterdir()) == []


def test_what_is_there_is_left_alone_unless_it_is_said(
    tools: Tools, folder: Path, output: Path
) -> None:
    packets.write(folder / "a.pcap", PACKETS)
    (output / "a.pcap").write_bytes(b"mine")
    arguments: list[str | Path] = ["--event", EVENT, folder, output / "a.pcap"]
    code, _, said = extract(tools, *arguments)
    assert (code, "say --overwrite" in said) == (2, True)
    assert (output / "a.pcap").read_bytes() == b"mine"
    assert extract(tools, *arguments, "--overwrite")[0] == 0
    assert packets.numbers((output / "a.pcap").read_bytes()) == list(PACKETS)


def test_a_file_that_breaks_is_said_and_what_is_before_comes_out(
    tools: Tools, folder: Path, output: Path
) -> None:
    whole = packets.write(folder / "a.pcap", PACKETS)
    (folder / "a.pcap").write_bytes(whole[:-1])
    code, _, said = extract(tools, "--event", EVENT, folder, output / "a.pcap")
    assert (code, "1 file is broken" in said) == (1, True)
    assert packets.numbers((output / "a.pcap").read_bytes()) == list(PACKETS)[:-1]


# The packets of a flow.


@pytest.mark.parametrize("way", ["text", "file", "standard input"])
def test_an_event_may_come_in_three_ways(
    way: str, tools: Tools, folder: Path, tmp_path: Path
) -> None:
    packets.write(folder / "a.pcap", PACKETS)
    (folder / "eve.json").write_text(EVENT + "\n")
    (tmp_path / "event").write_text(EVENT + "\n")
    event = {"text": EVENT, "file": str(tmp_path / "event"), "standard input": "-"}
    stdin = EVENT.encode() if way == "standard input" else b""
    code, printed, said = extract(
        tools, "--event", event[way], folder, "-", stdin=stdin
    )
    assert (code, "WARNING" in said) == (0, False), said
    assert packets.numbers(printed) == list(PACKETS)


def test_what_an_earlier_run_has_written_is_no_input(
    tools: Tools, folder: Path
) -> None:
    packets.write(folder / "a.pcap", PACKETS)
    arguments: list[str | Path] = ["--event", EVENT, folder, folder / "flow.pcap"]
    for options in ([], ["--overwrite"]):
        assert extract(tools, *arguments, *options)[0] == 0
        found = packets.numbers((folder / "flow.pcap").read_bytes())
        assert found == list(PACKETS)


RULES = (
    'alert http any any -> any any (msg:"asked"; flow:to_server; http.method; '
    'content:"GET"; sid:1;)\n'
)
EXAMPLES = Path(__file__).parents[2] / "examples" / "files"
FLOWS, FLOW_PACKETS = 24, 809
"""Of examples/files/captures.py."""


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made")
    argv: list[str | Path] = ["python3", EXAMPLES / "captures.py", path]
    subprocess.run(argv, check=True, timeout=60)
    return path


@pytest.mark.skipif(not Suricata.is_installed(), reason="suricata is not installed")
@pytest.mark.parametrize(
    ("options", "name", "least"),
    [
        # A log for each thread, compressed.
        ("--set outputs.1.pcap-log.compression=lz4", "log.pcap.2.*.lz4", 1),
        # One thread, whose log is rotated.
        ("--runmode single", "log.pcap.1.*", 3),
        (
            "--runmode single --set outputs.1.pcap-log.mode=normal "
            "--set outputs.1.pcap-log.filename=log.pcap",
            "log.pcap.1*",
            3,
        ),
    ],
)
def test_all_packets_of_each_alert_are_in_what_suricata_logged(
    options: str, name: str, least: int, captures: Path, output: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    rules.write_text(RULES)
    merged = tmp_path / "all.pcap"
    taps = [captures / "taps" / f"{each}.pcap" for each in ("up", "down")]
    subprocess.run(["mergecap", "-w", merged, "-F", "nsecpcap", *taps], check=True)
    argv: list[str | Path] = [
        "suricata",
        "-c",
        EXAMPLES / "suricata.yaml",
        "-S",
        rules,
        "-l",
        output,
    ]
    argv += ["-r", merged, "--set", "outputs.1.pcap-log.enabled=yes", *options.split()]
    subprocess.run(argv, check=True, timeout=60, capture_output=True)
    assert len(list(output.glob(name))) >= least
    lines = (output / "eve.json").read_bytes().splitlines()
    alerts = [line for line in lines if b'"event_type":"alert"' in line]
    assert len(alerts) == FLOWS

    def trouble(name: str, error: PcapZmqError) -> None:
        raise AssertionError(name) from error

    for line in alerts:
        event = decode_event(line, utc_ns)
        assert event.begins_ns is not None
        log = FlowLog([output], event, 600 * 10**9, trouble)
        found = [
            packet for batch in log.batches() for packet in iter_packets(batch.records)
        ]
        assert len(found) == FLOW_PACKETS
        client = int(json.loads(line)["src_ip"].rpartition(".")[2])
        ends = {(p.data[26:30], p.data[30:34]) for p in found}
        assert len(ends) == 2
        assert all(bytes((10, 0, 0, client)) in pair for pair in ends)


# Members of archives.


def archive(path: Path, *members: tuple[str, bytes], mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as made:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), 1_600_000_000, 0o755
            made.addfile(member, io.BytesIO(content))
    return path


def tree(path: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(each.relative_to(path)): each.read_bytes()
        for each in path.rglob("*")
        if not each.is_dir()
    }


DAYS = (("day1/a.pcap", b"one"), ("day1/b.txt", b"two"), ("day2/a.pcap", b"three"))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_members_that_fit_a_pattern_are_written_whole(
    mode: str, tools: Tools, folder: Path, output: Path
) -> None:
    path = archive(folder / "all.tar", *DAYS, mode=mode)
    code, printed, said = extract(
        tools, "--members", "*.pcap", path, f"folder:{output}"
    )
    assert (code, printed) == (0, b"")
    assert tree(output) == {"day1/a.pcap": b"one", "day2/a.pcap": b"three"}
    assert "2 of 3 members, 8" in said
    made = (output / "day1" / "a.pcap").stat()
    assert (made.st_mtime, stat.S_IMODE(made.st_mode) & 0o111) == (1_600_000_000, 0)


def test_what_is_no_archive_is_said_where_it_is_named(
    tools: Tools, folder: Path, output: Path
) -> None:
    packets.write(folder / "a.pcap", PACKETS)
    archive(folder / "b.tar", *DAYS)
    arguments: list[str | Path] = ["--members", "*.txt", folder, f"folder:{output}"]
    assert extract(tools, *arguments)[0] == 0
    assert tree(output) == {"day1/b.txt": b"two"}
    code, _, said = extract(
        tools, "--overwrite", *arguments[:2], folder / "a.pcap", *arguments[2:]
    )
    assert (code, f"{folder / 'a.pcap'} is no tar archive" in said) == (1, True)


def test_a_dry_run_lists_and_writes_nothing(
    tools: Tools, folder: Path, output: Path, tmp_path: Path
) -> None:
    path = archive(folder / "all.tar", *DAYS)
    for target in ([], [f"folder:{output}"]):
        before = tree(tmp_path)
        code, printed, _ = extract(
            tools, "--members", r"^day\d/a", "--regex", "--dry-run", path, *target
        )
        assert (code, tree(output)) == (0, {})
        assert printed.decode() == (
            f"{3:>14}  {path}:day1/a.pcap\n{5:>14}  {path}:day2/a.pcap\n"
        )
        assert {k for k in tree(tmp_path) if not k.startswith("logs/")} == {
            k for k in before if not k.startswith("logs/")
        }


def test_nothing_is_written_out_of_the_folder_and_nothing_over_another(
    tools: Tools, folder: Path, output: Path, tmp_path: Path
) -> None:
    one = archive(
        folder / "1.tar",
        ("/abs.pcap", b"1"),
        ("../../up.pcap", b"2"),
        ("same.pcap", b"3"),
        ("x/../same.pcap", b"4"),
    )
    other = archive(folder / "2.tar", ("same.pcap", b"5"))
    inside = output / "deep" / "down"
    code, _, _ = extract(tools, "--members", "*", one, other, f"folder:{inside}")
    assert code == 0
    assert tree(tmp_path / "out") == {
        "deep/down/abs.pcap": b"1",
        "deep/down/up.pcap": b"2",
        "deep/down/same.pcap": b"3",
        "deep/down/x/same.pcap": b"4",
        "deep/down/same-2.pcap": b"5",
    }


def test_what_is_there_stays_and_the_others_are_written(
    tools: Tools, folder: Path, output: Path
) -> None:
    path = archive(folder / "all.tar", ("a", b"new"), ("b", b"new"))
    (output / "a").write_bytes(b"old")
    arguments: list[str | Path] = ["--members", "*", path, f"folder:{output}"]
    code, _, said = extract(tools, *arguments)
    assert (code, "say --overwrite" in said) == (1, True)
    assert tree(output) == {"a": b"old", "b": b"new"}
    assert extract(tools, *arguments, "--overwrite")[0] == 0
    assert tree(output) == {"a": b"new", "b": b"new"}


def test_links_lead_nowhere_else(tools: Tools, folder: Path, output: Path) -> None:
    path = folder / "all.tar"
    with tarfile.open(path, "w") as made:
        for name, kind, target in (
            ("real", tarfile.REGTYPE, ""),
            ("hard", tarfile.LNKTYPE, "real"),
            ("lost", tarfile.LNKTYPE, "/etc/passwd"),
            ("symbolic", tarfile.SYMTYPE, "/etc"),
            ("symbolic/passwd", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            content = name.encode() if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    code, _, said = extract(tools, "--members", "*", path, f"folder:{output}")
    assert code == 1
    assert tree(output) == {
        "real": b"real",
        "hard": b"real",
        "symbolic/passwd": b"symbolic/passwd",
    }
    assert "lost: a hard link to /etc/passwd that was not extracted" in said
    assert "symbolic: a symbolic link to /etc" in said


def test_what_is_not_compressed_yet_is_on_request(
    tools: Tools, folder: Path, output: Path
) -> None:
    octets = packets.header() + packets.records(PACKETS)
    xz = lzma.compress(octets)
    path = archive(folder / "all.tar", ("a.pcap", octets), ("b.pcap.xz", xz))
    arguments: list[str | Path] = [
        "--members",
        "*",
        "--compress",
        "gzip",
        path,
        f"folder:{output}",
    ]
    assert extract(tools, *arguments)[0] == 0
    made = tree(output)
    assert set(made) == {"a.pcap.gz", "b.pcap.xz"}
    assert gzip.decompress(made["a.pcap.gz"]) == octets
    assert made["b.pcap.xz"] == xz


def test_of_a_torn_archive_whole_members_are_there_and_no_others(
    tools: Tools, folder: Path, output: Path
) -> None:
    path = archive(folder / "all.tar", ("a", b"1" * 5000), ("b", b"2" * 5000))
    path.write_bytes(path.read_bytes()[:9000])
    code, _, said = extract(tools, "--members", "*", path, f"folder:{output}")
    assert (code, "the archive breaks: it ends in the middle" in said) == (1, True)
    assert tree(output) == {"a": b"1" * 5000}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_half_written(
    number: int, tools: Tools, folder: Path, output: Path
) -> None:
    path = archive(folder / "all.tar", ("a", b"1" * 5000), ("b", b"2" * 3_000_000))
    arguments: list[str | Path] = ["--members", "*", "-", f"folder:{output}"]
    tool = tools.start("pcap-zmq", "extract", *arguments, stdin=subprocess.PIPE)
    tool.stdin.write(path.read_bytes()[:2_500_000])
    tool.stdin.flush()
    part = output / ".b.part"
    wait_until(part.exists, PATIENCE_S, "the second member to be begun")
    tool.process.send_signal(number)
    assert tool.wait() == 1
    assert "Traceback" not in tool.said()
    assert tree(output) == {"a": b"1" * 5000}
