"""Fixtures that every test may use, and the rule that nothing is skipped unseen."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator

import pytest
import zmq

# What runs the tests may ignore it (nohup), and every command would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

NO_SKIPS = "TESTS_MAY_NOT_SKIP"
"""Set where everything that the tests need is installed: a skip is a failure then."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(NO_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"skipped although {NO_SKIPS} is set: {report.longrepr}"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For -n auto: most of what takes long here waits for others."""
    processors = os.cpu_count() or 1
    return processors + (processors + 1) // 2


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A ZeroMQ context whose every socket must be closed by the end of the test."""
    context = zmq.Context()
    yield context
    # A leaked socket would hang here for ever.
    ending = threading.Thread(target=context.term, daemon=True)
    ending.start()
    ending.join(timeout=10)
    if ending.is_alive():
        context.destroy(linger=0)
        pytest.fail("a ZeroMQ socket was left open")


SocketFactory = Callable[[int], "zmq.Socket[bytes]"]


@pytest.fixture
def make_socket(
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> Iterator[SocketFactory]:
    """Makes sockets and closes them all, sending nothing any more."""
    sockets: list[zmq.Socket[bytes]] = []

    def make(kind: int) -> "zmq.Socket[bytes]":
        sockets.append(context.socket(kind))
        return sockets[-1]

    yield make
    for socket in sockets:
        socket.close(linger=0)
