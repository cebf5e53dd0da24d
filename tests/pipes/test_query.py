"""pcap-zmq query fetches what a receiver has kept, and says why where it cannot."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from pcap_zmq.formats.certificate import Role
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.guarded import Keys
from tests.pipes.tools import PATIENCE_S, Tool, Tools

PACKETS = range(2_000)


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    path = tmp_path / "some.pcap"
    packets.write(path, PACKETS)
    return path


def keeper(
    tools: Tools, tmp_path: Path, savefile: Path, *options: str | Path
) -> tuple[Tool, str]:
    """A receiver that has got the savefile."""
    receiver, address = tools.receive_on_tcp(f"file:{tmp_path / 'out'}", *options)
    tools.send(savefile, address).finish()
    receiver.wait_to_say("has left")
    return receiver, address


def query(tools: Tools, address: str, *options: str | Path) -> tuple[int, bytes, str]:
    """The exit code, and what came on standard output and standard error."""
    tool = tools.start("pcap-zmq", "query", address, *options, stdout=subprocess.PIPE)
    octets = tool.stdout.read()
    return tool.wait(), octets, tool.said()


# Unhappy paths.


def test_where_nobody_listens_there_is_no_answer_and_no_file(
    tools: Tools, tmp_path: Path
) -> None:
    options: list[str | Path] = [
        "--timeout",
        "200ms",
        "--output",
        tmp_path / "got.pcap",
    ]
    code, _, said = query(tools, f"ipc://{tmp_path}/nobody", *options)
    assert (code, len(said.splitlines())) == (4, 1)
    assert said.startswith("error: no answer from")
    assert list(tmp_path.glob("*got*")) == []


def test_a_receiver_that_keeps_nothing_says_so(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    _, address = keeper(tools, tmp_path, savefile)
    code, _, said = query(tools, address)
    assert (code, "keeps no packets: start it with --keep" in said) == (4, True)


def test_a_filter_that_is_none_is_refused_with_what_is_wrong(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    _, address = keeper(tools, tmp_path, savefile, "--keep", "16MiB")
    code, _, said = query(tools, address, "--filter", "port nowhere/x")
    assert code == 2
    assert said.startswith("error: 'port nowhere/x' is no filter for link")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--since", "yesterday"),
        ("--since", "2026-13-01"),
        ("--until", "@x"),
        ("--until", "@1e400"),
        ("--until", "2300-01-01T00:00:00Z"),
        ("--since", "@99999999999999999999"),
    ],
)
def test_a_moment_that_is_none_is_refused(
    tools: Tools, option: str, value: str
) -> None:
    code, _, said = query(tools, "tcp://127.0.0.1:1", option, value)
    assert (code, value in said) == (2, True)


@pytest.mark.parametrize("since", ["1960-01-01T00:00:00Z", "720000h", "@-5"])
def test_before_there_were_packets_is_since_ever(
    since: str, tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    _, address = keeper(tools, tmp_path, savefile, "--keep", "16MiB")
    code, octets, _ = query(tools, address, f"--since={since}")
    assert (code, octets) == (0, savefile.read_bytes())


def test_packets_of_another_link_type_are_left_out_and_said(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    other = tmp_path / "other.pcap"
    packets.write(other, range(300), linktype=packets.ETHERNET)
    options = ["--keep", "16MiB", "--linktype", "raw"]
    receiver, address = keeper(tools, tmp_path, savefile, *options)
    tools.send(other, address, "--name", "other").finish()
    wait_until(
        lambda: receiver.said().count("has left") == 2, PATIENCE_S, "both to leave"
    )
    code, octets, said = query(tools, address)
    assert (code, octets) == (1, savefile.read_bytes())
    assert "300 more are of other link types" in said


def test_a_file_that_is_there_is_left_alone(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    _, address = keeper(tools, tmp_path, savefile, "--keep", "16MiB")
    before = savefile.read_bytes()
    code, _, said = query(tools, address, "--output", savefile)
    assert (code, "is there already" in said) == (2, True)
    assert savefile.read_bytes() == before
    assert query(tools, address, "--output", savefile, "--overwrite")[0] == 0


def test_a_full_disk_leaves_no_file(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    _, address = keeper(tools, tmp_path, savefile, "--keep", "16MiB")
    with Path("/dev/full").open("wb") as full:
        tool = tools.start("pcap-zmq", "query", address, stdout=full)
        assert tool.wait() == 1
    assert tool.said() == "error: standard output: No space left on device\n"


def test_a_reader_that_leaves_is_said_in_one_line(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    _, address = keeper(tools, tmp_path, savefile, "--keep", "16MiB")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        tool = tools.start("pcap-zmq", "query", address, stdout=gone)
        assert tool.wait() == 1
    assert tool.said() == "error: standard output: Broken pipe\n"


def test_a_signal_ends_it_and_leaves_no_file(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    receiver, address = keeper(tools, tmp_path, savefile, "--keep", "16MiB")
    receiver.process.send_signal(signal.SIGSTOP)
    try:
        got = tmp_path / "got.pcap"
        options: list[str | Path] = ["--output", got, "--timeout", "60s"]
        tool = tools.start("pcap-zmq", "query", address, *options)
        part = tmp_path / ".got.pcap.part"
        wait_until(part.exists, PATIENCE_S, "the file to be begun")
        wait_until(lambda: is_heeded(tool.pid), PATIENCE_S, "signals to be heeded")
        tool.process.send_signal(signal.SIGTERM)
        assert tool.wait() == 1
        assert tool.said() == "interrupted\n"
        assert not got.exists()
        assert not part.exists()
    finally:
        receiver.process.send_signal(signal.SIGCONT)


def is_heeded(pid: int) -> bool:
    """Whether the process has a handler of its own for SIGTERM: proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (caught,) = (line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


# Keys.


def test_only_an_operator_may_have_packets(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    (tmp_path / "keys").mkdir()
    keys = Keys(tmp_path / "keys")
    keys.admit("gateway")
    keys.admit("analyst", Role.OPERATOR)
    out = f"file:{tmp_path / 'out'}"
    receiver, address = tools.receive_on_tcp(
        out, "--keep", "16MiB", *keys.of_receiver()
    )
    tools.send(savefile, address, *keys.of("gateway")).finish()
    receiver.wait_to_say("has left")
    code, octets, said = query(tools, address, *keys.of("gateway"))
    assert (code, octets, "gives packets only to an operator" in said) == (4, b"", True)
    code, octets, _ = query(tools, address, *keys.of("analyst"))
    assert (code, octets) == (0, savefile.read_bytes())


# What is asked for.


def test_everything_that_is_kept_comes_as_it_was(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    _, address = keeper(tools, tmp_path, savefile, "--keep", "16MiB")
    code, octets, said = query(tools, address)
    assert (code, octets) == (0, savefile.read_bytes())
    assert said == f"{len(PACKETS)} packets\n"


def test_a_receiver_that_got_nothing_gives_an_empty_savefile(
    tools: Tools, tmp_path: Path
) -> None:
    _, address = tools.receive_on_tcp(f"file:{tmp_path / 'out'}", "--keep", "60s")
    assert query(tools, address) == (0, packets.header(), "0 packets\n")


def test_a_span_and_a_filter_choose_and_the_file_is_there_when_it_is_whole(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    _, address = keeper(tools, tmp_path, savefile, "--keep", "16MiB")
    got = tmp_path / "got.pcap"
    second = packets.FIRST_SECOND
    options = ["--since", f"@{second + 1}", "--filter", "udp[12:4] < 1500"]
    code, _, said = query(tools, address, *options, "--output", got)
    assert (code, said) == (0, "500 packets\n")
    assert packets.numbers(got.read_bytes()) == list(range(1_000, 1_500))
    code, octets, _ = query(tools, address, "--until", f"@{second + 1}")
    assert packets.numbers(octets) == list(range(1_000))
    assert query(tools, address, "--since", "1h")[1] == packets.header()


def test_more_than_fits_into_one_answer_comes_in_parts(
    tools: Tools, tmp_path: Path
) -> None:
    large = tmp_path / "large.pcap"
    expected = packets.write(large, range(8_000), size=1_000)
    _, address = keeper(tools, tmp_path, large, "--keep", "64MiB")
    assert query(tools, address)[:2] == (0, expected)


def test_only_the_last_are_kept(tools: Tools, tmp_path: Path) -> None:
    large = tmp_path / "large.pcap"
    packets.write(large, range(8_000), size=1_000)
    _, address = keeper(tools, tmp_path, large, "--keep", "2MiB")
    code, octets, _ = query(tools, address)
    found = packets.numbers(octets)
    assert (code, found[-1], found) == (0, 7_999, list(range(found[0], 8_000)))
    assert 0 < len(octets) <= 2 << 20
