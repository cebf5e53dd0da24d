"""What the doctor finds on a gateway: each thing that goes wrong is made to go wrong,
in a private network, with nft and with both kinds of iptables."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.namespaces import Namespace, Network
from testbed.waiting import first_line
from tests.doctor.asking import BIN, Diagnosis, ask
from tests.netns import udp

pytestmark = pytest.mark.netns

GROUP, PORT = 5, 5140
SEND = ("--send", str(GROUP))
ENDPOINT = f"tcp://10.9.9.9:{PORT}"
TIMEOUT_S = 60.0


class Gateway:
    """A host with nothing but loopback, and the doctor's view of it."""

    def __init__(self, host: Namespace) -> None:
        self.host = host

    def ask(self, *arguments: str, within: tuple[str, ...] = ()) -> Diagnosis:
        return ask(*arguments, host=self.host, within=within)

    def run(self, command: str, input: str = "") -> str:
        return self.host.run(shlex.split(command), input=input).stdout

    def add(
        self,
        tool: str,
        hook: str,
        match: str = "",
        *,
        group: int = GROUP,
        **options: int | str,
    ) -> None:
        """A rule that logs what matches. options: threshold, size, prefix, range."""
        if tool == "nft":
            words = {"threshold": "queue-threshold", "size": "snaplen"}
            said = "".join(
                f" {words.get(name, name)} {value!r}".replace("'", '"')
                for name, value in options.items()
            )
            self._nft(hook, f"{match} counter log{said} group {group}")
        else:
            said = "".join(
                f" --nflog-{name} {value}" for name, value in options.items()
            )
            to = f"-j NFLOG --nflog-group {group}{said}"
            self.run(f"{program(tool)} -A {hook.upper()} {match} {to}")

    def exclude(self, tool: str, hook: str, match: str) -> None:
        """A rule that accepts what matches."""
        if tool == "nft":
            self._nft(hook, f"{match} accept")
        else:
            self.run(f"{program(tool)} -A {hook.upper()} {match} -j ACCEPT")

    def _nft(self, hook: str, rule: str) -> None:
        base = f"type filter hook {hook} priority 0\n{rule}\n"
        text = f"table inet t {{\nchain {hook} {{\n{base}}}\n}}\n"
        self.run("nft -f -", input=text)


def program(tool: str) -> str:
    return "iptables-nft" if tool == "iptables" else tool


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def gateway(network: Network) -> Gateway:
    return Gateway(network.add("gateway"))


@pytest.fixture
def either_gateway(user_namespace: bool) -> Iterator[Gateway]:
    """Of the machine's own root, and of a user namespace."""
    with Network(user_namespace) as network:
        yield Gateway(network.add("gateway"))


# Which rules there are.


def test_without_a_rule_there_is_a_problem_that_names_the_group(
    gateway: Gateway,
) -> None:
    found = gateway.ask(*SEND)
    assert "group 5: no rule logs to it" in found.one("rules", "problem")
    assert found.exit_code == 1


def test_rules_for_another_group_are_named(tool: str, gateway: Gateway) -> None:
    gateway.add(tool, "forward", group=6)
    assert "(rules here log to 6)" in gateway.ask(*SEND).one("rules", "problem")


def test_a_rule_that_reaches_the_group_is_well(tool: str, gateway: Gateway) -> None:
    gateway.add(tool, "forward")
    found = gateway.ask(*SEND)
    said = found.one("rules", "ok")
    assert "1 rule on forward" in said
    assert ("only IPv4" in said) is (tool != "nft")
    assert "no packet so far" in said
    assert found.problems == []
    assert found.exit_code == 0


def test_a_rule_that_has_seen_packets_is_not_called_idle(
    tool: str, gateway: Gateway
) -> None:
    gateway.add(tool, "input")
    udp.send(gateway.host, "127.0.0.1", 1, 30)
    assert "no packet so far" not in gateway.ask(*SEND).one("rules", "ok")


def test_a_rule_in_a_chain_that_nothing_jumps_to_is_a_problem(
    tool: str, gateway: Gateway
) -> None:
    if tool == "nft":
        text = "table inet t {\nchain alone {\nlog group 5\n}\n}\n"
        gateway.run("nft -f -", input=text)
    else:
        gateway.run(f"{program(tool)} -N ALONE")
        gateway.run(f"{program(tool)} -A ALONE -j NFLOG --nflog-group 5")
    said = gateway.ask(*SEND).one("rules", "problem")
    assert "group 5: no packet gets to" in said
    assert "alone" in said.lower()


def test_a_rule_after_one_that_takes_everything_is_a_problem(
    tool: str, gateway: Gateway
) -> None:
    gateway.exclude(tool, "forward", "")
    gateway.add(tool, "forward")
    assert "no packet gets to" in gateway.ask(*SEND).one("rules", "problem")


