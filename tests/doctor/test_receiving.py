"""What the doctor finds on an IDS host, with real FIFOs, files, readers and IDSs."""

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.ids import Suricata
from testbed.waiting import wait_until
from tests.doctor.asking import BIN, Diagnosis, ask

TIMEOUT_S = 30.0


def ask_about(output: str | Path, env: dict[str, str] | None = None) -> Diagnosis:
    return ask("--recv", output, env=env)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path, 0o600)
    return path


@contextlib.contextmanager
def started(argv: list[str], **more: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the block."""
    streams: dict[str, int] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        **more,
    }
    process = subprocess.Popen(argv, **streams)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def targets_of(process: "subprocess.Popen[bytes]") -> list[str]:
    """What its descriptors lead to; one may close while it is looked at."""
    found = []
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


def has_open(process: "subprocess.Popen[bytes]", path: Path) -> bool:
    assert process.poll() is None
    return any(target.startswith(str(path)) for target in targets_of(process))


def await_open(process: "subprocess.Popen[bytes]", path: Path) -> None:
    wait_until(lambda: has_open(process, path), TIMEOUT_S, "the FIFO to be open")


# The output.


def test_without_a_directory_there_is_a_problem(tmp_path: Path) -> None:
    found = ask_about(tmp_path / "none" / "fifo")
    assert "has no directory to be in" in found.one("output", "problem")
    assert found.exit_code == 1


def test_a_directory_is_no_output(tmp_path: Path) -> None:
    assert "is a directory" in ask_about(tmp_path).one("output", "problem")


def test_a_device_is_no_output() -> None:
    said = ask_about("/dev/null").one("output", "problem")
    assert "neither a FIFO nor a regular file" in said


def test_where_nothing_is_a_fifo_will_be_made(tmp_path: Path) -> None:
    found = ask_about(tmp_path / "fifo")
    assert "the FIFO will be made there, with mode 0600" in found.one("output", "ok")
    assert found.exit_code == 0
    assert not (tmp_path / "fifo").exists()


def test_where_nothing_is_a_file_is_made_if_one_is_asked_for(tmp_path: Path) -> None:
    found = ask_about(f"file:{tmp_path}/packets.pcap")
    assert "the file will be made there" in "".join(found.of("output", "ok"))


def test_a_fifo_is_no_file(fifo: Path) -> None:
    assert "is a FIFO, not a file" in ask_about(f"file:{fifo}").one("output", "problem")


def test_a_fifo_that_everybody_may_read_is_a_warning(fifo: Path) -> None:
    fifo.chmod(0o644)
    found = ask_about(fifo)
    assert "may be read by everybody" in found.one("output", "warning")
    assert found.remedy("output", "warning") == [f"chmod o= {fifo}"]


def test_a_fifo_without_a_reader_is_well(fifo: Path) -> None:
    found = ask_about(fifo)
    said = "".join(found.of("output"))
    # Not even root sees into every process of a container's host.
    assert f"{fifo} is read by nobody yet" in said or "nobody is seen" in said
    assert found.exit_code == 0
    assert stat.S_IMODE(fifo.stat().st_mode) == 0o600


def test_a_file_that_holds_something_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "old.pcap").write_bytes(bytes(99))
    assert "holds 99 octets already" in ask_about(tmp_path / "old.pcap").one(
        "output", "warning"
    )


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """One that everybody gets as far as: pytest closes its own to others, and every
    pytest that starts does it again."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else can be become")
def test_what_may_not_be_written_is_a_problem(open_directory: Path) -> None:
    fifo = open_directory / "fifo"
    os.mkfifo(fifo, 0o600)
    assert "may not be written" in ask("--recv", fifo, within=AS_NOBODY).one(
        "output", "problem"
    )
    missing = open_directory / "other"
    said = ask("--recv", missing, within=AS_NOBODY).one("output", "problem")
    assert "this user may not make the FIFO in that directory" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else can be become")
