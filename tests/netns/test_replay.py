"""pcap-zmq replay puts packets onto an interface at their times; tcpdump is the witness
at the other end of the cable."""

import json
import re
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Packet
from testbed.namespaces import Network, why_unavailable
from testbed.waiting import wait_until
from tests.pcap_ffi.savefiles import NS_PER_S, Record, pcap
from tests.pipes.replaying import assert_at, assert_took

pytestmark = pytest.mark.netns

BIN = Path(sys.executable).parent
TIMEOUT_S = 30.0
MS = 1_000_000
FITS_NO_BARE_IP = "not ether host 02:00:00:00:00:09"
ETHERTYPE = 0x88B5  # for local experiments: IEEE 802, and nobody answers


class Cable:
    """Two hosts on one cable: what is replayed here is seen there."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.network = network
        self._directory = directory
        for name in ("here", "there"):
            network.add(name)
        network.join("here", "there", "10.0.1.1/24", "10.0.1.2/24")
        self._seen = directory / "seen.pcap"
        self._witness: subprocess.Popen[Any] | None = None

    def capture(
        self, name: str, times_ms: list[float], *, first: int = 0, octets: int = 100
    ) -> Path:
        """Numbered frames with these times."""
        path = self._directory / name
        path.write_bytes(
            pcap(
                [record(first + n, t, octets) for n, t in enumerate(times_ms)],
                linktype=1,
            )
        )
        return path

    def watch(self) -> None:
        argv = "tcpdump --immediate-mode -n -U -B 16384 -Z root --nano -i here"
        argv += f" -w {self._seen} ether proto {ETHERTYPE}"
        self._witness = self.network.popen(
            argv.split(), self.network["there"], stderr=subprocess.PIPE
        )
        assert self._witness.stderr is not None
        while "listening" not in (line := self._witness.stderr.readline()):
            assert line, "tcpdump has ended"

    def replay(self, *arguments: str | Path) -> subprocess.Popen[str]:
        argv = [str(BIN / "pcap-zmq"), "replay", *map(str, arguments)]
        return self.network.popen(
            [*argv, "interface:there"],
            self.network["here"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def finish(self, *arguments: str | Path) -> dict[str, Any]:
        """Replays to the end; the totals as JSON has them."""
        replay = self.replay("--log-format", "json", *arguments)
        said = replay.communicate(timeout=TIMEOUT_S)[1]
        assert replay.returncode == 0, said
        return totals_of(said)

    def seen(self, count: int) -> list[Packet]:
        """At least so many, once the witness has them; and all that it has then."""
        wait_until(lambda: len(self._packets()) >= count, TIMEOUT_S, f"{count} packets")
        assert self._witness is not None
        self._witness.send_signal(signal.SIGINT)
        self._witness.wait(TIMEOUT_S)
        return self._packets()

    def _packets(self) -> list[Packet]:
        octets = self._seen.read_bytes()[24:]
        whole, at = 0, 0
        while at + 16 <= len(octets):
            at += 16 + struct.unpack_from("<I", octets, at + 8)[0]
            whole = at if at <= len(octets) else whole
        return list(iter_packets(octets[:whole]))


def record(number: int, ms: float, octets: int) -> Record:
    seconds, nanoseconds = divmod(1_600_000_000 * NS_PER_S + round(ms * MS), NS_PER_S)
    header = b"\x02" + bytes(4) + b"\x01" + b"\x02" + bytes(4) + b"\x02"
    data = header + struct.pack("!HQ", ETHERTYPE, number)
    data = data.ljust(octets, b"\x5a")
    return Record(seconds, nanoseconds, len(data), data)


def number_of(packet: Packet) -> int:
    return int(struct.unpack_from("!Q", packet.data, 14)[0])


def moments_ms(packets: list[Packet]) -> list[float]:
    return [(packet.ts_ns - packets[0].ts_ns) / MS for packet in packets]


def totals_of(said: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in said.splitlines()]
    (totals,) = (line for line in lines if line.get("event") == "totals")
    # Every packet is somewhere.
    lost = sum(totals["dropped"].values()) + sum(totals["skipped"].values())
    assert totals["read"] == totals["delivered"] + totals["held"] + lost
    return dict(totals)


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    with Network() as network:
        yield Cable(network, tmp_path)


def test_an_interface_that_is_not_there_is_said_and_exit_code_2(cable: Cable) -> None:
    savefile = cable.capture("a.pcap", [0])
    argv = [str(BIN / "pcap-zmq"), "replay", str(savefile), "interface:nowhere"]
    done = cable.network["here"].run(argv, check=False)
    assert done.returncode == 2
    assert "there is no interface 'nowhere'" in done.stderr
    assert "Traceback" not in done.stderr


def test_packets_arrive_as_they_are_at_the_distances_of_the_capture(
    cable: Cable,
) -> None:
    times = [0, 0.2, 0.4, 50, 51, 51, 120, 400, 400.5, 700]
    savefile = cable.capture("a.pcap", times)
    cable.watch()
    totals = cable.finish(savefile)
    seen = cable.seen(len(times))
    assert [number_of(packet) for packet in seen] == list(range(len(times)))
    assert all(len(packet.data) == 100 for packet in seen)
    assert_at(moments_ms(seen), times)
    assert totals["delivered"] == totals["lateness"]["packets"] == len(times)


def test_a_long_replay_does_not_drift(cable: Cable) -> None:
    """At a fractional speed, and the last packets are no later than the first."""
    first = cable.capture("a.pcap", [n * 2.0 for n in range(1_000)])
    second = cable.capture("b.pcap", [n * 2.0 + 1 for n in range(1_000)], first=1_000)
    cable.watch()
    totals = cable.finish("--speed", "1.6", first, second)
    seen = cable.seen(2_000)
    assert [number_of(p) for p in seen] == [
        n // 2 + 1_000 * (n % 2) for n in range(2_000)
    ]
    moments = moments_ms(seen)
    expected = [n / 1.6 for n in range(2_000)]
    assert_at(moments, expected)
    delays = [moment - due for moment, due in zip(moments, expected, strict=True)]
    early, late = statistics.median(delays[:500]), statistics.median(delays[-500:])
    assert late - early == pytest.approx(0, abs=5)
    assert_took(totals["took"], 1_999 / 1_600)


def test_a_filter_applies_before_sending_and_what_is_too_long_is_counted(
    cable: Cable,
) -> None:
    short = cable.capture("a.pcap", [0, 1, 2, 3])
    long = cable.capture("b.pcap", [10, 11], first=4, octets=1_700)
    cable.watch()
    options = ["--filter", "ether[21] != 2", "--topspeed"]
    totals = cable.finish(*options, short, long)
    assert [number_of(packet) for packet in cable.seen(3)] == [0, 1, 3]
    assert totals["skipped"] == {"filter": 1}
    assert totals["dropped"] == {"too_long": 2}


def test_long_packets_are_cut_to_what_the_interface_takes(cable: Cable) -> None:
    long = cable.capture("b.pcap", [0, 1], octets=1_700)
    cable.watch()
    totals = cable.finish("--cut-mtu", "1500", long)
    assert [len(packet.data) for packet in cable.seen(2)] == [1_514, 1_514]
    assert (totals["delivered"], totals["cut"]) == (2, 2)


def test_an_interrupt_ends_it_in_a_moment_with_the_totals(cable: Cable) -> None:
    savefile = cable.capture("a.pcap", [0, 1, 2, 3_600_000])
    cable.watch()
    replay = cable.replay("--log-format", "json", savefile)
    cable.seen(3)
    asked = time.monotonic()
    replay.send_signal(signal.SIGINT)
    said = replay.communicate(timeout=TIMEOUT_S)[1]
    assert time.monotonic() - asked < 2
    assert replay.returncode == 0, said
    totals = totals_of(said)
    assert totals["delivered"] == 3
    assert totals["dropped"] == {"shutdown": 1}


def test_what_fails_in_the_middle_sends_nothing_more_and_counts_what_went(
    cable: Cable, tmp_path: Path
) -> None:
    savefile = cable.capture("a.pcap", [0, 3_600_000])
    bare = tmp_path / "bare.pcap"
    bare.write_bytes(pcap([record(2, 7_200_000, 100)], linktype=101))
    cable.watch()
    replay = cable.replay(
        "--log-format", "json", "--filter", FITS_NO_BARE_IP, savefile, bare
    )
    said = replay.communicate(timeout=TIMEOUT_S)[1]
    assert (replay.returncode, "link type raw" in said) == (2, True)
    totals = totals_of(said)
    assert totals["delivered"] == len(cable.seen(totals["delivered"]))
    assert totals["dropped"] == {"shutdown": 2 - totals["delivered"]}
    assert totals["held"] == 1


def test_an_interface_that_goes_down_is_waited_for(cable: Cable) -> None:
    savefile = cable.capture("a.pcap", [n * 10.0 for n in range(100)])
    cable.watch()
    replay = cable.replay("--log-format", "json", savefile)
    here, down = cable.network["here"], ["ip", "link", "set", "there"]
    wait_until(lambda: len(cable._packets()) >= 10, TIMEOUT_S, "some packets")
    here.run([*down, "down"])
    went_down = time.monotonic()
    wait_until(lambda: time.monotonic() > went_down + 0.3, TIMEOUT_S, "a while")
    here.run([*down, "up"])
    said = replay.communicate(timeout=TIMEOUT_S)[1]
    assert replay.returncode == 0, said
    assert "interface there is down" in said
    assert re.search(r"interface there is back after \d+\.\d s", said)
    totals = totals_of(said)
    assert totals["delivered"] == 100
    # Without the time in which nothing could go, and without a burst after it.
    assert_took(totals["took"], 0.99)


def test_without_the_right_it_is_said_what_is_missing(cable: Cable) -> None:
    savefile = cable.capture("a.pcap", [0])
    argv = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-all", "--"]
    argv += [str(BIN / "pcap-zmq"), "replay", str(savefile), "interface:there"]
    done = cable.network["here"].run(argv, check=False)
    assert done.returncode == 3, done.stderr
    assert "CAP_NET_RAW" in done.stderr
