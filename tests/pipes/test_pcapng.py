"""pcapng from a receiver, as Wireshark's programs, Suricata and our own reader see
it."""

import json
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from testbed.ids import Suricata
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tool, Tools
from tests.support import pcapng

FIRST, SECOND = range(50), range(1_000, 1_030)

NFLOG = 239
NFULA_MARK, NFULA_IFINDEX_INDEV, NFULA_PAYLOAD, NFULA_PREFIX = 2, 4, 9, 10
"""linux/netfilter/nfnetlink_log.h"""


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"{', '.join(missing)} is not installed"
    )


def send_both(tools: Tools, directory: Path, address: str, receiver: Tool) -> None:
    """Two senders, one after the other, and everything written."""
    for name, numbers in (("gw1", FIRST), ("gw2", SECOND)):
        path = directory / f"{name}.pcap"
        packets.write(path, numbers)
        tools.send(path, address, "--name", name).finish()
        receiver.wait_to_say(f"sender {name} has left")


@pytest.fixture
def recorded(tools: Tools, tmp_path: Path) -> Path:
    """What two senders have sent, in a file."""
    path = tmp_path / "out.pcapng"
    receiver, address = tools.receive_on_tcp(f"file:{path}", "--format", "pcapng")
    send_both(tools, tmp_path, address, receiver)
    receiver.stop()
    return path


def run(*argv: str | Path) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_says_of_each_packet_whose_it_is(recorded: Path) -> None:
    stream = pcapng.read(recorded.read_bytes())
    assert stream.torn == b""
    found = {name: len(packets) for name, packets in stream.by_name().items()}
    assert found == {"gw1": len(FIRST), "gw2": len(SECOND)}
    said = {one.interface.name: one.numbers for one in stream.statistics}
    for name, numbers in (("gw1", FIRST), ("gw2", SECOND)):
        assert said[name]["ifrecv"] == said[name]["usrdeliv"] == len(numbers)
        assert said[name]["ifdrop"] == said[name]["osdrop"] == 0


@needs("tshark")
def test_tshark_shows_senders_as_interfaces(recorded: Path) -> None:
    fields = ("frame.interface_name", "frame.interface_description", "frame.len")
    argv = [word for field in fields for word in ("-e", field)]
    lines = run("tshark", "-n", "-r", recorded, "-T", "fields", *argv).splitlines()
    rows = [line.split("\t") for line in lines]
    assert Counter(row[0] for row in rows) == {"gw1": len(FIRST), "gw2": len(SECOND)}
    assert all(row[1].startswith("sender ") for row in rows)


@needs("tshark")
def test_tshark_finds_nothing_wrong_in_any_block(recorded: Path) -> None:
    """Its dissector of the format itself, rather than of the packets."""
    options = ("-X", "read_format:MIME Files Format", "-T", "json")
    (file,) = json.loads(run("tshark", "-n", "-r", recorded, *options))
    said = json.dumps(file)
    assert "_ws.expert" not in said
    assert "_ws.malformed" not in said


@needs("capinfos")
def test_capinfos_counts_packets_and_statistics_of_each_interface(
    recorded: Path,
) -> None:
    said = run("capinfos", recorded)
    assert "File timestamp precision:  nanoseconds (9)" in said
    assert "Number of interfaces in file: 2" in said
    assert "Capture application: pcap-zmq" in said
    for name, numbers in (("gw1", FIRST), ("gw2", SECOND)):
        _, about = said.split(f"Name = {name}\n")
        about = about.split("Interface #")[0]
        assert f"Number of packets = {len(numbers)}" in about
        assert "Number of stat entries = 1" in about


