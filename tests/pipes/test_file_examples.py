"""The examples with capture files and Suricata do what their first lines say."""

import os
import subprocess
from pathlib import Path

import pytest

from testbed.ids import Suricata
from tests.pipes.tools import BIN

EXAMPLES = Path(__file__).parents[2] / "examples" / "files"
TIMEOUT_S = 90

ALL = 19_416
FLOW = 809
"""Packets that captures.py makes, and those of the flow that alerts."""

ALERT = "alert: somebody asks for the secret 10.0.0.8:40007 -> 192.0.2.3:80\n"


def said_by(script: str, tmp_path: Path) -> str:
    """Its output. It leaves nothing behind."""
    done = subprocess.run(
        ["sh", EXAMPLES / script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        # Not another pcap-zmq that is installed.
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TMPDIR": str(tmp_path),
        },
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    return done.stdout


def test_every_script_is_in_the_list() -> None:
    listed = (EXAMPLES.parent / "README.md").read_text()
    scripts = {path.name for path in EXAMPLES.glob("*.sh")} - {"setup.sh"}
    assert len(scripts) == 5
    assert all(f"`files/{name}`" in listed for name in scripts)


@pytest.mark.skipif(not Suricata.is_installed(), reason="suricata is not installed")
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("dispatch.sh", f"{ALERT}packets: {ALL}\n" * 2),
        ("replay.sh", f"{ALERT}packets: {ALL}\n"),
        ("filter.sh", f"{ALERT}packets: {ALL}\n{ALERT}packets: {FLOW}\n"),
    ],
)
def test_suricata_sees_all_of_the_stream(
    script: str, expected: str, tmp_path: Path
) -> None:
    assert said_by(script, tmp_path) == expected


@pytest.mark.skipif(not Suricata.is_installed(), reason="suricata is not installed")
def test_the_flow_of_an_alert_is_taken_out_of_several_logs(tmp_path: Path) -> None:
    said = said_by("extract.sh", tmp_path)
    logs = [line for line in said.splitlines() if line.startswith("log.pcap.1.17")]
    assert len(logs) >= 3
    (flow,) = [line for line in said.splitlines() if "flow.pcap" in line]
    assert flow.split()[3] == str(FLOW)
    assert said.count("/out/rotated/gateway-") == 2


def test_the_map_lists_all_files_twice(tmp_path: Path) -> None:
    if not Suricata.is_installed():
        pytest.skip("suricata is not installed")
    said = said_by("map.sh", tmp_path)
    assert said.count("gateway-") == 12
    assert said.count(",3236,") == 6
