"""Settings from files and variables: which one counts, and what is wrong with them."""

import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pcap_zmq.cli.command import ToolCommand, tool_commands
from pcap_zmq.cli.naming import key_of
from pcap_zmq.cli.settings import shape_of
from pcap_zmq.formats.settings import Shape
from tests.cli.test_bad_input import PERMISSION, USAGE, refused
from tests.pipes import packets
from tests.pipes.tools import AS_ANYBODY, BIN, Tools

TIMEOUT_S = 30
ENDPOINT = "tcp://127.0.0.1:5140"
FINE = f"""
[send]
source = "nflog:5"
endpoint = "{ENDPOINT}"

[recv]
address = "{ENDPOINT}"
output = "/run/fifo"
"""
# Whatever a parameter takes, some of these are it.
SAMPLES = (
    *("1", "2", "3", "64", "65", "66", "101", "102", "1024", "1025", "1026"),
    *("126KiB", "127KiB", "256KiB", "257KiB", "1MiB", "2MiB", "3MiB"),
    *("2MiB/s", "3MiB/s", "100ms", "101ms", "102ms", "2s", "3s", "60s", "61s"),
    *("raw", "ethernet", "text", "json", "info", "debug", "error", "nano", "micro"),
    *("zlib", "zstd", "lz4", "oldest", "newest", "first", "second", "third"),
    *("flow", "wait", "drop", "pcap", "pcapng", "keep", "fix"),
    *("ask", "control", "add", "allow", "list"),
    *("kept", "now", "sorted", "skipped", "@1", "@2", "@3", "outer", "inner"),
    *(f"{kind}127.0.0.1:{port}" for kind in ("tcp://", "") for port in (1, 2, 3)),
)