def test_rules_of_nft_and_of_both_iptables_are_all_seen(gateway: Gateway) -> None:
    for each in ("nft", "iptables", "iptables-legacy"):
        gateway.add(each, "forward")
    said = gateway.ask(*SEND).one("rules", "ok")
    assert "3 rules on forward" in said
    for place in ("nft inet t forward", "iptables -t filter", "iptables-legacy -t"):
        assert place in said


def test_without_the_right_to_list_rules_it_says_so_and_calls_none_missing(
    gateway: Gateway,
) -> None:
    gateway.add("nft", "forward")
    found = gateway.ask(*SEND, within=WITHOUT_NET_ADMIN)
    assert "nftables rules cannot be listed" in found.one("rules", "unknown")
    assert found.of("rules", "problem") == []


# What rules set that they should not.


def test_a_lower_threshold_than_the_senders_is_a_warning(
    tool: str, gateway: Gateway
) -> None:
    gateway.add(tool, "forward", threshold=32)
    found = gateway.ask(*SEND)
    assert "threshold of 32 is below the sender's 1024" in found.one("rules", "warning")
    assert gateway.ask(*SEND, "--qthreshold", "32").of("rules", "warning") == []


def test_a_rule_that_cuts_packets_is_a_warning(tool: str, gateway: Gateway) -> None:
    gateway.add(tool, "forward", size=96)
    assert "cuts packets to 96 octets" in gateway.ask(*SEND).one("rules", "warning")


def test_a_prefix_beside_the_group_is_a_warning(tool: str, gateway: Gateway) -> None:
    gateway.add(tool, "forward", prefix="seen")
    assert "its prefix 'seen' costs room" in gateway.ask(*SEND).one("rules", "warning")


def test_a_prefix_in_place_of_the_group_is_a_warning(
    tool: str, gateway: Gateway
) -> None:
    gateway.add(tool, "forward", group=0, prefix="5")
    found = gateway.ask(*SEND)
    assert "logs to group 0 with 5 as a prefix" in found.one("rules", "warning")
    assert "group 5: no rule logs to it" in found.one("rules", "problem")


def test_nflog_range_is_a_warning_that_names_what_works(gateway: Gateway) -> None:
    """iptables-nft does not keep it, so there is but one kind to find it in."""
    gateway.add("iptables-legacy", "forward", range=100)
    found = gateway.ask(*SEND)
    assert "--nflog-range never did anything" in found.one("rules", "warning")
    assert "use --nflog-size 100 instead" in found.remedy("rules", "warning")[0]


@pytest.mark.parametrize("hook", ["output", "postrouting"])
def test_what_leaves_this_host_has_no_times_and_no_checksums(
    hook: str, gateway: Gateway
) -> None:
    gateway.add("nft", hook)
    said = gateway.ask(*SEND).one("rules", "warning")
    assert f"on {hook} the kernel gives no timestamps and checksums" in said


# Our own stream.


def own_match(tool: str) -> str:
    return f"tcp dport {PORT}" if tool == "nft" else f"-p tcp --dport {PORT}"


def test_a_rule_that_logs_our_own_stream_is_a_problem_until_obeyed(
    tool: str, gateway: Gateway
) -> None:
    gateway.run("ip address add 10.9.9.1/24 dev lo")
    gateway.add(tool, "output")
    before = gateway.ask(*SEND, ENDPOINT)
    assert "logs our own stream to tcp://10.9.9.9:5140" in before.one(
        "own stream", "problem"
    )
    for command in before.remedy("own stream", "problem"):
        gateway.run(command)
    assert gateway.ask(*SEND, ENDPOINT).of("own stream", "ok") == [
        f"no rule logs our own stream to {ENDPOINT}"
    ]


def test_what_comes_back_from_the_receiver_is_our_own_stream_too(
    tool: str, gateway: Gateway
) -> None:
    gateway.add(tool, "input")
    before = gateway.ask(*SEND, ENDPOINT)
    assert before.one("own stream", "problem")
    (command,) = before.remedy("own stream", "problem")
    gateway.run(command)
    assert gateway.ask(*SEND, ENDPOINT).of("own stream", "problem") == []


def test_a_rule_for_what_passes_through_does_not_log_our_own_stream(
    tool: str, gateway: Gateway
) -> None:
    gateway.add(tool, "forward")
    assert gateway.ask(*SEND, ENDPOINT).one("own stream", "ok")


