"""pcap-zmq filter: what goes into files is what was asked for, whole or not at all."""

import gzip
import io
import json
import lzma
import os
import signal
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import lz4.frame
import pytest
import zstandard

from testbed.waiting import wait_until
from tests.flow_ffi.packets import TCP, UDP, ethernet, framed, ip4, ip6, ports, tag
from tests.pcap_ffi.savefiles import RECORDS, Record, packed, pcap, pcapng
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tools
from tests.tools.mmdb import database

ETHERNET, RAW = 1, 101
S = 1_700_000_000

WEB = framed(ip4("10.0.0.1", "192.0.2.9", TCP, ports(50_000, 443) + bytes(12)))
ANSWER = framed(ip4("192.0.2.9", "10.0.0.1", TCP, ports(443, 50_000) + bytes(12)))
DNS = framed(ip4("10.0.0.2", "198.51.100.3", UDP, ports(5353, 53)))
SIX = framed(ip6("2001:db8::1", "2001:db8:ffff::9", UDP, ports(5353, 53)))
ARP = ethernet(0x0806, bytes(28))
ALL = (WEB, ANSWER, DNS, SIX, ARP)


def in_vxlan(frame: bytes) -> bytes:
    payload = b"\x08" + bytes(3) + b"\0\0\x01\0" + frame
    return framed(ip4("172.16.0.1", "172.16.0.2", UDP, ports(49_152, 4789, payload)))


