"""Certificate files: who may not read them, what is not overwritten or believed."""

import os
import stat
import struct
from pathlib import Path

import pytest
import zmq
import zmq.auth

from pcap_zmq.errors import ConfigError, KeyFileError, KeyPermissionError
from pcap_zmq.formats import certificate
from pcap_zmq.formats.certificate import Certificate, Role, Secret
from pcap_zmq.keys import make_pair, read_own, read_public

NOBODY = 65_534


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A public certificate and the secret one."""
    return make_pair(tmp_path / "keys", "gateway", Role.SENDER)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def why(path: Path) -> str:
    """Why a secret certificate is refused."""
    with pytest.raises(KeyFileError) as caught:
        read_own(path)
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_secret_that_others_could_have_is_refused(
    pair: tuple[Path, Path], mode: int
) -> None:
    pair[1].chmod(mode)
    with pytest.raises(KeyPermissionError, match=f"chmod 600 {pair[1]}"):
        read_own(pair[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_a_secret_of_somebody_else_is_refused(pair: tuple[Path, Path]) -> None:
    os.chown(pair[1], NOBODY, NOBODY)
    with pytest.raises(KeyPermissionError, match="belongs to user 65534"):
        read_own(pair[1])


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """As the kernel takes it: tag, rights, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


@pytest.mark.parametrize(
    ("user", "group", "is_refused"),
    [(os.geteuid(), 0, False), (NOBODY, 0, True), (os.geteuid(), 4, True)],
    ids=["us", "somebody else", "us and a group"],
)
def test_an_access_list_may_name_us_and_nobody_else(
    pair: tuple[Path, Path], user: int, group: int, is_refused: bool
) -> None:
    """That is how systemd hands over credentials: what the mode shows is a mask."""
    nobody_in_particular = 0xFFFF_FFFF
    entries = [
        (0x01, 4, nobody_in_particular),
        (0x02, 4, user),
        (0x04, group, nobody_in_particular),
        (0x10, 4, nobody_in_particular),
        (0x20, 0, nobody_in_particular),
    ]
    try:
        os.setxattr(pair[1], "system.posix_acl_access", access_list(*entries))
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    assert mode_of(pair[1]) & 0o040
    if is_refused:
        assert "chmod 600" in why(pair[1])
    else:
        assert read_own(pair[1]).name == "gateway"


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
def test_a_public_certificate_is_no_secret_one(
    pair: tuple[Path, Path], mode: int
) -> None:
    """Nor one that others should not read."""
    pair[0].chmod(mode)
    said = why(pair[0])
    assert "holds no secret key" in said
    assert "ends in .key_secret" in said
    assert "chmod" not in said


def test_a_secret_certificate_is_no_public_one(pair: tuple[Path, Path]) -> None:
    with pytest.raises(KeyFileError, match="stays on the host of its owner"):
        read_public(pair[1])


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_public_certificate_that_others_can_write_is_refused(
    pair: tuple[Path, Path], mode: int
) -> None:
    pair[0].chmod(mode)
    with pytest.raises(KeyPermissionError, match="chmod go-w"):
        read_public(pair[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_a_public_certificate_of_somebody_else_is_refused(
    pair: tuple[Path, Path],
) -> None:
    os.chown(pair[0], NOBODY, NOBODY)
    with pytest.raises(KeyPermissionError, match="belongs to user 65534"):
        read_public(pair[0])


def test_keys_of_two_pairs_are_told(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    other = zmq.curve_keypair()[0].decode()
    own = read_own(pair[1])
    path = tmp_path / "mixed.key_secret"
    path.touch(0o600)
    path.write_text(certificate.encode(Certificate(other, own.secret, "mixed")))
    assert "not of one pair" in why(path)


@pytest.mark.parametrize("octets", [b"", b"\0" * 100, b"\xff" * 100_000, b"hello\n"])
def test_a_file_of_something_else_is_no_certificate(
    tmp_path: Path, octets: bytes
) -> None:
    path = tmp_path / "some.key_secret"
    path.touch(0o600)
    path.write_bytes(octets)
    assert "is no certificate" in why(path)


def test_what_is_no_file_does_not_make_us_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "is no file" in why(tmp_path / "fifo")
    assert "is no file" in why(tmp_path)
    assert "No such file" in why(tmp_path / "nothing")


def test_no_error_shows_a_secret(pair: tuple[Path, Path]) -> None:
    own = read_own(pair[1]).secret
    assert own is not None
    pair[1].write_text(
        pair[1].read_text().replace("curve\n", "curve\n    nonsense ' \n")
    )
    assert own.reveal() not in why(pair[1])


def test_files_are_made_for_whom_they_are_for(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    assert mode_of(tmp_path / "keys") == 0o700
    assert [mode_of(path) for path in pair] == [0o644, 0o600]
    assert [path.name for path in pair] == ["gateway.key", "gateway.key_secret"]


def test_the_umask_changes_neither(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        made = make_pair(tmp_path, "gateway", Role.SENDER)
    finally:
        os.umask(before)
    assert [mode_of(path) for path in made] == [0o644, 0o600]


@pytest.mark.parametrize("suffix", [".key", ".key_secret"])
@pytest.mark.parametrize("kind", ["file", "link", "dead link"])
def test_nothing_is_overwritten_or_followed(
    tmp_path: Path, suffix: str, kind: str
) -> None:
    path, elsewhere = tmp_path / f"gateway{suffix}", tmp_path / "elsewhere"
    if kind != "dead link":
        elsewhere.write_text("mine")
    if kind == "file":
        elsewhere.rename(path)
    else:
        path.symlink_to(elsewhere)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyFileError, match="is there already"):
        make_pair(tmp_path, "gateway", Role.SENDER)
    assert sorted(tmp_path.iterdir()) == before
    if kind != "dead link":
        assert path.read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"cannot make the directory .*/no/such"):
        make_pair(tmp_path / "no" / "such", "gateway", Role.SENDER)


@pytest.mark.parametrize("name", ["", "../gateway", "a\nb", "x" * 65])
def test_a_name_that_is_none_makes_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--name"):
        make_pair(tmp_path / "keys", name, Role.SENDER)
    assert not (tmp_path / "keys").exists()


def test_what_is_made_can_be_read_again(pair: tuple[Path, Path]) -> None:
    shown, own = read_public(pair[0]), read_own(pair[1])
    assert isinstance(own.secret, Secret)
    assert (shown.public, shown.name, shown.secret) == (own.public, "gateway", None)
    assert zmq.auth.load_certificate(pair[1]) == (
        own.public.encode(),
        own.secret.reveal().encode(),
    )


def test_an_operator_is_one(tmp_path: Path) -> None:
    made = make_pair(tmp_path, "boss", Role.OPERATOR)
    assert [read_public(made[0]).role, read_own(made[1]).role] == [Role.OPERATOR] * 2
