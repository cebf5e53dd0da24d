"""The crossing to prctl(2) and capset(2): what a process may no longer do; to srand(3),
for libraries that draw from rand(3); to what tcp(7) counts; to renameat2(2), to
splice(2), and to vfork(2) for programs that end with us.

Specification: capabilities(7), prctl(2). Capabilities belong to threads: each call but
`forbid_dumps` is about the thread that makes it and those that it starts later.
"""

import os
from collections.abc import Mapping, Sequence

from linux_ffi._linux import ffi, lib

__all__ = [
    "drop_bounding_set",
    "drop_capabilities",
    "forbid_dumps",
    "forbid_new_privileges",
    "keep_scheduling",
    "may_dump",
    "move",
    "octets_received",
    "rename_fresh",
    "seed_random",
    "spawn",
]


def forbid_dumps() -> None:
    """No core dump of this process, and no tracing of it by others than root. Undone by
    every change of the user: then it is to be said again."""
    _check(lib.linux_forbid_dumps())


def may_dump() -> bool:
    """Whether `forbid_dumps` has to be said (again)."""
    return _check(lib.linux_may_dump()) != 0


def forbid_new_privileges() -> None:
    """No program that is executed gains any privilege. Cannot be undone."""
    _check(lib.linux_forbid_new_privileges())


def drop_bounding_set() -> bool:
    """Empties the set of capabilities that could be gained ever. False without
    CAP_SETPCAP: then it stays as it is."""
    status = lib.linux_drop_bounding_set()
    if status == lib.LINUX_NOT_PERMITTED:
        return False
    _check(status)
    return True


def drop_capabilities(*, keep_reading: bool = False) -> None:
    """Empties the permitted, effective, inheritable and ambient sets. keep_reading: of
    the first two all but CAP_DAC_READ_SEARCH, where that is there."""
    _check(lib.linux_drop_capabilities(keep_reading))


def keep_scheduling() -> None:
    """Where a system call filter refuses changes of scheduling, they seem to succeed
    and change nothing: ZeroMQ would end the process, for a change to what is already.
    Comes after `forbid_new_privileges`."""
    _check(lib.linux_keep_scheduling())


def seed_random() -> None:
    """Makes what rand(3) gives unpredictable, for who does not know the 32 bits."""
    lib.srand(int.from_bytes(os.urandom(4)))


def octets_received(fds: Sequence[int]) -> list[int]:
    """On each of these TCP connections so far; 0 where there is nothing like it."""
    octets = ffi.new("uint64_t[]", len(fds))
    lib.linux_octets_received(ffi.new("int[]", fds), octets, len(fds))
    return list(octets)


def move(file: int, pipe: int, at: memoryview, end: int) -> int:
    """Octets of a file, from `at` on, into a pipe that does not wait: how many went, by
    which `at` has moved on. at: eight octets that the kernel writes itself, before the
    end of a process that is killed meanwhile. Raises OSError."""
    where = ffi.cast("int64_t *", ffi.from_buffer(at, require_writable=True))
    return _check(lib.linux_move(file, pipe, where, end))


def rename_fresh(old: str, new: str) -> None:
    """Renames a file, and overwrites none: FileExistsError."""
    _check(lib.linux_rename_fresh(os.fsencode(old), os.fsencode(new)))


def spawn(
    path: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: int,
    stdout: int,
) -> int:
    """Executes a program in a process group of its own and returns its process id; the
    caller waits for it. stdout: its standard error, too. It inherits no other
    descriptor, and gets SIGTERM when the thread that calls this ends, however."""
    texts = [ffi.new("char[]", os.fsencode(text)) for text in arguments]
    settings = [
        ffi.new("char[]", os.fsencode(f"{name}={value}"))
        for name, value in environment.items()
    ]
    return _check(
        lib.linux_spawn(
            os.fsencode(path),
            ffi.new("char *[]", [*texts, ffi.NULL]),
            ffi.new("char *[]", [*settings, ffi.NULL]),
            stdin,
            stdout,
        )
    )


def _check(status: int) -> int:
    """Raises OSError for what C returns as a negative errno."""
    if status < 0:
        raise OSError(-status, os.strerror(-status))
    return status