def run(
    *arguments: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One of our commands that ends by itself."""
    return subprocess.run(
        [BIN / arguments[0], *arguments[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, **(env or {})},
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its settings."""
    return tmp_path / "settings.toml"


# Files that cannot be.


def test_a_file_that_is_missing_is_named(file: Path) -> None:
    code, said = refused("pcap-zmq-send", "--config", file)
    assert (code, said) == (
        USAGE,
        f"error: {file} cannot be read: No such file or directory",
    )


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    code, said = refused("pcap-zmq-send", "--config", tmp_path)
    assert (code, "Is a directory" in said) == (USAGE, True)


def test_no_name_is_no_file() -> None:
    code, said = refused("pcap-zmq-send", "--config", "")
    assert (code, "names no file" in said) == (USAGE, True)


def test_a_file_without_end_is_no_settings_file() -> None:
    code, said = refused("pcap-zmq-send", "--config", "/dev/zero")
    assert (code, "is no settings file" in said) == (USAGE, True)


@pytest.mark.parametrize(
    "arguments", [("pcap-zmq-send", "--config"), ("pcap-zmq", "config", "check")]
)
def test_a_file_that_may_not_be_read_is_a_matter_of_permission(
    file: Path, arguments: tuple[str, ...]
) -> None:
    file.write_text(FINE)
    file.chmod(0)
    code, said = refused(*arguments, file, within=AS_ANYBODY)
    assert (code, "may not be read: Permission denied" in said) == (PERMISSION, True)


FAULTS = {
    "[send]\nlinger = \n": ":2:10: Invalid value",
    "[send]\nlinger =": ":2: Invalid value",
    "[send]\nlingr = 1": ":2: [send] lingr is no setting; did you mean linger?",
    "[send]\nbind = 1": ":2: [send] bind wants true or false, not a number",
    "[sned]\nlinger = 1": ":1: there is no table [sned]; did you mean [send]?",
    "linger = 1": ":1: linger stands in no table; it belongs to [dispatch] or ",
    '[recv]\noutptu = "x"': ":2: [recv] outptu is no setting; did you mean output?",
    "[send]\nconfig = 'x'": ":2: [send] config is no setting",
    "[send]\nhelp = true": ":2: [send] help is no setting",
    "[send]\n\nlinger = '1d'": ":3: [send] linger: '1d' is no duration; write it as 2s",
    "[send]\nsend-queue = 1": ":2: [send] send-queue: 1 is out of bounds: 1MiB to",
    "[send]\ncodec = 'rar'": ":2: [send] codec: 'rar' is not one of 'zlib'",
    "[send]\nlevel = 'x'": ":2: [send] level: 'x' is not a valid integer",
    "[send]\nsource = 'x,'": ":2: [send] source: 'x,' is neither",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_is_named_by_file_line_table_and_key(file: Path, text: str) -> None:
    file.write_text(text)
    missing = {"PCAP_ZMQ_SEND_ENDPOINT": ENDPOINT}
    if "source" not in text:
        missing["PCAP_ZMQ_SEND_SOURCE"] = "5"
    code, said = refused("pcap-zmq-send", "--config", file, env=missing)
    assert code == USAGE
    assert said.startswith(f"error: {file}{FAULTS[text]}")


def test_of_several_faults_the_first_is_named_and_the_others_counted(
    file: Path,
) -> None:
    file.write_text("[send]\na = 1\nb = 2\nc = 3\n")
    _, said = refused("pcap-zmq-send", "--config", file)
    assert f"{file}:2: [send] a is no setting" in said
    assert said.endswith(f"(and 2 more: pcap-zmq config check {file})")


def test_a_key_of_hostile_characters_is_one_line(file: Path) -> None:
    file.write_text('[send]\n"a\\nerror: b\\u001b[2J" = 1')
    _, said = refused("pcap-zmq-send", "--config", file)
    assert said.isprintable()


def test_what_a_file_leaves_out_is_missing(file: Path) -> None:
    file.write_text('[send]\nsource = "nflog:5"\n')
    code, said = refused("pcap-zmq-send", "--config", file)
    assert (code, "Missing argument 'ENDPOINT'" in said) == (USAGE, True)


def test_settings_that_are_wrong_together_are_refused(file: Path) -> None:
    file.write_text(FINE.replace("[send]", "[send]\nbatch-bytes = '8MiB'"))
    code, said = refused(
        "pcap-zmq-send", "--config", file, env={"PCAP_ZMQ_SEND_SEND_QUEUE": "1MiB"}
    )
    assert (code, "is more than --send-queue" in said) == (USAGE, True)


def test_help_is_there_whatever_the_file_is(file: Path) -> None:
    file.write_text("[")
    done = run("pcap-zmq-send", "--config", file, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--send-queue" in done.stdout


# Variables that cannot be.


def test_a_variable_that_sets_nothing_is_named_with_the_nearest() -> None:
    code, said = refused("pcap-zmq-recv", env={"PCAP_ZMQ_RECV_LINGR": "1s"})
    assert code == USAGE
    assert said == (
        "error: the variable PCAP_ZMQ_RECV_LINGR sets nothing; "
        "did you mean PCAP_ZMQ_RECV_LINGER?"
    )


def test_a_variable_without_the_command_is_named_too() -> None:
    code, said = refused("pcap-zmq-send", env={"PCAP_ZMQ_LINGER": "1s"})
    assert (code, "PCAP_ZMQ_LINGER sets nothing; did you mean" in said) == (USAGE, True)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PCAP_ZMQ_SEND_LINGER", "1d", "'1d' is no duration; write it as 2s"),
        ("PCAP_ZMQ_SEND_BIND", "perhaps", "'perhaps' is not a valid boolean"),
        ("PCAP_ZMQ_SEND_SOURCE", "x,", "'x,' is neither NFLOG groups"),
        ("PCAP_ZMQ_SEND_CONFIG", "/nonexistent", "cannot be read: No such file"),
    ],
)
def test_a_bad_value_of_a_variable_is_named_by_the_variable(
    variable: str, value: str, said: str
) -> None:
    env = {"PCAP_ZMQ_SEND_SOURCE": "5", "PCAP_ZMQ_SEND_ENDPOINT": ENDPOINT}
    code, line = refused("pcap-zmq-send", env={**env, variable: value})
    assert code == USAGE
    assert said in line
    assert variable in line or variable.endswith("CONFIG")


def test_what_kubernetes_tells_of_a_service_is_none_of_our_variables() -> None:
    links = {
        "PCAP_ZMQ_RECV_SERVICE_HOST": "10.0.0.1",
        "PCAP_ZMQ_RECV_SERVICE_PORT": "5140",
        "PCAP_ZMQ_RECV_SERVICE_PORT_PACKETS": "5140",
        "PCAP_ZMQ_RECV_PORT": "tcp://10.0.0.1:5140",
        "PCAP_ZMQ_RECV_PORT_5140_TCP": "tcp://10.0.0.1:5140",
        "PCAP_ZMQ_RECV_PORT_5140_TCP_ADDR": "10.0.0.1",
        "PCAP_ZMQ_RECV_PORT_5140_TCP_PROTO": "tcp",
    }
    _, said = refused("pcap-zmq-recv", env=links)
    assert "Missing argument 'ADDRESS'" in said


# All three ways.


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    """A command that is parsed here sets up logging; that is undone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in list(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
    root.setLevel(level)


PARAMETERS = [
    pytest.param(command, parameter, id=f"{name} {key}")
    for name, command in tool_commands().items()
    for key, parameter in command.settings.items()
]


def three_values(parameter: click.Parameter) -> list[str]:
    """Texts that mean three different things to it, or two where there are no more."""
    if shape_of(parameter) is Shape.FLAG:
        return ["true", "false"]
    found: dict[object, str] = {}
    context = click.Context(click.Command("any"))
    bounds = getattr(parameter.type, "bounds_text", "")
    for text in (*SAMPLES, *re.findall(r"\d+[A-Za-z/]*", bounds)):
        try:
            value = parameter.type.convert(text, parameter, context)
        except click.BadParameter:
            continue
        if value != parameter.default:
            found.setdefault(value, text)
    assert len(found) >= 2 or isinstance(parameter.type, click.Choice), (
        f"add what {key_of(parameter)} takes to SAMPLES"
    )
    texts = list(found.values())
    # A choice of two has one besides its default, so it overrules itself.
    return (texts * 3)[:3] if len(texts) < 3 else texts[:3]


def written(parameter: click.Parameter, text: str) -> str:
    """As a file says it."""
    shape = shape_of(parameter)
    value = {
        Shape.FLAG: text,
        Shape.ONE: f'"{text}"',
        Shape.SOME: f'"{text}"',
        Shape.MANY: f'["{text}"]',
    }
    return f"{key_of(parameter)} = {value[shape]}\n"


def stand_in(argument: click.Parameter) -> str:
    """A word that it takes."""
    choices = getattr(argument.type, "choices", ("x",))
    return str(choices[0])


def arguments_of(command: ToolCommand) -> list[click.Parameter]:
    return [p for p in command.params if isinstance(p, click.Argument)]


def parsed(
    command: ToolCommand, parameter: click.Parameter, argv: list[str]
) -> tuple[object, str]:
    """What a parameter is in the end, and where that came from."""
    assert parameter.name is not None
    # It takes what it reads out of the list.
    with command.make_context(str(command.name), [*argv]) as context:
        source = context.get_parameter_source(parameter.name)
        assert source is not None
        return context.params[parameter.name], source.name


def value_of(
    command: ToolCommand, parameter: click.Parameter, text: str, others: list[str]
) -> object:
    """What the command line alone makes of this text."""
    argv = on_command_line(command, parameter, text)
    return parsed(command, parameter, [*others, *argv])[0]


def on_command_line(
    command: ToolCommand, parameter: click.Parameter, text: str
) -> list[str]:
    if isinstance(parameter, click.Argument):
        every = arguments_of(command)
        place = every.index(parameter)
        # Of several words the last is OUTPUT's, whoever takes the others.
        after = every[place + 1 :] if parameter.nargs == -1 else []
        words = [*map(stand_in, every[:place]), text, *map(stand_in, after)]
        return ["--", *words]
    flag = f"--{key_of(parameter)}"
    if shape_of(parameter) is Shape.FLAG:
        return [flag] if text == "true" else []
    return [f"{flag}={text}"]


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.parametrize(("command", "parameter"), PARAMETERS)
def test_every_option_and_argument_is_settable_in_all_three_ways(
    command: ToolCommand,
    parameter: click.Parameter,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the command line comes before the variable, the variable before the file."""
    is_flag = shape_of(parameter) is Shape.FLAG
    in_file, in_variable = three_values(parameter)[:2]
    typed = "true" if is_flag else three_values(parameter)[2]
    others = "".join(
        written(other, stand_in(other))
        for other in command.params
        if (isinstance(other, click.Argument) or other.required)
        and other is not parameter
    )
    file.write_text(f"[{command.name}]\n{others}")
    config = ["--config", str(file)]

    def meaning(text: str) -> object:
        return value_of(command, parameter, text, config)

    expected = [meaning(text) for text in (in_file, in_variable, typed)]

    file.write_text(f"[{command.name}]\n{others}{written(parameter, in_file)}")
    assert parsed(command, parameter, config) == (expected[0], "DEFAULT_MAP")

    monkeypatch.setenv(str(parameter.envvar), in_variable)
    assert parsed(command, parameter, config) == (expected[1], "ENVIRONMENT")

    argv = [*config, *on_command_line(command, parameter, typed)]
    assert parsed(command, parameter, argv) == (expected[2], "COMMANDLINE")


@pytest.mark.parametrize(("command", "parameter"), PARAMETERS)
def test_the_variable_is_the_flag_in_capitals(
    command: ToolCommand, parameter: click.Parameter
) -> None:
    key = key_of(parameter)
    expected = f"PCAP_ZMQ_{command.name}_{key}".upper().replace("-", "_")
    assert parameter.envvar == expected
    assert re.fullmatch(r"[a-z][a-z0-9-]*", key)


@pytest.mark.usefixtures("quiet_logs")
def test_an_empty_variable_is_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(FINE + 'linger = "5s"\n')
    monkeypatch.setenv("PCAP_ZMQ_RECV_LINGER", "")
    command = tool_commands()["recv"]
    linger = command.settings["linger"]
    assert parsed(command, linger, ["--config", str(file)])[1] == "DEFAULT_MAP"


def test_a_pipe_runs_on_files_alone(tmp_path: Path, file: Path, tools: Tools) -> None:
    savefile, output = tmp_path / "in.pcap", tmp_path / "out.pcap"
    packets.write(savefile, range(10))
    file.write_text(
        f'[send]\nsource = "{savefile}"\nendpoint = "ipc://{tmp_path}/link"\n'
        f'[recv]\naddress = "ipc://{tmp_path}/link"\noutput = "file:{output}"\n'
        f"once = true\n"
    )
    receiver = tools.start("pcap-zmq-recv", "--config", file)
    sender = tools.start("pcap-zmq", "send", "--config", file)
    assert sender.finish()["acknowledged"] == 10
    assert receiver.finish()["written"] == 10


def test_a_pipe_runs_on_variables_alone(tmp_path: Path, tools: Tools) -> None:
    savefile, output = tmp_path / "in.pcap", tmp_path / "out.pcap"
    packets.write(savefile, range(10))
    env = {
        "PCAP_ZMQ_SEND_SOURCE": str(savefile),
        "PCAP_ZMQ_SEND_ENDPOINT": f"ipc://{tmp_path}/link",
        "PCAP_ZMQ_RECV_ADDRESS": f"ipc://{tmp_path}/link",
        "PCAP_ZMQ_RECV_OUTPUT": f"file:{output}",
        "PCAP_ZMQ_RECV_ONCE": "yes",
    }
    receiver = tools.start("pcap-zmq-recv", env=env)
    sender = tools.start("pcap-zmq-send", env=env)
    assert sender.finish()["acknowledged"] == 10
    assert receiver.finish()["written"] == 10


def test_a_file_may_say_what_log_lines_look_like(file: Path) -> None:
    settings = FINE.replace("[send]", '[send]\nlog-format = "json"\nlinger = "1d"')
    file.write_text(settings)
    done = run("pcap-zmq-send", "--config", file)
    assert done.stderr.startswith('{"time": "')
    assert "1d" in done.stderr


# pcap-zmq config.


def test_check_says_all_that_is_wrong(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{n}.toml" for n in range(3))
    first.write_text("[send]\nlingr = 1\nlinger = '1d'\n[recv]\nonce = 1\ncodec = 2\n")
    second.write_text(FINE)
    third.write_text("[")
    done = run("pcap-zmq", "config", "check", first, second, third)
    assert done.returncode == USAGE
    assert done.stdout == f"{second} is fine\n"
    places = [line.split()[1] for line in done.stderr.splitlines()]
    assert places == [
        *(f"{first}:{line}:" for line in (2, 5, 6, 3)),
        f"{third}:1:",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("nflog:5", "nflog:70000"), ":3: [send] source: NFLOG group 70000 is above"),
        ((f'endpoint = "{ENDPOINT}"', 'endpoint = "x"'), ": [send]: 'x' is no ZeroMQ"),
        (("[send]", "[send]\ncodec='zstd'\nlevel=20"), "zstd has levels 1 to 19"),
        (("[send]", "[send]\nbatch-bytes='8MiB'\nsend-queue='1MiB'"), "--send-queue"),
        (('"/run/fifo"', '""'), ": [recv]: OUTPUT is empty"),
    ],
)
def test_check_finds_what_a_start_would(
    file: Path, change: tuple[str, str], said: str
) -> None:
    file.write_text(FINE.replace(*change))
    done = run("pcap-zmq", "config", "check", file)
    assert done.returncode == USAGE
    assert done.stderr.startswith(f"error: {file}")
    assert said in done.stderr


