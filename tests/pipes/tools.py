"""Our commands as processes: started, waited for, asked for their totals, ended."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from testbed.waiting import wait_until

BIN = Path(sys.executable).parent
"""Where the commands are installed, beside the interpreter that runs the tests."""

PATIENCE_S = 30.0
"""Against a machine with two processors that runs much else."""

Stream = int | IO[bytes] | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The `totals:` line of either end, as numbers."""

    line: str

    def __getitem__(self, counter: str) -> int:
        found = re.search(rf"\b{counter} (\d+)", self.line)
        assert found is not None, f"no {counter!r} in {self.line!r}"
        return int(found[1])

    @property
    def tail(self) -> int:
        """What the sender believes to have missed after the last packet."""
        found = re.search(r"and about (\d+) more", self.line)
        return int(found[1]) if found else 0

    @property
    def dropped(self) -> dict[str, int]:
        """By reason."""
        # After a semicolon comes what others have said of themselves.
        found = re.search(r"^[^;]*?dropped \d+ \(([^)]*)\)", self.line)
        if found is None:
            return {}
        pairs = (reason.rsplit(" ", 1) for reason in found[1].split(", "))
        return {name: int(number) for name, number in pairs}


def assert_sender_conserves(totals: Totals) -> None:
    """Every packet that was logged is somewhere."""
    assert totals["logged"] == (
        totals["acknowledged"]
        + totals["held"]
        + totals["dropped"]
        + totals["missed"]
        + totals.tail
    ), totals.line
    assert totals["dropped"] == sum(totals.dropped.values()), totals.line


def assert_files_conserve(totals: Totals) -> None:
    """Every packet that was read from files is somewhere."""
    assert totals["read"] == (
        totals["delivered"] + totals["held"] + totals["dropped"] + totals["skipped"]
    ), totals.line
    assert totals["dropped"] == sum(totals.dropped.values()), totals.line


def assert_receiver_conserves(totals: Totals) -> None:
    """Every packet that was received is somewhere."""
    assert (
        totals["received"] == totals["written"] + totals["held"] + totals["dropped"]
    ), totals.line
    # Of what the senders said that they had logged, too.
    assert totals.line.endswith(", unaccounted 0"), totals.line
    assert totals["dropped"] == sum(totals.dropped.values()), totals.line


class Tool:
    """One command as a process; its stderr goes to a file."""

    def __init__(
        self,
        argv: list[str],
        log: Path,
        *,
        stdin: Stream,
        stdout: Stream,
        env: dict[str, str],
    ) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.DEVNULL if stdout is None else stdout,
                stderr=stderr,
                env={**os.environ, **env},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> IO[bytes]:
        """Where its output comes from; asked for with `stdout=subprocess.PIPE`."""
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def stdin(self) -> IO[bytes]:
        """Where its input goes; asked for with `stdin=subprocess.PIPE`."""
        assert self.process.stdin is not None
        return self.process.stdin

    def said(self) -> str:
        """Its stderr so far."""
        return self.log.read_text(errors="replace")

    def wait_to_say(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Until stderr holds the text."""

        def has_said() -> bool:
            if text in self.said():
                return True
            assert self.process.poll() is None, f"ended: {self.said()}"
            return False

        wait_until(has_said, timeout_s, f"{text!r}")

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs; it said: {self.said()}") from None

    def finish(self, timeout_s: float = PATIENCE_S) -> Totals:
        """Waits for its end by itself, in good order."""
        assert self.wait(timeout_s) == 0, self.said()
        return self.totals()

    def stop(
        self, number: int = signal.SIGTERM, timeout_s: float = PATIENCE_S
    ) -> Totals:
        """Asks it to end, as an operator would, and waits for it."""
        self.process.send_signal(number)
        return self.finish(timeout_s)

    def kill(self) -> None:
        """Ends it without asking; harmless where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(PATIENCE_S)

    def totals(self) -> Totals:
        """What it printed at its end; every packet is somewhere in it."""
        lines = [line for line in self.said().splitlines() if line.startswith("totals")]
        assert len(lines) == 1, self.said()
        assert "Traceback" not in self.said()
        totals = Totals(lines[0])
        if totals.line.startswith("totals: logged"):
            assert_sender_conserves(totals)
        elif re.match(r"totals: \d+ files", totals.line):
            assert_files_conserve(totals)
        else:
            assert_receiver_conserves(totals)
        return totals

    def peak_bytes(self) -> int:
        """The most memory that it had in use so far; it must still run."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak is not None, status
        return int(peak[1]) * 1024


class Tools:
    """Starts commands, and ends on leaving whatever of them still runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[Tool] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for tool in self._started:
            tool.kill()
            for stream in (tool.process.stdin, tool.process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
            if error is not None:
                error.add_note(f"{tool.process.args!r} said:\n{tool.said()}")

    def start(
        self,
        command: str,
        *arguments: str | Path,
        stdin: Stream = None,
        stdout: Stream = None,
        env: dict[str, str] | None = None,
        within: tuple[str, ...] = (),
    ) -> Tool:
        """within: a command that becomes ours, as setpriv does."""
        argv = [*within, str(BIN / command), *map(str, arguments)]
        log = self._directory / f"{len(self._started)}.stderr"
        tool = Tool(argv, log, stdin=stdin, stdout=stdout, env=env or {})
        self._started.append(tool)
        return tool

    def send(
        self,
        source: str | Path,
        endpoint: str,
        *options: str | Path,
        stdin: Stream = None,
        within: tuple[str, ...] = (),
    ) -> Tool:
        """A sender."""
        arguments = (source, endpoint, *options)
        return self.start("pcap-zmq-send", *arguments, stdin=stdin, within=within)

    def receive(
        self,
        address: str,
        output: str | Path,
        *options: str | Path,
        stdout: Stream = None,
        within: tuple[str, ...] = (),
    ) -> Tool:
        """A receiver."""
        arguments = (address, output, *options)
        return self.start("pcap-zmq-recv", *arguments, stdout=stdout, within=within)

    def receive_on_tcp(
        self, output: str | Path, *options: str | Path, stdout: Stream = None
    ) -> tuple[Tool, str]:
        """A receiver on a free port of the loopback, and its endpoint."""
        tool = self.receive("tcp://127.0.0.1:*", output, *options, stdout=stdout)
        tool.wait_to_say("listening on")
        found = re.search(r"listening on (tcp://\S+)", tool.said())
        assert found is not None
        return tool, found[1]


def without_capabilities(*names: str) -> tuple[str, ...]:
    """What makes a command root without these capabilities, so that it meets the same
    refusals as anybody; nothing where the tests do not run as root."""
    if os.geteuid() != 0:
        return ()
    dropped = ",".join(f"-{name}" for name in names)
    return ("setpriv", f"--bounding-set={dropped}", "--inh-caps=-all", "--")


AS_ANYBODY = without_capabilities("dac_override", "dac_read_search", "fowner")
"""Root without the right to pass over file modes."""
