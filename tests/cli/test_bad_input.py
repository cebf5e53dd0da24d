"""What an operator can get wrong: one clear line, the right exit code, no traceback."""

import gzip
import os
import pty
import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pipes import packets
from tests.pipes.tools import AS_ANYBODY, BIN, Tools, without_capabilities

FAILED, USAGE, PERMISSION, PEER_OR_FORMAT = 1, 2, 3, 4
TIMEOUT_S = 60
NOWHERE = "ipc:///nonexistent/link"
ENDLESS = "9" * 5000


def refused(
    command: str,
    *arguments: str | Path | bytes,
    within: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    **streams: int | bytes | None,
) -> tuple[int, str]:
    """Runs a command that shall fail: its exit code and what it said, which must be a
    single error, preceded by nothing but click's two lines on usage."""
    if "input" not in streams:
        streams.setdefault("stdin", subprocess.DEVNULL)
    streams.setdefault("stdout", subprocess.PIPE)
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        [*within, BIN / command, *arguments],
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, **(env or {})},
        **streams,  # type: ignore[call-overload]  # the streams that the test chose
    )
    said = done.stderr.decode(errors="replace")
    assert not done.stdout
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if not _is_expected(line)]
    assert len(lines) == 1, said
    assert re.match(r"(error|Error): ", lines[0]), said
    return done.returncode, lines[0]


def _is_expected(line: str) -> bool:
    is_log = re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ (INFO|WARNING)", line)
    is_usage = line.startswith(("Usage:", "Try '"))
    return bool(is_log) or is_usage or line.startswith("totals:") or not line


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    """A good one."""
    path = tmp_path / "good.pcap"
    packets.write(path, range(10))
    return path


# What is asked for cannot be: code 2, whoever asks.

