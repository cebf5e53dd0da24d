"""The directory of keys: broken files, doubtful ones, changes, and its end."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from pcap_zmq.allowed import LOOK_NS, UNSETTLED_NS, AllowList, Person
from pcap_zmq.errors import KeyFileError, KeyPermissionError
from pcap_zmq.formats import certificate
from pcap_zmq.formats.certificate import Certificate, Role
from pcap_zmq.packet import Instant

NOBODY = 65_534

Write = Callable[..., str]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "allowed"
    path.mkdir(0o755)
    return path


@pytest.fixture
def write(directory: Path) -> Write:
    """Puts a certificate into the directory; returns its key."""

    def write(file: str, name: str = "", key: str = "", role: str = "sender") -> str:
        key = key or zmq.curve_keypair()[0].decode()
        text = certificate.encode(Certificate(key, None, name, Role(role)))
        # Whatever the umask, nobody else may write it.
        (directory / file).touch(0o644)
        (directory / file).write_text(text)
        return key

    return write


class Look:
    """Looks at a list again, each time late enough."""

    def __init__(self, allowed: AllowList) -> None:
        self.allowed = allowed
        # Later than any change of a file in this test: everything has settled.
        self._now = Instant(0, 1 << 62)

    def again(self) -> bool:
        self._now = Instant(self._now.mono_ns + LOOK_NS, self._now.wall_ns)
        return self.allowed.refresh(self._now)

    @property
    def names(self) -> list[str]:
        return sorted(person.name for person in self.allowed.people.values())


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        KeyFileError, match=r"--allow .*nothing cannot be read: No such"
    ):
        AllowList(tmp_path / "nothing")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="Not a directory"):
        AllowList(tmp_path / "file")


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_directory_that_others_can_write_to_is_refused(
    directory: Path, mode: int
) -> None:
    directory.chmod(mode)
    with pytest.raises(KeyPermissionError, match="chmod go-w"):
        AllowList(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory away")
def test_a_directory_of_somebody_else_is_refused(directory: Path) -> None:
    os.chown(directory, NOBODY, NOBODY)
    with pytest.raises(KeyPermissionError, match="belongs to user 65534"):
        AllowList(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_a_file_of_somebody_else_lets_nobody_in(
    directory: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write("gw1.key")
    write("gw2.key")
    os.chown(directory / "gw2.key", NOBODY, NOBODY)
    assert Look(AllowList(directory)).names == ["gw1"]
    assert said(caplog, "gw2.key belongs to user 65534") == 1


def test_an_empty_directory_allows_nobody_and_says_so(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert AllowList(directory).people == {}
    assert said(caplog, "allows nobody") == 1


def test_only_certificates_are_looked_at(directory: Path, write: Write) -> None:
    write("gw1.key")
    write("gw2.key.bak")
    write("gw3.key_secret")
    assert Look(AllowList(directory)).names == ["gw1"]


def test_a_name_in_the_file_goes_before_that_of_the_file(
    directory: Path, write: Write
) -> None:
    key = write("gw1.key", name="cellar", role="operator")
    assert AllowList(directory).people == {key: Person("cellar", Role.OPERATOR)}


@pytest.mark.parametrize("octets", [b"", b"\xff\0", b"nonsense"])
def test_a_broken_file_is_named_and_the_others_count(
    directory: Path, write: Write, caplog: pytest.LogCaptureFixture, octets: bytes
) -> None:
    write("gw1.key")
    (directory / "gw2.key").write_bytes(octets)
    assert Look(AllowList(directory)).names == ["gw1"]
    assert said(caplog, "gw2.key is no certificate") == 1


def test_a_secret_in_the_directory_lets_nobody_in(
    directory: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write("gw1.key")
    public, secret = (key.decode() for key in zmq.curve_keypair())
    own = Certificate(public, certificate.Secret(secret), "gw2")
    (directory / "gw2.key").write_text(certificate.encode(own))
    assert Look(AllowList(directory)).names == ["gw1"]
    assert said(caplog, "holds a secret key") == 1
    assert secret not in caplog.text


def test_a_name_for_two_keys_is_nobodys(
    directory: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write("old.key", name="gw1")
    write("new.key", name="gw1")
    write("gw2.key")
    assert Look(AllowList(directory)).names == ["gw2"]
    assert said(caplog, "several keys for the name 'gw1'") == 1


def test_a_key_with_two_names_is_nobodys(
    directory: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    key = write("gw1.key")
    write("gw2.key", key=key)
    assert Look(AllowList(directory)).names == []
    assert said(caplog, "several names or roles") == 1


def test_the_same_twice_is_no_contradiction(directory: Path, write: Write) -> None:
    key = write("gw1.key", name="gw1")
    write("copy.key", name="gw1", key=key)
    assert Look(AllowList(directory)).names == ["gw1"]


def test_changes_are_seen_and_nothing_else_is(directory: Path, write: Write) -> None:
    write("gw1.key")
    look = Look(AllowList(directory))
    assert not look.again()
    write("gw2.key")
    assert look.again()
    assert look.names == ["gw1", "gw2"]
    assert not look.again()
    (directory / "gw1.key").unlink()
    assert look.again()
    assert look.names == ["gw2"]


def test_a_key_that_is_replaced_in_place_is_seen(directory: Path, write: Write) -> None:
    """Within one tick of the clock, with as many octets as before."""
    write("gw1.key", name="gw1")
    allowed = AllowList(directory)
    status = (directory / "gw1.key").stat()
    key = write("gw1.key", name="gw1")
    os.utime(directory / "gw1.key", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Look(allowed).again()
    assert list(allowed.people) == [key]


def test_what_is_young_is_read_again(directory: Path, write: Write) -> None:
    """Even where nothing can be seen of its change."""
    write("gw1.key")
    allowed = AllowList(directory)
    modified_ns = (directory / "gw1.key").stat().st_mtime_ns
    young, settled = modified_ns + UNSETTLED_NS // 2, modified_ns + UNSETTLED_NS
    reads = []
    for number, wall_ns in enumerate((young, young, settled, settled), 1):
        before = allowed.people
        allowed.refresh(Instant(number * LOOK_NS, wall_ns))
        reads.append(allowed.people is not before)
    assert reads == [True, True, True, False]


def test_nobody_looks_more_often_than_said(directory: Path, write: Write) -> None:
    allowed = AllowList(directory)
    allowed.refresh(Instant(0, 1 << 62))
    write("gw1.key")
    assert not allowed.refresh(Instant(LOOK_NS - 1, 1 << 62))
    assert allowed.due() == LOOK_NS
    assert allowed.refresh(Instant(LOOK_NS - 1, 1 << 62), at_once=True)


def test_a_file_that_breaks_no_longer_lets_anybody_in(
    directory: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write("gw1.key")
    write("gw2.key")
    look = Look(AllowList(directory))
    (directory / "gw1.key").write_text("")
    assert look.again()
    assert look.names == ["gw2"]
    look.again()
    assert said(caplog, "gw1.key is no certificate") == 1


def test_a_directory_that_has_gone_allows_nobody_until_it_is_back(
    directory: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write("gw1.key")
    look = Look(AllowList(directory))
    directory.rename(directory.with_name("moved"))
    assert look.again()
    assert look.names == []
    assert not look.again()
    assert said(caplog, "has gone: nobody is allowed") == 1
    directory.with_name("moved").rename(directory)
    assert look.again()
    assert look.names == ["gw1"]


def test_a_directory_that_opens_to_everybody_changes_nothing(
    directory: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Who was allowed before still is; who could be put in there now is not."""
    write("gw1.key")
    look = Look(AllowList(directory))
    directory.chmod(0o777)
    write("gw2.key")
    assert not look.again()
    assert look.names == ["gw1"]
    assert said(caplog, "those allowed before still are") == 1


def test_the_list_itself_never_changes(directory: Path, write: Write) -> None:
    """Who holds it while it is read again sees the old one, whole."""
    key = write("gw1.key")
    allowed = AllowList(directory)
    before = allowed.people
    (directory / "gw1.key").unlink()
    assert Look(allowed).again()
    assert list(before) == [key]
