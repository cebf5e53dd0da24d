"""What the doctor finds at the other end of the link, and of the clocks on both."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from pcap_zmq.doctor.finding import Verdict
from pcap_zmq.doctor.judge import clock, endpoint
from pcap_zmq.doctor.judge.clock import Clock, Offset
from pcap_zmq.doctor.judge.endpoint import SIGNATURE, Endpoint
from testbed.waiting import wait_until
from tests.conftest import SocketFactory
from tests.doctor.asking import BIN, ask

TIMEOUT_S = 30.0
NS_PER_MS = 1_000_000
NULL_GREETING = SIGNATURE + b"NULL".ljust(20, b"\0") + bytes(32)


@contextlib.contextmanager
def answering(said: bytes) -> Iterator[str]:
    """A server that says this to whoever comes first, and closes; its endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(said)
                connection.recv(100)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        thread.join(TIMEOUT_S)


def verdict_on(*arguments: str) -> tuple[str, str]:
    """The verdict on the endpoint, and why."""
    found = ask("--send", "5", *arguments)
    (finding,) = (f for f in found.answer["findings"] if f["check"] == "endpoint")
    return finding["verdict"], finding["text"]


def test_where_nobody_listens_there_is_a_problem() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        verdict, why = verdict_on(f"tcp://127.0.0.1:{port}")
    assert verdict == "problem"
    assert "cannot be reached: Connection refused" in why


def test_a_name_that_nobody_knows_is_a_problem() -> None:
    verdict, why = verdict_on("tcp://nobody.invalid:5140")
    assert (verdict, "cannot be reached" in why) == ("problem", True)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\xff"])
def test_a_server_that_speaks_no_zeromq_is_a_problem(said: bytes) -> None:
    with answering(said) as name:
        verdict, why = verdict_on(name)
    assert (verdict, "speaks no ZeroMQ" in why) == ("problem", True)


def test_a_peer_that_wants_keys_is_told_of(make_socket: SocketFactory) -> None:
    server = make_socket(zmq.ROUTER)
    _, server.curve_secretkey = zmq.curve_keypair()
    server.curve_server = True
    port = server.bind_to_random_port("tcp://127.0.0.1")
    verdict, why = verdict_on(f"tcp://127.0.0.1:{port}")
    assert (verdict, "wants keys (CURVE)" in why) == ("warning", True)


def test_a_peer_that_is_no_receiver_does_not_say_what_time_it_is(
    make_socket: SocketFactory,
) -> None:
    port = make_socket(zmq.ROUTER).bind_to_random_port("tcp://127.0.0.1")
    found = ask("--send", "5", f"tcp://127.0.0.1:{port}")
    assert "speaks ZeroMQ, mechanism NULL" in found.one("endpoint", "ok")
    assert "does not answer when asked what time" in found.one("clock", "unknown")


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_a_receivers_clock_is_compared_with_ours(scheme: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    name = f"ipc://{tmp_path}/link" if scheme == "ipc" else f"tcp://127.0.0.1:{port}"
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [BIN / "pcap-zmq-recv", name, tmp_path / "fifo"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        ) as receiver,
    ):
        try:
            wait_until(lambda: is_there(name), TIMEOUT_S, "the receiver")
            found = ask("--send", "5", name)
        finally:
            receiver.terminate()
    assert found.one("endpoint", "ok")
    assert any(f"the clock at {name}" in text for text in found.of("clock", "ok"))
    # It was looked at, and says nothing of it.
    assert "WARNING" not in log.read_text()


def is_there(name: str) -> bool:
    scheme, _, rest = name.partition("://")
    family = socket.AF_UNIX if scheme == "ipc" else socket.AF_INET
    host, _, port = rest.rpartition(":")
    with socket.socket(family) as trying:
        address = rest if scheme == "ipc" else (host, int(port))
        return trying.connect_ex(address) == 0


@pytest.mark.parametrize(
    ("said", "has_keys", "expected"),
    [
        (NULL_GREETING, False, Verdict.OK),
        (NULL_GREETING, True, Verdict.PROBLEM),
        (NULL_GREETING.replace(b"NULL\0", b"CURVE"), True, Verdict.OK),
        (NULL_GREETING.replace(b"NULL\0", b"CURVE"), False, Verdict.WARNING),
        # ZMTP 1 and 2 have no mechanism, and a peer may have no time to say its own.
        (NULL_GREETING[:10], False, Verdict.OK),
    ],
)
def test_the_greeting_tells_whether_the_keys_fit(
    said: bytes, has_keys: bool, expected: Verdict
) -> None:
    (finding,) = endpoint.judge(Endpoint("tcp://x:1", None, said), has_keys=has_keys)
    assert finding.verdict is expected


