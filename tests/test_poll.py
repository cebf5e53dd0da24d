"""Signals to a loop that waits: seen once each, and none hides another."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pcap_zmq.poll import Stop


@pytest.fixture
def stop() -> Iterator[Stop]:
    """One that takes this process's signals."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    # These tests may run under nohup.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    wakeup = signal.set_wakeup_fd(-1)
    stop = Stop()
    stop.install()
    yield stop
    signal.set_wakeup_fd(wakeup)
    for number, handler in before.items():
        signal.signal(number, handler)


def is_awake(stop: Stop) -> bool:
    """Whether a loop that watches it would have a turn."""
    return bool(select.select([stop.watch().pollable], [], [], 0)[0])


@pytest.fixture
def heeding(stop: Stop) -> Stop:
    """One for whoever has something to read again."""
    stop.heed_hangup()
    return stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_for_the_end_and_wakes(
    stop: Stop, number: signal.Signals
) -> None:
    os.kill(os.getpid(), number)
    assert (stop.is_set, stop.take_hangup(), is_awake(stop)) == (True, False, True)


def test_a_hangup_that_is_ignored_stays_so() -> None:
    """Whoever was started with nohup outlives the terminal."""
    code = (
        "import os, signal; from pcap_zmq.poll import Stop; stop = Stop();"
        "stop.install(); os.kill(os.getpid(), signal.SIGHUP); print(stop.is_set)"
    )
    argv = ["nohup", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_nothing_came(stop: Stop) -> None:
    assert (stop.take_hangup(), stop.is_set, is_awake(stop)) == (False, False, False)


def test_a_hangup_is_taken_once_and_wakes_once(heeding: Stop) -> None:
    stop = heeding
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)
    assert (stop.is_set, is_awake(stop)) == (False, True)
    assert [stop.take_hangup(), stop.take_hangup()] == [True, False]
    assert not is_awake(stop)


def test_a_stop_that_came_with_a_hangup_still_wakes(heeding: Stop) -> None:
    stop = heeding
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.take_hangup()
    assert (stop.is_set, is_awake(stop)) == (True, True)
