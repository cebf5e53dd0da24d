"""The guard over instruction counts: what it passes and what it reports."""

import json
from pathlib import Path

import pytest

from bench.instructions import __main__ as guard
from bench.instructions.figures import complaints, keep, read, versions

KEPT = {"parse 200": 360.0, "compress zlib": 25_000.0}


def test_equal_figures_pass() -> None:
    assert complaints(KEPT, dict(KEPT)) == []


@pytest.mark.parametrize("factor", [0.96, 1.04])
def test_a_figure_within_tolerance_passes(factor: float) -> None:
    assert complaints(KEPT, {**KEPT, "parse 200": 360.0 * factor}) == []


@pytest.mark.parametrize(("factor", "moved"), [(1.1, "+10.0%"), (0.9, "-10.0%")])
def test_a_figure_that_moved_by_a_tenth_is_named_with_how_far(
    factor: float, moved: str
) -> None:
    (wrong,) = complaints(KEPT, {**KEPT, "parse 200": 360.0 * factor})
    assert wrong.startswith(f"parse 200: {moved}, from 360 to ")


def test_a_figure_that_is_not_counted_any_more_is_reported() -> None:
    (wrong,) = complaints(KEPT, {"parse 200": 360.0})
    assert wrong == "compress zlib: kept, and not counted any more"


def test_a_figure_that_nobody_kept_is_reported() -> None:
    (wrong,) = complaints({"parse 200": 360.0}, KEPT)
    assert wrong == "compress zlib: counted, and not kept"


def test_what_is_kept_replaces_this_machines_and_leaves_the_others(
    tmp_path: Path,
) -> None:
    path, here = tmp_path / "figures.json", versions()
    elsewhere = {**here, "machine": "another"}
    keep(path, elsewhere, {"parse 200": 1.0})
    keep(path, here, {"parse 200": 2.0})
    keep(path, here, {"parse 200": 3.0})
    found = [(one.versions["machine"], one.figures["parse 200"]) for one in read(path)]
    assert found == [("another", 1.0), (here["machine"], 3.0)]


def test_a_planted_regression_fails_and_says_how_to_accept_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, here = tmp_path / "figures.json", versions()
    keep(path, {**here, "isal": "0.1"}, KEPT)
    counted = {**KEPT, "compress zlib": 27_500.0}
    assert guard.compare(path, here, counted) == 1
    said = capsys.readouterr().err
    assert "compress zlib: +10.0%" in said
    assert "perhaps since isal is" in said
    assert "make bench-check ACCEPT=1" in said


@pytest.mark.parametrize(("may_not_skip", "code"), [("1", 2), ("", 0)])
def test_a_machine_without_figures_fails_only_where_nothing_may_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may_not_skip: str, code: int
) -> None:
    monkeypatch.setenv("TESTS_MAY_NOT_SKIP", may_not_skip)
    path = tmp_path / "figures.json"
    path.write_text(json.dumps([]))
    assert guard.compare(path, versions(), KEPT) == code
