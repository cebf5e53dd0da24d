"""A program of ours: found, started with nothing of ours but its input, and ended.

Specification: pidfd_open(2), setpgid(2), waitid(2), PR_SET_PDEATHSIG(2const).
"""

import os
import select
import shlex
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import linux_ffi
from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError

NOT_INHERITED = (
    # Where the service manager listens, and what it handed to us alone.
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "CREDENTIALS_DIRECTORY",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)
OUR_VARIABLES = "PCAP_ZMQ_"

STDERR = 2


class Command:
    """Words as a shell would split them; no shell is asked. Raises ConfigError where
    there is no such program, OutputPermissionError where it may not be executed."""

    def __init__(self, text: str) -> None:
        try:
            self._words = shlex.split(text)
        except ValueError as error:
            raise ConfigError(f"--exec {text!r} cannot be split: {error}") from error
        if not self._words:
            raise ConfigError("--exec is empty; name a program and its arguments")
        self.name = f"--exec {self._words[0]}"
        self._program = _find(self._words[0])

    def start(self, reading: int) -> "Process":
        """With this standard input; what it says goes where our standard error goes.
        Raises OSError where it cannot be started now, OutputError where it never can be
        watched."""
        pid = linux_ffi.spawn(
            self._program, self._words, _environment(), stdin=reading, stdout=STDERR
        )
        try:
            return Process(pid, os.pidfd_open(pid))
        except OSError as error:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise OutputError(
                f"{self.name} cannot be watched: {error.strerror}; pidfd_open needs "
                "Linux 5.3, and a system call filter that allows it"
            ) from error


@dataclass(slots=True)
class Process:
    """One run of the program, and the group that it leads."""

    pid: int
    """The group has the same number."""
    handle: int
    """A descriptor, readable when it has ended."""

    def has_ended(self) -> bool:
        """Until `reap` its number is nobody else's."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None

    def ends_within(self, patience_ns: int) -> bool:
        """Waits for it."""
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        return bool(poll.poll(patience_ns // NS_PER_MS))

    def signal(self, number: signal.Signals) -> None:
        """To all of its group."""
        # None is left; or it is another user's by now, where we may not follow.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def reap(self) -> int:
        """After its end: what is left of its group is killed. Returns its exit code, or
        below 0 the signal that killed it."""
        self.signal(signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.handle)
        return status


def describe(status: int) -> str:
    """What `reap` has returned, for people."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is not None:
        return str(Path(found).absolute())
    if os.path.lexists(program) or not os.access(Path(program).parent, os.X_OK):
        raise OutputPermissionError(
            f"--exec {program}: it may not be executed; look at its mode, and at the "
            "directories above it"
        )
    raise ConfigError(
        f"--exec {program}: there is no such program; install it, or give its path (a "
        "shell's own words need a shell: sh -c '...')"
    )


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name not in NOT_INHERITED and not name.startswith(OUR_VARIABLES)
    }
