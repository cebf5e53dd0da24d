"""What tests of faults share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.namespaces import Network, why_unavailable
from tests.faults.scene import GATEWAY
from tests.faults.world import World


@pytest.fixture
def network() -> Iterator[Network]:
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    with Network() as network:
        yield network


@pytest.fixture
def world(network: Network, tmp_path: Path) -> World:
    """An IDS host and one gateway."""
    return World(network, tmp_path, [GATEWAY])


@pytest.fixture(params=[False, True], ids=["insecure", "keys"])
def either_world(
    network: Network, tmp_path: Path, request: pytest.FixtureRequest
) -> World:
    """The same without keys, and with a pair for each program."""
    return World(network, tmp_path, [GATEWAY], has_keys=request.param)
