"""Packets onto interfaces of a real kernel, and what comes out of their other ends."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from pcap_zmq import options
from pcap_zmq.clock import NS_PER_MS, NS_PER_S, SystemClock
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError
from pcap_zmq.formats.file_part import FilePart, FileTally
from pcap_zmq.formats.linktype import ETHERNET, IPV6, LINUX_SLL, RAW
from pcap_zmq.formats.savefile import encode_packet
from pcap_zmq.packet import Batch, Packet
from pcap_zmq.sinks.interface import QUEUE_BYTES, InterfaceSink
from replay_ffi import Schedule, State
from testbed.waiting import wait_until
from tests.netns import here
from tests.sinks.turning import Turning

pytestmark = [pytest.mark.netns, pytest.mark.inside(together=True)]

T_NS = 1_700_000_000 * NS_PER_S
HOUR_NS = 3_600 * NS_PER_S
MTU = 1_500

# Local experimental: nobody answers, and nobody else sends it. IEEE 802.
ETHERTYPE = bytes.fromhex("88b5")
VLAN = bytes.fromhex("81000007")
HEADER = bytes.fromhex("ffffffffffff 020000000001") + ETHERTYPE

# linux/if_packet.h and linux/if_tun.h
ETH_P_ALL = 3
SO_TIMESTAMPNS = 35
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

STOPPED_MS = 50.0
TRIES = 10

WITH_ONE_CAPABILITY = """
from pcap_zmq.privileges import drop_to
from tests.netns.test_interface import batch, frames, sink_for
from tests.sinks.turning import Turning
sink = sink_for("left")
drop_to(None)
turning = Turning(sink)
turning.give([batch(frames(2))])
turning.finish()
"""


def frames(count: int, octets: int = 60) -> list[bytes]:
    """Ethernet frames that tell which they are."""
    bodies = (struct.pack("!I", number) for number in range(count))
    return [(HEADER + body).ljust(octets, b"\0") for body in bodies]


def batch(
    packets: Sequence[bytes],
    times_ns: Sequence[int] = (),
    *,
    linktype: int = ETHERNET,
    receipt: object = None,
) -> Batch:
    """times_ns: of each; none: they are all of one moment."""
    times = times_ns or [0] * len(packets)
    records = b"".join(
        encode_packet(Packet(T_NS + time_ns, len(packet), packet))
        for time_ns, packet in zip(times, packets, strict=True)
    )
    return Batch(linktype, records, len(packets), receipt)


def sink_for(
    name: str,
    schedule: Schedule | None = None,
    counters: ReceiverCounters | None = None,
) -> InterfaceSink:
    """None: at packets' times; to be counted by nobody."""
    return InterfaceSink(
        name,
        schedule or Schedule.at_times(),
        counters=counters or ReceiverCounters(),
        busy_wait_ns=options.BUSY_WAIT_NS.default,
    )


class Witness:
    """What comes out of an interface, with the kernel's times."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)
        )
        self._socket.bind((name, ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setblocking(False)
        self.packets: list[bytes] = []
        self.times_ns: list[int] = []

    def await_packets(self, count: int) -> list[bytes]:
        """So many of ours, in the order in which they came."""
        wait_until(lambda: self._look() >= count, here.TIMEOUT_S, f"{count} packets")
        return self.packets

    def await_stamps(self, sender: str) -> None:
        """The kernel begins to stamp packets some time after it was asked to; until
        then the time is that of reading. sender: the other end's name."""
        clock, sent = SystemClock(), 0
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sending:
            sending.bind((sender, 0))

            def is_stamped() -> bool:
                # What was sent the last time has waited since.
                nonlocal sent
                known = self._looked()
                read_ns = clock.now().wall_ns
                waited = [read_ns - time_ns for time_ns in self.times_ns[known:]]
                if max(waited, default=0) > 3 * NS_PER_MS:
                    return True
                sending.send(frames(1)[0])
                sent += 1
                return False

            wait_until(is_stamped, here.TIMEOUT_S, "the kernel's times")
        self.await_packets(sent)
        self.packets.clear()
        self.times_ns.clear()

    def _looked(self) -> int:
        """How many there were before."""
        known = len(self.packets)
        self._look()
        return known

    def _look(self) -> int:
        while True:
            try:
                data, about, _, _ = self._socket.recvmsg(1 << 16, 64)
            except BlockingIOError:
                return len(self.packets)
            if data[12:14] != ETHERTYPE:
                continue
            seconds, nanoseconds = struct.unpack("qq", about[0][2][:16])
            self.packets.append(data)
            self.times_ns.append(seconds * NS_PER_S + nanoseconds)

    def close(self) -> None:
        self._socket.close()