SOURCES = {
    "nonsense": "neither NFLOG groups",
    "0,,1": "neither NFLOG groups",
    ",": "neither NFLOG groups",
    "nflog:": "neither NFLOG groups",
    "nflog:0-3": "neither NFLOG groups",
    "nflog:one": "neither NFLOG groups",
    "nflog:-1": "neither NFLOG groups",
    "0, 1": "neither NFLOG groups",
    "\N{ARABIC-INDIC DIGIT ONE}": "neither NFLOG groups",
    "70000": "above 65535",
    "nflog:0,65536": "above 65535",
    "1,1": "a group twice",
    "nflog:5,0,05": "a group twice",
    "pcap:/nonexistent/a.pcap": "cannot be opened: No such file",
    "/nonexistent/a.pcap": "nor a savefile that exists",
    "pcap:/": "Is a directory",
    "/": "Is a directory",
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_that_is_none_is_named(source: str) -> None:
    code, said = refused("pcap-zmq-send", source, NOWHERE)
    assert code == USAGE
    assert SOURCES[source] in said


def test_an_empty_source_is_none() -> None:
    code, said = refused("pcap-zmq-send", "", NOWHERE)
    assert (code, "neither NFLOG groups" in said) == (USAGE, True)


def test_a_group_of_endless_digits_is_none() -> None:
    assert refused("pcap-zmq-send", ENDLESS, NOWHERE)[0] == USAGE


ENDPOINTS = {
    "nonsense": "is no ZeroMQ endpoint",
    "": "is no ZeroMQ endpoint",
    "tcp:127.0.0.1:5140": "is no ZeroMQ endpoint",
    "udp://127.0.0.1:5140": "is no ZeroMQ endpoint",
    "https://127.0.0.1:5140": "is no ZeroMQ endpoint",
    "tcp://": "names no address",
    "ipc://": "names no address",
    "tcp://127.0.0.1": "has no host and port",
    "tcp://127.0.0.1:": "has no host and port",
    "tcp://:5140": "has no host and port",
    "tcp://127.0.0.1:http": "has no host and port",
    "tcp://127.0.0.1:65536": "has no host and port",
    "tcp://127.0.0.1:-1": "has no host and port",
}
UNPARSED = ("tcp://[::1:5140", "tcp://::1]:5140", f"tcp://127.0.0.1:{ENDLESS}")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_that_is_none_is_named(savefile: Path, endpoint: str) -> None:
    code, said = refused("pcap-zmq-send", savefile, endpoint)
    assert code == USAGE
    assert ENDPOINTS[endpoint] in said


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_address_that_is_none_is_named(tmp_path: Path, endpoint: str) -> None:
    code, said = refused("pcap-zmq-recv", endpoint, tmp_path / "fifo")
    assert code == USAGE
    assert ENDPOINTS[endpoint] in said
    # Nothing was made for a command that cannot be.
    assert not (tmp_path / "fifo").exists()


@pytest.mark.parametrize("endpoint", UNPARSED)
def test_an_endpoint_that_no_parser_takes_is_named(
    savefile: Path, endpoint: str
) -> None:
    code, said = refused("pcap-zmq-send", savefile, endpoint)
    assert code == USAGE
    assert "is no ZeroMQ endpoint" in said or "has no host and port" in said


def test_an_endpoint_of_octets_that_are_no_text_is_named(tmp_path: Path) -> None:
    code, _ = refused("pcap-zmq-recv", b"ipc:///tmp/\xff\xfe", tmp_path / "fifo")
    assert code in {USAGE, PEER_OR_FORMAT}


SEND_OPTIONS = [
    (("--batch-bytes", "1"), "64KiB to 8MiB"),
    (("--batch-bytes", "9MiB"), "64KiB to 8MiB"),
    (("--batch-bytes", "many"), "is no size; write it as 1MiB"),
    (("--batch-bytes", "-5"), "is no size"),
    (("--batch-bytes", "1e9"), "is no size"),
    (("--batch-bytes", "64KiB/s"), "is no size"),
    (("--batch-bytes", "nan"), "is no size"),
    (("--batch-bytes", ""), "is no size"),
    (("--batch-bytes", "8MiB", "--send-queue", "1MiB"), "--send-queue"),
    (("--batch-age", "0"), "1ms to 10s"),
    (("--batch-age", "11s"), "1ms to 10s"),
    (("--batch-age", "20parsec"), "is no duration; write it as 20ms"),
    (("--low-watermark", "5furlongs/s"), "is no rate; write it as 1MiB/s"),
    (("--low-watermark", "1"), "0 or 1KiB/s to 100GiB/s"),
    (("--high-watermark", "101GiB/s"), "0 or 1KiB/s to 100GiB/s"),
    (("--codec", "rar"), "'zlib'"),
    (("--level", "4"), "zlib has levels 0 to 3"),
    (("--level", "-1"), "zlib has levels 0 to 3"),
    (("--codec", "zstd", "--level", "20"), "zstd has levels 1 to 19"),
    (("--codec", "lz4", "--level", "13"), "lz4 has levels 0 to 12"),
    (("--codec", "none", "--level", "1"), "none has levels 0 to 0"),
    (("--level", "high"), "not a valid integer"),
    (("--send-queue", "1KiB"), "1MiB to 64GiB"),
    (("--linger", "-1"), "is no duration"),
    (("--linger", "2h"), "0s to 1h"),
    (("--report", "0.5"), "0 or 1s to 24h"),
    (("--snaplen", "63"), "64 to 65531"),
    (("--snaplen", "65532"), "64 to 65531"),
    (("--nlbufsiz", "10MiB"), "8KiB to 128KiB"),
    (("--qthreshold", "0"), "1 to 65535"),
    (("--qthreshold", "1KiB"), "is no number"),
    (("--qtimeout", "6001"), "1 to 6000"),
    (("--rcvbuf", "1"), "128KiB to 1GiB"),
    (("--name", ""), "--name is empty"),
    (("--log-level", "loud"), "'warning'"),
    (("--user", "nobody-of-this-name"), "there is no such user"),
    (("--nonsense",), "No such option"),
    (("tcp://127.0.0.1:9",), "say --balance flow"),
]


@pytest.mark.parametrize(("options", "hint"), SEND_OPTIONS, ids=str)
def test_an_option_that_cannot_be_is_named_with_its_bounds(
    savefile: Path, options: tuple[str, ...], hint: str
) -> None:
    code, said = refused("pcap-zmq-send", savefile, NOWHERE, *options)
    assert code == USAGE
    assert hint in said


RECEIVE_OPTIONS = [
    (("--receive-queue", "1"), "1MiB to 64GiB"),
    (("--linktype", "token-ring"), "is no link type; write ethernet, raw"),
    (("--linktype", "65536"), "is no link type"),
    (("--linktype", "-1"), "is no link type"),
    (("--precision", "pico"), "'nano'"),
    (("--linger", "soon"), "is no duration"),
    (("--report", "25h"), "0 or 1s to 24h"),
]


@pytest.mark.parametrize(("options", "hint"), RECEIVE_OPTIONS, ids=str)
def test_an_option_of_the_receiver_that_cannot_be_is_named(
    tmp_path: Path, options: tuple[str, ...], hint: str
) -> None:
    output = tmp_path / "fifo"
    code, said = refused("pcap-zmq-recv", "ipc://link", output, *options)
    assert code == USAGE
    assert hint in said


@pytest.mark.parametrize(
    "options",
    [
        *(
            pytest.param(
                options,
            )
            for options in (
                ("--send-queue", ENDLESS),
                ("--high-watermark", f"{ENDLESS}GiB/s"),
                ("--batch-age", f"{ENDLESS}h"),
                ("--qthreshold", ENDLESS),
            )
        ),
        ("--level", ENDLESS),
    ],
    ids=lambda options: options[0],
)
def test_a_number_of_endless_digits_is_out_of_bounds(
    savefile: Path, options: tuple[str, ...]
) -> None:
    assert refused("pcap-zmq-send", savefile, NOWHERE, *options)[0] == USAGE


def test_a_link_type_of_endless_digits_is_none(tmp_path: Path) -> None:
    arguments = (f"ipc://{tmp_path}/link", tmp_path / "fifo")
    code, _ = refused("pcap-zmq-recv", *arguments, "--linktype", ENDLESS)
    assert code == USAGE


@pytest.mark.parametrize("command", ["pcap-zmq-send", "pcap-zmq-recv"])
def test_a_missing_argument_is_named(command: str) -> None:
    code, said = refused(command)
    assert (code, "Missing argument" in said) == (USAGE, True)


def test_an_unknown_subcommand_is_named() -> None:
    code, said = refused("pcap-zmq", "fetch")
    assert (code, "No such command 'fetch'" in said) == (USAGE, True)


# Savefiles that are none.


def test_an_empty_file_is_no_savefile(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.touch()
    code, said = refused("pcap-zmq-send", path, NOWHERE)
    assert (code, f"{path} is empty" in said) == (PEER_OR_FORMAT, True)


@pytest.mark.parametrize(
    "octets",
    [b"x", b"This is no savefile at all, whatever its name says.\n", bytes(1000)],
    ids=["one octet", "text", "zeros"],
)
def test_a_file_of_something_else_is_no_savefile(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "other.pcap"
    path.write_bytes(octets)
    code, said = refused("pcap-zmq-send", path, NOWHERE)
    assert (code, f"{path} is no pcap or pcapng savefile" in said) == (
        PEER_OR_FORMAT,
        True,
    )


def test_a_header_cut_short_is_no_savefile(tmp_path: Path) -> None:
    path = tmp_path / "short.pcap"
    path.write_bytes(packets.header()[:20])
    code, said = refused("pcap-zmq-send", path, NOWHERE)
    assert (code, "savefile" in said) == (PEER_OR_FORMAT, True)


def test_gzip_of_something_else_is_no_savefile(tmp_path: Path) -> None:
    path = tmp_path / "other.pcap.gz"
    path.write_bytes(gzip.compress(b"This is no savefile either."))
    code, said = refused("pcap-zmq-send", path, NOWHERE)
    assert (code, "is no pcap or pcapng savefile" in said) == (PEER_OR_FORMAT, True)


def test_what_only_starts_like_gzip_is_no_savefile(tmp_path: Path) -> None:
    path = tmp_path / "other.pcap.gz"
    path.write_bytes(b"\x1f\x8b" + bytes(100))
    code, said = refused("pcap-zmq-send", path, NOWHERE)
    assert (code, str(path) in said) == (PEER_OR_FORMAT, True)


def test_an_empty_standard_input_is_no_savefile() -> None:
    code, said = refused("pcap-zmq-send", "-", NOWHERE)
    assert (code, "standard input is empty" in said) == (PEER_OR_FORMAT, True)


def test_a_file_that_may_not_be_read_is_a_matter_of_permission(savefile: Path) -> None:
    savefile.chmod(0)
    code, said = refused("pcap-zmq-send", savefile, NOWHERE, within=AS_ANYBODY)
    assert (code, "may not be read: Permission denied" in said) == (PERMISSION, True)


CUTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "in a packet": (lambda octets: octets[:-10], "good.pcap"),
    "in a header": (lambda octets: octets + bytes(7), "good.pcap"),
    "in gzip": (lambda octets: gzip.compress(octets)[:-30], "good.pcap.gz"),
    "by garbage": (lambda octets: octets + b"\xff" * 100, "good.pcap"),
}


@pytest.mark.parametrize("cut", CUTS)
def test_what_comes_before_the_fault_of_a_file_is_delivered(
    tmp_path: Path, tools: Tools, endpoint: str, cut: str
) -> None:
    spoil, name = CUTS[cut]
    octets = packets.header() + packets.records(range(2000), 300)
    (tmp_path / name).write_bytes(spoil(octets))
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}", "--once")
    code, said = refused("pcap-zmq-send", tmp_path / name, endpoint)
    receiver.finish()
    delivered = packets.numbers(output.read_bytes())
    assert code == PEER_OR_FORMAT
    assert name in said
    assert delivered == list(range(len(delivered)))
    # Compressed, more than the last packet is behind the cut.
    assert len(delivered) >= (1 if cut == "in gzip" else 1999)


# Outputs that cannot be.


def test_an_output_that_is_a_directory_is_named(tmp_path: Path, endpoint: str) -> None:
    code, said = refused("pcap-zmq-recv", endpoint, tmp_path)
    assert (code, f"{tmp_path} is a directory" in said) == (USAGE, True)


def test_a_file_output_that_is_a_directory_is_named(
    tmp_path: Path, endpoint: str
) -> None:
    code, said = refused("pcap-zmq-recv", endpoint, f"file:{tmp_path}")
    assert (code, f"{tmp_path} is a directory" in said) == (USAGE, True)


@pytest.mark.parametrize("output", ["", "file:", "fifo:"])
def test_an_empty_output_is_named(endpoint: str, output: str) -> None:
    code, said = refused("pcap-zmq-recv", endpoint, output)
    assert (code, "OUTPUT is empty" in said) == (USAGE, True)


@pytest.mark.parametrize("kind", ["", "file:", "fifo:"])
def test_a_folder_that_is_missing_is_named(
    tmp_path: Path, endpoint: str, kind: str
) -> None:
    output = f"{kind}{tmp_path}/missing/out"
    code, said = refused("pcap-zmq-recv", endpoint, output)
    assert (code, "missing/out cannot be" in said) == (FAILED, True)


@pytest.mark.parametrize("kind", ["", "file:", "fifo:"])
def test_a_folder_that_is_a_file_is_named(
    tmp_path: Path, endpoint: str, kind: str
) -> None:
    (tmp_path / "a-file").touch()
    code, said = refused("pcap-zmq-recv", endpoint, f"{kind}{tmp_path}/a-file/out")
    assert (code, "Not a directory" in said) == (FAILED, True)


@pytest.mark.parametrize("kind", ["", "file:", "fifo:"])
def test_a_folder_that_may_not_be_written_is_a_matter_of_permission(
    tmp_path: Path, endpoint: str, kind: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    output = f"{kind}{folder}/out"
    code, said = refused("pcap-zmq-recv", endpoint, output, within=AS_ANYBODY)
    assert (code, "Permission denied" in said) == (PERMISSION, True)


@pytest.mark.parametrize("kind", ["", "file:", "fifo:"])
def test_a_folder_that_may_not_be_entered_is_a_matter_of_permission(
    tmp_path: Path, endpoint: str, kind: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0)
    output = f"{kind}{folder}/out"
    code, said = refused("pcap-zmq-recv", endpoint, output, within=AS_ANYBODY)
    assert (code, "Permission denied" in said) == (PERMISSION, True)


def test_a_fifo_that_may_not_be_written_is_a_matter_of_permission(
    tmp_path: Path, endpoint: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o400)
    code, said = refused("pcap-zmq-recv", endpoint, fifo, within=AS_ANYBODY)
    assert (code, f"{fifo} may not be written" in said) == (PERMISSION, True)


def test_a_file_that_may_not_be_written_is_a_matter_of_permission(
    tmp_path: Path, endpoint: str
) -> None:
    output = tmp_path / "out"
    output.touch(mode=0o400)
    code, said = refused("pcap-zmq-recv", endpoint, output, within=AS_ANYBODY)
    assert (code, f"{output} may not be written" in said) == (PERMISSION, True)


def test_a_file_that_holds_something_is_not_replaced_unasked(
    savefile: Path, endpoint: str
) -> None:
    before = savefile.read_bytes()
    code, said = refused("pcap-zmq-recv", endpoint, savefile)
    assert (code, "--overwrite" in said) == (USAGE, True)
    assert savefile.read_bytes() == before


def test_a_fifo_asked_for_where_a_file_lies_is_named(
    savefile: Path, endpoint: str
) -> None:
    code, said = refused("pcap-zmq-recv", endpoint, f"fifo:{savefile}")
    assert (code, "is no FIFO" in said) == (USAGE, True)


# Endpoints that cannot be had.


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Of a socket that listens during the test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def test_a_port_in_use_is_named_by_the_receiver(
    tmp_path: Path, taken_port: int
) -> None:
    address = f"tcp://127.0.0.1:{taken_port}"
    code, said = refused("pcap-zmq-recv", address, tmp_path / "fifo")
    assert code == PEER_OR_FORMAT
    assert f"cannot listen on {address}" in said
    assert "another process listens there" in said


def test_a_port_in_use_is_named_by_a_sender_that_listens(
    savefile: Path, taken_port: int
) -> None:
    address = f"tcp://127.0.0.1:{taken_port}"
    code, said = refused("pcap-zmq-send", savefile, address, "--bind")
    assert (code, "another process listens there" in said) == (PEER_OR_FORMAT, True)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("tcp://192.0.2.1:5140", "no such"),
        ("tcp://no.such.host.invalid:5140", "cannot listen on"),
        ("ipc:///nonexistent/link", "No such file"),
        ("ipc:///" + "x" * 200, "longer than 107"),
    ],
)
def test_an_address_that_cannot_be_had_is_named(
    tmp_path: Path, address: str, hint: str
) -> None:
    code, said = refused("pcap-zmq-recv", "--insecure", address, tmp_path / "fifo")
    assert (code, hint in said) == (PEER_OR_FORMAT, True), said


