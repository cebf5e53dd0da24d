"""Puts NFLOG rules on a host, and asks its kernel what they logged and who reads it.

Specification: nft(8), "LOG STATEMENT"; iptables-extensions(8), NFLOG; and for the
kernel's own view net/netfilter/nfnetlink_log.c, seq_show(), and
net/netlink/af_netlink.c, netlink_native_seq_show().
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from testbed.namespaces import Namespace

Tool = Literal["nft", "iptables"]
Hook = Literal["input", "forward", "output"]

# Of the kernel's own 100: less waiting when there is little traffic, as here.
QTHRESHOLD = 32

NETLINK_NETFILTER = 12  # linux/netlink.h

# Rules count before they log, so that both count the same packets.
_NFT_RULES = """\
table inet pcap_zmq {{
    chain {hook} {{
        type filter hook {hook} priority 0;
        counter log group {group} queue-threshold {qthreshold}
    }}
}}
"""


def log_commands(
    group: int, *, tool: Tool = "nft", hook: Hook = "forward"
) -> list[tuple[list[str], str]]:
    """The commands that log what passes `hook` over IPv4 and IPv6, with their input."""
    if tool == "nft":
        rules = _NFT_RULES.format(hook=hook, group=group, qthreshold=QTHRESHOLD)
        return [(["nft", "-f", "-"], rules)]
    rule = f"-A {hook.upper()} -j NFLOG --nflog-group {group}"
    threshold = f"--nflog-threshold {QTHRESHOLD}"
    return [
        (f"{program} {rule} {threshold}".split(), "")
        for program in ("iptables", "ip6tables")
    ]


def log_packets(
    host: Namespace, group: int, *, tool: Tool = "nft", hook: Hook = "forward"
) -> None:
    """Log every packet that passes `hook`, over IPv4 and IPv6."""
    for argv, text in log_commands(group, tool=tool, hook=hook):
        host.run(argv, input=text)


def packets_logged(host: Namespace, group: int, *, tool: Tool = "nft") -> int:
    """How many packets the rules for `group` have seen, by the kernel's own count."""
    if tool == "nft":
        listed = host.run(["nft", "list", "ruleset"]).stdout
        counter = rf"counter packets (\d+) bytes \d+ log group {group}\b"
    else:
        saved = [
            host.run([f"{tables}-save", "-c"]) for tables in ("iptables", "ip6tables")
        ]
        listed = "".join(done.stdout for done in saved)
        counter = rf"\[(\d+):\d+\] .*--nflog-group {group}\b"
    return sum(int(count) for count in re.findall(counter, listed))


def is_read(host: Namespace, group: int) -> bool:
    """Whether somebody has bound `group`, and so gets its packets from now on."""
    return group in _queue_lengths(host)


def is_quiet(host: Namespace, group: int) -> bool:
    """Whether all that was logged to `group` has been read: the kernel holds nothing.

    Packets wait twice, for a message to fill and then in the socket of its reader.
    """
    if _queue_lengths(host).get(group, 0) > 0:
        return False
    sockets = host.run(["cat", "/proc/net/netlink"]).stdout.splitlines()[1:]
    return not any(
        int(rmem) > 0
        for _, protocol, _, _, rmem, *_ in map(str.split, sockets)
        if int(protocol) == NETLINK_NETFILTER
    )


def _queue_lengths(host: Namespace) -> dict[int, int]:
    # Columns: group, port id of the reader, packets waiting, and what does not matter.
    shown = host.run(["cat", "/proc/net/netfilter/nfnetlink_log"], check=False).stdout
    rows = [line.split() for line in shown.splitlines()]
    return {int(row[0]): int(row[2]) for row in rows}