def lay_cable() -> None:
    """From `left` to `right`, both down."""
    here.run("ip link add name left type veth peer name right".split())  # noqa: SIM905


def remove_cable() -> None:
    """Where it is still there."""
    with suppress(AssertionError):
        here.run(["ip", "link", "delete", "left"])


class Scene:
    """A cable from `left` to `right`, a sink for the one and a witness of the other."""

    def __init__(self, schedule: Schedule | None = None) -> None:
        self._opened = ExitStack()
        lay_cable()
        self._opened.callback(remove_cable)
        here.run(["ip", "link", "set", "left", "up"])
        here.run(["ip", "link", "set", "right", "up"])
        self.counters = ReceiverCounters()
        self.tally = FileTally("file")
        self.schedule = schedule or Schedule.at_times()
        self.witness = self._opened.enter_context(closing(Witness("right")))
        self.sink = sink_for("left", self.schedule, self.counters)
        self._opened.enter_context(closing(self.sink))
        self.turning = Turning(self.sink)

    def part(self, packets: Sequence[bytes], times_ns: Sequence[int] = ()) -> Batch:
        """With a receipt that counts."""
        self.tally.read += len(packets)
        receipt = FilePart(self.tally, len(packets))
        return batch(packets, times_ns, receipt=receipt)

    def close(self) -> None:
        self._opened.close()

    def assert_settled(self) -> None:
        """Every packet was sent, or dropped for a reason, here and for its file."""
        assert self.tally.is_settled
        assert not self.sink.held
        assert self.tally.written == self.counters.written
        assert self.tally.dropped == self.counters.dropped


@contextmanager
def scene(schedule: Schedule | None = None) -> Iterator[Scene]:
    found = Scene(schedule)
    try:
        yield found
    finally:
        found.close()


def test_packets_arrive_as_they_are_and_in_order(user_namespace: bool) -> None:
    with scene(Schedule.top_speed()) as at:
        batches = [at.part(frames(500, octets)) for octets in (60, 700, MTU + 14)]
        at.turning.give(batches)
        at.turning.finish()
        expected = [f for octets in (60, 700, MTU + 14) for f in frames(500, octets)]
        assert at.witness.await_packets(1_500) == expected
        assert at.turning.arrived == [item.receipt for item in batches]
        assert at.counters.written == 1_500
        assert at.counters.written_bytes == sum(len(item.records) for item in batches)
        assert at.sink.dropped_by_interface == 0
        at.assert_settled()


def test_packets_go_at_their_times() -> None:
    times_ns = [0, 3_000_000, 3_000_000, 40_000_000, 40_050_000]
    with scene() as at:
        at.witness.await_stamps("left")
        at.turning.give([at.part(frames(5), times_ns)])
        at.turning.finish()
        at.witness.await_packets(5)
        lateness = at.schedule.lateness
        assert lateness.packets == 5
        apart = [
            seen_ns - at.witness.times_ns[0] - time_ns
            for seen_ns, time_ns in zip(at.witness.times_ns, times_ns, strict=True)
        ]
        # What we say of how late we were, and what a busy machine does to the witness.
        slack_ns = lateness.max_ns + 20 * NS_PER_MS
        assert all(-slack_ns <= off_ns <= slack_ns for off_ns in apart)


