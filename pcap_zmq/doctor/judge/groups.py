"""Who reads which NFLOG group, and whether the kernel had to drop for them.

Specification: nfnetlink_log.c, seq_show(); af_netlink.c, netlink_native_seq_show().
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, problem, unknown, warning

CHECK = "groups"


@dataclass(frozen=True, slots=True)
class Process:
    """A running program."""

    pid: int
    name: str
    argv: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"

    def is_ours(self, command: str) -> bool:
        """Whether it is our `send` or `recv`, under any of its names."""
        words = [word.rpartition("/")[2] for word in self.argv]
        return f"pcap-zmq-{command}" in words or any(
            first in ("pcap-zmq", "pcap_zmq") and second == command
            for first, second in itertools.pairwise(words)
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """Who reads a group. process: None where that cannot be seen. drops: messages, each
    of many packets, that the kernel had no room for; None: not known."""

    group: int
    portid: int
    queued: int
    process: Process | None
    drops: int | None = None

    def __str__(self) -> str:
        if self.process is None:
            return f"a process that cannot be seen from here (port id {self.portid})"
        return str(self.process)


@dataclass(frozen=True, slots=True)
class Groups:
    """asked: the groups of the sender-to-be; none: all are only listed. refused: why
    the holders cannot be listed."""

    asked: tuple[int, ...]
    holders: tuple[Holder, ...]
    refused: str | None = None


def judge(groups: Groups) -> Iterator[Finding]:
    """Whether the groups can be had."""
    if groups.refused is not None:
        yield unknown(CHECK, groups.refused, "run as root")
    by_group = {holder.group: holder for holder in groups.holders}
    for group in groups.asked:
        holder = by_group.get(group)
        if holder is not None:
            yield from _judge_held(holder)
        elif groups.refused is None:
            yield ok(CHECK, f"group {group} is free")
        if group == 0:
            yield warning(
                CHECK,
                "group 0 is also the kernel's own: conntrack and the system's logger "
                "(ulogd2) use it unasked",
                "use another group, in the rules and here",
            )
    yield from _judge_others(groups)


def _judge_held(holder: Holder) -> Iterator[Finding]:
    if holder.process is None:
        yield warning(
            CHECK,
            f"group {holder.group} is read by {holder}, and has one reader only",
            "run as root to see which it is; if it is no sender of yours, stop it or "
            "use another group",
        )
    elif holder.process.is_ours("send"):
        yield ok(CHECK, f"group {holder.group} is read by {holder}")
    else:
        yield problem(
            CHECK,
            f"group {holder.group} is read by {holder}, and has one reader only",
            f"stop it (process {holder.process.pid}), or use another group",
        )
    if holder.drops:
        yield warning(
            CHECK,
            f"the kernel has dropped {holder.drops} messages, each of many packets, "
            f"for which {holder} left no room",
            "raise --rcvbuf, give it more processor time, or log fewer packets",
        )


def _judge_others(groups: Groups) -> Iterator[Finding]:
    """Who else is there; several senders are fine as long as they know."""
    senders: dict[int, list[int]] = {}
    others: list[str] = []
    for holder in groups.holders:
        if holder.process is not None and holder.process.is_ours("send"):
            senders.setdefault(holder.process.pid, []).append(holder.group)
        elif holder.group not in groups.asked:
            others.append(f"{holder.group} by {holder}")
    if len(senders) > 1:
        listed = "; ".join(
            f"pid {pid}: {', '.join(map(str, sorted(held)))}"
            for pid, held in sorted(senders.items())
        )
        text = f"{len(senders)} senders run here, each with its own groups ({listed})"
        yield ok(CHECK, f"{text}: a packet logged to two of them arrives twice")
    elif senders and not groups.asked:
        ((pid, held),) = senders.items()
        listed = ", ".join(map(str, sorted(held)))
        yield ok(CHECK, f"a sender runs here (pid {pid}, groups {listed})")
    if others:
        yield ok(CHECK, f"other groups in use: {'; '.join(others)}")
