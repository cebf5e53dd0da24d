"""What a pipe from a group of NFLOG to a FIFO must offer, and ours.

It starts its processes in one private network, says when it is ready, and ends in the
order of flow, so that what is in it still comes out of the FIFO.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from testbed.rules import is_read
from testbed.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.namespaces import Namespace

GROUP = 5
PORT = 5140  # in a network of our own nobody else has it

READY_TIMEOUT_S = 15.0
END_TIMEOUT_S = 20.0

TCP_ESTABLISHED, TCP_LISTEN = "01", "0A"  # include/net/tcp_states.h


class Pipe(Protocol):
    """One way from the kernel to the FIFO."""

    name: str
    senders: list[subprocess.Popen[Any]]
    receivers: list[subprocess.Popen[Any]]

    def start(self, host: Namespace, directory: Path, fifo: Path) -> None:
        """Start all of it; returns when packets that come now get through."""

    def end(self) -> None:
        """End the sending side; the rest follows when it has passed on everything."""

    def counters(self) -> dict[str, int]:
        """What it says itself, by name: after the end."""


class PcapZmq:
    """pcap-zmq-send to pcap-zmq-recv; uncompressed unless told otherwise."""

    name = "pcap-zmq"

    def __init__(
        self,
        send_options: Sequence[str] = ("--low-watermark", "0"),
        receive_options: Sequence[str] = (),
        *,
        with_receiver: bool = True,
    ) -> None:
        self._send_options = [*send_options, "--high-watermark", "0", "--report", "0"]
        self._receive_options = ["--once", "--report", "0", *receive_options]
        self._with_receiver = with_receiver
        self._logs: list[Path] = []
        self.senders: list[subprocess.Popen[Any]] = []
        self.receivers: list[subprocess.Popen[Any]] = []

    def start(self, host: Namespace, directory: Path, fifo: Path) -> None:
        self._logs = [directory / "send.log", directory / "recv.log"]
        send_log, receive_log = self._logs
        endpoint = f"tcp://127.0.0.1:{PORT}"
        if self._with_receiver:
            argv = [tool("pcap-zmq-recv"), *self._receive_options, endpoint, fifo]
            self.receivers = [start_process(host, argv, receive_log)]
            wait_until(
                lambda: has_socket(host, TCP_LISTEN), READY_TIMEOUT_S, "pcap-zmq-recv"
            )
        argv = [tool("pcap-zmq-send"), *self._send_options, GROUP, endpoint]
        self.senders = [start_process(host, argv, send_log)]
        wait_until(lambda: is_read(host, GROUP), READY_TIMEOUT_S, "pcap-zmq-send")
        if self._with_receiver:
            wait_until(
                lambda: "takes packets" in send_log.read_text(),
                READY_TIMEOUT_S,
                "the link to be up",
            )

    def end(self) -> None:
        end_processes([*self.senders, *self.receivers])

    def counters(self) -> dict[str, int]:
        sent, received = (log.read_text() if log.exists() else "" for log in self._logs)
        return {
            "sender logged": number(r"logged (\d+)", sent),
            "sender missed": number(r"missed (\d+)", sent),
            "sender dropped": number(r"dropped (\d+)", sent),
            "sender acknowledged": number(r"acknowledged (\d+)", sent),
            "receiver written": number(r"written (\d+)", received),
        }


def tool(name: str) -> str:
    """A program of this environment, whatever else is on PATH."""
    return str(Path(sys.executable).parent / name)


def start_process(
    host: Namespace, argv: Sequence[object], log: Path, **options: Any
) -> subprocess.Popen[Any]:
    """Starts a program there whose complaints go to `log`; options as of Popen."""
    with log.open("w") as stderr:
        output: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": stderr}
        return host.popen([str(word) for word in argv], **{**output, **options})


def end_processes(processes: Sequence[subprocess.Popen[Any]]) -> None:
    """Ends the first; the others see the end of what they read and follow."""
    first = processes[0]
    if first.poll() is None:
        first.send_signal(signal.SIGINT)
    for process in processes:
        process.wait(END_TIMEOUT_S)


def has_socket(host: Namespace, state: str) -> bool:
    """Whether there is a TCP socket at PORT in this state."""
    tables = host.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"], check=False).stdout
    rows = (line.split() for line in tables.splitlines())
    return any(
        row[1].endswith(f":{PORT:04X}") and row[3] == state
        for row in rows
        if len(row) > 3
    )


def number(pattern: str, text: str) -> int:
    """What the pattern's group found last; 0 where it did not."""
    found: list[str] = re.findall(pattern, text)
    return int(found[-1]) if found else 0
