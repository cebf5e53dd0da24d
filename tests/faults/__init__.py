"""Faults: what happens to the packets when something goes wrong, with real processes in
network namespaces."""

import pytest

# Before it is imported: its assertions shall say what they have found.
pytest.register_assert_rewrite("tests.faults.scene")