def test_a_rule_that_asks_for_another_port_does_not_log_it(
    tool: str, gateway: Gateway
) -> None:
    match = "tcp dport != 5140" if tool == "nft" else "-p tcp ! --dport 5140"
    gateway.add(tool, "output", match)
    assert gateway.ask(*SEND, ENDPOINT).one("own stream", "ok")


def test_an_exclusion_before_the_rule_is_seen(tool: str, gateway: Gateway) -> None:
    gateway.exclude(tool, "output", own_match(tool))
    gateway.add(tool, "output")
    assert gateway.ask(*SEND, ENDPOINT).one("own stream", "ok")


def test_an_exclusion_after_the_rule_is_too_late(tool: str, gateway: Gateway) -> None:
    gateway.add(tool, "output")
    gateway.exclude(tool, "output", own_match(tool))
    assert gateway.ask(*SEND, ENDPOINT).one("own stream", "problem")


def test_a_rule_with_a_condition_of_which_nothing_is_known_may_log_it(
    tool: str, gateway: Gateway
) -> None:
    match = "limit rate 9/second" if tool == "nft" else "-m limit --limit 9/s"
    gateway.add(tool, "output", match)
    assert "may log our own stream" in gateway.ask(*SEND, ENDPOINT).one(
        "own stream", "warning"
    )


@pytest.mark.parametrize("hook", ["input", "output"])
def test_on_one_host_both_directions_pass_both_ways(
    hook: str, gateway: Gateway
) -> None:
    gateway.add("nft", hook)
    found = gateway.ask(*SEND, f"tcp://127.0.0.1:{PORT}")
    assert found.one("own stream", "problem")
    commands = found.remedy("own stream", "problem")
    assert len(commands) == 2
    for command in commands:
        gateway.run(command)
    assert gateway.ask(*SEND, f"tcp://127.0.0.1:{PORT}").one("own stream", "ok")


def test_a_sender_that_listens_excludes_its_own_port(gateway: Gateway) -> None:
    gateway.add("nft", "output")
    found = gateway.ask(*SEND, f"tcp://*:{PORT}")
    assert found.remedy("own stream", "problem")[0].endswith(f"tcp sport {PORT} accept")


def test_interfaces_count_as_far_as_the_way_is_known(gateway: Gateway) -> None:
    gateway.run("ip link add way0 type veth peer name way1")
    gateway.run("ip address add 10.9.9.1/24 dev way0")
    gateway.run("ip link set way0 up")
    gateway.add("nft", "output", 'oifname "lo"')
    assert gateway.ask(*SEND, ENDPOINT).one("own stream", "ok")
    gateway.add("nft", "output", 'oifname "way0"')
    assert gateway.ask(*SEND, ENDPOINT).one("own stream", "problem")


# The rules that it prints.


def test_the_rules_it_prints_carry_the_senders_threshold(gateway: Gateway) -> None:
    rules = gateway.ask(*SEND, "--qthreshold", "77").answer["rules"]
    assert "log group 5 queue-threshold 77\n" in rules["nft"]
    assert "--nflog-group 5 --nflog-threshold 77\n" in rules["iptables"]


# Who reads the group.

HOLD = """
import sys
from nflog_ffi import NflogSocket
with NflogSocket([int(word) for word in sys.argv[1:]]):
    print("ready", flush=True)
    sys.stdin.read()
"""

HOLD_BY_A_SECOND_SOCKET = (
    """
import socket, sys
taken = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
taken.bind((0, 0))
"""
    + HOLD
)


