"""An IDS for fault tests: reads the FIFO, may be killed at any octet, and is started
again whenever it ends, as by a supervisor; a witness sees all that it read."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.numbered import Flow, Witness
from testbed.waiting import wait_until

PATIENCE_S = 30.0

# From pipe to pipe inside the kernel: whenever it is killed, every octet is either
# still in the FIFO or on its way to the witness.
_PROGRAM = """
import os, sys
fifo = os.open(sys.argv[1], os.O_RDONLY)
while os.splice(fifo, 1, int(sys.argv[2])):
    pass
"""

# Nothing that divides a packet record: a kill finds it in the middle of one.
STEP = 4093

PASSES_BYTES = 4 * 4096
MORE_THAN_PASSES = 1_000
"""Packets that are more than the pipe to the witness holds."""


class Ids:
    """Reads `fifo` from entering to leaving, by one process after the other."""

    def __init__(self, fifo: Path, step: int = STEP) -> None:
        self.witness = Witness()
        self.torn: list[int] = []
        """Octets of a torn record at the end of each stream that is over."""
        self._begun = 0
        self._fifo = fifo
        self._step = step
        self._failure: BaseException | None = None
        self._is_ending = False
        self._may_see = threading.Event()
        self._may_see.set()
        self._lock = threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._is_ending = True
            self._may_see.set()
            self._process.kill()
        self._thread.join()

    def check(self) -> None:
        """Raises what the witness found wrong with the stream itself."""
        if self._failure is not None:
            raise self._failure

    def last_torn(self) -> int:
        """Of `torn`, when the receiver has ended and so every stream is over."""
        wait_until(lambda: len(self.torn) == self._begun, PATIENCE_S, "the last octets")
        return self.torn[-1]

    def has(self, mark: int, count: int) -> bool:
        """Whether the packets of a mark have come up to this many."""
        self.check()
        return self.witness[mark].highest >= count - 1

    def wait_for(self, mark: int, count: int, timeout_s: float = PATIENCE_S) -> None:
        """Until they have."""
        try:
            wait_until(lambda: self.has(mark, count), timeout_s, "the packets")
        except TimeoutError:
            seen = self.witness[mark]
            raise AssertionError(
                f"of {count} packets of mark {mark} came {seen.highest + 1}"
            ) from None

    def kill(self) -> None:
        """kill -9; the next one starts at once."""
        with self._lock:
            self._process.kill()

    def kill_in_a_record(self, flow: Flow) -> None:
        """kill -9 with more to read than it can pass on to the witness, who holds it
        up: so most likely in the middle of a record."""
        self._may_see.clear()
        try:
            flow.wait_for(flow.sent + MORE_THAN_PASSES)
            self.kill()
        finally:
            self._may_see.set()

    def pause(self) -> None:
        """It reads no more until `resume`."""
        with self._lock:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It reads on."""
        with self._lock:
            self._process.send_signal(signal.SIGCONT)

    def _start(self) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-S", "-c", _PROGRAM, str(self._fifo), str(self._step)]
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
        )
        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PASSES_BYTES)
        return process

    def _run(self) -> None:
        try:
            while True:
                self._watch()
                with self._lock:
                    if self._is_ending:
                        return
                    self._process = self._start()
        except ValueError as error:
            self._failure = error
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()

    def _watch(self) -> None:
        """One reader, to its end."""
        stdout = self._process.stdout
        assert stdout is not None
        has_begun = False
        with stdout:
            while octets := os.read(stdout.fileno(), 1 << 16):
                self._may_see.wait()
                if not has_begun:
                    self._begun += 1
                    self.witness.begin()
                    has_begun = True
                self.witness.feed(octets)
        self._process.wait()
        if has_begun:
            self.torn.append(self.witness.end())
