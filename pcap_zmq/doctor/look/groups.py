"""Who holds which NFLOG group in this network namespace.

Specification: nfnetlink_log.c, seq_show(); af_netlink.c, netlink_native_seq_show().
"""

from pathlib import Path
from typing import NamedTuple

from pcap_zmq.doctor.judge.groups import Groups, Holder
from pcap_zmq.doctor.look import processes
from pcap_zmq.doctor.look.rights import GROUPS_FILE

NETLINK_FILE = Path("/proc/net/netlink")
NETLINK_NETFILTER = 12  # linux/netlink.h


class _Socket(NamedTuple):
    drops: int
    inode: int


def look(asked: tuple[int, ...]) -> Groups:
    """Groups that nobody holds are not in the kernel's list."""
    try:
        lines = GROUPS_FILE.read_text().splitlines()
    except FileNotFoundError:
        return Groups(asked, ())  # nothing has used NFLOG so far
    except OSError as error:
        why = f"{GROUPS_FILE} cannot be read: {error.strerror}"
        return Groups(asked, (), refused=why)
    sockets = _sockets()
    owners = _owners() if lines else {}
    return Groups(
        asked,
        tuple(
            _holder(int(group), int(portid), int(queued), sockets, owners)
            for group, portid, queued, *_ in map(str.split, lines)
        ),
    )


def _holder(
    group: int,
    portid: int,
    queued: int,
    sockets: dict[int, _Socket],
    owners: dict[int, int],
) -> Holder:
    # The port id of a process's first socket is its pid, and of a second one is not.
    held = sockets.get(portid)
    pid = None if held is None else owners.get(held.inode)
    return Holder(
        group,
        portid,
        queued,
        None if pid is None else processes.process(pid),
        None if held is None else held.drops,
    )


def _sockets() -> dict[int, _Socket]:
    """Netfilter's netlink sockets, by port id."""
    try:
        lines = NETLINK_FILE.read_text().splitlines()[1:]
    except OSError:
        return {}
    rows = [line.split() for line in lines]
    return {
        int(row[2]): _Socket(drops=int(row[8]), inode=int(row[9]))
        for row in rows
        if int(row[1]) == NETLINK_NETFILTER
    }


def _owners() -> dict[int, int]:
    """The process that has a socket open, by the socket's inode."""
    owners: dict[int, int] = {}
    for descriptor in processes.descriptors().found:
        if descriptor.target.startswith("socket:["):
            inode = int(descriptor.target[len("socket:[") : -1])
            owners.setdefault(inode, descriptor.pid)
    return owners
