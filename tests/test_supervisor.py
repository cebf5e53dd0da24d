"""A service manager hears when we are ready, alive, and at the end, over its socket."""

import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Stop
from pcap_zmq.supervisor import STATUS_NS, Manager, Supervisor
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tools

START_NS = 10**15


class Listener:
    """The manager's end of the socket; remembers every datagram, line by line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(name.replace("@", "\0", 1) if name[0] == "@" else name)
        self.heard: list[list[str]] = []

    def listen(self) -> list[list[str]]:
        """All that came so far."""
        while True:
            try:
                datagram = self._socket.recv(4096)
            except BlockingIOError:
                return self.heard
            self.heard.append(datagram.decode().split("\n"))

    def has_heard(self, line: str) -> bool:
        return any(line in lines for lines in self.listen())

    def wait_for(self, line: str) -> None:
        wait_until(lambda: self.has_heard(line), PATIENCE_S, f"{line} at the manager")

    def environment(self, **more: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.name, **more}

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with closing(Listener(str(tmp_path / "notify"))) as listener:
        yield listener


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with Tools(tmp_path) as tools:
        yield tools


def at(ns: int) -> Instant:
    return Instant(START_NS + ns, 0)


def supervisor(
    environment: dict[str, str],
    status: Callable[[], str] = lambda: "all is well",
    stop: Stop | None = None,
) -> Supervisor:
    return Supervisor(Manager(environment), status, stop or Stop(), NS_PER_S)


# A manager that is not there, deaf, or odd.


def test_without_a_manager_nothing_is_due_and_nothing_happens() -> None:
    alone = supervisor({"WATCHDOG_USEC": "1000"})
    alone.serve(at(0))
    alone.stopping()
    assert (alone.due(), list(alone.watch())) == (None, [])


@pytest.mark.parametrize("name", ["relative", "vsock:2:1234"])
def test_a_socket_of_another_kind_is_told_of_and_not_used(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd = supervisor({"NOTIFY_SOCKET": name})
    odd.serve(at(0))
    assert odd.due() is None
    assert [name in record.getMessage() for record in caplog.records] == [True]


def test_a_manager_that_went_away_is_told_of_once_and_tried_on(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    ours = supervisor(listener.environment(WATCHDOG_USEC="1000000"))
    listener.close()
    for second in range(3):
        ours.serve(at(second * NS_PER_S))
    assert len(caplog.records) == 1
    assert "the service manager cannot be told" in caplog.text
    Path(listener.name).unlink()
    with closing(Listener(listener.name)) as back:
        ours.serve(at(10 * NS_PER_S))
        assert back.has_heard("READY=1")


def test_what_a_busy_manager_has_no_room_for_is_told_again(listener: Listener) -> None:
    ours = supervisor(listener.environment(WATCHDOG_USEC="60000000"))
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others,
        suppress(BlockingIOError),
    ):
        others.setblocking(False)
        while True:
            others.sendto(b"X=1", listener.name)
    ours.serve(at(0))
    assert not listener.has_heard("READY=1")
    due = ours.due()
    assert due is not None
    assert START_NS < due <= START_NS + NS_PER_S
    ours.serve(Instant(due, 0))
    assert listener.has_heard("READY=1")
    assert listener.has_heard("WATCHDOG=1")


@pytest.mark.parametrize("microseconds", ["soon", "-1", "0", "1e6", ""])
def test_a_watchdog_time_that_is_none_is_ignored(
    listener: Listener, microseconds: str
) -> None:
    ours = supervisor(listener.environment(WATCHDOG_USEC=microseconds))
    ours.serve(at(0))
    assert listener.has_heard("READY=1")
    assert not listener.has_heard("WATCHDOG=1")


def test_a_watchdog_for_another_process_is_not_fed(listener: Listener) -> None:
    pid = str(os.getppid())
    environment = listener.environment(WATCHDOG_USEC="1000", WATCHDOG_PID=pid)
    ours = supervisor(environment)
    ours.serve(at(0))
    ours.serve(at(NS_PER_S))
    assert not listener.has_heard("WATCHDOG=1")


# What is told, and when.


def test_the_first_turn_says_ready_and_the_next_ones_do_not(listener: Listener) -> None:
    ours = supervisor(listener.environment())
    for milliseconds in range(0, 1000, 100):
        ours.serve(at(milliseconds * NS_PER_MS))
    assert listener.listen() == [["READY=1", "STATUS=all is well"]]


def test_the_status_is_brought_up_to_date_now_and_then(listener: Listener) -> None:
    said = iter(["one", "two", "three"])
    ours = supervisor(listener.environment(), lambda: next(said))
    ours.serve(at(0))
    assert ours.due() == START_NS + STATUS_NS
    ours.serve(at(STATUS_NS - 1))
    ours.serve(at(STATUS_NS))
    assert listener.listen() == [["READY=1", "STATUS=one"], ["STATUS=two"]]


def test_a_status_of_several_lines_cannot_say_anything_else(listener: Listener) -> None:
    ours = supervisor(listener.environment(), lambda: "a\nMAINPID=1\r\nb")
    ours.serve(at(0))
    assert listener.listen() == [["READY=1", "STATUS=a MAINPID=1 b"]]


def test_life_is_told_twice_in_a_watchdog_time_and_only_in_a_turn(
    listener: Listener,
) -> None:
    pid = str(os.getpid())
    environment = listener.environment(WATCHDOG_USEC="2000000", WATCHDOG_PID=pid)
    ours = supervisor(environment)
    ours.serve(at(0))
    assert ours.due() == START_NS + NS_PER_S
    ours.serve(at(NS_PER_S - 1))
    assert listener.listen()[1:] == [["WATCHDOG=1"]]
    ours.serve(at(NS_PER_S))
    # However long the next turn takes to come, nothing is said meanwhile.
    assert ours.due() == START_NS + 2 * NS_PER_S
    assert listener.listen()[2:] == [["WATCHDOG=1"]]


def test_the_end_is_told_once_with_the_time_that_it_may_take(
    listener: Listener,
) -> None:
    stop = Stop()
    ours = supervisor(listener.environment(), stop=stop)
    ours.serve(at(0))
    stop.set()
    ours.serve(at(1))
    ours.serve(at(2))
    ours.stopping()
    assert listener.listen()[1:] == [
        ["STOPPING=1", "EXTEND_TIMEOUT_USEC=11000000", "STATUS=all is well"]
    ]


# The commands as a manager runs them.


@pytest.fixture(params=["path", "abstract"])
def any_listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    is_abstract = request.param == "abstract"
    name = f"@{secrets.token_hex(8)}" if is_abstract else f"{tmp_path}/notify"
    with closing(Listener(name)) as listener:
        yield listener


def test_a_receiver_is_ready_alive_and_stopping(
    tools: Tools, tmp_path: Path, any_listener: Listener
) -> None:
    listener = any_listener
    receiver = tools.start(
        "pcap-zmq-recv",
        *(f"ipc://{tmp_path}/link", tmp_path / "fifo"),
        env=listener.environment(WATCHDOG_USEC="200000"),
    )
    listener.wait_for("READY=1")
    assert "listening on" in receiver.said()
    assert (tmp_path / "fifo").is_fifo()
    ready, *_ = listener.listen()
    assert ready[1].startswith("STATUS=written 0, held 0, dropped 0")

    def is_alive() -> bool:
        return listener.listen().count(["WATCHDOG=1"]) >= 4

    wait_until(is_alive, PATIENCE_S, "signs of life")
    assert not listener.has_heard("STOPPING=1")
    receiver.stop()
    assert listener.has_heard("STOPPING=1")


def test_a_receiver_that_stands_still_gives_no_sign_of_life(
    tools: Tools, tmp_path: Path, listener: Listener
) -> None:
    receiver = tools.start(
        "pcap-zmq-recv",
        *(f"ipc://{tmp_path}/link", tmp_path / "fifo"),
        env=listener.environment(WATCHDOG_USEC="20000"),
    )
    listener.wait_for("WATCHDOG=1")
    receiver.process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(receiver.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    count = len(listener.listen())
    with pytest.raises(TimeoutError):
        wait_until(lambda: len(listener.listen()) > count, 0.3, "what must not come")
    receiver.process.send_signal(signal.SIGCONT)
    wait_until(lambda: len(listener.listen()) > count, PATIENCE_S, "life again")
    receiver.stop()


def test_a_sender_tells_what_was_acknowledged(
    tools: Tools, tmp_path: Path, listener: Listener
) -> None:
    savefile = tmp_path / "in.pcap"
    savefile.write_bytes(packets.header() + packets.records(range(7), 60))
    endpoint = f"ipc://{tmp_path}/link"
    receiver = tools.receive(endpoint, f"file:{tmp_path}/out", "--once")
    sender = tools.start(
        "pcap-zmq-send", savefile, endpoint, env=listener.environment()
    )
    sender.finish()
    receiver.finish()
    ready, *_, last = listener.listen()
    assert ready[0] == "READY=1"
    assert last[0] == "STOPPING=1"
    assert last[2].startswith("STATUS=acknowledged 7, held 0, missed 0, dropped 0")


def test_an_error_is_told_and_readiness_is_not(
    tools: Tools, tmp_path: Path, listener: Listener
) -> None:
    receiver = tools.start(
        "pcap-zmq-recv",
        *(f"ipc://{tmp_path}/link", tmp_path / "nowhere" / "fifo"),
        env=listener.environment(),
    )
    assert receiver.wait() != 0
    (heard,) = listener.listen()
    assert heard[0] == "STOPPING=1"
    assert heard[1].startswith("STATUS=error: ")
    assert "nowhere/fifo" in heard[1]
