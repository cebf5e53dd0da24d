"""Starts are measured to their end or to their word; one that fails is no figure."""

import sys
from collections.abc import Iterator

import pytest

from bench.parts.startup import run_to_end, run_until
from testbed.namespaces import Namespace, Network, why_unavailable

FAILING = [sys.executable, "-c", "raise SystemExit('out of order')"]


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    with Network() as network:
        yield network.add("host")


def test_a_command_that_fails_is_an_error_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="failed: out of order"):
        run_to_end(FAILING)


def test_a_command_takes_time_and_processor_time() -> None:
    start = run_to_end([sys.executable, "-c", "sum(range(1_000_000))"])

    assert start.cpu_s > 0
    assert start.wall_s > 0


@pytest.mark.netns
@pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
def test_one_that_ends_before_it_is_ready_is_an_error_with_what_it_said(
    host: Namespace,
) -> None:
    with pytest.raises(RuntimeError, match="was never ready: out of order"):
        run_until(host, FAILING, "listening")


@pytest.mark.netns
@pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
def test_one_that_is_ready_is_ended(host: Namespace) -> None:
    program = "import sys, signal; print('listening', file=sys.stderr); signal.pause()"

    start, said = run_until(host, [sys.executable, "-c", program], "listening")

    assert said.strip() == "listening"
    assert start.wall_s > 0
