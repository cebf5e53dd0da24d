"""What wakes a loop that waits: signals, each once and none hidden, and descriptors."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.poll import READABLE, Poller, Stop, Watch
from tests.conftest import SocketFactory


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


# Waiting.

LONG_NS = 3_600 * NS_PER_S


@pytest.fixture
def pipes() -> Iterator[Callable[[bytes], int]]:
    """Makes pipes with something in them, or nothing; their reading ends."""
    ends: list[int] = []

    def make(octets: bytes) -> int:
        reading, writing = os.pipe()
        ends.extend((reading, writing))
        os.write(writing, octets)
        return reading

    yield make
    for end in ends:
        os.close(end)


def test_what_is_ready_ends_the_wait_and_is_told(pipes: Callable[[bytes], int]) -> None:
    ready, silent = Watch(pipes(b"x"), READABLE), Watch(pipes(b""), READABLE)
    Poller().wait([silent, ready], None)
    assert (ready.is_ready, silent.is_ready) == (True, False)


def test_who_rests_is_looked_at_after_its_rest(pipes: Callable[[bytes], int]) -> None:
    rest_ns = 20_000_000
    resting = Watch(pipes(b"x"), READABLE, rest_ns)
    began_ns = time.monotonic_ns()
    Poller().wait([resting], None)
    assert time.monotonic_ns() >= began_ns + rest_ns
    assert resting.is_ready


def test_who_rests_keeps_nobody_else_from_waking(
    pipes: Callable[[bytes], int],
) -> None:
    ready = Watch(pipes(b"x"), READABLE)
    Poller().wait([Watch(pipes(b"x"), READABLE, LONG_NS), ready], None)
    assert ready.is_ready


def test_who_rests_longer_than_there_is_time_is_not_waited_for(
    pipes: Callable[[bytes], int],
) -> None:
    resting = Watch(pipes(b"x"), READABLE, LONG_NS)
    Poller().wait([resting], 1_000_000)
    Poller().wait([resting], 0)


def test_a_message_that_is_there_already_ends_the_wait(
    make_socket: SocketFactory,
) -> None:
    """A ZeroMQ socket's descriptor tells only of what comes later."""
    here, there = make_socket(zmq.PAIR), make_socket(zmq.PAIR)
    here.bind("inproc://here")
    there.connect("inproc://here")
    there.send(b"x")
    watch = Watch(here, READABLE)
    Poller().wait([watch], None)
    assert watch.is_ready
    Poller().wait([watch, Watch(there, READABLE)], None)
    assert watch.is_ready
    here.recv()
    Poller().wait([watch], 0)
    Poller().wait([watch], 0)
    assert not watch.is_ready


def test_nothing_to_watch_is_waited_for_as_long_as_asked() -> None:
    began_ns = time.monotonic_ns()
    Poller().wait([], 5_000_000)
    assert time.monotonic_ns() >= began_ns + 5_000_000
