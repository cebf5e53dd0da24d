"""Gives up for good whatever the process may do beyond others, and verifies it.

Theory of operation. `harden` is for the start of a command, before any secret is read:
what no tool ever needs goes there, since what is given up before the first thread
starts is given up in all of them. `drop_to` is for the moment when everything that
takes a capability is open. Capabilities belong to threads and capset(2) changes only
the thread that calls it, so it must come before any other thread starts; `drop_to` sees
to that by looking at every thread.

What the kernel does not let us drop, we must not have: that is an error. The bounding
set is the exception. Emptying it takes CAP_SETPCAP, which a container or a service may
lack, and without new privileges it has nothing to bound.

Specification: credentials(7), capabilities(7), PR_SET_DUMPABLE(2const).
"""

import logging
import os
import pwd
import resource
from collections.abc import Iterator
from pathlib import Path

import linux_ffi
from pcap_zmq.errors import ConfigError, PrivilegeError

logger = logging.getLogger(__name__)

TASKS = Path("/proc/self/task")
"""One directory for each thread."""

GIVEN_UP = {"CapInh": False, "CapPrm": True, "CapEff": True, "CapAmb": False}
"""What each thread's status must show no bit in, and whether one may be kept there."""

READING = 1 << 2
"""CAP_DAC_READ_SEARCH: root's to read what belongs to others."""


def harden() -> None:
    """No core dumps, no tracing by others than root, no new privileges by whatever is
    executed, no capability that could be gained later. Harmless when said again. Raises
    PrivilegeError where the kernel refuses."""
    try:
        linux_ffi.forbid_dumps()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        linux_ffi.forbid_new_privileges()
        linux_ffi.keep_scheduling()
        if not linux_ffi.drop_bounding_set():
            logger.debug("without CAP_SETPCAP the bounding set stays as it is")
    except OSError as error:
        raise PrivilegeError(
            f"privileges cannot be limited: {error.strerror}; look for a system call "
            "filter that denies prctl or prlimit64"
        ) from error


def drop_to(user: str | None, *, reads_on: bool = False) -> None:
    """Becomes `user`, None: stays who it is; in any case keeps no capability. reads_on:
    but that of reading any file, where it stays who it is: what there is to read is
    still to be opened.

    Raises ConfigError where there is no such user, PrivilegeError where the kernel
    refuses or something was kept, in whichever thread.
    """
    entry = None if user is None else _look_up(user)
    harden()
    reads_on = reads_on and user is None
    if entry is not None and set(os.getresuid()) != {entry.pw_uid}:
        _become(entry)
    try:
        linux_ffi.drop_capabilities(keep_reading=reads_on)
        # The kernel takes it back from whoever changes the user: commit_creds().
        linux_ffi.forbid_dumps()
    except OSError as error:
        raise PrivilegeError(
            f"capabilities cannot be given up: {error.strerror}; look for a system "
            "call filter that denies capset or prctl"
        ) from error
    _verify(READING if reads_on else 0)
    if user is None and os.geteuid() == 0:
        logger.info(
            "no capability is left%s; --user NAME gives up root's hold on its files, "
            "too",
            " but that of reading any file" if reads_on else "",
        )


def _look_up(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(f"--user {user}: there is no such user") from error


def _become(entry: pwd.struct_passwd) -> None:
    user, uid, gid = entry.pw_name, entry.pw_uid, entry.pw_gid
    try:
        os.setgroups(os.getgrouplist(user, gid))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        # At once: until here a secret might be in memory that others may read.
        linux_ffi.forbid_dumps()
        # Before the way back is tried, so that what is tried is what is left.
        linux_ffi.drop_capabilities()
    except OSError as error:
        raise PrivilegeError(
            f"cannot become {user}: {error.strerror}; start as root, or without --user"
        ) from error
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise PrivilegeError(f"did not become {user} for good")
    if uid == 0:
        return
    try:
        os.setuid(0)
    except PermissionError:
        pass
    else:
        raise PrivilegeError(f"could become root again after becoming {user}")


def _verify(kept: int) -> None:
    if linux_ffi.may_dump():
        raise PrivilegeError("the process can still be dumped and traced")
    for name, status in _threads():
        for field, may_keep in GIVEN_UP.items():
            if int(status[field], 16) & ~(kept if may_keep else 0):
                raise PrivilegeError(f"{name} kept capabilities: {field} is not empty")
        if status["NoNewPrivs"] != "1":
            raise PrivilegeError(f"{name} may still gain privileges")


def _threads() -> Iterator[tuple[str, dict[str, str]]]:
    """Each thread's name and what the kernel says of it."""
    try:
        tasks = list(TASKS.iterdir())
    except OSError as error:
        raise PrivilegeError(
            f"what was given up cannot be verified: {TASKS}: {error.strerror}; "
            "mount /proc"
        ) from error
    for task in tasks:
        try:
            lines = (task / "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile.
            continue
        status = dict(line.split(":", 1) for line in lines)
        yield (
            f"thread {task.name}",
            {field: text.strip() for field, text in status.items()},
        )
