"""Plots become files that can be looked at, whatever was and was not measured."""

from pathlib import Path

import pytest

from bench.part import Plot, Series
from bench.plots import draw

BARS = Plot(
    "bars",
    "Sending",
    "octets",
    "packets",
    ["64", "200", "imix"],
    [
        Series("ours, all of it", [[1.0, 2.0, 3.0], [4.0], [2.0, 2.5]]),
        Series("theirs, at one", [[], [0.5, 0.25], []]),
    ],
)
LINES = Plot(
    "lines",
    "Latency",
    "packets a second",
    "ms",
    [100, 10_000],
    [Series("p50", [[10.0, 11.0], [9.0, 12.0]]), Series("p99", [[20.0], []])],
    log_x=True,
    log_y=True,
    goal=25.0,
    goal_label="what is wanted",
)


@pytest.mark.parametrize("plot", [BARS, LINES], ids=lambda plot: plot.name)
def test_a_plot_is_written_as_png_and_as_svg(plot: Plot, tmp_path: Path) -> None:
    paths = draw(plot, tmp_path)

    assert sorted(path.name for path in paths) == [
        f"{plot.name}.png",
        f"{plot.name}.svg",
    ]
    png, svg = (tmp_path / f"{plot.name}{end}" for end in (".png", ".svg"))
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    text = svg.read_text()
    for words in (plot.title, plot.x_label, *(some.label for some in plot.series)):
        assert words in text


def test_a_goal_is_in_the_picture_and_says_what_it_is(tmp_path: Path) -> None:
    draw(LINES, tmp_path)

    assert "what is wanted" in (tmp_path / "lines.svg").read_text()


def test_the_same_numbers_give_the_same_file(tmp_path: Path) -> None:
    """Else every run would be a change of the repository."""
    draw(BARS, tmp_path)
    first = (tmp_path / "bars.svg").read_bytes()
    draw(BARS, tmp_path)

    assert (tmp_path / "bars.svg").read_bytes() == first
