"""What nft and iptables-save say, in the form in which rules are judged."""

import json
import shlex
from ipaddress import ip_address

import pytest

from pcap_zmq.doctor.judge import iptables, nftables
from pcap_zmq.doctor.judge.ruleset import (
    Backend,
    Chain,
    Condition,
    Ending,
    Field,
    Log,
    Span,
    Step,
    Table,
    Unknown,
    Verdict,
)
from tests.netns import here

TCP = Condition(Field.PROTOCOL, (Span("tcp", "tcp"),))
UDP = Condition(Field.PROTOCOL, (Span("udp", "udp"),))
IP = Condition(Field.FAMILY, (Span("ip", "ip"),))
IP6 = Condition(Field.FAMILY, (Span("ip6", "ip6"),))


def span(first: str, last: str | None = None) -> Span:
    return Span(ip_address(first), ip_address(last or first))


def ports(
    *spans: int | tuple[int, int], source: bool = False, no: bool = False
) -> Step:
    field = Field.SOURCE_PORT if source else Field.DESTINATION_PORT
    pairs = [one if isinstance(one, tuple) else (one, one) for one in spans]
    return Condition(field, tuple(Span(*pair) for pair in pairs), no)


def to(*spans: Span, no: bool = False) -> Step:
    return Condition(Field.DESTINATION, spans, no)


NFT: dict[str, list[Step]] = {
    "log group 5": [Log(5)],
    "log": [Log(None)],
    'log prefix "5 x" group 0 snaplen 96 queue-threshold 10': [Log(0, "5 x", 10, 96)],
    "ip daddr 10.0.0.2 accept": [IP, to(span("10.0.0.2")), Verdict(Ending.STOP)],
    "ip daddr 10.1.0.0/16 drop": [
        IP,
        to(span("10.1.0.0", "10.1.255.255")),
        Verdict(Ending.STOP),
    ],
    "ip6 daddr fd00::-fd00::9 drop": [
        IP6,
        to(span("fd00::", "fd00::9")),
        Verdict(Ending.STOP),
    ],
    "ip daddr != { 1.1.1.1, 2.2.2.0/24 } return": [
        IP,
        to(span("1.1.1.1"), span("2.2.2.0", "2.2.2.255"), no=True),
        Verdict(Ending.RETURN),
    ],
    "ip daddr @mine drop": [
        IP,
        to(span("10.0.0.1"), span("10.9.0.0", "10.9.255.255")),
        Verdict(Ending.STOP),
    ],
    "tcp dport { 80, 1000-2000 } log group 5": [TCP, ports(80, (1000, 2000)), Log(5)],
    "tcp dport != 5140 log group 5": [TCP, ports(5140, no=True), Log(5)],
    "udp sport 53 log group 5": [UDP, ports(53, source=True), Log(5)],
    "meta l4proto { tcp, udp } th dport 5140 drop": [
        Condition(Field.PROTOCOL, (Span("tcp", "tcp"), Span("udp", "udp"))),
        ports(5140),
        Verdict(Ending.STOP),
    ],
    "meta nfproto ipv6 log group 5": [IP6, Log(5)],
    "ip protocol tcp log group 5": [IP, TCP, Log(5)],
    'iifname "lo" oifname { "eth0", "ve*" } log group 5': [
        Condition(Field.COMES_IN, (Span("lo", "lo"),)),
        Condition(Field.GOES_OUT, (Span("eth0", "eth0"), Span("ve*", "ve*"))),
        Log(5),
    ],
    "ct state established,related log group 5": [Unknown(), Log(5)],
    "meta mark 5 limit rate 10/second log group 5": [Unknown(), Unknown(), Log(5)],
    "tcp flags syn log group 5": [TCP, Unknown(), Log(5)],
    "ip daddr . tcp dport { 1.1.1.1 . 80 } log group 5": [Unknown(), Log(5)],
    "counter jump sub": [Verdict(Ending.JUMP, "sub")],
    "goto sub": [Verdict(Ending.GOTO, "sub")],
    "tcp dport vmap { 53 : accept, 54 : jump sub }": [
        Verdict(Ending.STOP, certain=False),
        Verdict(Ending.JUMP, "sub", certain=False),
    ],
    "udp dport vmap @verdicts": [
        Verdict(Ending.STOP, certain=False),
        Verdict(Ending.JUMP, "sub", certain=False),
    ],
    "reject": [Verdict(Ending.STOP)],
}

NFT_TABLE = """\
table inet t {{
    set mine {{
        type ipv4_addr; flags interval; elements = {{ 10.0.0.1, 10.9.0.0/16 }}
    }}
    map verdicts {{
        type inet_service : verdict; elements = {{ 53 : accept, 54 : jump sub }}
    }}
    chain sub {{
    }}
    chain forward {{
        type filter hook forward priority -1
        {rules}
    }}
}}
table ip asleep {{
    flags dormant
    chain output {{
        type filter hook output priority 0
        log group 1
    }}
}}
"""


@pytest.mark.netns
@pytest.mark.inside
def test_every_rule_of_nft_is_understood_or_left_open() -> None:
    here.run(["nft", "-f", "-"], input=NFT_TABLE.format(rules="\n".join(NFT)))
    (table,) = nftables.read(here.run(["nft", "-j", "list", "ruleset"]))
    assert (table.backend, table.family, table.name) == (Backend.NFT, "inet", "t")
    chains = {chain.name: chain for chain in table.chains}
    assert {name: chain.hook for name, chain in chains.items()} == {
        "sub": None,
        "forward": "forward",
    }
    found = [rule.steps for rule in chains["forward"].rules]
    assert dict(zip(NFT, found, strict=True)) == {
        text: tuple(steps) for text, steps in NFT.items()
    }