# What is not there, or not allowed.


def shim(folder: Path, module: str) -> dict[str, str]:
    """An environment in which a module cannot be imported."""
    (folder / "sitecustomize.py").write_text(
        textwrap.dedent(
            f"""
            import sys

            class Missing:
                def find_spec(self, name, path=None, target=None):
                    if name == {module!r}:
                        raise ImportError("libnothing.so.0: cannot open shared object")

            sys.meta_path.insert(0, Missing())
            """
        )
    )
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(("codec", "module"), [("zstd", "zstandard"), ("lz4", "lz4")])
def test_a_codec_that_is_not_installed_says_how_to_install_it(
    savefile: Path, tmp_path: Path, codec: str, module: str
) -> None:
    arguments = (savefile, NOWHERE, "--codec", codec)
    code, said = refused("pcap-zmq-send", *arguments, env=shim(tmp_path, module))
    assert (code, f"pip install 'pcap-zmq[{codec}]'" in said) == (USAGE, True)


def test_the_codecs_that_are_not_asked_for_may_be_missing(
    savefile: Path, tmp_path: Path, tools: Tools, endpoint: str
) -> None:
    env = shim(tmp_path, "zstandard")
    arguments = (endpoint, f"file:{tmp_path}/out", "--once")
    receiver = tools.start("pcap-zmq-recv", *arguments, env=env)
    tools.start("pcap-zmq-send", savefile, endpoint, env=env).finish()
    assert receiver.finish()["written"] == 10


