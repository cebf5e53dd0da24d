"""What the commands say of themselves: help, version, completion."""

import os
import re
import subprocess
import sys

import pytest

from pcap_zmq import __version__
from tests.pipes.tools import BIN

COMMANDS = ("pcap-zmq-send", "pcap-zmq-recv")
TIMEOUT_S = 30


def said_by(*arguments: str, env: dict[str, str] | None = None) -> str:
    """The standard output of a command that succeeds and complains of nothing."""
    done = subprocess.run(
        [BIN / arguments[0], *arguments[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "COLUMNS": "100", **(env or {})},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def options_of(command: str) -> dict[str, str]:
    """Each option's entry in the help, on one line."""
    _, _, section = said_by(command, "--help").partition("Options:\n")
    entries = re.split(r"\n  (?=-)", "\n" + section)
    lines = (re.sub(r"\s+", " ", entry).strip() for entry in entries if entry.strip())
    return {re.findall(r"--[a-z-]+", line)[0]: line for line in lines}


def bounded_options() -> list[tuple[str, str, str]]:
    """Command, option, and what its help shall end in."""
    size = r"\d+(KiB|MiB|GiB)?"
    rate = r"\d+(KiB|MiB|GiB)/s"
    time = r"\d+(ms|s|h)"
    number = r"\d+"
    units = {
        "pcap-zmq-send": {
            "--batch-bytes": size,
            "--batch-age": time,
            "--low-watermark": rate,
            "--high-watermark": rate,
            "--send-queue": size,
            "--linger": time,
            "--report": time,
            "--snaplen": size,
            "--nlbufsiz": size,
            "--qthreshold": number,
            "--rcvbuf": size,
        },
        "pcap-zmq-recv": {
            "--receive-queue": size,
            "--linger": time,
            "--report": time,
        },
    }
    return [
        (command, option, rf"\[default {unit}, (0 or )?{unit} to {unit}\]$")
        for command, options in units.items()
        for option, unit in options.items()
    ]


@pytest.mark.parametrize(("command", "option", "ending"), bounded_options())
def test_help_names_unit_default_and_bounds(
    command: str, option: str, ending: str
) -> None:
    assert re.search(ending, options_of(command)[option])


@pytest.mark.parametrize(
    ("command", "option", "default"),
    [
        ("pcap-zmq-send", "--codec", "[default: zlib]"),
        ("pcap-zmq-send", "--level", "zlib 0 to 3 [1]"),
        ("pcap-zmq-send", "--qtimeout", "[default: half of the batch age]"),
        ("pcap-zmq-send", "--name", "[default: the host's name]"),
        ("pcap-zmq-send", "--log-level", "[default: info]"),
        ("pcap-zmq-recv", "--precision", "[default: nano]"),
        ("pcap-zmq-recv", "--linktype", "[default: the first sender's]"),
        ("pcap-zmq-recv", "--log-level", "[default: info]"),
    ],
)
def test_help_names_the_default_of_what_is_no_quantity(
    command: str, option: str, default: str
) -> None:
    assert default in options_of(command)[option]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_something_of_every_option(command: str) -> None:
    for option, line in options_of(command).items():
        assert len(line) > len(option) + 15, line


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_exit_codes(command: str) -> None:
    text = re.sub(r"\s+", " ", said_by(command, "--help"))
    assert "0 done, 1 failed while running, 2 usage, 3 permission, 4 peer" in text


@pytest.mark.parametrize("command", [*COMMANDS, "pcap-zmq"])
def test_the_short_option_helps_too(command: str) -> None:
    assert said_by(command, "-h") == said_by(command, "--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_umbrella_command_has_the_same_help(command: str) -> None:
    subcommand = command.removeprefix("pcap-zmq-")
    alone = said_by(command, "--help")
    below = said_by("pcap-zmq", subcommand, "--help")
    assert below == alone.replace(f"Usage: {command}", f"Usage: pcap-zmq {subcommand}")


def test_the_umbrella_command_names_its_subcommands() -> None:
    text = said_by("pcap-zmq", "--help")
    assert re.findall(r"^  (\w+)  ", text, re.MULTILINE) == [
        "completion",
        "config",
        "dispatch",
        "doctor",
        "extcap",
        "extract",
        "filter",
        "keygen",
        "map",
        "query",
        "queue",
        "recv",
        "relay",
        "replay",
        "send",
        "status",
    ]


@pytest.mark.parametrize("command", [*COMMANDS, "pcap-zmq"])
def test_version_is_the_packages(command: str) -> None:
    assert said_by(command, "--version") == f"{command}, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_all_three_commands(shell: str) -> None:
    script = said_by("pcap-zmq", "completion", shell)
    for command in ("PCAP_ZMQ", "PCAP_ZMQ_SEND", "PCAP_ZMQ_RECV"):
        assert f"_{command}_COMPLETE={shell}_complete" in script


def test_completion_for_bash_is_sourced_without_a_complaint() -> None:
    script = said_by("pcap-zmq", "completion", "bash")
    done = subprocess.run(
        ["bash", "--norc", "-c", 'eval "$1" && complete -p', "-", script],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for command in (*COMMANDS, "pcap-zmq"):
        assert re.search(rf"{command}$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("command", "words", "expected"),
    [
        ("pcap-zmq-send", "--batch", "--batch-bytes"),
        ("pcap-zmq-recv", "--prec", "--precision"),
        ("pcap-zmq", "se", "send"),
    ],
)
def test_completion_completes(command: str, words: str, expected: str) -> None:
    variable = f"_{command.replace('-', '_').upper()}_COMPLETE"
    env = {
        variable: "bash_complete",
        "COMP_WORDS": f"{command} {words}",
        "COMP_CWORD": "1",
    }
    assert f"plain,{expected}" in said_by(command, env=env).splitlines()


# What a start of the command itself needs, or what few of its users need; each costs
# more than 2 ms, or takes along what does.
HEAVY = (
    "_cffi_backend",
    "asyncio",
    "cffi",
    "dataclasses",
    "email",
    "http",
    "importlib.metadata",
    "isal",
    "json",
    "logging",
    "lz4",
    "pcap_zmq.packet",
    "pcap_zmq.tools",
    "socket",
    "ssl",
    "subprocess",
    "tomllib",
    "zmq",
    "zstandard",
)
LOADED = """
import atexit, sys
already = set(sys.modules)
atexit.register(lambda: print(*sys.modules.keys() - already, file=sys.stderr))
from pcap_zmq.cli.{module} import main
main()
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("send", "--help"),
        ("send", "--version"),
        ("receive", "--help"),
        ("receive", "--version"),
        ("main", "--help"),
        ("main", "--version"),
        ("main", "completion --help"),
        ("main", "config --help"),
        ("main", "config check --help"),
        ("main", "config show --help"),
        ("main", "doctor --help"),
        ("main", "extract --help"),
        ("main", "filter --help"),
        ("main", "keygen --help"),
        ("main", "recv --help"),
        ("main", "replay --help"),
        ("main", "send --help"),
        ("main", "status --help"),
    ],
)
def test_help_does_not_load_what_it_does_not_need(module: str, arguments: str) -> None:
    """It is shown even where ZeroMQ's library is broken, and at once."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module), *arguments.split()],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert loaded.intersection(HEAVY) == set()


def test_a_subcommand_does_not_load_its_neighbours() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(module="main"), "send", "--help"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    commands = {"config", "dispatch", "doctor", "extcap", "extract", "filter"}
    commands |= {"keygen", "map", "query", "queue", "receive", "relay", "replay"}
    commands |= {"send", "status"}
    loaded = {
        name for name in commands if f"pcap_zmq.cli.{name}" in done.stderr.split()
    }
    assert loaded == {"send"}
