"""The tests, and what they are written with."""

from pathlib import Path

import pytest

# Before they are imported: what a helper asserts shall say what it has found, too.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{path.parent.name}"
        for path in Path(__file__).parent.glob("*/__init__.py")
    )
)