@pytest.mark.parametrize("path", ["fifo", "further/fifo", "file"])
def test_what_is_behind_a_closed_directory_is_a_problem(
    open_directory: Path, path: str
) -> None:
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    output = f"file:{closed / path}" if path == "file" else closed / path
    asked = ask("--recv", output, within=AS_NOBODY)
    said = asked.one("output", "problem")
    assert said == (
        f"{closed / path} is behind a directory that this user may not search"
    )
    assert asked.remedy("output", "problem") == [
        "let the receiver's user search (x) every directory above it"
    ]


# Who is at its ends.


def test_a_receiver_and_its_reader_are_well_though_the_fifo_was_replaced(
    tmp_path: Path,
) -> None:
    fifo = tmp_path / "fifo"
    receive = [
        str(BIN / "pcap-zmq-recv"), "--linktype", "raw", f"ipc://{tmp_path}/link",
        str(fifo),
    ]  # fmt: skip
    with started(receive) as receiver:
        wait_until(fifo.is_fifo, TIMEOUT_S, "the FIFO")
        with started(["cat", str(fifo)]) as reader:
            await_open(receiver, fifo)
            wait_until(lambda: is_replaced(reader, fifo), TIMEOUT_S, "a fresh FIFO")
            found = ask_about(fifo)
    assert found.of("output", "problem") == []
    assert f"{fifo} is read by cat (pid {reader.pid})" in found.of("output", "ok")


def is_replaced(reader: "subprocess.Popen[bytes]", fifo: Path) -> bool:
    return f"{fifo} (deleted)" in targets_of(reader)


def test_two_readers_are_a_problem(fifo: Path) -> None:
    held = os.open(fifo, os.O_RDWR)
    try:
        with started(["cat", str(fifo)]) as one, started(["cat", str(fifo)]) as other:
            await_open(one, fifo)
            await_open(other, fifo)
            # First: without a writer, the readers leave at once.
            writing = os.open(fifo, os.O_WRONLY)
            os.close(held)
            held = writing
            said = ask_about(fifo).of("output", "problem")
    finally:
        os.close(held)
    assert any(
        f"cat (pid {one.pid})" in text and f"cat (pid {other.pid})" in text
        for text in said
    )


def test_a_stranger_that_writes_to_it_is_a_problem(fifo: Path) -> None:
    held = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = ask_about(fifo)
        assert found.of("output", "problem") == []
        with (
            fifo.open("wb") as writing,
            started(["sleep", "60"], stdout=writing.fileno()) as writer,
        ):
            said = ask_about(fifo).one("output", "problem")
    finally:
        os.close(held)
    assert f"sleep (pid {writer.pid})" in said
    assert "the stream is torn" in said


# The IDS.

