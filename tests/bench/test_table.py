"""What the benchmark says about its numbers: percentiles, spreads, verdicts."""

import pytest

from bench.part import Section, Verdict
from bench.report import Circumstances, goals, render
from bench.runs import Outcome
from bench.table import loss, percentile, spread, table

HOW = Circumstances(
    is_quick=False,
    is_root=True,
    runs=5,
    seconds=2.0,
    rate=0,
    load_before=0.1,
    taken_s=60,
    captures="one made here",
)


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 500), (99, 990), (99.9, 999), (100, 1000)]
)
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    percent: float, expected: int
) -> None:
    assert percentile(range(1, 1001), percent) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7], 99.9) == 7


def test_a_spread_of_one_run_claims_no_range() -> None:
    assert spread([2.0]) == "2.00"
    assert spread([1.0, 2.0, 4.0]) == "2.00 (1.00 to 4.00)"


def test_a_single_lost_packet_of_millions_is_not_nothing() -> None:
    assert loss([Outcome(sent=5, logged=5, delivered=5)]) == "0"
    many = 10_000_000
    assert loss([Outcome(sent=many, logged=many, delivered=many - 1)]) == "< 0.01 %"


def test_a_table_has_one_line_for_its_head_one_below_and_one_for_each_row() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"


def test_a_bar_in_a_cell_is_no_border_of_it() -> None:
    assert table(["a"], [["tcpdump | socat"]]).endswith("| tcpdump \\| socat |\n")


def test_a_missed_goal_stands_out_and_a_reached_one_does_not() -> None:
    said = goals(
        [
            Verdict("sending", 4.9, 5.0, "times"),
            Verdict("lost", 0, 0, "packets", at_most=True),
            Verdict("latency", 25.1, 25.0, "ms", at_most=True),
        ]
    )

    assert "| sending | 4.90 times | at least 5 | **MISSED** |" in said
    assert "| lost | 0 packets | at most 0 | reached |" in said
    assert "| latency | 25.10 ms | at most 25 | **MISSED** |" in said


def test_the_goals_of_all_parts_come_before_any_part() -> None:
    sections = [
        Section("First", "one\n", [Verdict("a", 1, 1)]),
        Section("Second", "two\n", [Verdict("b", 1, 2)]),
    ]

    report = render(sections, HOW, plotted=False)

    heads = [line for line in report.splitlines() if line.startswith("## ")]
    assert heads == ["## Goals", "## First", "## Second"]
    assert report.index("| b |") < report.index("## First")