def script(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


def start(gateway: Gateway, path: Path, *arguments: str) -> subprocess.Popen[str]:
    """A script that says when it is ready, and stays until its input ends."""
    process = gateway.host.popen(
        [sys.executable, str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert first_line(process.stdout, TIMEOUT_S, "a reader of a group") == "ready"
    return process


def test_a_free_group_is_well(gateway: Gateway) -> None:
    assert gateway.ask(*SEND).one("groups", "ok") == "group 5 is free"


@pytest.mark.parametrize("text", [HOLD, HOLD_BY_A_SECOND_SOCKET])
def test_a_group_that_another_program_reads_is_a_problem_that_names_it(
    text: str, tmp_path: Path, either_gateway: Gateway
) -> None:
    """Whose port id is its process id, or anything, where it has other sockets."""
    other = script(tmp_path, "somelogger", text)
    pid = start(either_gateway, other, "5", "7").pid
    found = either_gateway.ask(*SEND)
    assert found.one("groups", "problem").startswith(
        f"group 5 is read by somelogger (pid {pid})"
    )
    assert (
        found.one("groups", "ok") == f"other groups in use: 7 by somelogger (pid {pid})"
    )
    assert found.exit_code == 1


def test_a_group_that_our_sender_reads_is_well(
    tmp_path: Path, gateway: Gateway
) -> None:
    pid = start(gateway, script(tmp_path, "pcap-zmq-send", HOLD), "5").pid
    said = gateway.ask(*SEND).one("groups", "ok")
    assert said == f"group 5 is read by pcap-zmq-send (pid {pid})"


def test_several_senders_are_told_of(tmp_path: Path, gateway: Gateway) -> None:
    sender = script(tmp_path, "pcap-zmq-send", HOLD)
    start(gateway, sender, "5")
    start(gateway, sender, "6", "7")
    found = gateway.ask(*SEND)
    assert "2 senders run here" in "".join(found.of("groups", "ok"))
    assert found.of("groups", "problem") == []


def test_group_0_is_the_kernels_own(gateway: Gateway) -> None:
    assert "group 0 is also the kernel's own" in gateway.ask("--send", "0").one(
        "groups", "warning"
    )


# Who we are and where.

WITHOUT_NET_ADMIN = (
    "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", "--",
)  # fmt: skip


def test_without_the_capability_there_is_a_problem(either_gateway: Gateway) -> None:
    found = either_gateway.ask(*SEND, within=WITHOUT_NET_ADMIN)
    assert "has no CAP_NET_ADMIN" in found.one("rights", "problem")
    assert found.exit_code == 1


def test_with_the_capability_all_is_well(
    either_gateway: Gateway, user_namespace: bool
) -> None:
    found = either_gateway.ask(*SEND)
    said = found.one("rights", "ok")
    assert ("of a user namespace" in said) is user_namespace


def test_a_capability_of_another_user_namespace_does_not_count(
    gateway: Gateway,
) -> None:
    within = ("unshare", "--user", "--map-root-user", "--")
    said = gateway.ask(*SEND, within=within).one("rights", "problem")
    assert "does not count in this network namespace" in said


def test_a_network_of_its_own_is_a_warning_unless_the_rules_are_in_it(
    gateway: Gateway,
) -> None:
    assert gateway.ask(*SEND).one("namespace", "warning")
    gateway.add("nft", "forward")
    assert "where the rules are, too" in gateway.ask(*SEND).one("namespace", "ok")


def test_the_kernel_has_nflog(gateway: Gateway) -> None:
    assert "has nfnetlink_log" in gateway.ask(*SEND).one("kernel", "ok")


def test_the_receive_buffer_is_given_to_root_alone(
    either_gateway: Gateway, user_namespace: bool
) -> None:
    found = either_gateway.ask(*SEND, "--rcvbuf", "1GiB")
    maximum = Path("/proc/sys/net/core/rmem_max")
    if not user_namespace:
        assert found.one("receive buffer", "ok")
    elif maximum.exists():
        expected = f"net.core.rmem_max of {int(maximum.read_text())} is less"
        assert expected in found.one("receive buffer", "warning")
        small = either_gateway.ask(*SEND, "--rcvbuf", "128KiB")
        assert small.one("receive buffer", "ok")
    else:
        assert found.one("receive buffer", "unknown")


# It changes nothing.


def test_nothing_is_changed_by_looking(gateway: Gateway) -> None:
    for each in ("nft", "iptables", "iptables-legacy"):
        gateway.add(each, "output")

    def state() -> list[str]:
        said = (
            gateway.run("nft -s list ruleset")
            + gateway.run("iptables-nft-save")
            + gateway.run("iptables-legacy-save")
            + gateway.run("cat /proc/net/netfilter/nf_log /proc/net/ip_tables_names")
        )
        # The comments say when.
        return [line for line in said.splitlines() if not line.startswith("#")]

    before = state()
    gateway.ask(*SEND, ENDPOINT)
    assert state() == before


def test_without_a_group_all_rules_are_looked_at(gateway: Gateway) -> None:
    gateway.add("nft", "forward", threshold=32)
    found = gateway.ask()
    assert found.one("rules", "ok").startswith("group 5: 1 rule")
    assert found.one("rules", "warning")
    assert "rules" not in found.answer


def test_for_people_it_prints_lines_and_rules_without_colour(
    gateway: Gateway,
) -> None:
    argv = [str(BIN / "pcap-zmq"), "doctor", *SEND, ENDPOINT]
    done = gateway.host.run(argv, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\x1b" not in done.stdout
    assert "\nproblem  rules           group 5: no rule logs to it" in done.stdout
    assert "-> add rules like those below" in done.stdout
    _, _, pasted = done.stdout.partition("With nft:\n")
    nft, _, pasted = pasted.partition("Or with iptables:\n")
    gateway.run("sh -e", input=nft)
    gateway.run("sh -e", input=pasted.rpartition("\n\n")[0])
    assert gateway.ask(*SEND, ENDPOINT).one("own stream", "ok")
