"""Writes a file that is there under its name only when it is whole."""

import os
from pathlib import Path

from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError


def part_of(path: Path) -> Path:
    """What it is called until then. Raises ConfigError for what names no file."""
    if not path.name:
        raise ConfigError(f"{str(path)!r} names no file")
    return path.with_name(f".{path.name}.part")


def create_part(part: Path, mode: int = 0o666) -> int:
    """A new file of this name; what a run before has left is gone. Where others may
    write, too, it is not what a link of theirs leads to. Raises OSError."""
    part.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(part, flags, mode)


def check_free(path: Path) -> None:
    """Raises ConfigError where something is there that nobody said to replace."""
    try:
        is_there = path.exists()
    except OSError:
        # Whoever opens it will say what is wrong.
        return
    if is_there:
        raise ConfigError(f"{path} is there already; say --overwrite to replace it")


def is_same(path: Path, other: Path) -> bool:
    """Whether both are one file."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def write_whole(path: Path, octets: bytes) -> None:
    """Replaces what is there. Raises OutputError and OutputPermissionError."""
    part = part_of(path)
    try:
        try:
            with os.fdopen(create_part(part), "wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except PermissionError as error:
        raise OutputPermissionError(
            f"{path} may not be written: {error.strerror}"
        ) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
