"""Whether a sender started like this may open NFLOG groups, and the kernel has them.

Specification: capabilities(7), user_namespaces(7); nfnetlink.c, nfnetlink_rcv().
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, problem, unknown, warning

CHECK = "rights"
KERNEL_CHECK = "kernel"


@dataclass(frozen=True, slots=True)
class Rights:
    """Of this process. counts_here: its capabilities are good for this network
    namespace; None: not known."""

    user: str
    has_net_admin: bool
    counts_here: bool | None
    is_initial_user_namespace: bool


@dataclass(frozen=True, slots=True)
class Kernel:
    """What of NFLOG this kernel has. is_there: its file is in /proc/net/netfilter.
    is_built: its configuration or a module on disk says so; None: not known."""

    release: str
    is_there: bool
    is_built: bool | None


def judge(rights: Rights) -> Iterator[Finding]:
    """What opening a group takes."""
    where = "" if rights.is_initial_user_namespace else " of a user namespace"
    if not rights.has_net_admin:
        yield problem(
            CHECK,
            f"{rights.user}{where} has no CAP_NET_ADMIN: started like this, a sender "
            "gets no group, and much here cannot be looked at",
            "run both as root; the sender's --user NAME gives root up once all is open",
        )
    elif rights.counts_here is False:
        yield problem(
            CHECK,
            f"CAP_NET_ADMIN of {rights.user}{where} does not count in this network "
            "namespace, which belongs to another one",
            "run as root of the user namespace that the network belongs to",
        )
    else:
        yield ok(CHECK, f"{rights.user}{where}, with CAP_NET_ADMIN")


def judge_kernel(kernel: Kernel) -> Iterator[Finding]:
    """What NFLOG takes."""
    if kernel.is_there:
        yield ok(KERNEL_CHECK, f"Linux {kernel.release} has nfnetlink_log")
    elif kernel.is_built:
        yield ok(
            KERNEL_CHECK,
            f"Linux {kernel.release} has nfnetlink_log, and loads it when it is used",
        )
    elif kernel.is_built is None:
        yield unknown(
            KERNEL_CHECK,
            f"nfnetlink_log is not loaded, and whether Linux {kernel.release} has it "
            "cannot be told from here",
            "modprobe nfnetlink_log",
        )
    else:
        yield problem(
            KERNEL_CHECK,
            f"Linux {kernel.release} was built without nfnetlink_log",
            "use a kernel with CONFIG_NETFILTER_NETLINK_LOG",
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Which network this process sees. differs_from_init: from that of process 1; None:
    not to be seen. container: what kind, where there is one."""

    differs_from_init: bool | None
    container: str | None


def judge_place(place: Place, *, are_rules_here: bool) -> Iterator[Finding]:
    """Rules, groups and the sender have to be in one network namespace."""
    check = "namespace"
    if place.container is not None:
        what = f"inside a container ({place.container})"
    elif place.differs_from_init:
        what = "in a network namespace of its own, not that of process 1"
    elif place.differs_from_init is None:
        yield unknown(
            check,
            "whether this is the host's network namespace cannot be told: run as root",
        )
        return
    else:
        yield ok(check, "in the network namespace of process 1")
        return
    if are_rules_here:
        yield ok(check, f"{what}, where the rules are, too")
    else:
        yield warning(
            check,
            f"{what}: it sees the rules and the packets of no other",
            "if the rules are the host's: podman/docker run --network host --cap-add "
            "NET_ADMIN, or nsenter --net=/proc/1/ns/net",
        )
