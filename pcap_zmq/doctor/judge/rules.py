"""Rules that log to a group: whether any does, what they set that they should not, and
whether they log our own stream."""

from collections.abc import Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, problem, unknown, warning
from pcap_zmq.doctor.judge.ruleset import Backend, Field, Log, Rule, Table, Value
from pcap_zmq.doctor.judge.walk import Logged, Probe, walk
from pcap_zmq.formats.rules import Stream, Way

CHECK = "rules"
OWN_CHECK = "own stream"

HOOKS = frozenset(
    {"prerouting", "input", "forward", "output", "postrouting", "ingress", "egress"}
)
_OUT = frozenset({"output", "postrouting", "egress"})
_IN = frozenset({"prerouting", "input", "ingress"})

UNSTAMPED_HOOKS = {"output", "postrouting"}
"""nfnetlink_log.c, __build_packet_message(): no timestamp past FORWARD."""

_NFLOG_SNAPLEN_MAX = 65_531


@dataclass(frozen=True, slots=True)
class Rules:
    """tables: all that could be listed; refused: what could not, and why, one line
    each. stream: where our own packets go; None: nowhere over TCP."""

    groups: tuple[int, ...]
    qthreshold: int
    tables: tuple[Table, ...]
    refused: tuple[str, ...] = ()
    stream: Stream | None = None


def judge(rules: Rules) -> Iterator[Finding]:
    """Everything there is to say of the rules."""
    for refusal in rules.refused:
        yield unknown(CHECK, refusal)
    for group in rules.groups:
        yield from _judge_group(rules, group)
    yield from _judge_own_stream(rules)


def reached_groups(tables: tuple[Table, ...]) -> dict[int, list[Logged]]:
    """The rules that some packet can get to, by the group that they log to."""
    found: dict[int, list[Logged]] = {}
    for table in tables:
        for logged in walk(table, {}, HOOKS):
            if logged.log.group is not None:
                found.setdefault(logged.log.group, []).append(logged)
    return found


def _judge_group(rules: Rules, group: int) -> Iterator[Finding]:
    reached = reached_groups(rules.tables).get(group, [])
    if reached:
        yield ok(CHECK, f"group {group}: {_summary(reached)}")
    elif not rules.refused or rules.tables:
        yield _unreached(rules, group)
    seen: set[tuple[str, int]] = set()
    for logged in reached:
        key = (f"{logged.table.backend}{logged.table.name}", id(logged.rule))
        if key not in seen:
            seen.add(key)
            yield from _judge_rule(logged, rules.qthreshold)
    yield from _judge_hooks(group, reached)
    yield from _mistaken_prefixes(rules.tables, group)


def _summary(reached: list[Logged]) -> str:
    wheres = list(dict.fromkeys(logged.where for logged in reached))
    shown = "; ".join(wheres[:3]) + (" and more" if len(wheres) > 3 else "")
    hooks = ", ".join(sorted({logged.hook for logged in reached}))
    count = f"{len(wheres)} rule{'s' * (len(wheres) > 1)}"
    packets = [logged.rule.packets for logged in reached]
    counted = [number for number in packets if number is not None]
    # Once per rule would be exact; all that matters is whether it is nothing.
    idle = ", no packet so far" if counted and not any(counted) else ""
    families = {family for logged in reached for family in _families(logged)}
    only = "" if len(families) > 1 else f", only IPv{'6' if 'ip6' in families else '4'}"
    return f"{count} on {hooks}{only}{idle}: {shown}"


def _families(logged: Logged) -> Iterator[str]:
    """Of which IP version the packets are that this rule logs."""
    for family in ("ip", "ip6"):
        probe: Probe = {Field.FAMILY: family}
        hooks = frozenset({logged.hook})
        if any(other.rule is logged.rule for other in walk(logged.table, probe, hooks)):
            yield family


def _unreached(rules: Rules, group: int) -> Finding:
    stray = [
        table.where(chain.name, rule.number)
        for table in rules.tables
        for chain in table.chains
        for rule in chain.rules
        for log in rule.logs
        if log.group == group
    ]
    if stray:
        return problem(
            CHECK,
            f"group {group}: no packet gets to {'; '.join(stray)}",
            "nothing jumps to its chain, or a rule before it takes every packet",
        )
    others = sorted(reached_groups(rules.tables))
    also = f" (rules here log to {', '.join(map(str, others))})" if others else ""
    return problem(
        CHECK,
        f"group {group}: no rule logs to it in this network namespace{also}",
        "add rules like those below, or look in the namespace where they are",
    )


