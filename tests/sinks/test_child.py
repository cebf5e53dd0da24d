"""The child sink with programs that read, stall, end, die, and do not exist."""

import logging
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputPermissionError
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.packet import Batch
from pcap_zmq.sinks.child import ChildSink
from pcap_zmq.sinks.pipe import State
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.sinks.turning import PATIENCE_S, Receipt, Turning, batch_of

ENOUGH = 8_000
"""Packets: more than a pipe holds."""


class Bench(Turning):
    """A child sink and what it counts."""

    def __init__(self, command: str, linktype: int | None = RAW) -> None:
        self.counters = ReceiverCounters()
        self.child = ChildSink(
            command,
            linktype=linktype,
            file_format=Pcap(),
            counters=self.counters,
        )
        super().__init__(self.child)


Make = Callable[..., Bench]

SHORT_STEPS = (
    (None, NS_PER_S // 2),
    (signal.SIGTERM, NS_PER_S // 2),
    (signal.SIGKILL, NS_PER_S),
)
"""So that nobody waits long for children that do not end by themselves."""


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr("pcap_zmq.sinks.child._LAST_STEPS", SHORT_STEPS)
    made: list[Bench] = []

    def new(command: str, linktype: int | None = RAW) -> Bench:
        made.append(Bench(command, linktype))
        return made[-1]

    yield new
    for bench in made:
        bench.child.close()


def shell(script: str) -> str:
    return shlex.join(["sh", "-c", script])


def python(script: str, *arguments: object) -> str:
    words = [sys.executable, "-S", "-c", textwrap.dedent(script)]
    return shlex.join([*words, *map(str, arguments)])


def batches(numbers: range) -> list[Batch]:
    """Of a hundred packets each."""
    return [
        batch_of(range(at, min(at + 100, numbers.stop)), receipt=Receipt())
        for at in range(numbers.start, numbers.stop, 100)
    ]


def numbers_in(directory: Path) -> list[int]:
    """Packets of all streams, each begun by a file header, in the order of names."""
    found: list[int] = []
    for path in sorted(directory.iterdir()):
        records, torn = packets.split(path.read_bytes())
        assert torn == b""
        found += map(packets.number_of, records)
    return found


def test_a_program_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(ConfigError, match="there is no such program; install it") as e:
        Bench("no-such-ids -r /dev/stdin")
    assert "\n" not in str(e.value)


def test_a_program_that_may_not_be_executed_is_a_matter_of_rights(
    tmp_path: Path,
) -> None:
    program = tmp_path / "ids"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(OutputPermissionError, match="may not be executed"):
        Bench(str(program))


@pytest.mark.parametrize("command", ["", "  ", "ids 'half"])
def test_a_command_that_is_none_is_refused(command: str) -> None:
    with pytest.raises(ConfigError, match="--exec"):
        Bench(command)


def test_it_gets_everything_and_then_the_end_of_file(
    make: Make, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    bench = make(shell(f"cat > {out}"))
    given = batches(range(ENOUGH))
    bench.give(given)
    bench.finish()
    assert packets.numbers(out.read_bytes()) == list(range(ENOUGH))
    assert bench.arrived == [batch.receipt for batch in given]
    assert (bench.counters.written, bench.counters.readers) == (ENOUGH, 1)


def test_words_are_split_as_a_shell_would_and_no_shell_is_asked(
    make: Make, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    bench = make(f"{sys.executable} -c \"{script}\" {out} '$HOME; *'")
    bench.until(lambda: out.exists() and out.read_text(), "its output")
    assert out.read_text() == "$HOME; *"


def test_nothing_of_a_batch_arrives_before_it_is_in_the_pipe(make: Make) -> None:
    bench = make(shell("exec sleep 1000"))
    bench.until(lambda: bench.child.state is State.GREETING, "the child")
    assert not bench.offer(batch_of(range(3), receipt=Receipt()))
    assert bench.arrived == []


def test_it_is_started_before_the_link_type_is_known(
    make: Make, tmp_path: Path
) -> None:
    """An IDS takes long to load its rules."""
    began = tmp_path / "began"
    bench = make(shell(f"touch {began}; cat > {tmp_path / 'out'}"), None)
    bench.until(began.exists, "the child to begin")
    bench.give([batch_of(range(3))])
    bench.finish()
    assert packets.numbers((tmp_path / "out").read_bytes()) == [0, 1, 2]


def test_a_child_that_dies_has_a_successor_who_gets_the_rest(
    make: Make, tmp_path: Path
) -> None:
    """Each reads so many octets, tears a record and ends."""
    bench = make(
        shell(f"exec head -c 40007 > {tmp_path}/$(date +%s%N)-$$"),
    )
    given = batches(range(2_000))
    bench.give(given)
    bench.finish()
    found: list[int] = []
    for path in sorted(tmp_path.iterdir()):
        records, _ = packets.split(path.read_bytes())
        found += map(packets.number_of, records)
    assert found == list(range(2_000))
    assert bench.counters.readers >= 10
    assert bench.counters.written == 2_000
    assert [batch.receipt.written for batch in given] == [100] * 20


def test_a_child_that_is_killed_loses_nothing_that_it_had_not_read(
    make: Make, tmp_path: Path
) -> None:
    bench = make(
        shell(
            f"if [ -e {tmp_path}/1 ]; then exec cat > {tmp_path}/2; fi;"
            f"head -c 24 > {tmp_path}/1; echo $$ > {tmp_path}/pid; exec sleep 1000"
        )
    )
    bench.give(batches(range(1_000)))
    pid = bench.until(
        lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it"
    )
    os.kill(int(pid), signal.SIGKILL)
    bench.finish()
    (tmp_path / "pid").unlink()
    assert numbers_in(tmp_path) == list(range(1_000))
    assert (bench.counters.written, bench.counters.replayed) == (1_000, 1_000)


def test_one_that_ends_at_once_is_tried_again_ever_later(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = tmp_path / "runs"
    bench = make(shell(f"echo >> {runs}; exit 7"))
    with caplog.at_level(logging.WARNING):
        bench.until(
            lambda: runs.exists() and len(runs.read_text()) >= 3, "three of its runs"
        )
        bench.until(lambda: len(caplog.messages) >= 3, "three of its ends")
    assert all("exit code 7" in message for message in caplog.messages)
    waits = [message.partition("again in ")[2][:3] for message in caplog.messages]
    assert waits[:3] == ["0.1", "0.2", "0.4"]
    assert not bench.offer(batch_of(range(1)))
    assert bench.counters.written == 0


def test_one_that_goes_missing_is_looked_for_again(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "ids"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    bench = make(str(program))
    program.unlink()
    bench.until(lambda: "cannot be started: No such file" in caplog.text, "a warning")
    program.write_text(f"#!/bin/sh\nexec cat > {tmp_path}/out\n")
    program.chmod(0o755)
    bench.give([batch_of(range(5))])
    bench.finish()
    assert packets.numbers((tmp_path / "out").read_bytes()) == list(range(5))


def test_one_that_closes_its_input_is_told_to_end(make: Make, tmp_path: Path) -> None:
    script = f"echo $$ >> {tmp_path}/pids; exec <&-; exec sleep 1000"
    bench = make(shell(script))
    pids = tmp_path / "pids"
    bench.until(lambda: pids.exists() and len(pids.read_text().split()) >= 2, "another")
    first = int(pids.read_text().split()[0])
    assert not Path(f"/proc/{first}").exists()


def test_what_it_leaves_behind_in_its_group_ends_with_it(
    make: Make, tmp_path: Path
) -> None:
    bench = make(shell(f"sleep 1000 & echo $! >> {tmp_path}/pids; read line; exit 1"))
    pids = tmp_path / "pids"
    bench.give([batch_of(range(10))])
    bench.until(lambda: len(pids.read_text().split()) >= 2, "another")
    left = Path("/proc") / pids.read_text().split()[0]
    wait_until(
        lambda: not left.exists() or "(zombie)" in (left / "status").read_text(),
        PATIENCE_S,
        "the one left behind to end",
    )


def test_one_that_does_not_end_with_its_file_gets_sigterm_by_the_deadline(
    make: Make, tmp_path: Path
) -> None:
    bench = make(
        shell(
            f"trap 'echo term > {tmp_path}/how; exit' TERM; cat > {tmp_path}/out;"
            "while :; do sleep 0.01; done"
        )
    )
    bench.give([batch_of(range(5))])
    bench.finish(within_ns=NS_PER_S // 5)
    assert (tmp_path / "how").read_text() == "term\n"
    assert packets.numbers((tmp_path / "out").read_bytes()) == list(range(5))


def test_one_that_ignores_sigterm_is_killed(make: Make, tmp_path: Path) -> None:
    bench = make(
        shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.01; done")
    )
    pid = tmp_path / "pid"
    bench.until(lambda: pid.exists() and pid.read_text(), "the child")
    bench.give([])
    bench.child.close()
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_a_slow_one_may_read_the_rest_when_our_time_is_up(
    make: Make, tmp_path: Path
) -> None:
    bench = make(
        shell(
            f"head -c 24 > {tmp_path}/out; until [ -e {tmp_path}/go ]; do sleep 0.01;"
            f" done; cat >> {tmp_path}/out"
        )
    )
    bench.give([batch_of(range(50))])
    bench.sink.finish(bench.now.mono_ns)
    (tmp_path / "go").touch()
    bench.sink.abandon()
    assert packets.numbers((tmp_path / "out").read_bytes()) == list(range(50))
    assert bench.counters.written == 50
    assert not bench.counters.dropped


def test_what_a_stalled_one_had_not_read_at_the_end_is_counted(make: Make) -> None:
    bench = make(shell("head -c 24 > /dev/null; exec sleep 1000"))
    receipt = Receipt()
    bench.give([batch_of(range(50), receipt=receipt)])
    assert (bench.counters.written, receipt.written) == (50, 50)
    bench.sink.finish(bench.now.mono_ns)
    bench.turn()
    assert not bench.sink.is_finished()
    bench.sink.abandon()
    assert bench.counters.written == 0
    assert bench.counters.dropped == {Reason.NO_READER: 50}
    assert (receipt.written, receipt.dropped) == (0, 50)
    assert list(bench.child.held) == []


def test_it_inherits_no_descriptor_and_nothing_of_the_service_manager(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/us")
    monkeypatch.setenv("PCAP_ZMQ_RECV_KEY", "/etc/key")
    monkeypatch.setenv("KEPT", "yes")
    leaking, other = os.pipe()
    os.set_inheritable(leaking, True)
    os.set_inheritable(other, True)
    bench = make(
        python(
            """
            import os, sys
            out = open(sys.argv[1] + ".new", "w")
            print(sorted(os.listdir("/proc/self/fd"), key=int), file=out)
            print(sorted(os.environ), os.getpgrp() == os.getpid(), file=out)
            out.close()
            os.rename(sys.argv[1] + ".new", sys.argv[1])
            sys.stdin.buffer.read()
            """,
            tmp_path / "out",
        )
    )
    bench.until((tmp_path / "out").exists, "its answer")
    os.close(leaking)
    os.close(other)
    fds, rest = (tmp_path / "out").read_text().splitlines()
    # Its own file, and the directory that it lists.
    assert fds == "['0', '1', '2', '3', '4']"
    assert "KEPT" in rest
    assert rest.endswith("True")
    for name in ("NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "PCAP_ZMQ_RECV_KEY"):
        assert name not in rest


def test_signals_that_python_ignores_are_not_ignored_by_it(
    make: Make, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    bench = make(
        shell(f"grep Sig /proc/self/status > {out}.new; mv {out}.new {out}; cat")
    )
    bench.until(out.exists, "its answer")
    fields = dict(line.split(":\t") for line in out.read_text().splitlines())
    assert int(fields["SigBlk"], 16) == 0
    assert not int(fields["SigIgn"], 16) & 1 << signal.SIGPIPE - 1


KILLED = """
import sys
from pcap_zmq.clock import SystemClock
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.packet import Batch
from pcap_zmq.sinks.child import ChildSink

sink = ChildSink(
    sys.argv[1], linktype=101, file_format=Pcap(), counters=ReceiverCounters()
)
sink.serve(SystemClock().now())
print("started", flush=True)
sys.stdin.read()
"""


def test_it_ends_with_us_also_by_kill_9(tmp_path: Path) -> None:
    """Also one that does not heed the end of its input."""
    pid = tmp_path / "pid"
    command = shell(f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000")
    us = subprocess.Popen(
        [sys.executable, "-c", KILLED, command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert us.stdout is not None
        assert us.stdout.readline() == b"started\n"
        wait_until(pid.exists, PATIENCE_S, "the child")
        child = Path("/proc") / pid.read_text().strip()
        assert child.exists()
    finally:
        us.kill()
        us.communicate()
    wait_until(
        lambda: not child.exists() or "(zombie)" in (child / "status").read_text(),
        PATIENCE_S,
        "the child to end",
    )