def test_a_host_without_libnetfilter_log_is_told_what_to_install(
    tmp_path: Path,
) -> None:
    env = shim(tmp_path, "nflog_ffi._nflog")
    code, said = refused("pcap-zmq-send", "nflog:5", NOWHERE, env=env)
    assert code == FAILED
    assert "install libnetfilter-log1" in said
    assert "libnothing.so.0" in said


def test_a_host_without_libnetfilter_log_receives_and_sends_savefiles(
    savefile: Path, tmp_path: Path, tools: Tools, endpoint: str
) -> None:
    env = shim(tmp_path, "nflog_ffi._nflog")
    arguments = (endpoint, f"file:{tmp_path}/out", "--once")
    receiver = tools.start("pcap-zmq-recv", *arguments, env=env)
    tools.start("pcap-zmq-send", savefile, endpoint, env=env).finish()
    assert receiver.finish()["written"] == 10


def test_nflog_without_the_capability_says_which(endpoint: str) -> None:
    within = without_capabilities("net_admin")
    code, said = refused("pcap-zmq-send", "nflog:5", endpoint, within=within)
    assert code == PERMISSION
    assert "CAP_NET_ADMIN" in said
    assert "group 5" in said


def test_another_user_without_root_is_a_matter_of_permission(
    savefile: Path, endpoint: str
) -> None:
    within = without_capabilities("setuid", "setgid")
    arguments = (savefile, endpoint, "--user", "nobody")
    code, said = refused("pcap-zmq-send", *arguments, within=within)
    assert code == PERMISSION
    assert "cannot become nobody" in said
    assert "start as root" in said


# Terminals.


def test_a_stream_of_octets_is_not_written_to_a_terminal(endpoint: str) -> None:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [BIN / "pcap-zmq-recv", endpoint, "-"],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == USAGE
    assert b"standard output is a terminal: redirect it" in done.stderr


def test_a_savefile_is_not_read_from_a_terminal() -> None:
    ours, theirs = pty.openpty()
    try:
        code, said = refused("pcap-zmq-send", "-", NOWHERE, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (code, "standard input is a terminal" in said) == (USAGE, True)


@pytest.mark.parametrize(
    ("command", "arguments", "redirection"),
    [
        ("pcap-zmq-recv", "ipc://link -", ">&-"),
        ("pcap-zmq-send", "- ipc://link", "<&-"),
    ],
)
def test_a_standard_stream_that_is_closed_is_a_usage_error(
    tmp_path: Path, command: str, arguments: str, redirection: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {BIN / command} {arguments} {redirection}"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_S,
        check=False,
        text=True,
    )
    assert done.returncode == USAGE, done.stderr
    assert "Traceback" not in done.stderr


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pcap_zmq", "send", "nonsense", NOWHERE],
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == USAGE
    assert b"neither NFLOG groups" in done.stderr