@pytest.mark.netns
@pytest.mark.inside
def test_nft_counts_what_a_rule_has_seen() -> None:
    here.log("udp dport 9 counter", "group 5")
    here.send_udp([b"?"] * 3, 9)
    ((chain,),) = [
        table.chains
        for table in nftables.read(here.run(["nft", "-j", "list", "ruleset"]))
    ]
    assert [rule.packets for rule in chain.rules] == [3]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"nftables": 5}', "nonsense"])
def test_what_nft_does_not_say_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        nftables.read(text)


@pytest.mark.parametrize("flags", ["dormant", ["dormant"], "t"])
def test_a_table_that_sleeps_is_passed_over_however_it_is_shown(flags: object) -> None:
    """Version 1.0.6 shows the table's own name there."""
    table = {"family": "ip", "name": "t", "flags": flags}

    assert nftables.read(json.dumps({"nftables": [{"table": table}]})) == []


IPTABLES: dict[str, list[Step]] = {
    "-j NFLOG --nflog-group 5": [Log(5)],
    "-j NFLOG": [Log(0)],
    '-j NFLOG --nflog-prefix "a b" --nflog-size 96 --nflog-threshold 9': [
        Log(0, "a b", 9, 96)
    ],
    "-d 10.0.0.0/24 -j ACCEPT": [
        to(span("10.0.0.0", "10.0.0.255")),
        Verdict(Ending.JUMP, "ACCEPT"),
    ],
    "! -d 10.0.0.1 -j DROP": [
        to(span("10.0.0.1"), no=True),
        Verdict(Ending.JUMP, "DROP"),
    ],
    "-p tcp -m tcp --dport 5140 -j RETURN": [
        TCP,
        ports(5140),
        Verdict(Ending.RETURN),
    ],
    "-p tcp -m tcp ! --sport 5:9 -j NFLOG": [
        TCP,
        ports((5, 9), source=True, no=True),
        Log(0),
    ],
    "-p tcp -m multiport --dports 80,443,10:20 -j NFLOG": [
        TCP,
        ports(80, 443, (10, 20)),
        Log(0),
    ],
    "-o eth+ -j NFLOG": [Condition(Field.GOES_OUT, (Span("eth*", "eth*"),)), Log(0)],
    '-m comment --comment "! -j DROP" -j NFLOG': [Log(0)],
    "-m conntrack --ctstate NEW,RELATED -j NFLOG": [Unknown(), Unknown(), Log(0)],
    "-p tcp -m tcp --tcp-flags SYN,RST SYN -j NFLOG": [TCP, Unknown(), Log(0)],
    "-m limit --limit 5/sec -j NFLOG": [Unknown(), Unknown(), Log(0)],
    "-m iprange --dst-range 10.0.0.1-10.0.0.9 -j NFLOG": [
        to(span("10.0.0.1", "10.0.0.9")),
        Log(0),
    ],
    "-j MINE": [Verdict(Ending.JUMP, "MINE")],
    "-g MINE": [Verdict(Ending.GOTO, "MINE")],
    '-j LOG --log-prefix "5"': [Log(None, "5")],
    "": [],
}


@pytest.mark.netns
@pytest.mark.inside
@pytest.mark.parametrize(
    ("program", "backend"),
    [
        ("iptables-nft", Backend.IPTABLES),
        ("iptables-legacy", Backend.IPTABLES_LEGACY),
    ],
)
def test_every_rule_of_iptables_is_understood_or_left_open(
    program: str, backend: Backend
) -> None:

    here.run([program, "-N", "MINE"])
    for rule in IPTABLES:
        here.run([program, "-A", "OUTPUT", *shlex.split(rule)])
    tables = iptables.read(here.run([f"{program}-save", "-c"]), backend)
    assert [table.name for table in tables] == ["filter"]
    chains = {chain.name: chain for chain in tables[0].chains}
    assert (chains["OUTPUT"].hook, chains["MINE"].hook) == ("output", None)
    found = [rule.steps for rule in chains["OUTPUT"].rules]
    assert dict(zip(IPTABLES, found, strict=True)) == {
        text: tuple(steps) for text, steps in IPTABLES.items()
    }
    assert [rule.number for rule in chains["OUTPUT"].rules] == list(
        range(1, len(IPTABLES) + 1)
    )


@pytest.mark.netns
@pytest.mark.inside
def test_ip6tables_rules_are_of_ipv6() -> None:
    here.run(["ip6tables", "-A", "INPUT", "-s", "fd00::/64", "-j", "NFLOG"])
    said = here.run(["ip6tables-save", "-c"])
    (table,) = iptables.read(said, Backend.IP6TABLES)
    (rule,) = next(chain.rules for chain in table.chains if chain.name == "INPUT")
    source = Condition(Field.SOURCE, (span("fd00::", "fd00::ffff:ffff:ffff:ffff"),))
    assert (table.family, rule.steps, rule.packets) == ("ip6", (source, Log(0)), 0)


def test_an_iptables_rule_that_is_torn_is_passed_over() -> None:
    text = '*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j NFLOG "\n-A\nCOMMIT\n'
    assert iptables.read(text, Backend.IPTABLES) == [
        Table(Backend.IPTABLES, "ip", "filter", (Chain("OUTPUT", "output", ()),))
    ]
