"""Batches out to a program of ours, started again when it ends: an IDS on a pipe.

Specification: pipe(7). What flows, and what becomes of what a reader left unread:
pipe.py; how a program is started and ended: process.py.

Theory of operation. The program is executed without a shell, in a process group of its
own, with the reading end of a pipe as its standard input and our standard error as its
output; it inherits nothing else. It is started in the first turn, when privileges have
been given up, and gets the file header as soon as the link type is known.

    it ends                it is started again, ever later while that goes on
    it closes its input    it is told to end as below, and then started again
    we finish              once it has read everything: end of file; SIGTERM when that
                           takes too long or the time is up; then SIGKILL to the group
    we are killed          SIGTERM from the kernel, and end of file

What is left of its group when it has ended is killed: two of them must not write the
same files.
"""

import logging
import os
import signal
from collections.abc import Iterable

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import OutputCounts
from pcap_zmq.errors import OutputError
from pcap_zmq.formats.file_format import FileFormat
from pcap_zmq.packet import Instant
from pcap_zmq.poll import READABLE, Watch
from pcap_zmq.sinks.pipe import PipeSink, State
from pcap_zmq.sinks.process import Command, Process, describe

logger = logging.getLogger(__name__)

RESTART_NS = NS_PER_S // 10
"""Before it is started again; doubled for each time that it ended early."""

RESTART_MAX_NS = 30 * NS_PER_S

STEADY_NS = 10 * NS_PER_S
"""Whoever ran for so long did not end early; nor did one that has read packets and says
that all is well."""

EOF_NS = 30 * NS_PER_S
"""How long it may take to end after the end of file, where no signal asked for ours."""

CLOSED_NS = NS_PER_S
"""How long it may go on after it has closed its input."""

LAST_NS = 2 * NS_PER_S
"""How long it may take to read the rest and to end when our time is up."""

KILL_NS = 5 * NS_PER_S
"""From SIGTERM to SIGKILL."""

REAP_NS = NS_PER_S
"""From SIGKILL to its end, which takes longer only where the kernel hangs."""

_LAST_STEPS = (
    (None, LAST_NS),
    (signal.SIGTERM, KILL_NS),
    (signal.SIGKILL, REAP_NS),
)


