"""What Wireshark is told when it asks, and one line for what is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
RECEIVER, GATEWAY = "pcap-zmq", "pcap-zmq-ssh"


def extcap(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "pcap-zmq"), "extcap", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def said(*arguments: str) -> list[str]:
    done = extcap(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def refused(*arguments: str, code: int = 2) -> str:
    done = extcap(*arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def captured(interface: str, *arguments: str) -> tuple[str, ...]:
    return ("--extcap-interface", interface, "--capture", *arguments)


@pytest.mark.parametrize("interface", [RECEIVER, GATEWAY])
@pytest.mark.parametrize("question", ["--extcap-dlts", "--extcap-config", "--capture"])
def test_an_interface_that_there_is_not_is_named(interface: str, question: str) -> None:
    wrong = f"{interface}-other"
    line = refused("--extcap-interface", wrong, question, "--fifo", "/nonexistent/f")
    assert f"'{wrong}' is no interface: pcap-zmq, pcap-zmq-ssh" in line


def test_whoever_asks_nothing_is_told_what_to_ask() -> None:
    assert "say --install" in refused()


def test_a_capture_needs_a_fifo() -> None:
    assert "--capture needs --fifo" in refused(*captured(RECEIVER))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((RECEIVER,), "no endpoint: set it in the options of the interface"),
        (
            (RECEIVER, "--endpoint", "tcp://x:1", "--extcap-capture-filter", "tcp"),
            "a receiver has no capture filter",
        ),
        ((GATEWAY,), "no gateway: set the host in the options of the interface"),
        ((GATEWAY, "--remote-host", "-oProxyCommand=x"), "'-oProxyCommand=x' is no"),
        ((GATEWAY, "--remote-host", "gw", "--ssh-command", "a 'b"), "No closing quot"),
        ((GATEWAY, "--remote-host", "gw", "--remote-command", " "), "is empty"),
        (
            (GATEWAY, "--remote-host", "gw", "--extcap-capture-filter", "tcp prt 1"),
            "'tcp prt 1' is no filter for link type nflog (239)",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_said_before_anything_is_opened(
    arguments: tuple[str, ...], expected: str
) -> None:
    interface, *options = arguments
    line = refused(*captured(interface, *options, "--fifo", "/nonexistent/fifo"))
    assert expected in line


def test_a_fifo_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = ("--endpoint", "tcp://127.0.0.1:1", "--fifo", f"{tmp_path}/none")
    assert f"{tmp_path}/none cannot be written: No such file" in refused(
        *captured(RECEIVER, *options), code=1
    )


def test_an_ssh_that_is_not_there_is_named(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # So that opening it for writing does not wait.
    held = os.open(fifo, os.O_RDWR)
    options = ("--remote-host", "gw", "--ssh-command", "/nonexistent/ssh")
    line = refused(*captured(GATEWAY, *options, "--fifo", str(fifo)))
    os.close(held)
    assert "/nonexistent/ssh cannot be run: No such file" in line


@pytest.mark.parametrize(
    ("groups", "expected"),
    [("x", "is neither NFLOG groups"), ("70000", "above 65535"), ("1,1", "twice")],
)
def test_groups_that_are_none_are_named(groups: str, expected: str) -> None:
    assert expected in refused("--dump", groups)


def test_the_interfaces_are_few_and_stable() -> None:
    about, *lines = said("--extcap-interfaces", "--extcap-version=4.0")
    assert re.fullmatch(r"extcap \{version=[^}]+\}\{display=pcap-zmq\}", about)
    names = [re.findall(r"^interface \{value=([^}]+)\}", line) for line in lines]
    assert names == [[RECEIVER], [GATEWAY]]


@pytest.mark.parametrize("interface", [RECEIVER, GATEWAY])
def test_the_link_types_are_those_of_senders(interface: str) -> None:
    lines = said("--extcap-interface", interface, "--extcap-dlts")
    numbers = [re.findall(r"^dlt \{number=(\d+)\}", line) for line in lines]
    assert numbers == [["239"], ["101"], ["1"]]


@pytest.mark.parametrize("interface", [RECEIVER, GATEWAY])
def test_every_option_that_is_offered_is_known(interface: str) -> None:
    lines = said("--extcap-interface", interface, "--extcap-config")
    text = "\n".join(lines)
    help_text = extcap("--help").stdout
    calls = re.findall(r"^arg .*\{call=(--[a-z-]+)\}", text, re.MULTILINE)
    assert calls
    assert [call for call in calls if call not in help_text] == []
    # Each choice belongs to an argument, of which one is the default.
    selectors = re.findall(r"^arg \{number=(\d+)\}.*\{type=selector\}", text, re.M)
    for number in selectors:
        values = [line for line in lines if line.startswith(f"value {{arg={number}}}")]
        assert sum("{default=true}" in line for line in values) == 1


@pytest.mark.parametrize(
    ("linktype", "text", "complaint"),
    [
        ("raw", "udp port 53", ""),
        ("ethernet", "vlan and tcp", ""),
        ("raw", "udp prt 53", "'udp prt 53' is no filter"),
        ("nflog", "udp", ""),
        ("nflog", "udp prt", "'udp prt' is no filter for link type nflog (239)"),
    ],
)
def test_a_capture_filter_is_judged_before_it_is_used(
    linktype: str, text: str, complaint: str
) -> None:
    options = ("--linktype", linktype, "--extcap-capture-filter", text)
    lines = said("--extcap-interface", GATEWAY, *options)
    assert "".join(lines).startswith(complaint)
    assert bool(lines) == bool(complaint)


def test_a_receivers_capture_filter_is_refused() -> None:
    options = ("--extcap-interface", RECEIVER, "--extcap-capture-filter")
    assert said(*options, "") == []
    assert said(*options, "tcp") == ["a receiver has no capture filter"]


def test_what_is_installed_is_what_wireshark_runs(tmp_path: Path) -> None:
    done = extcap("--install", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    places = (".config/wireshark/extcap", ".local/lib/wireshark/extcap")
    paths = [f"{tmp_path}/{place}/pcap-zmq" for place in places]
    assert done.stdout.splitlines() == paths
    for path in paths:
        answered = subprocess.run(
            [path, "--extcap-interfaces"], capture_output=True, text=True, check=True
        )
        assert answered.stdout.splitlines() == said("--extcap-interfaces")


def test_it_is_installed_where_one_says(tmp_path: Path) -> None:
    assert said("--install", "--directory", f"{tmp_path}/a/b") == [
        f"{tmp_path}/a/b/pcap-zmq"
    ]
    assert os.access(f"{tmp_path}/a/b/pcap-zmq", os.X_OK)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = refused("--install", "--directory", f"{tmp_path}/file", code=1)
    assert f"{tmp_path}/file/pcap-zmq cannot be written: " in line