def _judge_rule(logged: Logged, qthreshold: int) -> Iterator[Finding]:
    log, where = logged.log, logged.where
    if log.range:
        yield warning(
            CHECK,
            f"{where}: --nflog-range never did anything",
            f"use --nflog-size {log.range} instead, if packets shall be cut",
        )
    if 0 < log.threshold < qthreshold:
        yield warning(
            CHECK,
            f"{where}: its threshold of {log.threshold} is below the sender's "
            f"{qthreshold}, and the lower one wins: more wake-ups, more processor time",
            f"{_threshold(logged.table)} {qthreshold}, or --qthreshold {log.threshold} "
            "at the sender if that is meant",
        )
    if 0 < log.snaplen < _NFLOG_SNAPLEN_MAX:
        yield warning(
            CHECK,
            f"{where}: cuts packets to {log.snaplen} octets; an IDS sees no more of "
            "them",
            f"leave {_size(logged.table)} out, unless that is meant",
        )
    if log.prefix:
        yield warning(
            CHECK,
            f"{where}: its prefix {log.prefix!r} costs room in every message and is "
            "not carried to the receiver",
            "leave it out",
        )


def _threshold(table: Table) -> str:
    return "queue-threshold" if table.backend is Backend.NFT else "--nflog-threshold"


def _size(table: Table) -> str:
    return "snaplen" if table.backend is Backend.NFT else "--nflog-size"


def _judge_hooks(group: int, reached: list[Logged]) -> Iterator[Finding]:
    late = [logged for logged in reached if logged.hook in UNSTAMPED_HOOKS]
    if late:
        hooks = " and ".join(sorted({logged.hook for logged in late}))
        yield warning(
            CHECK,
            f"group {group}: on {hooks} the kernel gives no timestamps and checksums "
            "are not finished",
            "times are those of reading; tell the IDS not to verify checksums "
            "(suricata -k none, snort -k none, zeek -C)",
        )


def _mistaken_prefixes(tables: tuple[Table, ...], group: int) -> Iterator[Finding]:
    for table in tables:
        for chain in table.chains:
            for rule in chain.rules:
                for log in rule.logs:
                    if log.group != group and log.prefix.strip() == str(group):
                        yield _mistaken_prefix(table, chain.name, rule, log)


def _mistaken_prefix(table: Table, chain: str, rule: Rule, log: Log) -> Finding:
    to = "the kernel's log" if log.group is None else f"group {log.group}"
    is_nft = table.backend is Backend.NFT
    group = log.prefix.strip()
    return warning(
        CHECK,
        f"{table.where(chain, rule.number)}: logs to {to} with {group} as a prefix",
        f"say {'group' if is_nft else '--nflog-group'} {group} if the group is meant",
    )


def _judge_own_stream(rules: Rules) -> Iterator[Finding]:
    stream = rules.stream
    if stream is None or not rules.groups or not rules.tables:
        return
    found: dict[int, list[tuple[Logged, Way]]] = {}
    for table in rules.tables:
        for way, hooks, probe in _own_packets(stream):
            for logged in walk(table, probe, hooks):
                if logged.log.group in rules.groups:
                    found.setdefault(id(logged.rule), []).append((logged, way))
    for meetings in found.values():
        logged = meetings[0][0]
        is_sure = any(met.is_sure for met, _ in meetings)
        says = "logs" if is_sure else "may log"
        text = f"{logged.where} {says} our own stream {stream}, which mirrors itself"
        ways = dict.fromkeys(way for _, way in meetings)
        kind = problem if is_sure else warning
        yield kind(OWN_CHECK, text, *(_excluding(logged, way) for way in ways))
    if not found:
        yield ok(OWN_CHECK, f"no rule logs our own stream {stream}")


def _own_packets(
    stream: Stream,
) -> Iterator[tuple[Way, frozenset[str], Probe]]:
    """Both directions, each on the hooks where it passes on this host."""
    is_local = stream.interface == "lo"
    for way in stream.ways():
        is_ours = way.is_to != stream.is_listening
        for hooks, here, nowhere in (
            (_OUT, Field.GOES_OUT, Field.COMES_IN),
            (_IN, Field.COMES_IN, Field.GOES_OUT),
        ):
            if is_local or is_ours == (hooks is _OUT):
                probe: dict[Field, Value] = {Field.PROTOCOL: "tcp", nowhere: ""}
                if stream.interface is not None:
                    probe[here] = stream.interface
                port, end = (
                    (Field.DESTINATION_PORT, Field.DESTINATION)
                    if way.is_to
                    else (Field.SOURCE_PORT, Field.SOURCE)
                )
                probe[port] = way.port
                if way.address is not None:
                    probe[end] = way.address
                    probe[Field.FAMILY] = "ip" if way.address.version == 4 else "ip6"
                yield way, hooks, probe


def _excluding(logged: Logged, way: Way) -> str:
    """The command that puts an exception before the rule."""
    table, number = logged.table, logged.rule.number
    if table.backend is Backend.NFT:
        place = f"{table.family} {table.name} {logged.chain} handle {number}"
        return f"nft insert rule {place} {way.nft()} accept"
    program = table.backend.value
    place = f"-t {table.name} -I {logged.chain} {number}"
    return f"{program} {place} {way.iptables()} -j ACCEPT"
