"""Judgements on facts that no test can bring about here: other kernels, libraries, and
disks that are full."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from pcap_zmq.doctor.finding import Finding, Verdict
from pcap_zmq.doctor.judge import buffers, groups, libraries, output, rights, rules
from pcap_zmq.doctor.judge.buffers import Buffers
from pcap_zmq.doctor.judge.groups import Groups, Holder, Process
from pcap_zmq.doctor.judge.libraries import Libraries
from pcap_zmq.doctor.judge.output import Kind, Output, Pipes
from pcap_zmq.doctor.judge.rights import Kernel, Place
from pcap_zmq.doctor.judge.rules import Rules
from pcap_zmq.doctor.judge.ruleset import Backend, Chain, Log, Rule, Table
from pcap_zmq.formats.rules import Stream, exclusions, iptables_rules, nft_rules

OK, WARNING = Verdict.OK, Verdict.WARNING
PROBLEM, UNKNOWN = Verdict.PROBLEM, Verdict.UNKNOWN
MIB = 1 << 20


def verdicts(findings: Iterable[Finding]) -> list[Verdict]:
    return [finding.verdict for finding in findings if finding.verdict is not OK]


@pytest.mark.parametrize(
    ("is_there", "is_built", "expected"),
    [
        (True, None, OK),
        (False, True, OK),
        (False, None, UNKNOWN),
        (False, False, PROBLEM),
    ],
)
def test_a_kernel_without_nflog_is_a_problem(
    is_there: bool, is_built: bool | None, expected: Verdict
) -> None:
    (finding,) = rights.judge_kernel(Kernel("6.1", is_there, is_built))
    assert finding.verdict is expected


@pytest.mark.parametrize(
    ("place", "are_rules_here", "expected"),
    [
        (Place(False, None), False, OK),
        (Place(True, None), False, WARNING),
        (Place(True, None), True, OK),
        (Place(False, "docker"), False, WARNING),
        (Place(None, "podman"), True, OK),
        (Place(None, None), False, UNKNOWN),
    ],
)
def test_a_network_without_the_rules_is_a_warning(
    place: Place, are_rules_here: bool, expected: Verdict
) -> None:
    (finding,) = rights.judge_place(place, are_rules_here=are_rules_here)
    assert finding.verdict is expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Buffers(32 * MIB, 4 * MIB, True), OK),
        (Buffers(32 * MIB, 4 * MIB, False), WARNING),
        (Buffers(32 * MIB, 32 * MIB, False), OK),
        (Buffers(32 * MIB, None, False), UNKNOWN),
    ],
)
def test_a_receive_buffer_that_is_not_given_is_a_warning(
    facts: Buffers, expected: Verdict
) -> None:
    (finding,) = buffers.judge(facts)
    assert finding.verdict is expected


GOOD = Libraries(
    python="3.11.2",
    pcap_zmq="1",
    libzmq=(4, 3, 5),
    pyzmq="27",
    has_curve=True,
    codecs={"zstd": True, "lz4": True},
    libpcap="libpcap version 1.10.3",
    nflog="/usr/lib/libnetfilter_log.so.1",
)


def test_the_libraries_of_our_own_wheels_are_well() -> None:
    assert verdicts(libraries.judge(GOOD, sends=True)) == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (replace(GOOD, libzmq=(4, 3, 2)), PROBLEM),
        (replace(GOOD, has_curve=False), WARNING),
        (replace(GOOD, codecs={"zstd": False, "lz4": True}), WARNING),
        (replace(GOOD, nflog=None, nflog_error="no such library"), PROBLEM),
    ],
)
def test_a_library_that_is_missing_or_too_old_is_told_of(
    facts: Libraries, expected: Verdict
) -> None:
    assert verdicts(libraries.judge(facts, sends=True)) == [expected]


def test_a_receiver_needs_no_nflog() -> None:
    assert verdicts(libraries.judge(replace(GOOD, nflog=None), sends=False)) == []


@pytest.mark.parametrize(
    ("pipes", "expected"),
    [
        (Pipes(MIB, 16_384), []),
        (Pipes(MIB, 0), []),
        (Pipes(None, None), []),
        (Pipes(65_536, 16_384), [WARNING]),
        (Pipes(MIB, 16), [WARNING]),
    ],
)
def test_pipes_that_are_kept_small_are_a_warning(
    pipes: Pipes, expected: list[Verdict]
) -> None:
    assert verdicts(output.judge_pipes(pipes)) == expected


FILE = Output(
    path="/var/packets.pcap",
    is_file_wanted=True,
    kind=Kind.FILE,
    has_directory=True,
    may_write=True,
    may_replace=True,
    free=100 << 30,
)


def test_a_disk_that_is_nearly_full_is_a_warning_for_a_file_alone() -> None:
    assert verdicts(output.judge(FILE)) == []
    assert verdicts(output.judge(replace(FILE, free=200 * MIB))) == [WARNING]
    missing = replace(FILE, free=200 * MIB, kind=Kind.NOTHING)
    assert verdicts(output.judge(missing)) == [WARNING]
    fifo = replace(missing, kind=Kind.FIFO, is_file_wanted=False)
    assert verdicts(output.judge(fifo)) == []


@pytest.mark.parametrize(
    ("is_root", "remedy"), [(False, "run as root"), (True, "CAP_SYS_PTRACE")]
)
def test_root_is_not_told_to_become_root(is_root: bool, remedy: str) -> None:
    fifo = replace(FILE, kind=Kind.FIFO, is_file_wanted=False, sees_all=False)
    fifo = replace(fifo, is_root=is_root)
    (finding,) = (f for f in output.judge(fifo) if f.verdict is UNKNOWN)
    assert remedy in finding.remedy[0]
    assert ("as root" in finding.remedy[0]) is not is_root


def test_a_fifo_that_cannot_be_replaced_is_a_warning() -> None:
    fifo = replace(FILE, kind=Kind.FIFO, is_file_wanted=False, may_replace=False)
    assert verdicts(output.judge(fifo)) == [WARNING]


def test_what_cannot_be_seen_is_not_taken_for_good() -> None:
    hidden = Groups((5,), (), refused="may not be read")
    assert [f.verdict for f in groups.judge(hidden)] == [UNKNOWN]
    held = Groups((5,), (Holder(5, 4_100_000_000, 0, None),))
    assert [f.verdict for f in groups.judge(held)] == [WARNING]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("/usr/bin/python3 /usr/local/bin/pcap-zmq-send 5 tcp://x:1", True),
        ("python3 -m pcap_zmq send 5 tcp://x:1", True),
        ("/opt/bin/pcap-zmq send 5 tcp://x:1", True),
        ("/opt/bin/pcap-zmq-recv tcp://x:1 fifo", False),
        ("/usr/sbin/ulogd -d", False),
        ("vi pcap_zmq/send.py", False),
        ("", False),
    ],
)
def test_our_own_sender_is_known_under_each_of_its_names(
    argv: str, expected: bool
) -> None:
    assert Process(1, "x", tuple(argv.split())).is_ours("send") is expected


V4, V6 = ip_address("10.0.0.2"), ip_address("fd00::2")
BOTH = Stream("tcp://ids:5140", (V4, V6), 5140)


def test_a_name_with_several_addresses_is_excluded_by_each() -> None:
    nft = nft_rules(5, 1024, BOTH)
    for match in (
        "ip daddr 10.0.0.2 tcp dport 5140",
        "ip saddr 10.0.0.2 tcp sport 5140",
        "ip6 daddr fd00::2 tcp dport 5140",
        "ip6 saddr fd00::2 tcp sport 5140",
    ):
        assert f"        {match} return\n" in nft
    lines = iptables_rules(5, 1024, BOTH).splitlines()
    for line in (
        "iptables -A PCAP_ZMQ -d 10.0.0.2 -p tcp --dport 5140 -j RETURN",
        "ip6tables -A PCAP_ZMQ -s fd00::2 -p tcp --sport 5140 -j RETURN",
    ):
        assert line in lines
    assert not any(
        line.startswith("ip6tables") and "10.0.0.2" in line for line in lines
    )


def test_a_name_that_is_not_known_is_excluded_by_its_port() -> None:
    unknown = Stream("tcp://ids:5140", (), 5140)
    assert "        tcp dport 5140 return\n" in nft_rules(5, 1024, unknown)
    lines = iptables_rules(5, 1024, unknown).splitlines()
    assert sum("-p tcp --dport 5140 -j RETURN" in line for line in lines) == 2


def test_what_excludes_a_stream_fits_in_a_line() -> None:
    assert "\n" not in exclusions(BOTH)


def test_without_a_stream_nothing_is_excluded() -> None:
    assert "return" not in nft_rules(5, 1024, None)
    assert "RETURN" not in iptables_rules(5, 1024, None)


def logging_to(group: int, *, family: str) -> Table:
    rule = Rule((Log(group),), 7)
    chain = Chain("output", "output", (rule,))
    return Table(Backend.NFT, family, "t", (chain,))


@pytest.mark.parametrize(
    ("family", "expected"), [("inet", PROBLEM), ("ip6", PROBLEM), ("ip", None)]
)
def test_a_table_of_the_other_family_does_not_log_our_own_stream(
    family: str, expected: Verdict | None
) -> None:
    stream = Stream("tcp://[fd00::2]:5140", (V6,), 5140)
    facts = Rules((5,), 1024, (logging_to(5, family=family),), stream=stream)
    found = [f for f in rules.judge(facts) if f.check == rules.OWN_CHECK]
    assert verdicts(found) == ([expected] if expected else [])


def test_a_rule_for_another_group_is_not_our_own_streams() -> None:
    facts = Rules((5,), 1024, (logging_to(6, family="inet"),), stream=BOTH)
    found = [f for f in rules.judge(facts) if f.check == rules.OWN_CHECK]
    assert [finding.verdict for finding in found] == [OK]


def test_what_could_not_be_listed_is_no_missing_rule() -> None:
    facts = Rules((5,), 1024, (), refused=("nft: not permitted",))
    assert [finding.verdict for finding in rules.judge(facts)] == [UNKNOWN]
