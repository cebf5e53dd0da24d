"""Which rules a packet meets when not everything is known of it."""

import itertools
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.doctor.judge.ruleset import (
    Backend,
    Chain,
    Condition,
    Ending,
    Field,
    Log,
    Rule,
    Span,
    Step,
    Table,
    Unknown,
    Verdict,
)
from pcap_zmq.doctor.judge.walk import Probe, Sure, holds, walk
from pcap_zmq.formats.ip import Address

HOOK = "output"
LOG = Log(5)
STOP, RETURN = Verdict(Ending.STOP), Verdict(Ending.RETURN)
TO_5140 = Condition(Field.DESTINATION_PORT, (Span(5140, 5140),))
NOT_TO_5140 = Condition(Field.DESTINATION_PORT, (Span(5140, 5140),), negated=True)
PERHAPS = Unknown()
PROBE: Probe = {Field.DESTINATION_PORT: 5140}


def jump(target: str) -> Verdict:
    return Verdict(Ending.JUMP, target)


def goto(target: str) -> Verdict:
    return Verdict(Ending.GOTO, target)


def table(**chains: list[list[Step]]) -> Table:
    """The chain `base` hangs on the hook, the others are only jumped to."""
    numbers = itertools.count(1)
    return Table(
        Backend.NFT,
        "inet",
        "t",
        tuple(
            Chain(
                name,
                HOOK if name == "base" else None,
                tuple(Rule(tuple(steps), next(numbers)) for steps in rules),
            )
            for name, rules in chains.items()
        ),
    )


def logged(tables: Table, probe: Probe = PROBE) -> Sure:
    """Whether the one log rule is met: surely, perhaps, or not at all."""
    met = list(walk(tables, probe, frozenset({HOOK})))
    assert len(met) < 2
    return (met[0].is_sure or None) if met else False


