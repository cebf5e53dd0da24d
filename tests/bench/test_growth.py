"""A crowd makes the batches that senders would, and says so where it fails."""

from collections.abc import Iterator

import pytest

from bench import crowd as crowds
from bench.crowd import Case
from bench.parts import growth
from testbed.namespaces import Namespace, Network, why_unavailable

RECORD = 216
BATCH_BYTES = 1 << 20


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    with Network() as network:
        yield network.add("host")


def natural(rate: float) -> list[Case]:
    return [case for case in growth.cases_at(rate) if not case.is_small]


def test_natural_batches_hold_what_gathers_in_their_age() -> None:
    cases = natural(100_000)

    assert [case.senders for case in cases] == [1, 10, 100]
    assert [case.batch for case in cases] == [2_000, 200, 20]


def test_natural_batches_hold_no_more_than_what_they_have_room_for() -> None:
    batch = natural(1_000_000)[0].batch

    assert batch * RECORD <= BATCH_BYTES < (batch + 1) * RECORD


def test_a_batch_holds_a_packet_however_few_there_are() -> None:
    assert all(case.batch >= 1 for case in growth.cases_at(10))


@pytest.mark.netns
@pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
def test_a_crowd_that_cannot_be_is_an_error_that_says_why(host: Namespace) -> None:
    with pytest.raises(RuntimeError, match=r"swarm failed: .*9000 is no number"):
        crowds.run(host, Case(senders=9_000, batch=2), rate=1_000, seconds=0.1)


@pytest.mark.netns
@pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
def test_a_crowd_loses_nothing_and_costs_something(host: Namespace) -> None:
    crowd = crowds.run(host, Case(senders=10, batch=2), rate=2_000, seconds=0.2)

    assert (crowd.made, crowd.lost) == (400, 0)
    assert crowd.messages == 200
    assert crowd.receiver_cpu_s > 0
    assert crowd.grown_bytes > 0
