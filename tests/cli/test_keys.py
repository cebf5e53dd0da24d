"""Keys on the command line: what does not go together, and what keygen makes."""

import re
import stat
import subprocess
from pathlib import Path

import pytest

from pcap_zmq.keys import read_own, read_public
from tests.cli.test_bad_input import PERMISSION, USAGE, refused
from tests.pipes import packets
from tests.pipes.tools import BIN

FAR = "tcp://192.0.2.1:5140"
TIMEOUT_S = 60


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    packets.write(tmp_path / "in.pcap", range(10))
    return tmp_path / "in.pcap"


def keygen(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "pcap-zmq", "keygen", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """gw1 and ids, both halves of each."""
    for name in ("gw1", "ids"):
        assert keygen("--name", name, tmp_path / "keys").returncode == 0
    return tmp_path / "keys"


@pytest.mark.parametrize(
    "address",
    [
        "tcp://0.0.0.0:5140",
        "tcp://*:5140",
        "tcp://[::]:5140",
        "tcp://192.0.2.1:5140",
        "tcp://128.0.0.1:5140",
        "tcp://[::ffff:192.0.2.1]:5140",
        "tcp://eth0:5140",
    ],
)
def test_a_receiver_does_not_listen_beyond_this_host_without_keys(
    tmp_path: Path, address: str
) -> None:
    code, said = refused("pcap-zmq-recv", address, tmp_path / "fifo")
    assert (code, address in said) == (USAGE, True)
    for hint in ("pcap-zmq keygen", "--key and --allow", "--insecure"):
        assert hint in said
    assert not (tmp_path / "fifo").exists()


@pytest.mark.parametrize(
    "endpoint",
    [
        FAR,
        "tcp://localhost.example:5140",
        "tcp://127.0.0.1;192.0.2.1:5140",
        "tcp://ids-host:5140",
    ],
)
def test_a_sender_does_not_send_beyond_this_host_without_keys(
    savefile: Path, endpoint: str
) -> None:
    code, said = refused("pcap-zmq-send", savefile, endpoint)
    assert code == USAGE
    for hint in ("pcap-zmq keygen", "--key and --peer-key", "--insecure"):
        assert hint in said


def test_nobody_asks_beyond_this_host_without_keys() -> None:
    code, said = refused("pcap-zmq", "status", FAR)
    assert (code, "--insecure" in said) == (USAGE, True)


def test_a_second_address_needs_keys_as_well(tmp_path: Path) -> None:
    code, said = refused(
        "pcap-zmq-recv", "--status", FAR, "tcp://127.0.0.1:*", tmp_path / "fifo"
    )
    assert (code, FAR in said) == (USAGE, True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--key", "k"], "--key takes --peer-key, too"),
        (["--peer-key", "k"], "--peer-key takes --key, too"),
        (["--key", "k", "--peer-key", "k", "--insecure"], "--key and --insecure"),
        (["--peer-key", "k", "--insecure"], "--peer-key and --insecure"),
    ],
)
def test_a_senders_keys_go_together_or_not_at_all(
    savefile: Path, options: list[str], why: str
) -> None:
    code, said = refused("pcap-zmq-send", *options, savefile, FAR)
    assert (code, why in said) == (USAGE, True), said


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--key", "k"], "--key takes --allow, too"),
        (["--allow", "k"], "--allow takes --key, too"),
        (["--key", "k", "--allow", "k", "--insecure"], "--key and --insecure"),
    ],
)
def test_a_receivers_keys_go_together_or_not_at_all(
    tmp_path: Path, options: list[str], why: str
) -> None:
    code, said = refused("pcap-zmq-recv", *options, FAR, tmp_path / "fifo")
    assert (code, why in said) == (USAGE, True), said


def test_the_wrong_half_is_told(keys: Path, savefile: Path) -> None:
    public, secret = keys / "gw1.key", keys / "gw1.key_secret"
    options = ("--key", public, "--peer-key", public)
    code, said = refused("pcap-zmq-send", *options, savefile, FAR)
    assert (code, "holds no secret key" in said) == (USAGE, True), said
    options = ("--key", secret, "--peer-key", secret)
    code, said = refused("pcap-zmq-send", *options, savefile, FAR)
    assert (code, "stays on the host of its owner" in said) == (USAGE, True), said


def test_a_secret_that_others_can_read_is_a_matter_of_permission(
    keys: Path, savefile: Path
) -> None:
    secret = keys / "gw1.key_secret"
    secret.chmod(0o644)
    options = ("--key", secret, "--peer-key", keys / "ids.key")
    code, said = refused("pcap-zmq-send", *options, savefile, FAR)
    assert (code, f"chmod 600 {secret}" in said) == (PERMISSION, True), said


@pytest.mark.parametrize("octets", [b"", b"\0\xff", b"some text\n"])
def test_a_file_of_something_else_is_told(
    keys: Path, tmp_path: Path, octets: bytes
) -> None:
    broken = tmp_path / "broken.key_secret"
    broken.touch(0o600)
    broken.write_bytes(octets)
    options = ("--key", broken, "--allow", keys)
    code, said = refused("pcap-zmq-recv", *options, FAR, tmp_path / "fifo")
    assert (code, "is no certificate" in said) == (USAGE, True), said


def test_an_allow_that_is_missing_is_told(keys: Path, tmp_path: Path) -> None:
    options = ("--key", keys / "ids.key_secret", "--allow", tmp_path / "none")
    code, said = refused("pcap-zmq-recv", *options, FAR, tmp_path / "fifo")
    assert (code, "none cannot be read: No such file" in said) == (USAGE, True), said


def test_keygen_does_not_overwrite(keys: Path) -> None:
    before = {path: path.read_bytes() for path in keys.iterdir()}
    done = keygen("--name", "gw1", keys)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert re.fullmatch(r"error: .*is there already and stays.*\n", done.stderr)
    assert {path: path.read_bytes() for path in keys.iterdir()} == before


def test_keygen_refuses_a_name_that_leads_elsewhere(tmp_path: Path) -> None:
    done = keygen("--name", "../gw1", tmp_path / "keys")
    assert done.returncode == USAGE
    assert done.stderr == (
        "error: no certificate can have the name '../gw1'; it must be printable, "
        "without quotes, slashes, and spaces around it; choose another --name\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_keygen_says_what_to_do_with_the_files_and_no_secret(keys: Path) -> None:
    done = keygen("--name", "gw2", keys)
    own = read_own(keys / "gw2.key_secret").secret
    assert own is not None
    assert own.reveal() not in done.stdout + done.stderr
    for hint in ("gw2.key_secret is secret", "--allow", "--peer-key"):
        assert hint in done.stdout
    assert stat.S_IMODE((keys / "gw2.key_secret").stat().st_mode) == 0o600


def test_keygen_makes_operators(tmp_path: Path) -> None:
    done = keygen("--role", "operator", "--name", "boss", tmp_path)
    assert "pcap-zmq status --key" in done.stdout
    assert read_public(tmp_path / "boss.key").role.value == "operator"
