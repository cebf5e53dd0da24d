"""What tests of the doctor share: the marker `inside`, as tests of networks have it."""

from collections.abc import Iterator

import pytest

from testbed.namespaces import Network
from tests.doctor.gateway import Gateway
from tests.netns.conftest import user_namespace
from tests.netns.inside import pytest_configure, pytest_pyfunc_call

__all__ = ["pytest_configure", "pytest_pyfunc_call", "user_namespace"]


@pytest.fixture(params=["nft", "iptables", "iptables-legacy"])
def tool(request: pytest.FixtureRequest) -> str:
    """What the rules are made with."""
    return str(request.param)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def gateway(network: Network) -> Gateway:
    return Gateway(network.add("gateway"))


@pytest.fixture
def either_gateway(user_namespace: bool) -> Iterator[Gateway]:
    """Of the machine's own root, and of a user namespace."""
    with Network(user_namespace) as network:
        yield Gateway(network.add("gateway"))
