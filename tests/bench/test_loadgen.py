"""The load generator sends what it is told to, as the kernel itself counts it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import captures, native
from bench.load import MARK, RULES, Load
from bench.runs import run_load
from testbed.namespaces import Namespace, Network, why_unavailable

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable())),
]


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    with Network() as network:
        yield network.add("host")


def counted(host: Namespace) -> tuple[int, int]:
    """Packets and octets that the rule has seen."""
    listed = host.run(["nft", "list", "table", "ip", "bench"]).stdout
    found = re.search(r"counter packets (\d+) bytes (\d+) log", listed)
    assert found is not None
    return int(found[1]), int(found[2])


def loadgen(host: Namespace, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [str(native.build("loadgen")), *map(str, arguments)]
    return host.run(argv, check=False)


@pytest.mark.parametrize("length", [36, 1500, 9000, 65_000])
def test_packets_have_the_length_that_was_asked_for(
    host: Namespace, length: int
) -> None:
    outcome = run_load(host, Load(length, 5.0, packets=100))

    assert (outcome.sent, outcome.sent_octets) == (100, 100 * length)
    assert counted(host) == (100, 100 * length)


def test_the_imix_is_seven_small_four_middling_one_large(host: Namespace) -> None:
    outcome = run_load(host, Load("imix", 5.0, packets=120))

    assert outcome.sent_octets == 10 * (7 * 64 + 4 * 576 + 1500)
    assert counted(host) == (120, outcome.sent_octets)


def test_packets_of_a_capture_are_sent_whole_over_and_over(
    host: Namespace, tmp_path: Path
) -> None:
    path = captures.make(tmp_path)
    packets = list(captures.ipv4_packets(path))
    twice = 2 * len(packets)

    outcome = run_load(host, Load(path, 20.0, packets=twice))

    assert outcome.sent == twice
    assert outcome.sent_octets == 2 * sum(map(len, packets))
    assert counted(host) == (twice, outcome.sent_octets)


def test_a_rate_is_kept(host: Namespace) -> None:
    """Not more than it, ever; less only where the machine is busy."""
    outcome = run_load(host, Load("imix", 0.3, rate=1000))

    assert 0 < outcome.sent <= 301


@pytest.mark.parametrize("cut", [10, 24 + 10, 24 + 16 + 10])
def test_a_savefile_that_is_torn_is_an_error(
    host: Namespace, tmp_path: Path, cut: int
) -> None:
    path = tmp_path / "torn.pcap"
    path.write_bytes(captures.make(tmp_path).read_bytes()[:cut])

    done = loadgen(host, "-n", 1, "127.0.0.1", path)

    assert done.returncode == 1
    assert str(path) in done.stderr


@pytest.mark.parametrize("length", ["35", "65001", "-1", "many"])
def test_a_length_that_cannot_be_sent_is_an_error(host: Namespace, length: str) -> None:
    done = loadgen(host, "-n", 1, "127.0.0.1", "--", length)

    assert done.returncode == 2


def test_without_a_mark_nothing_is_logged(host: Namespace) -> None:
    host.run(["nft", "-f", "-"], input=RULES)

    done = loadgen(host, "-n", 5, "127.0.0.1", 200)
    assert json.loads(done.stdout)["packets"] == 5
    assert counted(host) == (0, 0)
    loadgen(host, "-n", 5, "-m", MARK, "127.0.0.1", 200)
    assert counted(host) == (5, 1000)
