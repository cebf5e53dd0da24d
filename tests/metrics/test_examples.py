"""The example alerts and dashboard: of metrics that exist, in queries that work.

What Prometheus itself makes of them is asked of its promtool.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcap_zmq.counters import SenderCounters
from pcap_zmq.metrics import receiver, sender
from pcap_zmq.metrics.family import Kind, Metric
from pcap_zmq.metrics.prometheus import exposed
from pcap_zmq.packet import Instant
from tests.metrics.snapshots import NOW, line
from tests.metrics.test_observers import Ledger, observe_sender

EXAMPLES = Path(__file__).parents[2] / "examples" / "prometheus"
ALERTS = (EXAMPLES / "alerts.yml").read_text()
ALERT_TESTS = (EXAMPLES / "alerts_test.yml").read_text()
DASHBOARD = json.loads((EXAMPLES / "dashboard.json").read_text())

METRICS = {metric.name: metric for metric in (*sender.METRICS, *receiver.METRICS)}
OF_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
OF_SCRAPE = {"up"}
SCRAPE_LABELS = {"job", "instance", "le"}

# What Grafana puts in their place.
VARIABLES = {"$__rate_interval": "5m", "$sender": ".*"}


def panels() -> Iterator[dict[str, Any]]:
    """All that show something."""
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            yield panel


def in_dashboard() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            expression: str = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield expression


def in_alerts() -> list[str]:
    return re.findall(r"^ +expr: (.+)$", ALERTS, re.MULTILINE)


def metric_of(series: str) -> Metric | None:
    """A histogram's series have names of their own."""
    histogram = METRICS.get(re.sub(r"_(bucket|sum|count)$", "", series))
    if histogram is not None and histogram.kind is Kind.HISTOGRAM:
        return histogram
    return METRICS.get(series)


EXPRESSIONS = [*in_alerts(), *in_dashboard()]


def test_there_are_expressions_to_judge() -> None:
    assert len(in_alerts()) > 10
    assert len(list(in_dashboard())) > 20


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_exist(expression: str) -> None:
    series = re.findall(r"\b(?:pcap_zmq|process)_\w+|\bup\b", expression)
    assert series
    metrics = [metric_of(name) for name in series if name.startswith("pcap_zmq")]
    assert None not in metrics
    assert {name for name in series if not metric_of(name)} <= OF_PROCESS | OF_SCRAPE
    labels = {label for metric in metrics if metric for label in metric.labels}
    asked = set(re.findall(r'(\w+)\s*[=!]~?"', expression))
    asked |= {
        label
        for grouping in re.findall(r"\bby \(([^)]*)\)", expression)
        for label in re.split(r",\s*", grouping)
    }
    assert asked <= labels | SCRAPE_LABELS


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_rates_are_of_counters_and_of_nothing_else(expression: str) -> None:
    rated = re.findall(r"(?:rate|increase)\((\w+)", expression)
    for name in rated:
        metric = metric_of(name)
        assert name in OF_PROCESS or (metric and metric.kind is not Kind.GAUGE)
    for name in re.findall(r"pcap_zmq_\w+_total", expression):
        # A ledger is of totals.
        assert name in rated or expression.startswith("sum by (sender) (")


def test_every_metric_of_a_gauge_legend_is_a_label_of_it() -> None:
    for panel in panels():
        for target in panel["targets"]:
            asked = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            series = re.findall(r"pcap_zmq_\w+", target["expr"])
            metrics = [metric for name in series if (metric := metric_of(name))]
            labels = {label for metric in metrics for label in metric.labels}
            assert asked <= labels | SCRAPE_LABELS, panel["title"]


def test_panels_have_a_place_of_their_own_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["description"]
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_alert_is_tested_to_fire_and_to_keep_quiet() -> None:
    alerts = re.findall(r"- alert: (\w+)", ALERTS)
    quiet = re.findall(r"eval_time: 15m, alertname: (\w+)\}", ALERT_TESTS)
    fires = re.findall(r"alertname: (\w+)\n +exp_alerts:", ALERT_TESTS)
    assert sorted(quiet) == sorted(set(fires)) == sorted(alerts)


def promtool(*arguments: str | Path, octets: str = "") -> str:
    """What it says; it must be content."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    run = subprocess.run(
        [program, *map(str, arguments)],
        input=octets,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_prometheus_takes_the_rules_and_the_scrape_configuration() -> None:
    assert f"{len(in_alerts())} rules" in promtool(
        "check", "rules", EXAMPLES / "alerts.yml"
    )
    promtool("check", "config", EXAMPLES / "prometheus.yml")


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", EXAMPLES / "alerts_test.yml")


def test_prometheus_understands_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(in_dashboard())
    ]
    # YAML is a superset of JSON.
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)


def test_prometheus_has_nothing_to_say_against_the_names() -> None:
    """Its linter knows the conventions."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    world = Ledger()
    world.lines = [line("gw1")]
    families = [
        *observe_sender(SenderCounters())(NOW),
        *world.observe(Instant(NOW.mono_ns, NOW.wall_ns)),
    ]

    class All(Collector):
        def collect(self) -> Iterator[Any]:
            return map(exposed, families)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(All())
    text = generate_latest(registry).decode()
    assert promtool("check", "metrics", octets=text) == ""
