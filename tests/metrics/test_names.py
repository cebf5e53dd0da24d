"""The names that monitoring builds upon: Prometheus' conventions, and no surprises.

Specification: https://prometheus.io/docs/practices/naming/.
"""

import re
from pathlib import Path

import pytest

from pcap_zmq.counters import Reason
from pcap_zmq.metrics import receiver, sender
from pcap_zmq.metrics.family import Kind, Metric

METRICS = (*sender.METRICS, *receiver.METRICS)
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"

UNITS = ("packets", "bytes", "seconds", "second", "messages", "datagrams")
COUNTS = (
    "connections",
    "files",
    "connections_limit",
    "handshakes",
    "batches",
    "overruns",
    "readers",
    "reconnects",
    "runs",
    "senders",
)
STATES = ("link_up", "output_up", "reader_present", "connected", "build_info")

parametrized = pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)


def test_no_name_is_there_twice() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@parametrized
def test_a_name_says_whose_it_is_and_ends_in_its_unit(metric: Metric) -> None:
    assert re.fullmatch(r"pcap_zmq_(sender|receiver)_[a-z_]+", metric.name)
    assert metric.name.removesuffix("_total").endswith((*UNITS, *COUNTS, *STATES))


@parametrized
def test_only_counters_are_totals(metric: Metric) -> None:
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)


@parametrized
def test_the_help_is_a_sentence(metric: Metric) -> None:
    assert re.fullmatch(r"[A-Z01].+\.", metric.help)


@parametrized
def test_the_documentation_has_it(metric: Metric) -> None:
    documented = re.findall(r"`(pcap_zmq_\w+)", DOCS.read_text())
    assert metric.name in documented


def test_the_documentation_has_nothing_else() -> None:
    documented = set(
        re.findall(r"`(pcap_zmq_(?:sender|receiver)_\w+)", DOCS.read_text())
    )
    assert documented <= {metric.name for metric in METRICS}


def test_every_reason_is_shown_by_whoever_may_drop_for_it() -> None:
    # What only a replay drops for is in its totals.
    assert {*sender.REASONS, *receiver.REASONS} == set(Reason) - {Reason.TOO_LONG}
