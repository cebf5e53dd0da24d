"""The two pipes that are compared: from a group of NFLOG to a FIFO, over TCP.

Each starts its processes in one private network, says when it is ready, and ends in the
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

# For who tunes the other pipe: more was within the spread of this.
SOCAT_BLOCK_BYTES = 262_144
# Between tcpdump and socat; the default of 64 KiB was within the spread of this, too.
PIPE_BYTES = 1 << 20

_TCP_ESTABLISHED, _TCP_LISTEN = "01", "0A"  # include/net/tcp_states.h


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
    """pcap-zmq-send to pcap-zmq-recv, uncompressed unless told otherwise."""

    name = "pcap-zmq"

    def __init__(
        self,
        send_options: Sequence[str] = ("--low-watermark", "0"),
        *,
        with_receiver: bool = True,
    ) -> None:
        self._send_options = [*send_options, "--high-watermark", "0", "--report", "0"]
        self._with_receiver = with_receiver
        self._logs: list[Path] = []
        self.senders: list[subprocess.Popen[Any]] = []
        self.receivers: list[subprocess.Popen[Any]] = []

    def start(self, host: Namespace, directory: Path, fifo: Path) -> None:
        self._logs = [directory / "send.log", directory / "recv.log"]
        send_log, receive_log = self._logs
        endpoint = f"tcp://127.0.0.1:{PORT}"
        if self._with_receiver:
            argv = [_tool("pcap-zmq-recv"), "--once", "--report", "0", endpoint, fifo]
            self.receivers = [_start(host, argv, receive_log)]
            wait_until(
                lambda: _has(host, _TCP_LISTEN), READY_TIMEOUT_S, "pcap-zmq-recv"
            )
        argv = [_tool("pcap-zmq-send"), *self._send_options, GROUP, endpoint]
        self.senders = [_start(host, argv, send_log)]
        wait_until(lambda: is_read(host, GROUP), READY_TIMEOUT_S, "pcap-zmq-send")
        if self._with_receiver:
            wait_until(
                lambda: "takes packets" in send_log.read_text(),
                READY_TIMEOUT_S,
                "the link to be up",
            )

    def end(self) -> None:
        _end([*self.senders, *self.receivers])

    def counters(self) -> dict[str, int]:
        sent, received = (log.read_text() if log.exists() else "" for log in self._logs)
        return {
            "sender logged": _number(r"logged (\d+)", sent),
            "sender missed": _number(r"missed (\d+)", sent),
            "sender dropped": _number(r"dropped (\d+)", sent),
            "sender acknowledged": _number(r"acknowledged (\d+)", sent),
            "receiver written": _number(r"written (\d+)", received),
        }


class TcpdumpSocat:
    """tcpdump | socat to socat, which is what people chain together for this.

    block_bytes: socat's -b; None: as it comes, 8 KiB.
    unbuffered: every packet at once, for who wants it soon rather than cheap.
    is_root: whether we are root outside of the network too. Where not, dumpcap takes
    tcpdump's place, over the same libpcap: tcpdump insists on changing its user, which
    a user namespace does not let it.
    """

    def __init__(
        self,
        *,
        block_bytes: int | None = None,
        unbuffered: bool = False,
        is_root: bool = True,
    ) -> None:
        self.name = "tcpdump | socat" if is_root else "dumpcap | socat"
        self._block = [] if block_bytes is None else ["-b", block_bytes]
        if block_bytes is not None:
            self.name += f" -b {block_bytes}"
        # -B: in KiB for the one, MiB for the other. -Z root: stay who we are.
        self._capture = (
            "tcpdump -Z root -s 0 -B 32768" if is_root else "dumpcap -qP -B 32"
        )
        if unbuffered and is_root:
            self._capture += " -U"
        self._log: Path | None = None
        self.senders: list[subprocess.Popen[Any]] = []
        self.receivers: list[subprocess.Popen[Any]] = []

    def start(self, host: Namespace, directory: Path, fifo: Path) -> None:
        socat = ["socat", "-u", *self._block]
        listen = f"TCP-LISTEN:{PORT},bind=127.0.0.1,reuseaddr"
        log = directory / "socat-recv.log"
        self.receivers = [_start(host, [*socat, listen, f"GOPEN:{fifo}"], log)]
        wait_until(lambda: _has(host, _TCP_LISTEN), READY_TIMEOUT_S, "socat to listen")
        dump = f"{self._capture} -i nflog:{GROUP} -w -".split()
        self._log = directory / "capture.log"
        capture = _start(
            host, dump, self._log, stdout=subprocess.PIPE, pipesize=PIPE_BYTES
        )
        argv = [*socat, "STDIN", f"TCP:127.0.0.1:{PORT}"]
        log = directory / "socat-send.log"
        relay = _start(host, argv, log, stdin=capture.stdout)
        if capture.stdout is None:
            raise AssertionError("asked for a pipe, got none")
        # Or socat's end would never be the last one.
        capture.stdout.close()
        self.senders = [capture, relay]
        wait_until(
            lambda: is_read(host, GROUP) and _has(host, _TCP_ESTABLISHED),
            READY_TIMEOUT_S,
            self.name,
        )

    def end(self) -> None:
        _end([*self.senders, *self.receivers])

    def counters(self) -> dict[str, int]:
        said = self._log.read_text() if self._log else ""
        return {
            "captured": _number(r"(\d+) packets? captured", said)
            or _number(r"Packets captured: (\d+)", said),
            # libpcap counts overruns here, not packets.
            "overruns": _number(r"(\d+) packets? dropped by", said),
        }


def _tool(name: str) -> str:
    # Of this environment, whatever else is on PATH.
    return str(Path(sys.executable).parent / name)


def _start(
    host: Namespace, argv: Sequence[object], log: Path, **options: Any
) -> subprocess.Popen[Any]:
    with log.open("w") as stderr:
        output: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": stderr}
        return host.popen([str(word) for word in argv], **{**output, **options})


def _end(processes: Sequence[subprocess.Popen[Any]]) -> None:
    """Ends the first; the others see the end of what they read and follow."""
    first = processes[0]
    if first.poll() is None:
        first.send_signal(signal.SIGINT)
    for process in processes:
        process.wait(END_TIMEOUT_S)


def _has(host: Namespace, state: str) -> bool:
    """Whether there is a TCP socket at PORT in this state."""
    tables = host.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"], check=False).stdout
    rows = (line.split() for line in tables.splitlines())
    return any(
        row[1].endswith(f":{PORT:04X}") and row[3] == state
        for row in rows
        if len(row) > 3
    )


def _number(pattern: str, text: str) -> int:
    found: list[str] = re.findall(pattern, text)
    return int(found[-1]) if found else 0