class ChildSink(PipeSink):
    """One pcap stream per run of `command`, words as a shell would split them.
    linktype: None takes the first batch's.

    Raises ConfigError where there is no such program, OutputPermissionError where it
    may not be executed; OutputError later where the kernel starts no process at all.
    """

    def __init__(
        self,
        command: str,
        *,
        linktype: int | None,
        file_format: FileFormat,
        counters: OutputCounts,
    ) -> None:
        self._command = Command(command)
        super().__init__(
            self._command.name,
            linktype=linktype,
            file_format=file_format,
            counters=counters,
        )
        self._process: Process | None = None
        self._since_ns = 0
        # When it gets the next signal; None: it may stay.
        self._step_ns: int | None = None
        self._has_been_told = False
        # Our end of a pipe whose reader is starting: it has been given nothing yet.
        self._fresh_fd = -1
        self._restart_ns = 0
        self._pause_ns = RESTART_NS
        self._deadline_ns: int | None = None
        self._is_over = False

    def serve(self, now: Instant) -> None:
        """Starts it, sees to its end, and what every pipe needs."""
        self._reap(now)
        is_due = self._is_wanted and now.mono_ns >= self._restart_ns
        if self._process is None and is_due:
            self._start(now)
        super().serve(now)
        if self._is_finishing and self._has_read_all():
            self._end_stream(now)
        self._urge(now)

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """What every pipe needs, and its end."""
        yield from super().watch(wanted)
        if self._process is not None:
            yield Watch(self._process.handle, READABLE)

    def due(self) -> int | None:
        """What every pipe needs; when it is started again, or gets a signal."""
        dues = [super().due()]
        if self._process is not None:
            dues.append(self._step_ns)
        elif self._is_wanted:
            dues.append(self._restart_ns)
        return min((due for due in dues if due is not None), default=None)

    def finish(self, deadline_ns: int | None) -> None:
        """It is to read the rest, and then to end. deadline_ns: it gets SIGTERM by
        then."""
        super().finish(deadline_ns)
        self._deadline_ns = deadline_ns
        if deadline_ns is not None and self._step_ns is not None:
            self._step_ns = min(self._step_ns, deadline_ns)

    def is_finished(self) -> bool:
        """It has read everything, and has ended."""
        return self._is_finishing and self._process is None and not self._again

    def abandon(self) -> None:
        """Ends it, which may take as long as it has after SIGTERM, and counts what it
        has not read."""
        self._end_now()
        super().abandon()

    def close(self) -> None:
        """Ends it if it still runs."""
        self._end_now()
        super().close()

    @property
    def _is_wanted(self) -> bool:
        """At the end nobody is started any more but for what is left."""
        return not self._is_over and (not self._is_finishing or bool(self._again))

    # Its beginning.

    def _start(self, now: Instant) -> None:
        reading, writing = os.pipe()
        try:
            os.set_blocking(writing, False)
            self._process = self._command.start(reading)
        except OutputError:
            os.close(writing)
            raise
        except OSError as error:
            os.close(writing)
            self._put_off(now)
            logger.warning(
                "%s cannot be started: %s; tried again in %.1f s",
                self._name,
                error.strerror,
                (self._restart_ns - now.mono_ns) / NS_PER_S,
            )
            return
        finally:
            os.close(reading)
        self._fresh_fd = writing
        self._since_ns = now.mono_ns
        self._step_ns = None
        self._has_been_told = False
        logger.info("%s is started as process %d", self._name, self._process.pid)

    def _find_reader(self, now: Instant) -> int | None:
        fd, self._fresh_fd = self._fresh_fd, -1
        return None if fd < 0 else fd

    # Its end.

    def _forgotten(self, now: Instant) -> None:
        if self._process is not None and self._step_ns is None:
            self._step_ns = now.mono_ns + CLOSED_NS

    def _reap(self, now: Instant) -> None:
        """Takes note of its end."""
        process = self._process
        if process is None or not process.has_ended():
            return
        status = process.reap()
        self._process = None
        self._close_fresh()
        has_read = False
        if self.state is not State.ABSENT:
            has_read = self._given - self._unread() > len(self._header)
            self._forget_reader(now)
        is_steady = now.mono_ns - self._since_ns >= STEADY_NS
        if is_steady or (has_read and status == 0):
            self._pause_ns = RESTART_NS
        if not self._is_wanted:
            logger.info("%s has ended: %s", self._name, describe(status))
            return
        self._put_off(now)
        logger.warning(
            "%s has ended: %s; started again in %.1f s, with %d packets that were left "
            "unread",
            self._name,
            describe(status),
            (self._restart_ns - now.mono_ns) / NS_PER_S,
            sum(left.count for left in self._again),
        )

    def _put_off(self, now: Instant) -> None:
        """The next start, for ever longer."""
        self._restart_ns = now.mono_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, RESTART_MAX_NS)

    def _has_read_all(self) -> bool:
        if self._again:
            return False
        return self.state is State.ABSENT or self._unread() == 0

    def _end_stream(self, now: Instant) -> None:
        """End of file, for who has read everything."""
        has_stream = self.state is not State.ABSENT or self._fresh_fd >= 0
        if self._process is None or not has_stream:
            return
        self._close_fresh()
        self._close_stream()
        self._step_ns = now.mono_ns + EOF_NS
        if self._deadline_ns is not None:
            self._step_ns = min(self._step_ns, self._deadline_ns)

    def _urge(self, now: Instant) -> None:
        """The signal that is due."""
        process = self._process
        if process is None or self._step_ns is None or now.mono_ns < self._step_ns:
            return
        number = signal.SIGKILL if self._has_been_told else signal.SIGTERM
        logger.info("%s gets %s", self._name, number.name)
        process.signal(number)
        self._has_been_told = True
        self._step_ns = now.mono_ns + KILL_NS

    def _end_now(self) -> None:
        """Waits for its end. What it leaves unread is in `_again` afterwards."""
        process = self._process
        if process is None:
            return
        self._is_over = True
        self._close_fresh()
        self._hang_up()
        for number, patience_ns in _LAST_STEPS:
            if number is not None:
                logger.info("%s gets %s", self._name, number.name)
                process.signal(number)
            if process.ends_within(patience_ns):
                break
        self._reap(Instant(self._since_ns, 0))

    def _hang_up(self) -> None:
        """End of file, also for who has yet to read the rest: the pipe's other end
        tells us how much that was."""
        if self.state is State.ABSENT:
            return
        try:
            reading = os.open(
                f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError:
            # Without /proc: then SIGTERM is the first that it hears of it.
            return
        self._poll.unregister(self._fd)
        os.close(self._fd)
        self._fd = reading
        self._poll.register(reading, 0)

    def _close_fresh(self) -> None:
        if self._fresh_fd >= 0:
            os.close(self._fresh_fd)
            self._fresh_fd = -1

    def _close_stream(self) -> None:
        """Everything was read: there is nothing to keep for a next one."""
        if self.state is not State.ABSENT:
            self._forget_reader(Instant(0, 0))
