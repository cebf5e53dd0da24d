"""Who we are, what we may do here, what the kernel has, and which network this is.

Specification: capabilities(7), ioctl_ns(2).
"""

import fcntl
import gzip
import os
import platform
import pwd
import re
from pathlib import Path

from pcap_zmq.doctor.judge.rights import Kernel, Place, Rights

CAP_NET_ADMIN = 12  # linux/capability.h
NS_GET_USERNS = 0xB701  # linux/nsfs.h

# The first namespaces have fixed numbers: linux/proc_ns.h.
INITIAL_USER_NAMESPACE = 0xEFFFFFFD
INITIAL_PID_NAMESPACE = 0xEFFFFFFC

GROUPS_FILE = Path("/proc/net/netfilter/nfnetlink_log")
CONFIG = "CONFIG_NETFILTER_NETLINK_LOG"


def look() -> Rights:
    """Of this process."""
    return Rights(
        user=_user_name(),
        has_net_admin=has_net_admin(),
        counts_here=_owns_network(),
        is_initial_user_namespace=is_initial_user_namespace(),
    )


def look_at_kernel() -> Kernel:
    """The one that runs."""
    return Kernel(platform.release(), GROUPS_FILE.exists(), _is_built())


def look_at_place() -> Place:
    """The network namespace, beside that of process 1, and what container this is."""
    try:
        own = Path("/proc/self/ns/net").stat().st_ino
        differs = Path("/proc/1/ns/net").stat().st_ino != own
    except OSError:
        return Place(None, _container())
    return Place(differs, _container())


def has_net_admin() -> bool:
    """Whether CAP_NET_ADMIN is effective, in whatever user namespace this is."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> CAP_NET_ADMIN & 1)


def is_initial_user_namespace() -> bool:
    """Where alone some capabilities count."""
    try:
        number = Path("/proc/self/ns/user").stat().st_ino
    except OSError:
        return True  # a kernel without user namespaces
    return number == INITIAL_USER_NAMESPACE


def _user_name() -> str:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _owns_network() -> bool | None:
    """Whether the network belongs to our user namespace or one below it."""
    try:
        descriptor = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        os.close(fcntl.ioctl(descriptor, NS_GET_USERNS))
    except PermissionError:
        return False  # it belongs to one above, which is not shown
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return True


def _is_built() -> bool | None:
    release = platform.release()
    modules = Path("/lib/modules", release)
    if modules.is_dir():
        for name in ("modules.dep", "modules.builtin"):
            listed = modules / name
            if listed.exists() and "/nfnetlink_log.ko" in listed.read_text():
                return True
    text = _configuration(release)
    if text is None:
        return None
    return re.search(rf"^{CONFIG}=[ym]$", text, re.MULTILINE) is not None


def _configuration(release: str) -> str | None:
    try:
        return gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        pass
    try:
        return Path(f"/boot/config-{release}").read_text()
    except OSError:
        return None


def _container() -> str | None:
    """What says of itself that it is one: container_getenv(3), Docker and Podman."""
    for path in ("/run/host/container-manager", "/run/systemd/container"):
        try:
            return Path(path).read_text().strip()
        except OSError:
            continue
    if Path("/run/.containerenv").exists():
        return "podman"
    if Path("/.dockerenv").exists():
        return "docker"
    try:
        number = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return None
    if number != INITIAL_PID_NAMESPACE:
        return "a PID namespace of its own"
    return None
