"""Who may talk at a control socket, and what one client can do to whom it talks to."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcap_zmq.control_socket import PATIENCE_NS, ControlSocket
from pcap_zmq.packet import Instant

NOW = Instant(0, 0)
LONG = b"x" * (4 << 20) + b"\n"


class Answers:
    """Says a line again, to "long" something long; knows how often it was asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, line: bytes) -> bytes:
        self.count += 1
        return LONG if line == b"long" else line + b"\n"


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def control(path: Path, answers: Answers) -> Iterator[ControlSocket]:
    control = ControlSocket(path, answers, 1 << 10)
    yield control
    control.close()


@pytest.fixture
def client(path: Path, control: ControlSocket) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
        client.setblocking(False)
        yield client


def heard(control: ControlSocket, client: socket.socket, octets: int) -> bytes:
    """What the client is told, once it is so much."""
    told = b""
    for _ in range(10_000):
        control.serve(NOW)
        try:
            told += client.recv(1 << 20)
        except BlockingIOError:
            continue
        if len(told) >= octets:
            return told
    raise AssertionError(f"{len(told)} octets of {octets}")


def test_who_does_not_listen_is_asked_nothing_more(
    control: ControlSocket, client: socket.socket, answers: Answers
) -> None:
    """Answers to one who only asked once filled all memory."""
    client.send(b"long\n" * 10_000)
    for _ in range(100):
        control.serve(NOW)
    assert answers.count == 1
    # Neither is it waited for, for ever.
    assert control.due() == PATIENCE_NS
    control.serve(Instant(PATIENCE_NS, 0))
    assert control.due() is None


def test_many_lines_at_once_are_answered_one_after_the_other(
    control: ControlSocket, client: socket.socket
) -> None:
    client.send(b"one\nlong\ntwo\n")
    wanted = b"one\n" + LONG + b"two\n"
    assert heard(control, client, len(wanted)) == wanted


def test_what_was_asked_already_needs_no_other_word(
    control: ControlSocket, client: socket.socket
) -> None:
    client.send(b"one\ntwo\n")
    control.serve(NOW)
    assert control.due() == 0


def test_a_line_without_end_is_the_end(
    control: ControlSocket, client: socket.socket, answers: Answers
) -> None:
    client.send(b"x" * 2_000)
    control.serve(NOW)
    assert (control.due(), answers.count) == (None, 0)


def test_nobody_else_may_come(path: Path, control: ControlSocket) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