def test_check_finds_nothing_wrong_with_what_is_still_to_come(file: Path) -> None:
    file.write_text('[send]\nlinger = "1s"\n')
    done = run("pcap-zmq", "config", "check", file)
    assert (done.returncode, done.stdout) == (0, f"{file} is fine\n")


def test_check_looks_at_the_file_alone(file: Path) -> None:
    file.write_text(FINE)
    env = {"PCAP_ZMQ_SEND_LINGER": "1d", "PCAP_ZMQ_SEND_SOURCE": "nonsense"}
    done = run("pcap-zmq", "config", "check", file, env=env)
    assert (done.returncode, done.stderr) == (0, "")


def test_check_opens_nothing(tmp_path: Path, file: Path) -> None:
    file.write_text(FINE.replace("/run/fifo", f"{tmp_path}/fifo"))
    assert run("pcap-zmq", "config", "check", file).returncode == 0
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", sorted(tool_commands()))
def test_what_show_prints_has_every_setting_and_is_fine(name: str, file: Path) -> None:
    shown = run("pcap-zmq", "config", "show", name).stdout
    settings = re.findall(r"^#([a-z][a-z0-9-]*) = (.*)$", shown, re.MULTILINE)
    command = tool_commands()[name]
    assert [key for key, _ in settings] == list(command.settings)
    for variable in command.variables:
        assert variable in shown or variable.endswith("_CONFIG")
    # As it is, and with every default spelt out.
    file.write_text(shown)
    assert run("pcap-zmq", "config", "check", file).stdout == f"{file} is fine\n"
    file.write_text(re.sub(r"^#(?=[a-z0-9-]+ = [^<])", "", shown, flags=re.MULTILINE))
    done = run("pcap-zmq", "config", "check", file)
    assert (done.stdout, done.stderr) == (f"{file} is fine\n", "")


def test_show_names_default_bounds_and_help() -> None:
    shown = run("pcap-zmq", "config", "show", "send").stdout
    assert (
        "# Octets of a batch at most. [default 1MiB, 64KiB to 8MiB]\n"
        "# Variable: PCAP_ZMQ_SEND_BATCH_BYTES\n"
        '#batch-bytes = "1MiB"\n'
    ) in shown
    assert "One of zlib, zstd, lz4, none." in shown


def test_show_of_something_else_is_refused() -> None:
    code, said = refused("pcap-zmq", "config", "show", "fetch")
    assert code == USAGE
    assert "'fetch' takes no settings; write " in said
