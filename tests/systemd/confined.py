"""Runs a command under the system call filter of a unit, as its manager would.

Run as `python -m tests.systemd.confined UNIT COMMAND...`. A call that the unit does not
allow ends the process, where the manager would have it fail: so that none goes unseen.
The exception is REFUSED, which we know how to live with.

Specification: seccomp(2), linux/filter.h, linux/seccomp.h; systemd.exec(5).
"""

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from tests.systemd.units import allowed_calls, settings

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1

RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000

REFUSED = "sched_setscheduler"

# Load the word at an offset; jump if equal; return: BPF_LD | BPF_W | BPF_ABS and so on.
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
AT_NUMBER, AT_FIRST_ARGUMENT = 0, 16
"""In struct seccomp_data; the low half of an argument, on a little-endian machine."""


class Instruction(ctypes.Structure):
    """struct sock_filter"""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (
        ("length", ctypes.c_uint16),
        ("instructions", ctypes.POINTER(Instruction)),
    )


def numbers() -> dict[str, int]:
    """Every system call's number on this machine, from the C library's header."""
    argv = ["cc", "-E", "-dM", "-x", "c", "-"]
    source = "#include <sys/syscall.h>\n"
    done = subprocess.run(
        argv, input=source, capture_output=True, text=True, check=True
    )
    defined = dict(re.findall(r"#define __NR(\w+) (\S+)", done.stdout))

    def resolve(value: str) -> int | None:
        # Some are names of others.
        while value.startswith("__NR"):
            value = defined[value.removeprefix("__NR")]
        return int(value) if value.isdecimal() else None

    found = {name[1:]: resolve(value) for name, value in defined.items()}
    return {name: number for name, number in found.items() if number is not None}


def families(unit: Path) -> list[int]:
    """The address families of which sockets may be."""
    (value,) = settings(unit)["RestrictAddressFamilies"]
    return [int(getattr(socket, name)) for name in value.split()]


def compile_filter(unit: Path) -> list[Instruction]:
    """As the unit says it, two instructions for each call that is allowed."""
    number_of = numbers()
    found = [
        Instruction(LOAD, 0, 0, AT_NUMBER),
        # Past what follows, where it is not socket().
        Instruction(JUMP_EQUAL, 0, 2 * len(families(unit)) + 2, number_of["socket"]),
        Instruction(LOAD, 0, 0, AT_FIRST_ARGUMENT),
    ]
    for family in families(unit):
        found += [
            Instruction(JUMP_EQUAL, 0, 1, family),
            Instruction(RETURN, 0, 0, RET_ALLOW),
        ]
    found.append(Instruction(RETURN, 0, 0, RET_ERRNO | errno.EAFNOSUPPORT))
    # Calls of other machines have no number here.
    for number in sorted(
        number_of[call] for call in allowed_calls(unit) if call in number_of
    ):
        found += [
            Instruction(JUMP_EQUAL, 0, 1, number),
            Instruction(RETURN, 0, 0, RET_ALLOW),
        ]
    return [
        *found,
        Instruction(JUMP_EQUAL, 0, 1, number_of[REFUSED]),
        Instruction(RETURN, 0, 0, RET_ERRNO | errno.EPERM),
        Instruction(RETURN, 0, 0, RET_KILL_PROCESS),
    ]


def confine(unit: Path) -> None:
    """This process and whatever it becomes."""
    instructions = compile_filter(unit)
    array = (Instruction * len(instructions))(*instructions)
    program = Program(len(instructions), array)
    libc = ctypes.CDLL(None, use_errno=True)
    if settings(unit)["MemoryDenyWriteExecute"] == ["yes"]:
        # Kernels before 6.3 do not know it; the manager has another way there.
        libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def main() -> None:
    unit, *argv = sys.argv[1:]
    confine(Path(unit))
    os.execv(argv[0], argv)  # noqa: S606  # a list, never a shell


if __name__ == "__main__":
    main()
