"""What tests of the doctor share: the marker `inside`, as tests of networks have it."""

import pytest

from tests.netns.conftest import user_namespace
from tests.netns.inside import pytest_configure, pytest_pyfunc_call

__all__ = ["pytest_configure", "pytest_pyfunc_call", "user_namespace"]


@pytest.fixture(params=["nft", "iptables", "iptables-legacy"])
def tool(request: pytest.FixtureRequest) -> str:
    """What the rules are made with."""
    return str(request.param)