Program = Callable[[str, str], dict[str, str]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Puts a program on the PATH that says of itself what it is told to, and else reads
    what -r names; returns the environment with it."""
    directory = tmp_path / "bin"
    directory.mkdir()

    def make(name: str, says: str) -> dict[str, str]:
        path = directory / name
        path.write_text(
            "#!/bin/sh\n"
            f'case $1 in -V|--version) echo "{says}"; exit;; esac\n'
            'while [ "$1" != -r ]; do shift; done\n'
            'read -r _ < "$2"\n'
        )
        path.chmod(0o755)
        return {"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}

    return make


@pytest.mark.skipif(not Suricata.is_installed(), reason="suricata is not installed")
def test_the_suricata_that_is_installed_is_found_with_its_command(fifo: Path) -> None:
    said = "".join(ask_about(fifo).of("ids", "ok"))
    assert "Suricata " in said
    assert f"suricata -r {fifo} -k none" in said


@pytest.mark.parametrize(
    ("name", "says", "expected"),
    [
        (
            "suricata",
            "This is Suricata version 7.0.10 RELEASE",
            "Suricata 7.0.10: suri",
        ),
        (
            "suricata",
            "This is Suricata version 8.0.1 RELEASE",
            "8.0.1 (loses the start",
        ),
        ("suricata", "This is Suricata version 8.0.6 RELEASE", "Suricata 8.0.6: suri"),
        ("snort", "   Version 3.1.82.0", "-s 65535 -k none --daq-batch-size 1 -c"),
        ("zeek", "zeek version 7.0.1", "zeek -C -r"),
    ],
)
def test_each_ids_is_shown_with_the_options_that_it_needs(
    name: str, says: str, expected: str, fifo: Path, program: Program
) -> None:
    found = ask_about(fifo, env=program(name, says))
    assert any(expected in text for text in found.of("ids", "ok"))


@pytest.mark.parametrize(
    ("name", "says"),
    [("suricata", "This is Suricata version 6.0.4"), ("snort", "Version 2.9.20 GRE")],
)
def test_an_old_ids_is_a_warning(
    name: str, says: str, fifo: Path, program: Program
) -> None:
    found = ask_about(fifo, env=program(name, says))
    assert "is older than what this was tried with" in found.one("ids", "warning")


@pytest.mark.parametrize(
    ("name", "bad", "good", "expected"),
    [
        ("suricata", [], ["-k", "none"], ["verifies checksums"]),
        (
            "suricata",
            ["--pcap-file-continuous", "--set", "pcap-file.checksum-checks=no"],
            ["--set", "pcap-file.checksum-checks=no"],
            ["for directories"],
        ),
        (
            "snort",
            [],
            ["-s", "65535", "-k", "none", "--daq-batch-size=1"],
            ["verifies checksums", "cuts packets at 1518", "64 packets at once"],
        ),
        ("zeek", [], ["-C"], ["verifies checksums"]),
    ],
)
def test_an_ids_that_reads_with_the_wrong_options_is_told_the_right_ones(
    name: str,
    bad: list[str],
    good: list[str],
    expected: list[str],
    fifo: Path,
    program: Program,
) -> None:
    env = program(name, f"{name} version 7.0")
    path = str(Path(env["PATH"].partition(os.pathsep)[0]) / name)
    writer = os.open(fifo, os.O_RDWR)
    try:
        for options, wanted in ((bad, expected), (good, [])):
            with started([path, *options, "-r", str(fifo)]) as ids:
                await_open(ids, fifo)
                found = ask_about(fifo)
                said = [t for t in found.of("ids", "warning") if f"pid {ids.pid}" in t]
            assert len(said) == len(wanted)
            for part in wanted:
                assert any(part in text for text in said), said
    finally:
        os.close(writer)


@pytest.mark.skipif(not Suricata.is_installed(), reason="suricata is not installed")
def test_a_real_suricata_that_verifies_checksums_is_told_not_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    ids = Suricata(tmp_path, "")
    argv = [word for word in ids.command(fifo) if word not in ("-k", "none")]
    # It waits for a writer.
    with started(argv) as process, fifo.open("wb"):
        await_open(process, fifo)
        found = ask_about(fifo)
    said = found.one("ids", "warning")
    assert "(pid" in said
    assert "verifies checksums" in said
    assert found.remedy("ids", "warning") == ["start it with -k none"]


# The command.


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--send", "5", "--recv", "fifo"), "--send and --recv"),
        (("--send", "five"), "is no NFLOG groups"),
        (("--send", "70000"), "is above 65535"),
        (("--send", "5", "nonsense"), "is no ZeroMQ endpoint"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_code_2(
    arguments: tuple[str, ...], expected: str
) -> None:
    done = subprocess.run(
        [BIN / "pcap-zmq", "doctor", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_on_a_terminal_verdicts_have_colours_unless_the_operator_wants_none() -> None:
    coloured = "\x1b[32mok"
    assert coloured in on_a_terminal({})
    assert coloured not in on_a_terminal({"NO_COLOR": "1"})


def on_a_terminal(env: dict[str, str]) -> str:
    """What it says where its output is a terminal: script(1) makes one."""
    inherited = {name: v for name, v in os.environ.items() if name != "NO_COLOR"}
    argv = ["script", "-qec", f"{BIN / 'pcap-zmq'} doctor --recv -", "/dev/null"]
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**inherited, "TERM": "xterm", **env},
    ).stdout


def test_help_is_shown_without_loading_zeromq() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from pcap_zmq.cli.doctor import doctor\n"
            "doctor(['--help'], standalone_mode=False)\n"
            "print('zmq' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False"
