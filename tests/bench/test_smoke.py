"""The benchmark runs from its command to its tables; its numbers are nobody's test."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.parts import NAMES, load
from testbed.namespaces import SEARCH_PATH, why_unavailable

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable())),
]

# A rate, so that tests beside this one keep their processor.
BRIEFLY = "--quick --seconds 0.1 --sizes 200 --rate 5000"


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def need(name: str) -> None:
    """Skips where a program that this part runs is not installed."""
    for program, package in load(name).PACKAGES.items():
        if shutil.which(program, path=SEARCH_PATH) is None:
            pytest.skip(f"{program} is not installed: {package}")


def test_a_size_that_no_packet_has_is_an_error_in_one_line() -> None:
    done = run_bench("--sizes", "1400,12", "--quick")

    assert done.returncode == 2
    assert "12" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_directory_without_captures_is_an_error_in_one_line(tmp_path: Path) -> None:
    done = run_bench("--captures", str(tmp_path), "--quick")

    assert done.returncode == 2
    assert str(tmp_path) in done.stderr.splitlines()[-1]


def test_throughput_puts_all_pipes_side_by_side_and_writes_report_and_plots(
    tmp_path: Path,
) -> None:
    need("throughput")
    written = tmp_path / "results" / "short.md"

    done = run_bench(*BRIEFLY.split(), "--only", "throughput", "--output", str(written))

    assert done.returncode == 0, done.stderr
    for pipe in ("pcap-zmq", "tcpdump and socat", "ulogd2", "the ancestor's method"):
        assert f"| 200: {pipe} |" in done.stdout
    assert "| 200: **over tcpdump and socat** |" in done.stdout
    assert "| sending, 200 octets, over tcpdump and socat |" in done.stdout
    assert written.read_text() in done.stdout
    names = {path.name for path in written.parent.iterdir()}
    assert {"sending.png", "sending.svg", "receiving.png"} <= names
    assert "(sending.png)" in written.read_text()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "throughput"])
def test_each_part_can_be_run_alone_and_briefly(name: str) -> None:
    need(name)

    done = run_bench(*BRIEFLY.split(), "--only", name)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n## ") >= 1
    assert "FAILED" not in done.stderr


def test_a_part_that_fails_costs_the_exit_code_and_not_the_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "torn.pcap").write_bytes(b"no savefile at all, and long enough")

    arguments = ["--captures", str(tmp_path), "--sizes", "captures", "--seconds", "0.1"]
    done = run_bench("--quick", "--only", "throughput", *arguments)

    assert done.returncode == 1
    assert "throughput FAILED" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("# pcap-zmq")
