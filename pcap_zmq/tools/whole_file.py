"""Writes a file that is there under its name only when it is whole."""

import os
from pathlib import Path

from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError


def part_of(path: Path) -> Path:
    """What it is called until then. Raises ConfigError for what names no file."""
    if not path.name:
        raise ConfigError(f"{str(path)!r} names no file")
    return path.with_name(f".{path.name}.part")


def check_free(path: Path) -> None:
    """Raises ConfigError where something is there that nobody said to replace."""
    try:
        is_there = path.exists()
    except OSError:
        # Whoever opens it will say what is wrong.
        return
    if is_there:
        raise ConfigError(f"{path} is there already; say --overwrite to replace it")


def write_whole(path: Path, octets: bytes) -> None:
    """Replaces what is there. Raises OutputError and OutputPermissionError."""
    part = part_of(path)
    try:
        try:
            with part.open("wb") as file:
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
