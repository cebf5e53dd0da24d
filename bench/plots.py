"""Draws plots as PNG and SVG: medians, with the least and the most as whiskers."""

from __future__ import annotations

from statistics import median
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.part import Plot, Series

# Okabe and Ito's: told apart with any kind of colour vision; shapes and strokes help.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#000000",
)
MARKERS = "osD^vPX"
STROKES = ("-", "--", "-.", ":")

SIZE_INCHES = (8.0, 4.8)
DOTS_PER_INCH = 130
BARS_WIDTH = 0.84
# Of more bars, the figures on top would touch.
BARS_UPRIGHT_MAX = 16
# That fit side by side below the axis.
CHARACTERS, CHARACTERS_MIN = 90, 8
LEGEND_COLUMNS = 3

ENDS = (".png", ".svg")
# Else the same plot is another file every time.
METADATA = {".png": None, ".svg": {"Date": None}}


def draw(plot: Plot, directory: Path) -> list[Path]:
    """Writes the plot's files there, over older ones, and returns their paths."""
    # Not at the top: who only prints needs no matplotlib. A figure of our own needs
    # no pyplot, and so no display; savefig picks Agg or SVG by the file's end.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": plot.name, "svg.fonttype": "none"}):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        words = [str(place) for place in plot.x]
        numbers = [place for place in plot.x if not isinstance(place, str)]
        if len(numbers) == len(words):
            _lines(axes, plot, numbers)
        else:
            _bars(axes, plot, words)
        if plot.goal is not None:
            axes.axhline(
                plot.goal, color="black", linewidth=1, linestyle=(0, (6, 3)),
                label=plot.goal_label,
            )  # fmt: skip
        axes.set_title(plot.title, loc="left", fontweight="bold")
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        if plot.log_y:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#DDDDDD")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(
            loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False, fontsize=9
        )
        paths = [directory / f"{plot.name}{end}" for end in ENDS]
        for path in paths:
            figure.savefig(path, dpi=DOTS_PER_INCH, metadata=METADATA[path.suffix])
    return paths


def _bars(axes: Axes, plot: Plot, words: list[str]) -> None:
    width = BARS_WIDTH / max(1, len(plot.series))
    is_crowded = len(words) * len(plot.series) > BARS_UPRIGHT_MAX
    for index, series in enumerate(plot.series):
        shift = (index + 0.5) * width - BARS_WIDTH / 2
        places = [at + shift for at in range(len(words))]
        where, middles, whiskers = _shown(series, places)
        axes.bar(
            where,
            middles,
            0.92 * width,
            color=COLOURS[index % len(COLOURS)],
            label=series.label,
            yerr=whiskers,
            error_kw={"elinewidth": 1, "capsize": 2},
            log=plot.log_y,
        )
        for at, middle, high in zip(where, middles, whiskers[1], strict=True):
            axes.annotate(
                _figure(middle),
                (at, middle + high),
                (0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                rotation=90 if is_crowded else 0,
            )
    if is_crowded:
        # For the figures on top, which lean on nothing.
        axes.margins(y=0.1)
    characters = max(CHARACTERS_MIN, CHARACTERS // len(words))
    axes.set_xticks(
        range(len(words)), ["\n".join(wrap(word, characters)) for word in words]
    )


def _figure(value: float) -> str:
    """Two digits that say something, or all before the point."""
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"


def _lines(axes: Axes, plot: Plot, numbers: list[float]) -> None:
    for index, series in enumerate(plot.series):
        where, middles, whiskers = _shown(series, numbers)
        axes.errorbar(
            where,
            middles,
            yerr=whiskers,
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            linestyle=STROKES[index % len(STROKES)],
            label=series.label,
            elinewidth=1,
            capsize=3,
        )
    if plot.log_x:
        axes.set_xscale("log")
    # What was measured, and nothing between.
    axes.set_xticks(numbers, [f"{number:,g}" for number in numbers])
    axes.minorticks_off()


def _shown(
    series: Series, places: list[float]
) -> tuple[list[float], list[float], list[list[float]]]:
    """Places with values, their medians, and how far down and up the values go."""
    found = [
        (place, values)
        for place, values in zip(places, series.values, strict=True)
        if values
    ]
    middles = [median(values) for _, values in found]
    down = [median(values) - min(values) for _, values in found]
    up = [max(values) - median(values) for _, values in found]
    return [place for place, _ in found], middles, [down, up]
