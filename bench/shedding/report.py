"""Tables and plots of what was left."""

from __future__ import annotations

from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING

from bench.part import Plot, Series
from bench.shedding.measure import OVERLOADS
from bench.table import table
from pcap_zmq.policy.shed import How

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.shedding.measure import Measurement

SHOWN = {
    "alerts": "Alerts kept",
    "events": "Events of applications kept",
    "flows": "Complete flows left",
    "octets": "Octets kept",
}


def report(measured: Measurement) -> str:
    """Markdown: what there was, and a table for each thing that was counted."""
    runs = len(next(iter(measured.left.values())))
    parts = [
        f"{measured.captures} captures, {measured.packets:,} packets of "
        f"{measured.octets / 1e6:.1f} MB in {measured.flows:,} flows, in "
        f"{measured.seconds} s; Suricata finds {measured.alerts:,} alerts and "
        f"{measured.events:,} events of applications in all of it. Medians of {runs} "
        "runs, in percent, and from least to most where runs differ.\n"
    ]
    head = ("--shed", *(f"{overload} times" for overload in OVERLOADS))
    for name, title in SHOWN.items():
        rows = [
            (how.value, *(_spread(measured, how, load, name) for load in OVERLOADS))
            for how in How
        ]
        parts.append(f"**{title}**, by how many times too much there is:\n")
        parts.append(table(head, rows))
    return "\n".join(parts)


def plots(measured: Measurement) -> Iterator[Plot]:
    """One for each thing that was counted."""
    for name in ("alerts", "events", "flows"):
        yield Plot(
            name=f"shedding-{name}",
            title=SHOWN[name],
            x_label="times too much",
            y_label="percent",
            x=OVERLOADS,
            log_x=True,
            series=[
                Series(
                    f"--shed {how.value}",
                    [_percents(measured, how, load, name) for load in OVERLOADS],
                )
                for how in How
            ],
        )


def _percents(measured: Measurement, how: How, load: int, name: str) -> list[float]:
    get = attrgetter(name)
    return [100 * get(left) for left in measured.left[how, load]]


def _spread(measured: Measurement, how: How, load: int, name: str) -> str:
    values = _percents(measured, how, load, name)
    least, most = f"{min(values):.0f}", f"{max(values):.0f}"
    middle = f"{median(values):.0f}"
    return middle if least == most else f"{middle} ({least} to {most})"
