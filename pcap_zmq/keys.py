"""Certificate files on disk: made, read, and refused where others could have.

Specification: docs/security.md.
"""

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

from pcap_zmq.errors import ConfigError, FormatError, KeyFileError, KeyPermissionError
from pcap_zmq.formats import certificate
from pcap_zmq.formats.certificate import Certificate, Role, Secret

PUBLIC = ".key"
SECRET = ".key_secret"  # noqa: S105  # the suffix is none
"""The suffixes that zmq.auth gives its files."""

# acl(5), and linux/posix_acl_xattr.h.
_ACL = "system.posix_acl_access"
_ACL_HEAD = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_USER_OBJ, _ACL_USER, _ACL_MASK = 0x01, 0x02, 0x10


def read_own(path: Path) -> Certificate:
    """A certificate with its secret, from a file that nobody else can read. Raises
    KeyFileError."""
    found = _read(path, _check_private)
    if found.secret is None:
        raise AssertionError("a secret certificate without its secret")
    # Here, so that whoever has no keys does not load ZeroMQ for them.
    from zmq import curve_public

    if curve_public(found.secret.reveal().encode()) != found.public.encode():
        raise KeyFileError(f"{path}: its two keys are not of one pair")
    return found


def read_public(path: Path) -> Certificate:
    """A certificate without a secret, from a file that nobody else can write. Raises
    KeyFileError."""
    return _read(path, _check_public)


def is_foreign(status: os.stat_result) -> bool:
    """Whether it belongs to somebody who is neither root nor us."""
    return status.st_uid not in {0, os.geteuid()}


def is_writable_for_others(status: os.stat_result) -> bool:
    """Whether its group or everybody may change it."""
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def make_pair(directory: Path, name: str, role: Role) -> tuple[Path, Path]:
    """Makes a key and writes both files, which must not be there yet; the directory too
    where there is none. Returns the public one and the secret one.

    Raises ConfigError for a name that is none, KeyFileError where something cannot be
    written.
    """
    from zmq import curve_keypair

    try:
        certificate.check_name(name)
    except FormatError as error:
        raise ConfigError(
            f"no certificate can have {error}; choose another --name"
        ) from error
    public, secret = directory / f"{name}{PUBLIC}", directory / f"{name}{SECRET}"
    try:
        directory.mkdir(0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise _refusal("make the directory", directory, error) from error
    for path in (secret, public):
        if os.path.lexists(path):
            raise _in_the_way(path)
    public_key, secret_key = (key.decode() for key in curve_keypair())
    own = Certificate(public_key, Secret(secret_key), name, role)
    _write(secret, certificate.encode(own), 0o600)
    try:
        shown = Certificate(public_key, None, name, role)
        _write(public, certificate.encode(shown), 0o644)
    except KeyFileError:
        secret.unlink()
        raise
    return public, secret


def _write(path: Path, text: str, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, mode)
    except FileExistsError as error:
        raise _in_the_way(path) from error
    except OSError as error:
        raise _refusal("write", path, error) from error
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            # Whatever the umask, others shall have the public half.
            os.fchmod(fd, mode)
            file.write(text)
            file.flush()
            os.fsync(fd)
    except OSError as error:
        path.unlink()
        raise _refusal("write", path, error) from error


def _in_the_way(path: Path) -> KeyFileError:
    return KeyFileError(
        f"{path} is there already and stays as it is; choose another --name or "
        "directory, or remove it where that key is not used any more"
    )


def _refusal(what: str, path: Path, error: OSError) -> KeyFileError:
    """The error that says so."""
    kind = KeyPermissionError if isinstance(error, PermissionError) else KeyFileError
    return kind(f"cannot {what} {path}: {error.strerror}")


_Check = Callable[[int, Path, os.stat_result, Certificate], None]


def _read(path: Path, check: _Check) -> Certificate:
    # Not waiting: a FIFO in the place of a file shall not hang whoever reads it.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = os.open(path, flags)
    except OSError as error:
        raise _refusal("read", path, error) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is no file")
        try:
            octets = os.read(fd, certificate.SIZE_MAX + 1)
        except OSError as error:
            raise _refusal("read", path, error) from error
        found = _decode(path, octets)
        # What it holds decides who may have it.
        check(fd, path, status, found)
        return found
    finally:
        os.close(fd)


def _decode(path: Path, octets: bytes) -> Certificate:
    try:
        return certificate.decode(octets)
    except FormatError as error:
        # The cause is not shown with it: nothing of the file shall be.
        raise KeyFileError(f"{path} is no certificate: {error}") from None


def _check_public(
    fd: int, path: Path, status: os.stat_result, found: Certificate
) -> None:
    if found.secret is not None:
        raise KeyFileError(
            f"{path} holds a secret key, which stays on the host of its owner; take "
            f"the file that ends in {PUBLIC}"
        )
    if is_foreign(status):
        raise KeyPermissionError(
            f"{path} belongs to user {status.st_uid}, who could put any key there; "
            "chown it to root or to who starts this"
        )
    if is_writable_for_others(status):
        raise KeyPermissionError(
            f"{path} can be written by others, so anybody could be meant by it; "
            f"chmod go-w {path}"
        )


def _check_private(
    fd: int, path: Path, status: os.stat_result, found: Certificate
) -> None:
    if found.secret is None:
        raise KeyFileError(
            f"{path} holds no secret key; take the file that ends in {SECRET}"
        )
    if is_foreign(status):
        raise KeyPermissionError(
            f"{path} belongs to user {status.st_uid}, who can read it; chown it to "
            f"who starts this, then chmod 600 {path}"
        )
    if status.st_mode & 0o077 and not _is_for_us_alone(fd, status):
        raise KeyPermissionError(
            f"{path} is a secret and others can read or write it (mode "
            f"{stat.S_IMODE(status.st_mode):04o}); chmod 600 {path}"
        )


def _is_for_us_alone(fd: int, status: os.stat_result) -> bool:
    """Whether what looks like rights of the group is the mask of an access list that
    names us and nobody else: that is how systemd hands over credentials."""
    if status.st_mode & 0o007:
        return False
    try:
        octets = os.getxattr(fd, _ACL)
    except OSError:
        return False
    entries = _ACL_ENTRY.iter_unpack(octets[_ACL_HEAD.size :])
    return all(
        not rights
        or tag in {_ACL_USER_OBJ, _ACL_MASK}
        or (tag == _ACL_USER and user in {0, os.geteuid()})
        for tag, rights, user in entries
    )
