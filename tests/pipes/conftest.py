"""Fixtures for tools as processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipes.tools import Tools


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    """Starts our commands, which log beside what the test makes; none outlives it."""
    (tmp_path / "logs").mkdir()
    with Tools(tmp_path / "logs") as tools:
        yield tools


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    """An ipc endpoint of this test's own."""
    return f"ipc://{tmp_path}/link"
