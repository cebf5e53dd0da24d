"""What tests of private networks share."""

import os

import pytest

from testbed.namespaces import why_unavailable
from tests.netns.inside import pytest_configure, pytest_pyfunc_call

__all__ = ["pytest_configure", "pytest_pyfunc_call"]


# As root of the machine where we are, and in any case as anybody else would.
BOTH = [False, True] if os.geteuid() == 0 else [True]


@pytest.fixture(params=BOTH, ids=lambda is_new: "user namespace" if is_new else "root")
def user_namespace(request: pytest.FixtureRequest) -> bool:
    """Whether the private network has a user namespace of its own."""
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    return bool(request.param)
