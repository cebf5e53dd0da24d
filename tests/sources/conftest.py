"""Lets tests of sources run inside a private network, too."""

from tests.netns.inside import pytest_configure, pytest_pyfunc_call

__all__ = ["pytest_configure", "pytest_pyfunc_call"]
