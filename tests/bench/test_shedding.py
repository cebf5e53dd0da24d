"""What the comparison of ways to shed is made of."""

from pathlib import Path

import pytest

from bench import captures
from bench.shedding.measure import OVERLOADS, Left, Measurement
from bench.shedding.replay import Gateway, octets_of
from bench.shedding.report import plots, report
from bench.shedding.traffic import BEGIN_NS, merged
from pcap_zmq.policy.shed import How
from pcap_zmq.units import NS_PER_S

SECONDS = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captures.make(tmp_path_factory.mktemp("captures"))


def test_captures_lie_side_by_side_at_a_steady_rate(made: Path) -> None:
    packets = merged([made, made], SECONDS)
    times = [packet.ts_ns - BEGIN_NS for packet in packets]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] < SECONDS * NS_PER_S
    half = [p for p in packets if p.ts_ns - BEGIN_NS < SECONDS * NS_PER_S // 2]
    assert octets_of(half) / octets_of(packets) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("how", How)
def test_about_as_much_passes_as_may_in_the_order_of_time(how: How, made: Path) -> None:
    packets = merged([made], SECONDS)
    high = octets_of(packets) // SECONDS // 4
    kept = Gateway(how, high).kept(packets)
    assert kept == sorted(kept, key=lambda packet: packet.ts_ns)
    # A second or two may have been saved up.
    assert 0.8 * high * SECONDS < octets_of(kept) < 1.4 * high * SECONDS


def test_a_report_says_what_differs_between_runs() -> None:
    left = {
        (how, load): [
            Left(1 / load, 0.5, 0.4, 0.3, 0.2, made_up=1),
            Left(1 / load, 0.5, 0.4, 0.35, 0.2, made_up=1),
        ]
        for how in How
        for load in OVERLOADS
    }
    measured = Measurement(1, 100, 10_000, 9, 8, 7, 30, left)
    text = report(measured)
    assert "| tail | 32 (30 to 35) |" in text
    assert "| packet | 100 | 50 | 25 | 12 | 6 |" in text
    assert [plot.name for plot in plots(measured)] == [
        "shedding-alerts",
        "shedding-events",
        "shedding-flows",
    ]
