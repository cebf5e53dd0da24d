"""Gives up root for good: groups, group, user, in this order, and verified.

Specification: credentials(7), capabilities(7).
"""

import os
import pwd

from pcap_zmq.errors import ConfigError, PrivilegeError


def drop_to(user: str) -> None:
    """Becomes `user`, who keeps nothing of root. Raises ConfigError where there is no
    such user, PrivilegeError where the kernel refuses or something was kept."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(f"--user {user}: there is no such user") from error
    if os.getuid() == entry.pw_uid and os.geteuid() == entry.pw_uid:
        return
    try:
        os.setgroups(os.getgrouplist(user, entry.pw_gid))
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        # Leaving uid 0 in all three places makes the kernel clear every capability.
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except OSError as error:
        raise PrivilegeError(
            f"cannot become {user}: {error.strerror}; start as root, or without --user"
        ) from error
    _verify(user, entry.pw_uid, entry.pw_gid)


def _verify(user: str, uid: int, gid: int) -> None:
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
