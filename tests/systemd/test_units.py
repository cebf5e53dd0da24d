"""The units give away little, and say what the commands understand."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.pipes.tools import BIN
from tests.systemd.units import (
    RECEIVER,
    RELAY,
    ROOT,
    SENDER,
    TIMEOUT_S,
    allowed_calls,
    command,
    exposure,
    settings,
)

EXPOSURE_MAX = 1.5

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)
both = pytest.mark.parametrize(
    "unit", [SENDER, RECEIVER, RELAY], ids=lambda unit: unit.stem
)


@needs_systemd
@both
def test_what_a_unit_exposes_is_little(unit: Path) -> None:
    assert exposure(unit) <= EXPOSURE_MAX


@needs_systemd
@pytest.mark.parametrize(
    ("unit", "instance"), [(SENDER, "5"), (RECEIVER, "ids"), (RELAY, "site")]
)
def test_a_unit_is_understood_without_a_complaint(
    unit: Path, instance: str, tmp_path: Path
) -> None:
    """With our commands where they are here, since it looks for them."""
    program = command(unit)[0]
    text = unit.read_text().replace(f"={program} ", f"={BIN / program} ")
    path = tmp_path / unit.name.replace("@", f"@{instance}")
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@both
def test_a_unit_gives_only_options_that_its_command_has(unit: Path) -> None:
    program, *arguments = command(unit)
    subcommand = [word for word in arguments[:1] if not word.startswith("-")]
    shown = subprocess.run(
        [str(BIN / program), *subcommand, "--help"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    options = [word for word in arguments if word.startswith("--")]
    assert [name for name in options if f" {name} " not in shown.stdout] == []


@both
def test_a_credential_that_the_command_is_given_is_one_that_is_loaded(
    unit: Path,
) -> None:
    loaded = {value.split(":")[0] for value in settings(unit).get("LoadCredential", [])}
    given = {word.removeprefix("%d/") for word in command(unit) if word[:3] == "%d/"}
    assert given == loaded


@needs_systemd
@both
def test_no_call_is_allowed_that_is_of_no_use(unit: Path) -> None:
    unwanted = {
        "ptrace",
        "mount",
        "setuid",
        "bpf",
        "reboot",
        "keyctl",
        "io_uring_setup",
    }
    assert allowed_calls(unit) & unwanted == set()
    assert ("capset" in allowed_calls(unit)) == (unit == SENDER)


def test_only_the_sender_has_a_capability_and_only_one() -> None:
    for name in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert settings(SENDER)[name] == ["CAP_NET_ADMIN"]
        assert settings(RECEIVER)[name] == [""]


def test_an_installation_brings_every_unit() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    files = project["tool"]["setuptools"]["data-files"]["lib/systemd/system"]
    assert {ROOT / file for file in files} == {SENDER, RECEIVER, RELAY}