CASES: dict[str, tuple[Table, Sure]] = {
    "a rule without conditions": (table(base=[[LOG]]), True),
    "a condition that holds": (table(base=[[TO_5140, LOG]]), True),
    "one that does not": (table(base=[[NOT_TO_5140, LOG]]), False),
    "one that is not understood": (table(base=[[PERHAPS, LOG]]), None),
    "a log before the condition": (table(base=[[LOG, NOT_TO_5140]]), True),
    "after an accept": (table(base=[[STOP], [LOG]]), False),
    "after an accept that holds": (table(base=[[TO_5140, STOP], [LOG]]), False),
    "after one that does not": (table(base=[[NOT_TO_5140, STOP], [LOG]]), True),
    "after one that may": (table(base=[[PERHAPS, STOP], [LOG]]), None),
    "after one that may and one that holds": (
        table(base=[[PERHAPS, STOP], [TO_5140, STOP], [LOG]]),
        False,
    ),
    "after two that may": (
        table(base=[[PERHAPS, STOP], [PERHAPS, STOP], [LOG]]),
        None,
    ),
    "after a return": (table(base=[[RETURN], [LOG]]), False),
    "in a chain jumped to": (table(base=[[jump("a")]], a=[[LOG]]), True),
    "in a chain perhaps jumped to": (
        table(base=[[PERHAPS, jump("a")]], a=[[LOG]]),
        None,
    ),
    "in a chain nobody jumps to": (table(base=[[STOP]], a=[[LOG]]), False),
    "after a chain that comes back": (
        table(base=[[jump("a")], [LOG]], a=[[NOT_TO_5140, STOP]]),
        True,
    ),
    "after a chain that returns early": (
        table(base=[[jump("a")], [LOG]], a=[[TO_5140, RETURN], [STOP]]),
        True,
    ),
    "after a chain that stops it": (
        table(base=[[jump("a")], [LOG]], a=[[TO_5140, STOP]]),
        False,
    ),
    "after a chain that may stop it": (
        table(base=[[jump("a")], [LOG]], a=[[PERHAPS, STOP]]),
        None,
    ),
    "after a chain that may return before it stops": (
        table(base=[[jump("a")], [LOG]], a=[[PERHAPS, RETURN], [STOP]]),
        None,
    ),
    "after perhaps jumping to a chain that comes back": (
        table(base=[[PERHAPS, jump("a")], [LOG]], a=[[RETURN]]),
        True,
    ),
    "after perhaps jumping to a chain that stops it": (
        table(base=[[PERHAPS, jump("a")], [LOG]], a=[[STOP]]),
        None,
    ),
    "after going to a chain that comes back": (
        table(base=[[goto("a")], [LOG]], a=[[RETURN]]),
        False,
    ),
    "in a chain gone to": (table(base=[[goto("a")]], a=[[LOG]]), True),
    "back where the chain that goes was jumped to": (
        table(base=[[jump("a")], [LOG]], a=[[goto("b")], [STOP]], b=[[RETURN]]),
        True,
    ),
    "after a jump to what is no chain": (table(base=[[jump("ACCEPT")], [LOG]]), False),
    "after a verdict map": (
        table(base=[[Verdict(Ending.STOP, certain=False)], [LOG]]),
        None,
    ),
    "in a chain of a verdict map": (
        table(
            base=[
                [
                    Verdict(Ending.STOP, certain=False),
                    Verdict(Ending.JUMP, "a", certain=False),
                ]
            ],
            a=[[LOG]],
        ),
        None,
    ),
    "after a rule that jumps in circles": (
        table(base=[[jump("a")], [LOG]], a=[[jump("a")]]),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_packet_is_logged_surely_perhaps_or_not(case: str) -> None:
    rules, expected = CASES[case]
    assert logged(rules) is expected


def test_a_table_of_one_family_sees_no_packet_of_the_other() -> None:
    rules = table(base=[[STOP], [LOG]])
    of_v4 = Table(Backend.IPTABLES, "ip", "filter", rules.chains)
    assert logged(of_v4, {Field.FAMILY: "ip6"}) is False
    is_v4 = Condition(Field.FAMILY, (Span("ip", "ip"),))
    of_v4 = Table(Backend.NFT, "ip", "t", table(base=[[is_v4, LOG]]).chains)
    assert logged(of_v4, {}) is True


def test_a_rule_on_another_hook_is_not_met() -> None:
    rules = table(base=[[LOG]])
    assert list(walk(rules, PROBE, frozenset({"forward"}))) == []


def test_what_is_not_known_of_the_packet_leaves_the_question_open() -> None:
    assert logged(table(base=[[TO_5140, LOG]]), {}) is None


def test_thousands_of_jumps_to_one_chain_take_no_time() -> None:
    """As the rule sets of container platforms have them, and each level doubles it."""
    levels: dict[str, list[list[Step]]] = {
        f"c{n}": [[jump(f"c{n + 1}")], [jump(f"c{n + 1}")]] for n in range(200)
    }
    rules = table(base=[[jump("c0")]], **levels, c200=[[LOG]])
    assert logged(rules) is True


V4: Address
V6: Address
V4, V6 = ip_address("10.0.0.2"), ip_address("fd00::2")
NET = Span(ip_address("10.0.0.0"), ip_address("10.0.0.255"))


@pytest.mark.parametrize(
    ("condition", "probe", "expected"),
    [
        (Condition(Field.DESTINATION, (NET,)), {Field.DESTINATION: V4}, True),
        (Condition(Field.DESTINATION, (NET,)), {Field.DESTINATION: V6}, False),
        (Condition(Field.DESTINATION, (NET,), True), {Field.DESTINATION: V4}, False),
        (Condition(Field.SOURCE, (NET,)), {Field.DESTINATION: V4}, None),
        (
            Condition(Field.GOES_OUT, (Span("eth*", "eth*"),)),
            {Field.GOES_OUT: "eth0"},
            True,
        ),
        (Condition(Field.GOES_OUT, (Span("lo", "lo"),)), {Field.GOES_OUT: "l"}, False),
        (Condition(Field.SOURCE_PORT, (Span(1, 9),)), {Field.SOURCE_PORT: 9}, True),
        (Condition(Field.SOURCE_PORT, (Span(1, 9),)), {Field.SOURCE_PORT: 10}, False),
        (
            Condition(Field.SOURCE_PORT, (Span(1, 2), Span(5, 6))),
            {Field.SOURCE_PORT: 5},
            True,
        ),
        (Condition(Field.PROTOCOL, (Span("tcp", "tcp"),)), {}, None),
    ],
)
def test_a_condition_holds_of_what_is_known(
    condition: Condition, probe: Probe, expected: Sure
) -> None:
    assert holds(condition, probe) is expected


STEPS = st.sampled_from(
    [TO_5140, NOT_TO_5140, PERHAPS, STOP, RETURN, jump("a"), jump("b"), goto("b")]
)
RULES = st.lists(st.lists(STEPS, max_size=3), max_size=4)


@given(before=RULES, a=RULES, b=RULES, answers=st.data())
def test_what_is_sure_is_so_whatever_the_open_questions_turn_out_to_be(
    before: list[list[Step]], a: list[list[Step]], b: list[list[Step]],
    answers: st.DataObject,
) -> None:  # fmt: skip
    """Each condition that is not understood is answered, and the packet walked by the
    plain rules of netfilter: that must never contradict what was said to be sure."""
    # A chain may only jump to later ones: the kernel refuses loops.
    b = [
        [s for s in steps if not isinstance(s, Verdict) or not s.target] for steps in b
    ]
    a = [
        [s for s in steps if not isinstance(s, Verdict) or s.target != "a"]
        for steps in a
    ]
    said = logged(table(base=[*before, [LOG]], a=a, b=b))
    chains: dict[str, list[list[Step]]] = {"base": [*before, [LOG]], "a": a, "b": b}
    is_logged = False

    def passes(name: str) -> bool:
        """Whether the packet comes out of the chain."""
        nonlocal is_logged
        for steps in chains[name]:
            for step in steps:
                if isinstance(step, Log):
                    is_logged = True
                elif isinstance(step, Unknown):
                    if not answers.draw(st.booleans()):
                        break
                elif isinstance(step, Condition):
                    if step.negated:
                        break
                elif step.ending is Ending.STOP:
                    return False
                elif step.ending is Ending.RETURN:
                    return True
                elif step.ending is Ending.GOTO:
                    return passes(step.target)
                else:
                    if not passes(step.target):
                        return False
                    break
        return True

    passes("base")
    if said is not None:
        assert is_logged is said
