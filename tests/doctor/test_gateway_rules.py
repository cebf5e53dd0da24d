"""What the doctor finds of the rules on a gateway: each thing that goes wrong is made
to go wrong, in a private network, with nft and with both kinds of iptables."""

import pytest

from tests.doctor.asking import BIN
from tests.doctor.gateway import (
    ENDPOINT,
    PORT,
    SEND,
    WITHOUT_NET_ADMIN,
    Gateway,
    program,
)
from tests.netns import udp

pytestmark = pytest.mark.netns


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
