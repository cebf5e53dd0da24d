"""Fixtures for tools as processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipes.tools import Tools


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    """Starts our commands; none outlives the test."""
    with Tools(tmp_path) as tools:
        yield tools


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    """An ipc endpoint of this test's own."""
    return f"ipc://{tmp_path}/link"