@pytest.mark.parametrize(
    ("ahead_ms", "within_ms", "expected", "says"),
    [
        (0, 1, Verdict.OK, "shows the same"),
        (40, 60, Verdict.OK, "shows the same"),
        (400, 10, Verdict.OK, "400 ms ahead of this one"),
        (-400, 10, Verdict.OK, "400 ms behind this one"),
        (600, 10, Verdict.WARNING, "600 ms ahead of this one (within 10 ms)"),
        (-3_600_000, 10, Verdict.WARNING, "3600000 ms behind"),
        (600, 200, Verdict.OK, "600 ms ahead"),
    ],
)
def test_clocks_that_are_surely_apart_are_a_warning(
    ahead_ms: int, within_ms: int, expected: Verdict, says: str
) -> None:
    offset = Offset("tcp://x:1", ahead_ms * NS_PER_MS, within_ms * NS_PER_MS)
    (finding,) = clock.judge_offset(offset)
    assert (finding.verdict, says in finding.text) == (expected, True)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (Clock(None), Verdict.UNKNOWN),
        (Clock(False), Verdict.WARNING),
        (Clock(True, 12_000), Verdict.OK),
    ],
)
def test_a_clock_that_nobody_keeps_is_a_warning(
    shown: Clock, expected: Verdict
) -> None:
    (finding,) = clock.judge(shown)
    assert finding.verdict is expected


def test_the_kernel_is_asked_of_its_clock() -> None:
    """adjtimex(8) or timedatectl(1) would say the same, where they are installed."""
    found = ask()
    assert found.of("clock")
    assert not found.of("clock", "unknown")
    assert sys.platform == "linux"


# Keys.


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    """Of a gateway and a receiver, made as an operator makes them."""
    for name in ("gateway", "receiver"):
        subprocess.run(
            [BIN / "pcap-zmq", "keygen", "--name", name, tmp_path / name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    return {
        f"{name}{suffix}": tmp_path / name / f"{name}.{kind}"
        for name in ("gateway", "receiver")
        for suffix, kind in (("", "key"), (" secret", "key_secret"))
    }


def test_without_keys_another_host_is_a_problem_unless_that_is_wanted() -> None:
    argv = ("--recv", "-", "tcp://0.0.0.0:5140")
    assert "there are no keys" in ask(*argv).one("keys", "problem")
    said = ask(*argv, "--insecure").one("keys", "warning")
    assert "anybody on the way can read the packets" in said
    assert ask("--recv", "-", "ipc:///x/y").of("keys") == []


def test_a_secret_that_others_can_read_is_a_problem(
    certificates: dict[str, Path],
) -> None:
    secret = certificates["gateway secret"]
    secret.chmod(0o644)
    keys = ("--key", secret, "--peer-key", certificates["receiver"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        name = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        found = ask("--send", "5", *keys, name)
        assert str(secret) in found.one("keys", "problem")
        secret.chmod(0o600)
        assert ask("--send", "5", *keys, name).one("keys", "ok")


def test_a_receiver_with_keys_is_asked_with_ours(
    certificates: dict[str, Path], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        name = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "gateway.key").write_bytes(certificates["gateway"].read_bytes())
    secret = certificates["receiver secret"]
    with subprocess.Popen(
        [
            BIN / "pcap-zmq-recv",
            "--key",
            secret,
            "--allow",
            allowed,
            name,
            tmp_path / "fifo",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as receiver:
        try:
            wait_until(lambda: is_there(name), TIMEOUT_S, "the receiver")
            keys = (
                "--key", certificates["gateway secret"],
                "--peer-key", certificates["receiver"],
            )  # fmt: skip
            found = ask("--send", "5", *keys, name)
            without = ask("--send", "5", name)
        finally:
            receiver.terminate()
    assert "speaks ZeroMQ, mechanism CURVE" in found.one("endpoint", "ok")
    assert any(f"the clock at {name}" in text for text in found.of("clock", "ok"))
    assert "wants keys (CURVE)" in without.one("endpoint", "warning")
