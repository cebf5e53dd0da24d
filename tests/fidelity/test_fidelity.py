"""Suricata says of a small capture behind the pipe what it says at once: a part of make
fidelity."""

import subprocess
import sys
from pathlib import Path

import pytest

from fidelity import made
from fidelity.events import compare, kinds, read_events
from fidelity.replay import is_taken, write_ip_packets
from fidelity.runs import Failed, Options, Scene, directly, through_the_pipe
from pcap_zmq.formats.linktype import ETHERNET
from pcap_zmq.formats.savefile import FILE_HEADER_LENGTH, encode_file_header
from testbed.namespaces import why_unavailable
from testbed.suricata import Witness
from tests.pcap_ffi.wire import TCP, Segment

ROOT = Path(__file__).parents[2]

needs_suricata = pytest.mark.skipif(
    not Witness.is_installed(), reason="suricata is not installed"
)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return made.write(tmp_path)


def judged(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fidelity", *map(str, arguments)],
        capture_output=True, text=True, timeout=110, cwd=ROOT, check=False,
    )  # fmt: skip


def test_a_program_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        process = scene.start("one", [sys.executable, "-c", "import no_such_module"])
        with pytest.raises(Failed, match=r"(?s)one ended with 1.*no_such_module"):
            scene.finish("one", process)


@needs_suricata
def test_packets_that_are_missing_are_noticed(capture: Path, tmp_path: Path) -> None:
    """Else the proof would prove nothing."""
    octets = capture.read_bytes()
    length = int.from_bytes(octets[FILE_HEADER_LENGTH + 8 :][:4], "little")
    lacking = tmp_path / "lacking.pcap"
    lacking.write_bytes(
        encode_file_header(ETHERNET) + octets[FILE_HEADER_LENGTH + 16 + length :]
    )
    expected = read_events([directly(capture, tmp_path / "whole")])
    assert compare(expected, read_events([directly(lacking, tmp_path / "less")]))


@needs_suricata
def test_the_made_capture_has_something_of_each_kind(
    capture: Path, tmp_path: Path
) -> None:
    found = kinds(read_events([directly(capture, tmp_path / "direct")]))
    assert {"alert", "anomaly", "dns", "fileinfo", "flow", "http"} <= found.keys()


@needs_suricata
def test_events_are_the_same_through_the_pipe_compressed_and_in_small_batches(
    capture: Path, tmp_path: Path
) -> None:
    options = Options(send=("--low-watermark", "1KiB", "--batch-bytes", "64KiB"))
    expected = read_events([directly(capture, tmp_path / "direct")])
    came = read_events([through_the_pipe(capture, tmp_path / "pipe", options)])
    assert list(compare(expected, came).lines()) == []


@needs_suricata
def test_events_are_the_same_where_there_is_nothing_to_mend(
    capture: Path, tmp_path: Path
) -> None:
    options = Options(receive=("--checksums", "fix", "--segment", "1500"))
    expected = read_events([directly(capture, tmp_path / "direct", verifies=True)])
    came = read_events(
        [through_the_pipe(capture, tmp_path / "pipe", options, verifies=True)]
    )
    assert list(compare(expected, came).lines()) == []


@needs_suricata
@pytest.mark.netns
def test_events_are_the_same_through_the_rules_of_a_gateway(capture: Path) -> None:
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    done = judged(capture)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "made.pcap" in line]
    assert line.count("| equal ") == 2


@needs_suricata
def test_what_is_no_capture_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "nothing.pcap"
    path.write_bytes(b"nothing")
    done = judged("--pipe-only", path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_only_what_a_kernel_shows_to_a_rule_is_replayed(tmp_path: Path) -> None:
    whole = Segment(4, TCP, b"abcde").encoded(finished=True)
    assert is_taken(whole)
    assert not is_taken(whole[:10] + b"\0\1" + whole[12:])
    v6 = Segment(6, TCP, b"abcde").encoded(finished=True)
    assert is_taken(v6)
    loopback = bytes(15) + b"\1"
    assert not is_taken(v6[:24] + loopback + v6[40:])
    assert not is_taken(v6[:8] + b"\xff\2" + bytes(14) + v6[24:])
    assert not is_taken(v6[:24] + b"\xff\1" + bytes(14) + v6[40:])
    path = made.write(tmp_path)
    assert write_ip_packets(path, tmp_path / "raw.pcap") == len(list(made.packets()))