def in_ip(frame: bytes) -> bytes:
    return framed(ip4("172.16.0.1", "172.16.0.2", 4, frame[14:]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "captures"
    path.mkdir()
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def filtered(tools: Tools, *arguments: str | Path) -> tuple[int, str]:
    """The exit code, and what came on standard error."""
    tool = tools.start("pcap-zmq", "filter", *arguments)
    code = tool.wait()
    assert "Traceback" not in tool.said()
    return code, tool.said()


def write(
    path: Path, *given: bytes, linktype: int = ETHERNET, every_ms: int = 1
) -> None:
    """A savefile of these packets, so far apart."""
    made = (
        Record(S + n * every_ms // 1000, n * every_ms % 1000 * 10**6, len(p), p)
        for n, p in enumerate(given)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pcap(made, linktype=linktype))


def read(path: Path) -> tuple[int, list[bytes]]:
    """Link type and packets of a savefile that is whole, by plain Python."""
    octets = path.read_bytes()
    match path.suffix:
        case ".gz":
            octets = gzip.decompress(octets)
        case ".xz":
            octets = lzma.decompress(octets)
        case ".lz4":
            octets = lz4.frame.open(path).read()
        case ".zst":
            stream: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(
                io.BytesIO(octets), read_across_frames=True
            )
            octets = stream.read()
    magic, *_, linktype = struct.unpack_from("<IHHIIII", octets)
    assert magic in {packets.NANO, packets.MICRO}
    found, at = [], 24
    while at < len(octets):
        _, _, caplen, _ = struct.unpack_from("<IIII", octets, at)
        found.append(octets[at + 16 : at + 16 + caplen])
        assert len(found[-1]) == caplen
        at += 16 + caplen
    return linktype, found


def there(path: Path) -> list[str]:
    """All that is below it."""
    return sorted(str(each.relative_to(path)) for each in path.rglob("*"))


# Unhappy paths.


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no OUTPUT: name a file, - or folder:DIR"),
        (["{in}", "{out}", "--rules", "{in}"], "in.pcap:1: is no UTF-8"),
        (["{in}", "{out}", "--decap-depth", "17"], "out of bounds: 1 to 16"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(
    arguments: list[str], complaint: str, tools: Tools, tmp_path: Path
) -> None:
    write(tmp_path / "in.pcap", *ALL)
    names = {"in": str(tmp_path / "in.pcap"), "out": str(tmp_path / "out.pcap")}
    code, said = filtered(tools, *(each.format(**names) for each in arguments))
    assert (code, complaint in said) == (2, True), said
    assert len(said.splitlines()) == 1 or said.startswith("Usage")
    assert not (tmp_path / "out.pcap").exists()


@pytest.mark.parametrize("options", [[], ["--overwrite", "--format", "pcapng"]])
def test_an_output_that_is_one_of_the_inputs_is_refused(
    options: list[str], tools: Tools, folder: Path
) -> None:
    write(folder / "a.pcap", *ALL)
    before = (folder / "a.pcap").read_bytes()
    (folder / "b.pcap").symlink_to("a.pcap")
    code, said = filtered(tools, folder, folder / "b.pcap", *options)
    assert (code, "b.pcap is one of the inputs" in said) == (2, True)
    assert (folder / "a.pcap").read_bytes() == before
    assert there(folder) == ["a.pcap", "b.pcap"]


def test_a_folder_among_the_inputs_is_refused(tools: Tools, folder: Path) -> None:
    write(folder / "a.pcap", *ALL)
    before = (folder / "a.pcap").read_bytes()
    for output in (folder, folder / "out"):
        code, said = filtered(tools, folder, f"folder:{output}", "--overwrite")
        assert (code, "so what is written would be read" in said) == (2, True)
    code, said = filtered(
        tools, folder / "a.pcap", f"folder:{folder}", "--overwrite", "--filter", "arp"
    )
    assert (code, "a.pcap is one of the inputs" in said) == (2, True)
    assert (folder / "a.pcap").read_bytes() == before


def test_what_is_there_is_left_alone_unless_it_is_said(
    tools: Tools, folder: Path, out: Path
) -> None:
    write(folder / "a.pcap", *ALL)
    write(folder / "b.pcap", *ALL)
    (out / "b.pcap").parent.mkdir()
    (out / "b.pcap").write_text("mine")
    for output in (f"folder:{out}", out / "b.pcap"):
        code, said = filtered(tools, folder, output)
        assert (code, "b.pcap is there already; say --overwrite" in said) == (2, True)
        assert there(out) == ["b.pcap"]
    assert filtered(tools, folder, f"folder:{out}", "--overwrite")[0] == 0
    assert read(out / "b.pcap") == (ETHERNET, list(ALL))
    # What is empty is nobody's.
    (out / "b.pcap").write_bytes(b"")
    assert filtered(tools, folder, out / "b.pcap")[0] == 0
    assert read(out / "b.pcap") == (ETHERNET, [*ALL, *ALL])


@pytest.mark.parametrize("way", ["file", "folder", "stream"])
def test_a_file_that_breaks_gives_what_comes_before_and_stops_nothing(
    way: str, tools: Tools, folder: Path, out: Path
) -> None:
    write(folder / "a.pcap", *ALL)
    whole = (folder / "a.pcap").read_bytes()
    (folder / "b.pcap").write_bytes(whole[:-1])
    write(folder / "c.pcap", DNS)
    (folder / "gone.pcap").symlink_to("nowhere")
    paths = [folder / f"{name}.pcap" for name in ("a", "b", "gone", "c")]
    outputs: dict[str, str | Path] = {
        "file": out,
        "folder": f"folder:{out}",
        "stream": f"exec:dd of={out} status=none",
    }
    code, said = filtered(tools, *paths, outputs[way], "--filter", "arp or udp")
    assert code == 1, said
    at = len(whole) - len(ARP) - 16
    assert f"b.pcap: it ends in the middle of what begins at octet {at}" in said
    assert "gone.pcap cannot be read: No such file or directory" in said
    taken = [DNS, SIX, ARP, DNS, SIX, DNS]
    if way == "folder":
        found = [p for name in "abc" for p in read(out / f"{name}.pcap")[1]]
    else:
        found = read(out)[1]
    assert found == taken


def test_what_is_no_capture_is_passed_over_in_folders_only(
    tools: Tools, folder: Path, out: Path
) -> None:
    write(folder / "a.pcap", *ALL)
    (folder / "notes.txt").write_text("nothing of this kind")
    code, said = filtered(tools, folder, out)
    assert (code, "other files 1" in said) == (0, True)
    code, said = filtered(tools, folder / "notes.txt", out, "--overwrite")
    assert (code, "notes.txt is no pcap or pcapng savefile" in said) == (1, True)


@pytest.mark.parametrize(
    ("way", "number"),
    [("file", signal.SIGINT), ("folder", signal.SIGTERM), ("workers", signal.SIGINT)],
)
def test_an_interruption_leaves_nothing_half_written(
    way: str, number: signal.Signals, tools: Tools, folder: Path, out: Path
) -> None:
    out.mkdir()
    os.mkfifo(folder / "a.pcap")
    write(folder / "b.pcap", *ALL)
    paths = [folder / "a.pcap"] + [folder / "b.pcap"] * (way == "workers")
    output = out / "o.pcap" if way == "file" else f"folder:{out}"
    arguments = [*paths, output, "--workers", "2" if way == "workers" else "1"]
    tool = tools.start("pcap-zmq", "filter", *arguments)
    with (folder / "a.pcap").open("wb", buffering=0) as fifo:
        # More than is kept back until there is enough to write.
        fifo.write(packets.header() + packets.records(range(20_000), 200))
        wait_until(lambda: _written(out) > 1 << 20, PATIENCE_S, "it to write")
        tool.process.send_signal(number)
        assert tool.wait() == 1
    assert "Traceback" not in tool.said()
    assert [name for name in there(out) if name != "b.pcap"] == []


def _written(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


@pytest.mark.parametrize("way", ["file", "workers"])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    way: str, tools: Tools, folder: Path, out: Path
) -> None:
    out.mkdir()
    for name in ("a", "b"):
        packets.write(folder / f"{name}.pcap", range(10_000))
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    script = f'mount -t tmpfs -o size=1m none {out} && "$0" "$@"; code=$?; ls -A {out}'
    within = ("unshare", "--mount", *user, "--", "sh", "-c", f"{script}; exit $code")
    output = out / "o.pcap" if way == "file" else f"folder:{out}"
    workers = "2" if way == "workers" else "1"
    tool = tools.start(
        "pcap-zmq",
        *("filter", folder, output, "--workers", workers),
        within=within,
        stdout=subprocess.PIPE,
    )
    left = tool.stdout.read()
    assert (tool.wait(), left) == (1, b"")
    lines = [line for line in tool.said().splitlines() if "INFO" not in line]
    assert lines == [f"error: {out} cannot be written: No space left on device"]


def test_a_filter_that_is_none_for_the_packets_is_said(
    tools: Tools, folder: Path, out: Path
) -> None:
    write(folder / "a.pcap", WEB[14:], linktype=RAW)
    code, said = filtered(
        tools, folder, out, "--filter", "ether host 02:00:00:00:00:01"
    )
    assert (code, "is no filter for link type raw (101)" in said) == (2, True)
    assert not out.exists()


# What passes.


@pytest.mark.parametrize("expression", ["not ip", "src net 10.0.0.0/8 and tcp"])
def test_what_tcpdump_takes_is_taken(
    expression: str, tools: Tools, folder: Path, out: Path
) -> None:
    write(folder / "a.pcap", *ALL * 100)
    # It may give up root, and then not write here.
    argv = ["tcpdump", "-Z", "root"] if os.geteuid() == 0 else ["tcpdump"]
    argv += ["--time-stamp-precision=nano", "-r", str(folder / "a.pcap")]
    argv += ["-w", f"{out}.t", expression]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    assert filtered(tools, folder, out, "--filter", expression)[0] == 0
    assert out.read_bytes()[24:] == Path(f"{out}.t").read_bytes()[24:]


def test_a_file_of_several_link_types_is_filtered_in_each_of_them(
    tools: Tools, folder: Path, out: Path
) -> None:
    frames = [Record(S, n, len(p), p) for n, p in enumerate(ALL)]
    bare = [Record(S, n, len(p) - 14, p[14:]) for n, p in enumerate(ALL[:4])]
    octets = pcapng(frames, linktype=ETHERNET) + pcapng(bare)
    (folder / "a.pcapng").write_bytes(octets)
    code, said = filtered(tools, folder, f"folder:{out}", "--filter", "udp")
    assert (code, "read 9" in said, "taken 4" in said) == (0, True, True)
    assert read(out / "a.ethernet.pcap") == (ETHERNET, [DNS, SIX])
    assert read(out / "a.raw.pcap") == (RAW, [DNS[14:], SIX[14:]])


RULES = """
web: {kind: port, match: [443/tcp]}
inside:
  conditions:
    - {kind: subnet, match: [10.0.0.0/8]}
    - {kind: port, negate: true, match: [443]}
none: {kind: ether, match: ["00:00:5e:00:53:01"]}
as: {kind: asn, match: [AS64496]}
mac: {kind: ether, match: ["02:00:00:00:00:01"]}
flow: {kind: flow, match: ["udp [2001:db8:ffff::9]:53 [2001:db8::1]:5353"]}
bpf: {not: {any: [{kind: bpf, match: [arp]}, {kind: raw, negate: true}]}}
"""
TAKEN = {
    "web": [WEB, ANSWER],
    "inside": [DNS],
    "as": [WEB, ANSWER],
    "mac": list(ALL),
    "flow": [SIX],
    "bpf": [WEB, ANSWER, DNS, SIX],
}


def test_many_files_by_many_filters_go_to_folders_by_their_names(
    tools: Tools, folder: Path, out: Path, tmp_path: Path
) -> None:
    rules, asns = tmp_path / "rules.yaml", tmp_path / "asn.mmdb"
    rules.write_text(RULES)
    asns.write_bytes(database({"192.0.2.0/24": 64_496}))
    # What one name was made of, once, and outputs overwrote each other.
    names = ["log.1", "log.2", "day/log.1"]
    for name in names:
        write(folder / f"{name}.pcap", *ALL)
    options: list[str | Path] = ["--rules", rules, "--asn-db", asns, "--workers", "3"]
    code, said = filtered(tools, folder, f"folder:{out}", *options)
    assert (code, "web: 6 packets" in said, "read 15" in said) == (0, True, True)
    for filter_name, wanted in TAKEN.items():
        for name in names:
            assert read(out / filter_name / f"{name}.pcap") == (ETHERNET, wanted)
    assert {name.split("/")[0] for name in there(out)} == set(TAKEN)


def test_some_filters_of_a_file_go_into_one_savefile(
    tools: Tools, folder: Path, out: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[web]\nkind = "port"\nmatch = ["443/tcp"]\n[six]\nkind = "subnet"\n'
        'match = "2001:db8::/32"\n[all]\nkind = "raw"\n'
    )
    write(folder / "a.pcap", *ALL)
    options: list[str | Path] = ["--rules", rules, "--rule", "six", "--rule", "web"]
    assert filtered(tools, folder, out, *options)[0] == 0
    assert read(out) == (ETHERNET, [WEB, ANSWER, SIX])
    code, said = filtered(tools, folder, out, "--rules", rules, "--rule", "wep")
    assert (code, "no filter 'wep'; did you mean web?" in said) == (2, True)


def test_members_of_archives_get_names_of_their_own(
    tools: Tools, folder: Path, out: Path
) -> None:
    octets = pcap([Record(S, 0, len(DNS), DNS)], linktype=ETHERNET)
    members = {
        "../../up.pcap": octets,
        "day/log.1.pcap": octets,
        "day/log.1.pcap.gz": gzip.compress(octets),
        "notes.txt": b"nothing of this kind",
    }
    with tarfile.open(folder / "all.tar.gz", "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    code, said = filtered(tools, folder / "all.tar.gz", f"folder:{out}")
    assert (code, "3 files" in said) == (0, True)
    captures = ["all/day/log.1-2.pcap", "all/day/log.1.pcap", "all/up.pcap"]
    assert [name for name in there(out) if name.endswith(".pcap")] == captures
    assert all(read(out / name) == (ETHERNET, [DNS]) for name in captures)


@pytest.mark.parametrize("compress", ["gzip", "zstd", "xz", "lz4"])
def test_files_are_compressed_as_it_is_said(
    compress: str, tools: Tools, folder: Path, out: Path
) -> None:
    ending = {"gzip": "gz", "zstd": "zst", "xz": "xz", "lz4": "lz4"}[compress]
    numbers = range(10_000)
    packets.write(folder / "a.pcap", numbers)
    arguments: list[str | Path] = [f"folder:{out}", "--compress", compress]
    if compress in {"zstd", "xz"}:
        # The name says it, too.
        out.mkdir()
        arguments = [out / f"a.pcap.{ending}", "--precision", "micro"]
    assert filtered(tools, folder, *arguments)[0] == 0
    output = out / f"a.pcap.{ending}"
    linktype, found = read(output)
    assert (linktype, len(found)) == (RAW, len(numbers))
    assert output.stat().st_size < (folder / "a.pcap").stat().st_size / 2


def test_packets_of_several_link_types_are_files_of_their_own_or_made_to_fit(
    tools: Tools, folder: Path, out: Path
) -> None:
    write(folder / "a.pcap", WEB, in_ip(DNS), SIX)
    code, said = filtered(tools, folder, f"folder:{out}", "--decap")
    assert (code, "decapsulated 1" in said) == (0, True)
    assert there(out) == ["a.ethernet.pcap", "a.raw.pcap"]
    assert read(out / "a.ethernet.pcap") == (ETHERNET, [WEB, SIX])
    assert read(out / "a.raw.pcap") == (RAW, [DNS[14:]])
    assert filtered(tools, folder, out / "one.pcap", "--decap")[0] == 0
    linktype, found = read(out / "one.pcap")
    assert (linktype, [each[14:] for each in found]) == (
        ETHERNET,
        [WEB[14:], DNS[14:], SIX[14:]],
    )
    both = out / "both.pcapng"
    assert filtered(tools, folder, both, "--decap", "--format", "pcapng")[0] == 0
    argv = ["tshark", "-r", str(both), "-T", "fields", "-e", "frame.encap_type"]
    done = subprocess.run(argv, check=True, capture_output=True, timeout=60, text=True)
    assert len(set(done.stdout.split())) == 2


def test_what_is_within_tunnels_is_found_with_and_without_taking_it_out(
    tools: Tools, folder: Path, out: Path
) -> None:
    deep = in_vxlan(in_vxlan(WEB))
    tagged = ethernet(0x8100, tag(0x0800, ANSWER[14:]))
    write(folder / "a.pcap", deep, DNS, tagged)
    keep = folder.parent / "keep.csv"
    keep.write_text("192.0.2.9\n")
    cases: list[tuple[list[str], list[bytes]]] = [
        ([], [deep, tagged]),
        (["--layer", "outer"], [tagged]),
        (["--decap"], [WEB, ANSWER]),
        (["--decap-depth", "1"], [in_vxlan(WEB), ANSWER]),
    ]
    for options, wanted in cases:
        arguments: list[str | Path] = [out, "--keep", keep, "--overwrite", *options]
        assert filtered(tools, folder, *arguments)[0] == 0
        assert read(out) == (ETHERNET, wanted)


def test_copies_within_the_window_are_dropped_by_the_packets_own_times(
    tools: Tools, folder: Path, out: Path
) -> None:
    """Whatever is read in one second; once it was the clock on the wall."""
    mirrored = ethernet(0x0800, WEB[14:22] + b"\x3f" + WEB[23:], turned=True)
    other = WEB[:-1] + b"\x01"
    given = [WEB, mirrored, other, DNS, WEB]
    write(folder / "a.pcap", *given, every_ms=4)
    code, said = filtered(tools, folder, out, "--dedup", "10ms")
    assert (code, "duplicates 1" in said) == (0, True)
    assert read(out)[1] == [WEB, other, DNS, WEB]
    assert filtered(tools, folder, out, "--dedup", "1s", "--overwrite")[0] == 0
    assert read(out)[1] == [WEB, other, DNS]


# Events.


def eve(path: Path, *given: bytes, kind: str = "alert") -> None:
    """Events of the flows of these packets of TCP over IPv4."""
    with path.open("a") as file:
        for number, frame in enumerate(given, 1):
            source, target = (".".join(map(str, frame[n : n + 4])) for n in (26, 30))
            event = {
                "timestamp": "2023-11-14T22:13:20.000000+0000",
                "event_type": kind,
                "flow_id": number,
                "src_ip": source,
                "dest_ip": target,
                "src_port": int.from_bytes(frame[34:36]),
                "dest_port": int.from_bytes(frame[36:38]),
                "proto": {6: "TCP", 17: "UDP"}[frame[23]],
            }
            file.write(json.dumps(event) + "\n")


def test_flows_that_alerted_are_kept_or_dropped(
    tools: Tools, folder: Path, out: Path, tmp_path: Path
) -> None:
    write(folder / "a.pcap", *ALL)
    events = tmp_path / "eve.json"
    eve(events, ANSWER)
    eve(events, DNS, kind="dns")
    code, said = filtered(tools, folder, out, "--eve", events)
    assert (code, "1 events (alert) of 1 flows" in said) == (0, True)
    assert read(out)[1] == [WEB, ANSWER]
    events.with_suffix(".gz").write_bytes(gzip.compress(events.read_bytes()))
    options: list[str | Path] = ["--drop-eve", events.with_suffix(".gz"), "--overwrite"]
    assert filtered(tools, folder, out, *options)[0] == 0
    assert read(out)[1] == [DNS, SIX, ARP]
    options += ["--eve-events", "alert,dns"]
    assert filtered(tools, folder, out, *options)[0] == 0
    assert read(out)[1] == [SIX, ARP]


@pytest.mark.parametrize("ending", ["yaml", "toml"])
def test_what_the_generator_writes_the_filter_reads(
    ending: str, tools: Tools, folder: Path, out: Path, tmp_path: Path
) -> None:
    """GopherCap's wrote what its filter refuses."""
    write(folder / "a.pcap", *ALL)
    events, rules = tmp_path / "eve.json", tmp_path / f"rules.{ending}"
    eve(events, ANSWER, DNS)
    out.mkdir()
    asked: list[str | Path] = ["--eve", events, "--filter", "udp"]
    assert filtered(tools, *asked, "--write-rules", rules)[0] == 0
    assert filtered(tools, folder, out / "1", *asked)[0] == 0
    assert filtered(tools, folder, out / "2", "--rules", rules)[0] == 0
    assert read(out / "1") == read(out / "2") == (ETHERNET, [DNS])
    code, said = filtered(tools, *asked, "--write-rules", rules)
    assert (code, "is there already" in said) == (2, True)


def test_each_flow_may_be_a_filter_of_its_own(
    tools: Tools, folder: Path, out: Path, tmp_path: Path
) -> None:
    write(folder / "a.pcap", *ALL)
    events, rules = tmp_path / "eve.json", tmp_path / "rules.yaml"
    eve(events, ANSWER, DNS)
    options: list[str | Path] = ["--eve", events, "--per-flow"]
    assert filtered(tools, folder, f"folder:{out}", *options)[0] == 0
    assert read(out / "flow-1" / "a.pcap")[1] == [WEB, ANSWER]
    assert read(out / "flow-2" / "a.pcap")[1] == [DNS]
    assert filtered(tools, *options, "--write-rules", rules)[0] == 0
    assert rules.read_text().count("kind: flow") == 2


# Other ways out.


@pytest.mark.parametrize("make", [pcap, pcapng])
def test_a_stream_is_what_a_file_would_be(
    make: Callable[..., bytes], tools: Tools, folder: Path, out: Path
) -> None:
    octets = make(RECORDS[:2], order=">")
    (folder / "a.pcap").write_bytes(gzip.compress(octets))
    write(folder / "b.pcap", *ALL)
    tool = tools.start(
        "pcap-zmq",
        *("filter", folder / "b.pcap", folder / "a.pcap", "-", "--filter", "ip"),
        stdout=subprocess.PIPE,
    )
    printed = tool.stdout.read()
    assert tool.wait() == 0, tool.said()
    paths = folder / "b.pcap", folder / "a.pcap"
    assert filtered(tools, *paths, out, "--filter", "ip")[0] == 0
    assert printed == out.read_bytes()
    assert "skipped" in tool.said()


@pytest.mark.parametrize("make", [pcap, pcapng])
def test_packets_of_any_length_and_time_stay_as_they_are(
    make: Callable[..., bytes], tools: Tools, folder: Path, out: Path
) -> None:
    """Empty ones, cut ones, backwards in time; lengths on the wire were lost once."""
    (folder / "a.pcap").write_bytes(make(RECORDS, order=">"))
    (folder / "b.pcap").write_bytes(make(RECORDS[:1]))
    (folder / "c.pcap").write_bytes(make([]))
    everything = packed(RECORDS) + packed(RECORDS[:1])
    assert filtered(tools, folder, out)[0] == 0
    assert out.read_bytes()[24:] == everything
    options = ["--layer", "outer", "--decap", "--overwrite"]
    assert filtered(tools, folder, out, *options)[0] == 0
    assert out.read_bytes()[24:] == everything


def test_a_receiver_gets_what_a_file_would(
    tools: Tools, folder: Path, out: Path, endpoint: str
) -> None:
    write(folder / "a.pcap", *ALL)
    receiver = tools.receive(endpoint, f"file:{out}")
    code, said = filtered(tools, folder, endpoint, "--filter", "tcp")
    assert (code, "delivered 2" in said) == (0, True), said
    receiver.stop()
    assert read(out) == (ETHERNET, [WEB, ANSWER])


def test_no_packets_are_a_file_of_none(tools: Tools, folder: Path, out: Path) -> None:
    write(folder / "a.pcap", *ALL)
    assert filtered(tools, folder, out, "--filter", "icmp")[0] == 0
    assert read(out) == (ETHERNET, [])
    assert filtered(tools, folder, f"folder:{out}.d", "--filter", "icmp")[0] == 0
    assert there(Path(f"{out}.d")) == []
