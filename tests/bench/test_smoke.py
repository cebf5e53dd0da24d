"""The benchmark runs from its command to its tables; its numbers are nobody's test."""

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.namespaces import why_unavailable

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable())),
]


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_size_that_no_packet_has_is_an_error_in_one_line() -> None:
    done = run_bench("--sizes", "1400,12", "--quick")

    assert done.returncode == 2
    assert "12" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_short_run_prints_both_pipes_side_by_side_and_writes_them(
    tmp_path: Path,
) -> None:
    written = tmp_path / "results" / "short.md"

    # A rate, so that tests beside this one keep their processor.
    arguments = "--quick --runs 1 --seconds 0.2 --sizes 200 --rate 5000"
    done = run_bench(
        *arguments.split(), "--only", "throughput", "--output", str(written)
    )

    assert done.returncode == 0, done.stderr
    assert "| 200: A, pcap-zmq |" in done.stdout
    assert "| 200: B, " in done.stdout
    assert "| 200: **A / B** |" in done.stdout
    assert written.read_text() in done.stdout