@needs("tshark")
def test_tshark_reads_a_fifo_while_senders_come(tools: Tools, tmp_path: Path) -> None:
    fifo, output = tmp_path / "fifo", tmp_path / "seen"
    receiver, address = tools.receive_on_tcp(f"fifo:{fifo}", "--format", "pcapng")
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    with output.open("wb") as seen:
        argv = ["tshark", "-n", "-l", "-i", str(fifo), "-T", "fields"]
        argv += ["-e", "frame.interface_name"]
        tshark = subprocess.Popen(argv, stdout=seen, stderr=subprocess.DEVNULL)
    try:
        send_both(tools, tmp_path, address, receiver)
        wait_until(
            lambda: output.read_text().count("\n") == len(FIRST) + len(SECOND),
            PATIENCE_S,
            "all packets",
        )
        receiver.stop()
        tshark.wait(PATIENCE_S)
    finally:
        tshark.kill()
        tshark.wait()
    names = output.read_text().split()
    assert names == ["gw1"] * len(FIRST) + ["gw2"] * len(SECOND)


@pytest.mark.skipif(not Suricata.is_installed(), reason="suricata is not installed")
def test_suricata_reads_several_senders_from_a_fifo_as_ethernet(
    tools: Tools, tmp_path: Path
) -> None:
    """libpcap takes a second interface for one of another link type where that is raw
    IP: docs/pcapng.md."""
    fifo = tmp_path / "fifo"
    suricata = Suricata(tmp_path, "")
    options = ("--format", "pcapng", "--linktype", "ethernet")
    receiver, address = tools.receive_on_tcp(f"fifo:{fifo}", *options)
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    process = subprocess.Popen(
        suricata.command(fifo), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        send_both(tools, tmp_path, address, receiver)
        receiver.stop()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert suricata.packets_seen() == len(FIRST) + len(SECOND)


def test_our_own_reader_sends_again_what_was_recorded(
    recorded: Path, tools: Tools, tmp_path: Path
) -> None:
    path = tmp_path / "again.pcap"
    receiver, address = tools.receive_on_tcp(f"file:{path}", "--once")
    tools.send(recorded, address).finish()
    receiver.finish()
    assert packets.numbers(path.read_bytes()) == [*FIRST, *SECOND]


def test_senders_of_different_link_types_share_a_file(
    tools: Tools, tmp_path: Path
) -> None:
    path = tmp_path / "out.pcapng"
    receiver, address = tools.receive_on_tcp(f"file:{path}", "--format", "pcapng")
    for name, linktype in (("gw1", packets.RAW), ("gw2", packets.ETHERNET)):
        source = tmp_path / f"{name}.pcap"
        packets.write(source, FIRST, linktype=linktype)
        tools.send(source, address, "--name", name).finish()
        receiver.wait_to_say(f"sender {name} has left")
    assert receiver.stop().dropped == {}
    stream = pcapng.read(path.read_bytes())
    found = Counter((p.interface.name, p.interface.linktype) for p in stream.packets)
    assert found == {("gw1", packets.RAW): 50, ("gw2", packets.ETHERNET): 50}


@needs("tshark")
@pytest.mark.parametrize("linktype", ["raw", "nflog"])
def test_tshark_shows_prefix_mark_and_direction(
    tools: Tools, tmp_path: Path, linktype: str
) -> None:
    source, path = tmp_path / "in.pcap", tmp_path / "out.pcapng"
    packet = packets.record(0)[16:]
    body = struct.pack(">BBH", 2, 0, 5) + b"".join(
        struct.pack("<HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
        for kind, value in (
            (NFULA_MARK, b"\0\0\0\x2a"),
            (NFULA_IFINDEX_INDEV, b"\0\0\0\2"),
            (NFULA_PREFIX, b"ssh: new\0"),
            (NFULA_PAYLOAD, packet),
        )
    )
    record = struct.pack("<IIII", packets.FIRST_SECOND, 5, len(body), len(body)) + body
    source.write_bytes(packets.header(NFLOG) + record)
    options = ("--format", "pcapng", "--linktype", linktype, "--once")
    receiver, address = tools.receive_on_tcp(f"file:{path}", *options)
    tools.send(source, address).finish()
    receiver.finish()
    fields = ("frame.comment", "frame.packet_flags_direction", "ip.src", "udp.dstport")
    argv = [word for field in fields for word in ("-e", field)]
    shown = run("tshark", "-n", "-r", path, "-T", "fields", *argv).strip("\n")
    assert shown.split("\t") == [
        "mark=0x2a prefix=ssh: new",
        "0x00000001",
        "192.0.2.1",
        "5001",
    ]
