"""Pipes that compress deliver what was logged, and all they sent is counted."""

from collections.abc import Iterator

import pytest

from bench.compressed import WIRE_OCTETS, CompressedChain, CompressedPcapZmq
from bench.load import Load
from bench.runs import Outcome, measure
from testbed.namespaces import Namespace, Network, why_unavailable

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable())),
]

PACKETS, LENGTH = 2_000, 200
FILE_HEADER, RECORD_HEADER = 24, 16


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture(scope="module")
def host(network: Network) -> Namespace:
    return network.add("host")


@pytest.fixture(scope="module")
def load() -> Load:
    return Load(LENGTH, 10.0, packets=PACKETS)


def chain(network: Network, compressor: str, undo: str) -> CompressedChain:
    return CompressedChain(compressor, undo, is_root=not network.user_namespace)


def assert_whole(outcome: Outcome) -> None:
    assert (outcome.logged, outcome.lost, outcome.torn) == (PACKETS, 0, 0)
    # Of the IP packets, whatever a savefile puts around them.
    assert outcome.octets == PACKETS * LENGTH


def test_what_a_chain_sends_is_counted_to_its_end(
    network: Network, host: Namespace, load: Load
) -> None:
    """cat compresses nothing: each record is as long as all others."""
    outcome = measure(host, chain(network, "cat", "cat"), load)

    assert_whole(outcome)
    records = outcome.counters[WIRE_OCTETS] - FILE_HEADER
    each, rest = divmod(records, PACKETS)
    assert rest == 0
    # Records of LINKTYPE_NFLOG have more in them than the packet.
    assert each > RECORD_HEADER + LENGTH


def test_what_a_compressor_keeps_back_until_the_end_is_counted_too(
    network: Network, host: Namespace, load: Load
) -> None:
    outcome = measure(host, chain(network, "gzip -1 -c", "gzip -dc"), load)

    assert_whole(outcome)
    assert 0 < outcome.counters[WIRE_OCTETS] < outcome.octets


def test_ours_compresses_from_the_first_batch_on(host: Namespace, load: Load) -> None:
    outcome = measure(host, CompressedPcapZmq("zstd", 1), load)

    assert_whole(outcome)
    assert outcome.counters["sender acknowledged"] == PACKETS
    assert 0 < outcome.counters[WIRE_OCTETS] < outcome.octets