def test_what_the_interface_does_not_take_is_counted_and_the_rest_goes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tagged = (HEADER[:12] + VLAN + ETHERTYPE).ljust(MTU + 14 + 4, b"t")
    too_long = HEADER.ljust(MTU + 14 + 5, b"l")
    with scene() as at:
        others = batch(frames(3), linktype=LINUX_SLL, receipt=FilePart(at.tally, 3))
        # Nothing of what it is to send can go: that is a mistake, and no loss.
        with pytest.raises(OutputError, match=r"ethernet \(1\), not linux_sll \(113\)"):
            at.turning.offer(others)
        at.tally.read += 6
        first = at.part([*frames(1), too_long, HEADER[:13], b"", tagged])
        at.turning.give([first, others, others, at.part(frames(1))])
        at.turning.finish()
        # The kernel gives a tag beside the packet: packet(7).
        untagged = tagged[:12] + tagged[16:]
        expected = [*frames(1), untagged, *frames(1)]
        assert at.witness.await_packets(3) == expected
        assert at.counters.dropped == {
            Reason.TOO_LONG: 1,
            Reason.MALFORMED: 2,
            Reason.LINKTYPE: 6,
        }
        at.assert_settled()
    assert caplog.text.count("those are dropped") == 1


def test_no_more_waits_than_there_is_room_for_and_a_stop_is_heeded_at_once() -> None:
    clock, took_ms = SystemClock(), []
    later = [HOUR_NS] * 1_000
    with scene() as at:
        for _ in range(TRIES):
            counters = ReceiverCounters()
            sink = sink_for("left", Schedule.at_times(), counters)
            with closing(sink):
                turning = Turning(sink)
                turning.give([batch(frames(2))])
                held = 2
                while turning.offer(batch(frames(1_000, MTU), later)):
                    held += 1_000
                    assert held * MTU <= QUEUE_BYTES
                turning.turn()
                start_ns = clock.now().mono_ns
                sink.abandon()
                took_ms.append((clock.now().mono_ns - start_ns) / NS_PER_MS)
                dropped = counters.dropped[Reason.SHUTDOWN]
                assert dropped == held - counters.written
                assert dropped >= held - 2
                assert not sink.held
        at.sink.abandon()
    # A busy machine may be slow once, not each time.
    assert sorted(took_ms)[TRIES // 2] < STOPPED_MS


def test_an_interface_that_goes_down_is_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pause_ns = 5 * NS_PER_MS
    times_ns = [number * pause_ns for number in range(100)]
    with scene() as at:
        at.turning.give([at.part(frames(100), times_ns)])
        at.witness.await_packets(3)
        # Of the other end: no send says so, the carrier does.
        here.run(["ip", "link", "set", "right", "down"])
        at.turning.until(lambda: at.sink.status.state is State.WAITING, "a wait")
        gone = at.sink.status.waited_ns
        at.turning.until(
            lambda: at.sink.status.waited_ns > gone + 300 * NS_PER_MS, "the cable"
        )
        here.run(["ip", "link", "set", "right", "up"])
        at.turning.until(lambda: at.sink.status.state is State.SENDING, "the way back")
        here.run(["ip", "link", "set", "left", "down"])
        at.turning.until(lambda: at.sink.status.state is State.WAITING, "a wait")
        here.run(["ip", "link", "set", "left", "up"])
        at.turning.finish()
        assert at.counters.written == 100
        at.assert_settled()
        # What it was away for nobody is late for.
        assert at.schedule.lateness.p50_ns < 300 * NS_PER_MS
    assert caplog.text.count("interface left is down or has no carrier") == 2
    assert caplog.text.count("interface left is back after") == 2


def test_an_interface_that_is_missing_or_down_or_taken_away_is_said_in_a_line() -> None:
    for name in ("nosuch", "", "much-too-long-for-a-name"):
        with pytest.raises(ConfigError, match="there is no interface"):
            sink_for(name)
    lay_cable()
    with pytest.raises(OutputError, match="ip link set left up"):
        sink_for("left")
    here.run(["ip", "link", "delete", "left"])
    with scene() as at:
        at.turning.give([at.part(frames(2), [0, 200 * NS_PER_MS])])
        at.witness.await_packets(1)
        here.run(["ip", "link", "delete", "left"])
        with pytest.raises(OutputError, match="interface left is gone"):
            at.turning.until(lambda: False, "an end")
        assert at.counters.written == 1
        assert [rest.count for rest in at.sink.held] == [1]
        at.sink.abandon()
        at.assert_settled()


DROP = """
table netdev here {
    chain out {
        type filter hook egress device "left" priority 0;
        drop
    }
}
"""


def test_what_the_interface_has_no_room_for_waits_and_is_not_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with scene() as at:
        # To who sends it is a full queue: ENOBUFS.
        done = subprocess.run(["nft", "-f", "-"], input=DROP, text=True, check=False)
        if done.returncode != 0:
            pytest.skip("this kernel has no egress hook: CONFIG_NETFILTER_EGRESS")
        at.turning.give([at.part(frames(300))])
        at.turning.until(lambda: "takes nothing" in caplog.text, "a warning")
        assert at.sink.status.held_up > 0
        assert at.counters.written == 0
        here.run(["nft", "flush", "ruleset"])
        at.turning.finish()
        assert at.witness.await_packets(300) == frames(300)
        at.assert_settled()


def run_with_only(capability: str) -> subprocess.CompletedProcess[str]:
    bounds = f"-all,+{capability}"
    setpriv = ["setpriv", "--bounding-set", bounds, "--inh-caps", bounds]
    return subprocess.run(
        [*setpriv, sys.executable, "-c", WITH_ONE_CAPABILITY],
        capture_output=True,
        text=True,
        timeout=here.TIMEOUT_S,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_one_capability_is_enough_and_only_to_open() -> None:
    with scene() as at:
        done = run_with_only("net_raw")
        assert done.returncode == 0, done.stderr
        assert at.witness.await_packets(2) == frames(2)
        assert "or with CAP_NET_RAW" in run_with_only("net_admin").stderr


def test_a_tun_interface_takes_bare_ip_packets_of_both_versions() -> None:
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("nobody but root may make a tun interface here")
    packets = [bytes([first, *range(60)]) for first in (0x45, 0x60)]
    with open("/dev/net/tun", "r+b", buffering=0) as tun:  # noqa: PTH123  a device
        wanted = struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI)
        fcntl.ioctl(tun, TUNSETIFF, wanted)
        os.set_blocking(tun.fileno(), False)
        quiet = Path("/proc/sys/net/ipv6/conf/tun0/disable_ipv6")
        quiet.write_text("1")
        here.run(["ip", "link", "set", "tun0", "up", "txqueuelen", "3"])
        counters = ReceiverCounters()
        sink = sink_for("tun0", counters=counters)
        with closing(sink):
            turning = Turning(sink)
            with pytest.raises(OutputError, match="Ethernet, veth or dummy interface"):
                turning.offer(batch(frames(1)))
            turning.give([batch(packets, linktype=RAW)])
            turning.give([batch(packets[1:], linktype=IPV6)])
            turning.finish()
            # There is room for no more, and nobody reads.
            late = sink_for("tun0", counters=counters)
            with closing(late):
                Turning(late).give([batch(packets, linktype=RAW)])
                Turning(late).finish()
                assert late.dropped_by_interface == 2
        read = [os.read(tun.fileno(), 1 << 16) for _ in range(3)]
    assert read == [*packets, packets[1]]
    assert counters.written == 5
