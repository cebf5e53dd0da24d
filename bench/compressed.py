"""The pipes that compress: what people chain together, and ours with what it sent."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

from bench.cost import octets_read
from bench.peers import PIPE_BYTES, SOCAT_BLOCK_BYTES, TcpdumpSocat
from bench.pipes import (
    END_TIMEOUT_S,
    GROUP,
    PORT,
    READY_TIMEOUT_S,
    TCP_ESTABLISHED,
    TCP_LISTEN,
    PcapZmq,
    end_processes,
    has_socket,
    start_process,
)
from testbed.rules import is_read
from testbed.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from testbed.namespaces import Namespace

WIRE_OCTETS = "octets sent over TCP"
"""The counter that these pipes have beside their others."""


class CompressedPcapZmq(PcapZmq):
    """pcap-zmq-send, which compresses from the first batch on, to pcap-zmq-recv."""

    def __init__(self, codec: str, level: int | None = None) -> None:
        self.name = f"pcap-zmq, {codec}" + ("" if level is None else f" {level}")
        options = f"--low-watermark 1KiB --codec {codec}"
        if level is not None:
            options += f" --level {level}"
        super().__init__(options.split())
        self._host: Namespace | None = None
        self._wire_octets = 0

    def start(self, host: Namespace, directory: Path, fifo: Path) -> None:
        self._host = host
        super().start(host, directory, fifo)

    def end(self) -> None:
        # All has arrived by now, and with the processes go the socket's counters.
        if self._host is not None:
            self._wire_octets = _acknowledged_by_tcp(self._host)
        super().end()

    def counters(self) -> dict[str, int]:
        return {**super().counters(), WIRE_OCTETS: self._wire_octets}


class CompressedChain(TcpdumpSocat):
    """tcpdump | compressor | socat to socat | decompressor, over pipes of 1 MiB and
    with socat's blocks as large as help it. decompressor: what undoes it."""

    def __init__(
        self,
        compressor: str,
        decompressor: str,
        *,
        is_root: bool = True,
    ) -> None:
        super().__init__(block_bytes=SOCAT_BLOCK_BYTES, is_root=is_root)
        capture = self.name.partition(" ")[0]
        self.name = f"{capture} | {compressor} | socat"
        self._compressor = compressor.split()
        self._decompressor = decompressor.split()
        self._read_before = self._wire_octets = 0

    def start(self, host: Namespace, directory: Path, fifo: Path) -> None:
        def begin(
            argv: Sequence[object],
            log: str,
            after: subprocess.Popen[bytes] | None = None,
            *,
            is_last: bool = False,
        ) -> subprocess.Popen[bytes]:
            output = {} if is_last else {"stdout": subprocess.PIPE}
            given = None if after is None else after.stdout
            process = start_process(
                host, argv, directory / log, stdin=given, pipesize=PIPE_BYTES, **output
            )
            if given is not None:
                # Or the end of what wrote there would never be seen.
                given.close()
            return process

        socat = ["socat", "-u", *self._block]
        listen = f"TCP-LISTEN:{PORT},bind=127.0.0.1,reuseaddr"
        relay = begin([*socat, listen, "STDOUT"], "socat-recv.log")
        # A shell opens the FIFO, which waits for the reader, and becomes the program.
        undo = f"exec {shlex.join(self._decompressor)} >{shlex.quote(str(fifo))}"
        restored = begin(["sh", "-c", undo], "decompressor.log", relay, is_last=True)
        self.receivers = [relay, restored]
        wait_until(
            lambda: has_socket(host, TCP_LISTEN), READY_TIMEOUT_S, "socat to listen"
        )
        self._log = directory / "capture.log"
        dump = f"{self._capture} -i nflog:{GROUP} -w -".split()
        capture = begin(dump, self._log.name)
        pressed = begin(self._compressor, "compressor.log", capture)
        to = f"TCP:127.0.0.1:{PORT}"
        sending = begin([*socat, "STDIN", to], "socat-send.log", pressed, is_last=True)
        self.senders = [capture, pressed, sending]
        wait_until(
            lambda: is_read(host, GROUP) and has_socket(host, TCP_ESTABLISHED),
            READY_TIMEOUT_S,
            self.name,
        )
        self._read_before = octets_read(relay.pid)

    def end(self) -> None:
        # A compressor keeps something back until its input ends, so the count is
        # complete only when the other socat has ended; which is still there then.
        end_processes(self.senders)
        relay = self.receivers[0]
        wait_until(lambda: _has_ended(relay.pid), END_TIMEOUT_S, "socat to end")
        self._wire_octets = octets_read(relay.pid) - self._read_before
        for process in self.receivers:
            process.wait(END_TIMEOUT_S)

    def counters(self) -> dict[str, int]:
        return {**super().counters(), WIRE_OCTETS: self._wire_octets}


def _has_ended(pid: int) -> bool:
    """Whether a child has, which stays in the kernel's table."""
    options = os.WEXITED | os.WNOWAIT | os.WNOHANG
    return os.waitid(os.P_PID, pid, options) is not None


def _acknowledged_by_tcp(host: Namespace) -> int:
    """What the connections to PORT have carried to there. Specification: ss(8)."""
    shown = host.run(["ss", "-tinH", "dport", "=", f":{PORT}"]).stdout
    return sum(map(int, re.findall(r"bytes_acked:(\d+)", shown)))
